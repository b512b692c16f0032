"""Members of consumer groups over a shard in memory, with topics and a clock moved by hand."""

from typing import Any

from tests.support.group_world import GroupWorld

from ottla.coordinator.group import consumer_requests
from ottla.coordinator.group.consumer import ConsumerGroup
from ottla.coordinator.group.settings import Caller
from ottla.metadata.image import ConfigResource, Image, PartitionImage, TopicImage
from ottla.model.errors import ErrorCode
from ottla.model.isolation import ResourceType
from ottla.wire.generated.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    TopicPartitionsRequest,
)

ONE = PartitionImage(1, 0, 0, (1,), (1,))


def topic_id(name: str) -> bytes:
    return name.encode().ljust(16, b"_")


class ConsumerWorld(GroupWorld):
    """`beat` sends a heartbeat and keeps what the member knows."""

    def __init__(self, topics: dict[str, int] | None = None, interval_ms: int = 0) -> None:
        super().__init__()
        self.interval_ms = interval_ms
        self.epochs: dict[str, int] = {}
        self.owned: dict[str, dict[bytes, list[int]]] = {}
        self.answers: list[Any] = []
        self.topics: dict[str, int] = {}
        self.set_topics(topics or {"t": 4})

    def set_topics(self, topics: dict[str, int]) -> None:
        """Make the cluster look like this, and tell the shard what changed."""
        changed = frozenset(
            name for name in {**topics, **self.topics} if topics.get(name) != self.topics.get(name)
        )
        self.topics = topics
        images = {
            name: TopicImage(name, topic_id(name), (ONE,) * count, {})
            for name, count in topics.items()
        }
        settings = {"consumer.assignment.interval.ms": str(self.interval_ms)}
        self.surroundings.image = Image(
            topics=images,
            topic_names={image.topic_id: name for name, image in images.items()},
            configs={ConfigResource(ResourceType.GROUP, group): settings for group in ("g", "h")},
        )
        self.shard.topics_changed(changed)

    def show(self, response: Any, name: str) -> str:
        self.answers.append(response)
        return super().show(response, name)

    def beat(
        self, name: str, *topics: str, group: str = "g", says: bool = True, **fields: Any
    ) -> ConsumerGroupHeartbeatResponse:
        """A heartbeat of `name`; with topics or a regex it joins. Takes what it is given."""
        request = ConsumerGroupHeartbeatRequest(
            group_id=group, member_id=name, member_epoch=self.epochs.get(name, 0)
        )
        joins = topics or "subscribed_topic_regex" in fields
        if joins:
            request.subscribed_topic_names = list(topics)
            request.rebalance_timeout_ms = 60_000
        if says:
            owned = self.owned.get(name, {}) if request.member_epoch else {}
            request.topic_partitions = [
                TopicPartitionsRequest(topic_id=key, partitions=list(value))
                for key, value in owned.items()
            ]
        for field, value in fields.items():
            setattr(request, field, value)
        self.answers.clear()
        caller = Caller(name, "/host", 1)
        self.decide(
            name,
            lambda waiter: consumer_requests.heartbeat(
                self.shard, request, caller, waiter, self.now_ms
            ),
        )
        (answer,) = self.answers
        if not isinstance(answer, ConsumerGroupHeartbeatResponse):
            return ConsumerGroupHeartbeatResponse(
                error_code=answer.code, error_message=answer.message
            )
        if not answer.error_code:
            self.epochs[name] = answer.member_epoch
            if answer.assignment is not None:
                self.owned[name] = {
                    row.topic_id: row.partitions for row in answer.assignment.topic_partitions
                }
        return answer

    def code(self, name: str, *topics: str, **fields: Any) -> ErrorCode:
        return ErrorCode(self.beat(name, *topics, **fields).error_code)

    def has(self, name: str, topic: str = "t") -> list[int]:
        return self.owned[name].get(topic_id(topic), [])

    def group(self, group_id: str = "g") -> ConsumerGroup:
        group = self.shard.groups[group_id]
        assert isinstance(group, ConsumerGroup)
        return group

    def settle(self, *names: str) -> None:
        """Heartbeats until nothing changes."""
        for _ in range(2 * len(names) + 2):
            for name in names:
                self.beat(name)

    def why(self, group_id: str = "g") -> list[str]:
        """The causes of the rebalances so far."""
        return [
            " ".join(filter(None, (cause.member_id, cause.why.value)))
            for rebalance in self.group(group_id).history.rebalances
            for cause in rebalance.causes
        ]
