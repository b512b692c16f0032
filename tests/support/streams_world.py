"""Members of streams groups over a shard in memory, with topics and a clock moved by hand."""

from typing import Any

from tests.support.consumer_world import topic_id
from tests.support.group_world import GroupWorld

from ottla.coordinator.group.settings import Caller
from ottla.coordinator.group.streams import heartbeat
from ottla.coordinator.group.streams.group import StreamsGroup
from ottla.metadata.image import ConfigResource, Image, PartitionImage, TopicImage
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.isolation import ResourceType
from ottla.wire.generated.streams_group_heartbeat import (
    CopartitionGroup,
    EndpointRequest,
    StreamsGroupHeartbeatRequest,
    StreamsGroupHeartbeatResponse,
    Subtopology,
    TaskIdsRequest,
    TopicInfo,
    Topology,
)

__all__ = ["CopartitionGroup", "EndpointRequest", "StreamsWorld", "TopicInfo", "topic_id"]

ONE = PartitionImage(1, 0, 0, (1,), (1,))
Has = tuple[list[str], list[str]]
"""Active and standby tasks, as 'subtopology_partition'."""


def part(*sources: str, name: str = "0", **rest: Any) -> Subtopology:
    return Subtopology(subtopology_id=name, source_topics=list(sources), **rest)


def image_of(topics: dict[str, int], configs: dict[str, str] | None = None) -> Image:
    """A cluster with these topics; the settings are of group g."""
    images = {
        name: TopicImage(name, topic_id(name), (ONE,) * count, {}) for name, count in topics.items()
    }
    return Image(
        topics=images,
        topic_names={image.topic_id: name for name, image in images.items()},
        configs={ConfigResource(ResourceType.GROUP, "g"): configs or {}},
    )


class StreamsWorld(GroupWorld):
    """`beat` sends a heartbeat and keeps what the member knows."""

    def __init__(
        self,
        *subtopologies: Subtopology,
        topics: dict[str, int] | None = None,
        delay_ms: int = 0,
        standbys: int = 0,
        interval_ms: int = 0,
    ) -> None:
        super().__init__()
        self.configs = {
            "streams.initial.rebalance.delay.ms": str(delay_ms),
            "streams.assignment.interval.ms": str(interval_ms),
            "streams.num.standby.replicas": str(standbys),
        }
        self.epochs: dict[str, int] = {}
        self.owned: dict[str, list[Any]] = {}
        self.answers: list[Any] = []
        self.topics: dict[str, int] = {}
        self.topology = Topology(subtopologies=list(subtopologies) or [part("t")])
        self.set_topics({"t": 4} if topics is None else topics)

    def set_topics(self, topics: dict[str, int]) -> None:
        """Make the cluster look like this, and tell the shard what changed."""
        changed = frozenset(
            name for name in {**topics, **self.topics} if topics.get(name) != self.topics.get(name)
        )
        self.topics = topics
        self.surroundings.image = image_of(topics, self.configs)
        self.shard.topics_changed(changed)

    def configure(self, name: str, value: str) -> None:
        """Change a setting of the group."""
        self.configs[name] = value
        self.surroundings.image = image_of(self.topics, self.configs)

    def show(self, response: Any, name: str) -> str:
        self.answers.append(response)
        return super().show(response, name)

    def join(self, name: str, process: str = "", **fields: Any) -> StreamsGroupHeartbeatResponse:
        """A first heartbeat; members are processes of their own unless one is named."""
        self.epochs[name] = 0
        self.owned[name] = [[], [], []]
        return self.beat(
            name,
            **{
                "rebalance_timeout_ms": 60_000,
                "topology": self.topology,
                "process_id": process or name,
                **fields,
            },
        )

    def beat(self, name: str, *, says: bool = True, **fields: Any) -> StreamsGroupHeartbeatResponse:
        """A heartbeat of `name`, which says what it has, and takes what it is given."""
        request = StreamsGroupHeartbeatRequest(
            group_id="g", member_id=name, member_epoch=self.epochs[name]
        )
        if says:
            active, standby, warmup = self.owned[name]
            request.active_tasks, request.standby_tasks = active, standby
            request.warmup_tasks = warmup
        for field, value in fields.items():
            setattr(request, field, value)
        self.answers.clear()
        caller = Caller(name, "/host", 0)

        def decide(waiter: Any) -> Any:
            heartbeat.check_request(request)
            return heartbeat.heartbeat(self.shard, request, caller, waiter, self.now_ms)

        self.decide(name, decide)
        (answer,) = self.answers
        if isinstance(answer, ApiError):
            return StreamsGroupHeartbeatResponse(
                error_code=answer.code, error_message=answer.message
            )
        assert isinstance(answer, StreamsGroupHeartbeatResponse)
        if not answer.error_code:
            self.epochs[name] = answer.member_epoch
            if answer.active_tasks is not None:
                self.owned[name] = [
                    [
                        TaskIdsRequest(subtopology_id=row.subtopology_id, partitions=row.partitions)
                        for row in rows or ()
                    ]
                    for rows in (answer.active_tasks, answer.standby_tasks, answer.warmup_tasks)
                ]
        return answer

    def leave(self, name: str, **fields: Any) -> None:
        self.epochs[name] = -1
        assert not self.beat(name, says=False, **fields).error_code

    def code(self, name: str, **fields: Any) -> ErrorCode:
        return ErrorCode(self.beat(name, **fields).error_code)

    def has(self, name: str) -> Has:
        """What the member was told last."""
        active, standby, _ = (
            [f"{row.subtopology_id}_{number}" for row in rows for number in row.partitions]
            for rows in self.owned[name]
        )
        return active, standby

    def settle(self, *names: str) -> None:
        """Heartbeats until nothing changes."""
        for _ in range(2 * len(names) + 2):
            for name in names:
                self.beat(name)

    @property
    def group(self) -> StreamsGroup:
        group = self.shard.groups["g"]
        assert isinstance(group, StreamsGroup)
        return group

    def why(self) -> list[str]:
        """The causes of the rebalances so far."""
        return [
            " ".join(filter(None, (cause.member_id, cause.why.value)))
            for rebalance in self.group.history.rebalances
            for cause in rebalance.causes
        ]

    def statuses(self, answer: StreamsGroupHeartbeatResponse) -> list[int]:
        return [status.status_code for status in answer.status or ()]
