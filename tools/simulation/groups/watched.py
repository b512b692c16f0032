"""The library's members and group client, watched: what they are told goes into the history."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tools.simulation.groups.history import GroupHistory, Held, Kept, Told
from tools.simulation.history import Outcome
from tools.simulation.world import World

from ottla.client.cluster_view import ClusterView
from ottla.client.consumer_member import ConsumerMember
from ottla.client.group_member import GroupMember
from ottla.client.groups import Committed, Groups
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import Offset, TopicPartition

UNSURE = frozenset(
    {
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.UNKNOWN_SERVER_ERROR,
    }
)
"""Refused, but it may have been written all the same."""


class Numbers:
    """Offsets to commit: each is given once."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        self._last += 1
        return self._last


class Idle:
    """In place of a consumer: it has positions, and nothing to read."""

    def __init__(self) -> None:
        self._positions: dict[TopicPartition, Offset] = {}

    def assign(self, positions: Mapping[TopicPartition, Offset]) -> None:
        self._positions = dict(positions)

    def drop(self, partitions: Sequence[TopicPartition]) -> None:
        for partition in partitions:
            self._positions.pop(partition, None)

    def positions(self) -> dict[TopicPartition, Offset]:
        return dict(self._positions)

    async def poll(self, timeout_ms: int) -> list[Any]:
        await asyncio.sleep(timeout_ms / 1000)
        return []

    async def close(self) -> None:
        pass


class WatchedGroups(Groups):
    """Every try at a commit is noted by itself, and every offset that is told."""

    def __init__(self, view: ClusterView, world: World, history: GroupHistory, who: str) -> None:
        super().__init__(view)
        self._world = world
        self._history = history
        self._who = who

    async def _commit(
        self,
        group: str,
        offsets: Mapping[TopicPartition, Offset],
        member_id: str,
        generation: int,
        instance_id: str | None,
    ) -> None:
        loop = self._world.loop
        start, outcome = loop.time(), Outcome.UNKNOWN
        try:
            await super()._commit(group, offsets, member_id, generation, instance_id)
            outcome = Outcome.OK
        except ApiError as error:
            if error.code not in UNSURE:
                outcome = Outcome.FAIL
            raise
        finally:
            for place, offset in offsets.items():
                kept = Kept(
                    member_id,
                    instance_id,
                    generation,
                    place.partition,
                    offset,
                    start,
                    loop.time(),
                    outcome,
                )
                if outcome is not Outcome.FAIL:
                    self._history.kept.append(kept)

    async def _committed(
        self, group: str, wanted: Sequence[TopicPartition] | None, stable: bool
    ) -> dict[TopicPartition, Committed]:
        start = self._world.loop.time()
        found = await super()._committed(group, wanted, stable)
        for place in wanted or ():
            offset = found[place].offset if place in found else -1
            end = self._world.loop.time()
            self._history.told.append(Told(self._who, place.partition, offset, start, end))
        return found


class Watch:
    """Where a member's own view is noted."""

    def __init__(self, world: World, history: GroupHistory, life: str) -> None:
        self.tenure = 0
        self.entry = 0
        self._loop = world.loop
        self._history = history
        self._life = life

    def note(
        self,
        member: tuple[str, str | None, int],
        partitions: Iterable[TopicPartition],
        start: float,
        had: Iterable[TopicPartition] = (),
    ) -> None:
        """`member`: its id, instance id and epoch."""
        numbers = frozenset(each.partition for each in partitions)
        before, now = frozenset(each.partition for each in had), self._loop.time()
        self._history.held.append(
            Held(self._life, self.tenure, *member, numbers, start, now, before, self.entry)
        )


class WatchedClassic(GroupMember):
    """Notes what SyncGroup gives, and that heartbeats are answered well."""

    watch: Watch

    async def _sync(self, plan: Any) -> Sequence[TopicPartition]:
        start = asyncio.get_running_loop().time()
        mine = await super()._sync(plan)
        self.watch.tenure += 1
        self.watch.note(self._me(), mine, start)
        return mine

    async def _heartbeat(self) -> None:
        start = asyncio.get_running_loop().time()
        await super()._heartbeat()
        self.watch.note(self._me(), self.positions(), start)

    def _me(self) -> tuple[str, str | None, int]:
        return self._member_id, self._instance_id, self._generation


class WatchedNewer(ConsumerMember):
    """Notes what each heartbeat's answer leaves it with."""

    watch: Watch

    async def _heartbeat(self) -> None:
        start = asyncio.get_running_loop().time()
        joins, had = self._epoch == 0, tuple(self._read)
        await super()._heartbeat()
        if joins:
            self.watch.tenure += 1
            self.watch.entry += 1
        has = self._read.keys() if self._target is None else self._target
        self.watch.note((self._member_id, self._instance_id, self._epoch), has, start, had)
