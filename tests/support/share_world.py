"""Share groups over logs in memory: both coordinators, the partitions of topics, a clock moved by hand."""

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

from tests.support.group_world import CountingRandomness
from tests.support.log_port import MemoryPort

from ottla.coordinator.group.coordinator import GroupCoordinator
from ottla.coordinator.group.settings import Caller, GroupSettings
from ottla.coordinator.share.coordinator import ShareCoordinator
from ottla.coordinator.share.group import ShareGroup
from ottla.coordinator.share.partition import SharePartition
from ottla.coordinator.share.records import ShareKey
from ottla.coordinator.share.shares import Shares
from ottla.metadata.image import ConfigResource, Image, PartitionImage, TopicImage
from ottla.model.ids import Uuid
from ottla.model.isolation import IsolationLevel, ResourceType
from ottla.testing.clock import ManualClock
from ottla.wire.generated.share_group_heartbeat import (
    ShareGroupHeartbeatRequest,
    ShareGroupHeartbeatResponse,
)

ONE = PartitionImage(1, 0, 0, (1,), (1,))
GROUP = "g"


def topic_id(name: str = "t") -> Uuid:
    return name.encode().ljust(16, b"_")


class Replica:
    """What a share partition looks at of a partition led here."""

    def __init__(self, name: str = "t", number: int = 0, end: int = 100) -> None:
        self.topic, self.topic_id, self.partition = name, topic_id(name), number
        self.leader_epoch = 0
        self.is_leader = True
        self.high_watermark = end
        self.log = SimpleNamespace(log_start_offset=0)
        self.watchers: dict[Any, None] = {}

    def readable_end(self, isolation: IsolationLevel) -> int:
        return self.high_watermark


class ShareWorld:
    """One broker's share groups; `beat` keeps each member's epoch.

    Every change is assigned at once, unless `settings` say otherwise.
    """

    def __init__(self, topics: dict[str, int] | None = None, **settings: str) -> None:
        self.clock = ManualClock()
        self.groups = GroupCoordinator(
            GroupSettings(), self.clock, ManualClock(), CountingRandomness(), partition_count=1
        )
        self.state = ShareCoordinator(self.clock, ManualClock(), partition_count=1)
        self.shares = Shares(self.groups, self.state, self.clock)
        self.group_port, self.state_port = MemoryPort(), MemoryPort()
        self.epochs: dict[str, int] = {}
        self.has: dict[str, dict[Uuid, list[int]]] = {}
        self.settings = {
            "share.assignment.interval.ms": "0",
            **{f"share.{name.replace('_', '.')}": value for name, value in settings.items()},
        }
        self.set_topics(topics or {"t": 2})

    def set_topics(self, topics: dict[str, int]) -> None:
        images = {
            name: TopicImage(name, topic_id(name), (ONE,) * count, {})
            for name, count in topics.items()
        }
        self.groups.surroundings.image = Image(
            topics=images,
            topic_names={image.topic_id: name for name, image in images.items()},
            configs={ConfigResource(ResourceType.GROUP, GROUP): self.settings},
        )
        self.groups.topics_changed({"t", "u", *topics})

    async def load(self) -> None:
        self.groups.load(0, self.group_port)
        self.state.load(0, self.state_port)
        await turns()

    async def restart(self) -> None:
        """Every shard is read from its log again."""
        for name in ("groups", "state"):
            getattr(self, name).unload(0)
        self.shares.partitions.close()
        await self.load()

    async def beat(
        self, member: str, *topics: str, epoch: int | None = None, **rest: Any
    ) -> ShareGroupHeartbeatResponse:
        """A heartbeat, with topics where the member joins or subscribes anew. Raises ApiError."""
        request = ShareGroupHeartbeatRequest(
            group_id=GROUP,
            member_id=member,
            member_epoch=self.epochs.get(member, 0) if epoch is None else epoch,
            subscribed_topic_names=list(topics) or None,
            **rest,
        )
        answer = await self.shares.groups.heartbeat(request, Caller(member, "/host", 1))
        self.epochs[member] = max(0, answer.member_epoch)
        if answer.assignment is not None:
            self.has[member] = {
                row.topic_id: list(row.partitions) for row in answer.assignment.topic_partitions
            }
        return answer

    @property
    def group(self) -> ShareGroup:
        group = self.shares.groups.group(GROUP)
        assert group is not None
        return group

    async def partition(self, replica: Replica) -> SharePartition:
        return await self.shares.partitions.get(GROUP, replica)  # type: ignore[arg-type]

    async def stored(self, number: int = 0) -> Any:
        return await self.state.summary(ShareKey(GROUP, topic_id(), number))

    def take(self, partition: SharePartition, member: str, last: int) -> list[tuple[int, int, int]]:
        """Acquire from where records are free up to `last`."""
        first = partition.state.next_fetch_offset()
        return partition.acquire(
            member, [(first, last)], first, max_records=500, batch_size=500, exactly=False
        )


async def turns(count: int = 20) -> None:
    """Let what was set going come to its end."""
    for _ in range(count):
        await asyncio.sleep(0)


def play(
    scenario: Callable[[ShareWorld], Coroutine[Any, Any, None]],
    topics: dict[str, int] | None = None,
    **settings: str,
) -> None:
    async def run() -> None:
        world = ShareWorld(topics, **settings)
        await world.load()
        await scenario(world)

    asyncio.run(run())
