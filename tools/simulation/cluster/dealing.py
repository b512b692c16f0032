"""Members of a group that read: what was acknowledged to producers is dealt with at least once.

They come, stall, leave or die as the members of the world of groups do, but have a consumer: the
records they are given they deal with, and then say so. Whoever comes next begins at what was
committed; nothing may lie before it that nobody has dealt with.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tools.simulation.cluster.history import ClusterHistory
from tools.simulation.cluster.world import ClusterWorld
from tools.simulation.groups.members import CLASSIC, SESSION_S
from tools.simulation.history import Outcome
from tools.simulation.readers import RecordingConsumer, view_of
from tools.simulation.world import TOPIC

from ottla.client.cluster_view import ClusterView
from ottla.client.consumer_member import ConsumerMember
from ottla.client.group_member import GroupMember
from ottla.model.errors import ApiError, PeerError
from ottla.model.ids import Offset, TopicPartition

GROUP = "dealers"


class Dealt(NamedTuple):
    """A member dealt with a record."""

    life: str
    partition: int
    offset: int
    value: bytes


def undealt(history: ClusterHistory, dealt: Sequence[Dealt]) -> Iterator[str]:
    """G5: what was acknowledged is dealt with by a member, as it was produced, at least once."""
    values: dict[tuple[int, int], set[bytes]] = {}
    for each in dealt:
        values.setdefault((each.partition, each.offset), set()).add(each.value)
    for ack in history.produced:
        if ack.outcome is Outcome.OK and ack.base_offset >= 0:
            for index, value in enumerate(ack.values):
                place = ack.partition, ack.base_offset + index
                if values.get(place) != {value}:
                    yield (
                        f"{value!r} is acknowledged at {place[0]}@{place[1]} at {ack.end:.3f} s, "
                        f"members dealt with {sorted(values.get(place, ()))} there"
                    )


class Dealer:
    """One life of a member; with `targets` it lasts until all before those is committed."""

    def __init__(
        self,
        world: ClusterWorld,
        dealt: list[Dealt],
        name: str,
        host: str,
        protocol: str,
        *,
        targets: Callable[[], dict[int, int]] | None = None,
    ) -> None:
        self._world = world
        self._dealt = dealt
        self._name = name
        self._host = host
        self._protocol = protocol
        self._targets = targets
        self._chance = random.Random(f"{name} {world.seed}")
        self._polls = self._chance.randint(5, 60)
        self._stalls = 1

    async def run(self) -> None:
        while True:
            try:
                async with view_of(self._world, self._host) as view:  # type: ignore[arg-type]
                    await self._belong(view)
                return
            except (ApiError, PeerError):
                await asyncio.sleep(0.3)

    async def _belong(self, view: ClusterView) -> None:
        chance = self._chance
        async with self._member(view) as member:
            while not self._is_over(member.positions()):
                for batch in await member.poll(chance.choice((100, 400, 1_000))):
                    number = batch.partition.partition
                    self._dealt += [
                        Dealt(self._name, number, record.offset, bytes(record.value or b""))
                        for record in batch.records
                    ]
                    if self._targets is None and self._stalls and chance.random() < 0.05:
                        self._stalls -= 1
                        await asyncio.sleep(chance.choice((1.0, SESSION_S + 0.5, 15.0)))
                    member.read_up_to(batch.partition, batch.header.next_offset)

    def _is_over(self, positions: dict[TopicPartition, Offset]) -> bool:
        if self._targets is None:
            self._polls -= 1
            return self._polls < 0
        ends = self._targets()
        return len(positions) == len(ends) and all(
            offset >= ends[place.partition] for place, offset in positions.items()
        )

    def _member(self, view: ClusterView) -> GroupMember | ConsumerMember:
        async def first(partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
            return dict.fromkeys(partitions, 0)

        member: GroupMember | ConsumerMember
        if self._protocol == CLASSIC:
            member = GroupMember(
                view,
                GROUP,
                [TOPIC],
                first_offsets=first,
                session_timeout_ms=round(SESSION_S * 1000),
                rebalance_timeout_ms=3_000,
                heartbeat_ms=500,
                commit_ms=300,
            )
        else:
            member = ConsumerMember(
                view,
                GROUP,
                [TOPIC],
                first_offsets=first,
                rebalance_timeout_ms=3_000,
                commit_ms=300,
                new_id=lambda: self._chance.randbytes(16),
            )
        member._consumer = RecordingConsumer(
            self._world,  # type: ignore[arg-type]
            self._name,
            view,
        )
        return member
