"""The share coordinator as others see it: the durable state of share partitions.

Share groups and share partitions speak to it by `ShareKey`; the handlers of
the state APIs, which another broker would use, do the same.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ottla.coordinator.outcome import LogPort
from ottla.coordinator.routing import partition_for
from ottla.coordinator.runtime import CoordinatorRuntime
from ottla.coordinator.share.records import ShareKey, Snapshot
from ottla.coordinator.share.runs import StateBatch
from ottla.coordinator.share.shard import ShareStateShard
from ottla.model.clock import Clock
from ottla.model.ids import LeaderEpoch, Offset, PartitionId, Uuid
from ottla.model.isolation import CompressionType
from ottla.model.names import SHARE_GROUP_STATE


class ShareCoordinator:
    """All share partitions whose partitions of `__share_group_state` this broker leads.

    Every request raises ApiError: the shard's own, or why it could not be asked.
    """

    def __init__(
        self,
        clock: Clock,
        transport_clock: Clock,
        *,
        partition_count: int = 50,
        updates_per_snapshot: int = 500,
        commit_timeout_ms: int = 5_000,
        compression: int = 0,
    ) -> None:
        self._runtime: CoordinatorRuntime[ShareStateShard] = CoordinatorRuntime(
            SHARE_GROUP_STATE,
            lambda partition: ShareStateShard(updates_per_snapshot),
            clock,
            transport_clock,
            partition_count=partition_count,
            commit_timeout_ms=commit_timeout_ms,
            compression=CompressionType(compression),
        )

    # Partitions

    def partition_for(self, key: str) -> PartitionId:
        """The partition of `__share_group_state` whose leader keeps "group:topic id:partition"."""
        return partition_for(key, self._runtime.partition_count)

    def set_partition_count(self, count: int) -> None:
        """How many partitions the topic really has; before any is loaded."""
        self._runtime.partition_count = count

    def load(self, partition: PartitionId, port: LogPort) -> None:
        self._runtime.load(partition, port)

    def unload(self, partition: PartitionId, leader_epoch: LeaderEpoch | None = None) -> None:
        self._runtime.unload(partition, leader_epoch)

    def partitions(self) -> list[PartitionId]:
        return self._runtime.partitions()

    def topics_deleted(self, topic_ids: Iterable[Uuid]) -> None:
        """Forget what was stored of topics that are gone."""
        gone = set(topic_ids)
        self._runtime.tell_all(lambda shard, now_ms: shard.topics_deleted(gone))

    def write_anew(self, interval_ms: int) -> None:
        """Have state that no longer changes written again, so that old records can go."""
        self._runtime.tell_all(lambda shard, now_ms: shard.written_anew(now_ms, interval_ms))

    def needed_from(self, partition: PartitionId) -> Offset | None:
        """The first record of a partition's log that is still needed; None while that is not known."""
        shard = self._runtime.peek(partition)
        return None if shard is None else shard.needed_from()

    def close(self) -> None:
        self._runtime.close()

    # Share partitions

    async def initialize(self, key: ShareKey, state_epoch: int, start_offset: Offset) -> None:
        """Begin anew; -1 as start lets the first consumer's leader find it."""
        await self._write(
            key,
            lambda shard, waiter, now_ms: shard.initialize(
                key, state_epoch, start_offset, waiter, now_ms
            ),
        )

    async def read(self, key: ShareKey, leader_epoch: LeaderEpoch) -> Snapshot:
        """The state; a leader of an older epoch cannot write from now on."""
        state: Snapshot = await self._write(
            key, lambda shard, waiter, now_ms: shard.read(key, leader_epoch, waiter, now_ms)
        )
        return state

    async def write(
        self,
        key: ShareKey,
        state_epoch: int,
        leader_epoch: LeaderEpoch,
        start_offset: Offset,
        complete_count: int,
        batches: Sequence[StateBatch],
    ) -> None:
        """Store a change."""

        def decide(shard: ShareStateShard, waiter: Any, now_ms: int) -> Any:
            return shard.write(
                key,
                state_epoch,
                leader_epoch,
                start_offset,
                complete_count,
                batches,
                waiter,
                now_ms,
            )

        await self._write(key, decide)

    async def delete(self, key: ShareKey) -> None:
        """Forget a share partition."""
        await self._write(key, lambda shard, waiter, now_ms: shard.delete(key, waiter))

    async def summary(self, key: ShareKey) -> Snapshot | None:
        """What is stored; None where nothing is."""
        return await self._runtime.read(
            self.partition_for(key.text), lambda shard: shard.summary(key)
        )

    async def _write(self, key: ShareKey, decide: Callable[..., Any]) -> Any:
        return await self._runtime.write(self.partition_for(key.text), decide)
