"""The state of share partitions in a cluster: with whoever leads its partition of the state topic.

While nobody leads it, or whoever does is still loading, or does not answer, the same is asked
again, of whoever leads it by then, with a growing back-off. To ask twice harms nobody: a write
says how records are, and not what changed; who was replaced is fenced by its epochs. What one
broker asks about one share partition is asked in order, so that none is overtaken by an older one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from ottla.broker.remote_share_state import (
    DELETE,
    INITIALIZE,
    READ,
    SUMMARY,
    WRITE,
    Kind,
    RemoteShareState,
)
from ottla.coordinator.share.coordinator import ShareCoordinator
from ottla.coordinator.share.records import ShareKey, Snapshot
from ottla.coordinator.share.runs import StateBatch
from ottla.coordinator.share.shard import UNINITIALIZED
from ottla.metadata.image import Image
from ottla.model.clock import Clock
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import NO_BROKER, BrokerId, LeaderEpoch, Offset
from ottla.model.names import SHARE_GROUP_STATE
from ottla.wire.generated import (
    delete_share_group_state,
    initialize_share_group_state,
    read_share_group_state,
    read_share_group_state_summary,
    write_share_group_state,
)

T = TypeVar("T")

FIRST_PAUSE_MS = 50
LONGEST_PAUSE_MS = 1_000
PATIENCE_MS = 15_000
"""How long the same is asked again: half of what clients wait for an answer."""

_AGAIN = (
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
)


class ClusterPersister:
    """Implements `Persister`: by `local` where this broker leads, else by `remote`."""

    def __init__(
        self,
        broker_id: BrokerId,
        local: ShareCoordinator,
        remote: RemoteShareState,
        image: Callable[[], Image],
        clock: Clock,
    ) -> None:
        """`clock` is the transport clock."""
        self._broker_id = broker_id
        self._local = local
        self._remote = remote
        self._image = image
        self._clock = clock
        self._turns: dict[ShareKey, tuple[asyncio.Lock, int]] = {}
        self._closed = False

    def close(self) -> None:
        """Ask nobody any more."""
        self._closed = True
        self._remote.close()

    async def initialize(self, key: ShareKey, state_epoch: int, start_offset: Offset) -> None:
        row = initialize_share_group_state.PartitionData(
            partition=key.partition, state_epoch=state_epoch, start_offset=start_offset
        )
        await self._ask(
            INITIALIZE, key, row, lambda: self._local.initialize(key, state_epoch, start_offset)
        )

    async def read(self, key: ShareKey, leader_epoch: LeaderEpoch) -> Snapshot:
        row = read_share_group_state.PartitionData(
            partition=key.partition, leader_epoch=leader_epoch
        )
        found: Any = await self._ask(READ, key, row, lambda: self._local.read(key, leader_epoch))
        if isinstance(found, Snapshot):
            return found
        batches = tuple(
            StateBatch(one.first_offset, one.last_offset, one.delivery_state, one.delivery_count)
            for one in found.state_batches
        )
        return Snapshot(
            0, found.state_epoch, leader_epoch, found.start_offset, UNINITIALIZED, 0, 0, batches
        )

    async def write(
        self,
        key: ShareKey,
        state_epoch: int,
        leader_epoch: LeaderEpoch,
        start_offset: Offset,
        complete_count: int,
        batches: Sequence[StateBatch],
    ) -> None:
        row = write_share_group_state.PartitionData(
            partition=key.partition,
            state_epoch=state_epoch,
            leader_epoch=leader_epoch,
            start_offset=start_offset,
            delivery_complete_count=complete_count,
            state_batches=[write_share_group_state.StateBatch(**one._asdict()) for one in batches],
        )

        def here() -> Coroutine[Any, Any, None]:
            return self._local.write(
                key, state_epoch, leader_epoch, start_offset, complete_count, batches
            )

        await self._ask(WRITE, key, row, here)

    async def delete(self, key: ShareKey) -> None:
        row = delete_share_group_state.PartitionData(partition=key.partition)
        try:
            await self._ask(DELETE, key, row, lambda: self._local.delete(key))
        except ApiError as error:
            if error.code is not ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                raise  # else the topic is gone, and what was stored of it too

    async def summary(self, key: ShareKey) -> Snapshot | None:
        row = read_share_group_state_summary.PartitionData(partition=key.partition)
        found: Any = await self._ask(SUMMARY, key, row, lambda: self._local.summary(key))
        if found is None or isinstance(found, Snapshot):
            return found
        return Snapshot(
            0,
            found.state_epoch,
            found.leader_epoch,
            found.start_offset,
            found.delivery_complete_count,
            0,
            0,
            (),
        )

    async def _ask(
        self, kind: Kind, key: ShareKey, row: Any, here: Callable[[], Coroutine[Any, Any, Any]]
    ) -> Any:
        async with self._turn(key):
            until_ms = self._clock.now_ms() + PATIENCE_MS
            pause_ms = FIRST_PAUSE_MS
            while True:
                try:
                    return await self._ask_once(kind, key, row, here)
                except ApiError as error:
                    late = self._clock.now_ms() + pause_ms > until_ms
                    if error.code not in _AGAIN or late or self._closed:
                        raise
                await self._pause(pause_ms)
                pause_ms = min(2 * pause_ms, LONGEST_PAUSE_MS)

    async def _ask_once(
        self, kind: Kind, key: ShareKey, row: Any, here: Callable[[], Coroutine[Any, Any, Any]]
    ) -> Any:
        if self._closed:
            raise ApiError(ErrorCode.COORDINATOR_NOT_AVAILABLE, "the broker stops")
        topic = self._image().topics.get(SHARE_GROUP_STATE)
        if topic is None:
            return await here()  # which says how that is told
        leader = topic.partitions[self._local.partition_for(key.text)].leader
        if leader == NO_BROKER:
            raise ApiError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
        if leader == self._broker_id:
            return await here()
        return await self._remote.ask(leader, kind, key, row)

    @asynccontextmanager
    async def _turn(self, key: ShareKey) -> AsyncIterator[None]:
        """One after the other, in the order in which they came."""
        lock, users = self._turns.get(key) or (asyncio.Lock(), 0)
        self._turns[key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            users = self._turns[key][1] - 1
            if users:
                self._turns[key] = lock, users
            else:
                del self._turns[key]

    async def _pause(self, time_ms: int) -> None:
        over = asyncio.Event()
        timer = self._clock.call_at(self._clock.now_ms() + time_ms, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()
