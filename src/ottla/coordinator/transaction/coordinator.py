"""The transaction coordinator as handlers see it.

It finds the partition of a transactional id, asks its shard through the
runtime, hands out producer ids where a shard needs one, and has markers written
for what is prepared.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Any

from ottla.coordinator.outcome import LogPort, Outcome, Waiter
from ottla.coordinator.routing import partition_for
from ottla.coordinator.runtime import CoordinatorRuntime
from ottla.coordinator.transaction.markers import Committed, Markers, Written
from ottla.coordinator.transaction.settings import TransactionSettings
from ottla.coordinator.transaction.shard import (
    Producer,
    ProducerIdNeededError,
    TransactionShard,
)
from ottla.coordinator.transaction.state import Transaction
from ottla.model.clock import Clock
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import (
    LeaderEpoch,
    PartitionId,
    ProducerEpoch,
    ProducerId,
    TopicPartition,
)
from ottla.model.names import TRANSACTION_STATE
from ottla.record.control import EndTxnMarker

Decide = Callable[[TransactionShard, ProducerId | None, Waiter, int], Outcome[Any]]


class TransactionCoordinator:
    """All transactional ids whose partitions of `__transaction_state` this broker leads."""

    def __init__(
        self,
        settings: TransactionSettings,
        clock: Clock,
        transport_clock: Clock,
        markers: Markers,
        next_producer_id: Callable[[], Awaitable[ProducerId]],
        *,
        partition_count: int = 50,
    ) -> None:
        self.settings = settings
        self._markers = markers
        self._next_producer_id = next_producer_id
        self._epochs: dict[PartitionId, LeaderEpoch] = {}
        self._ending: dict[str, Transaction] = {}
        self._runtime: CoordinatorRuntime[TransactionShard] = CoordinatorRuntime(
            TRANSACTION_STATE,
            lambda partition: TransactionShard(settings, self._prepared),
            clock,
            transport_clock,
            partition_count=partition_count,
        )

    # Partitions

    def partition_for(self, transactional_id: str) -> PartitionId:
        """The partition of `__transaction_state` whose leader coordinates the id."""
        return partition_for(transactional_id, self._runtime.partition_count)

    def set_partition_count(self, count: int) -> None:
        """How many partitions `__transaction_state` really has; before any is loaded."""
        self._runtime.partition_count = count

    def load(self, partition: PartitionId, port: LogPort) -> None:
        """This broker leads the partition now, in `port.leader_epoch`."""
        self._epochs[partition] = port.leader_epoch
        self._runtime.load(partition, port)

    def unload(self, partition: PartitionId, leader_epoch: LeaderEpoch | None = None) -> None:
        """It leads it no more."""
        self._runtime.unload(partition, leader_epoch)

    def is_coordinated(self, transactional_id: str, leader_epoch: LeaderEpoch) -> bool:
        """Whether an id is coordinated here, in that epoch of its partition's leader."""
        partition = self.partition_for(transactional_id)
        return (
            self._epochs.get(partition) == leader_epoch
            and self._runtime.peek(partition) is not None
        )

    def close(self) -> None:
        """Stop; markers not written by now are written after the next start."""
        self._runtime.close()

    # Requests

    async def init_producer_id(
        self, transactional_id: str, timeout_ms: int, expected: Producer | None
    ) -> Producer:
        """Who the id's producer is from now on. Raises ApiError, as `TransactionShard.init`."""
        if not 0 < timeout_ms <= self.settings.transaction_max_timeout_ms:
            raise ApiError(ErrorCode.INVALID_TRANSACTION_TIMEOUT)
        producer: Producer = await self._write(
            transactional_id,
            lambda shard, fresh, waiter, now_ms: shard.init(
                transactional_id, timeout_ms, expected, fresh, waiter, now_ms
            ),
        )
        return producer

    async def add_partitions(
        self,
        transactional_id: str,
        producer: Producer,
        partitions: Collection[TopicPartition],
        version: int,
    ) -> None:
        """Take partitions into the producer's transaction. Raises ApiError."""
        await self._write(
            transactional_id,
            lambda shard, fresh, waiter, now_ms: shard.add(
                transactional_id, producer, partitions, version, waiter, now_ms
            ),
        )

    async def verify(
        self, transactional_id: str, producer: Producer, partition: TopicPartition
    ) -> None:
        """Raises ApiError unless the partition is part of the producer's open transaction."""
        await self._runtime.read(
            self.partition_for(transactional_id),
            lambda shard: shard.check(transactional_id, producer, partition),
        )

    def check_now(
        self, transactional_id: str, producer: Producer, partition: TopicPartition
    ) -> None:
        """`verify`, without waiting: for one who waited, right before the append."""
        shard = self._runtime.peek(self.partition_for(transactional_id))
        if shard is None:
            raise ApiError(ErrorCode.NOT_COORDINATOR)
        shard.check(transactional_id, producer, partition)

    async def end(
        self, transactional_id: str, producer: Producer, commit: bool, version: int
    ) -> Producer:
        """EndTxn; who the producer is from now on. Raises ApiError, as `TransactionShard.end`."""
        after: Producer = await self._write(
            transactional_id,
            lambda shard, fresh, waiter, now_ms: shard.end(
                transactional_id, producer, commit, version, fresh, waiter, now_ms
            ),
        )
        return after

    async def describe(self, transactional_id: str) -> Transaction:
        """What is known of an id. Raises ApiError: TRANSACTIONAL_ID_NOT_FOUND, or not here."""
        found = await self._runtime.read(
            self.partition_for(transactional_id),
            lambda shard: shard.transactions.get(transactional_id),
        )
        if found is None:
            raise ApiError(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND)
        return found

    async def list(self) -> list[Transaction]:
        """Everything known here. Raises ApiError: a shard is loading; one given up is left out."""
        found: list[Transaction] = []
        for partition in self._runtime.partitions():
            try:
                found += await self._runtime.read(
                    partition, lambda shard: list(shard.transactions.values())
                )
            except ApiError as error:
                if error.code is not ErrorCode.NOT_COORDINATOR:
                    raise
        return found

    async def _write(self, transactional_id: str, decide: Decide) -> Any:
        """Ask the shard; a second time, with a producer id, where it needs one."""
        partition = self.partition_for(transactional_id)
        fresh: ProducerId | None = None
        while True:
            try:
                return await self._runtime.write(
                    partition,
                    lambda shard, waiter, now_ms, fresh=fresh: decide(  # type: ignore[misc]
                        shard, fresh, waiter, now_ms
                    ),
                )
            except ProducerIdNeededError:
                fresh = await self._next_producer_id()

    # Markers

    def write_marker(
        self,
        partition: TopicPartition,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        marker: EndTxnMarker,
        transaction_version: int,
        committed: Committed,
    ) -> None:
        """WriteTxnMarkers, for a partition led here. Raises as `Markers.write_one`."""
        self._markers.write_one(
            partition, producer_id, producer_epoch, marker, transaction_version, committed
        )

    def markers_again(self, transactional_id: str) -> None:
        """Partitions of a prepared transaction may take their markers now: do not wait longer."""
        self._runtime.tell(
            self.partition_for(transactional_id),
            lambda shard, now_ms: shard.again(transactional_id, now_ms),
        )

    def _prepared(self, prepared: Transaction) -> None:
        """It is committed how a transaction ends: tell its partitions, unless that is under way."""
        transactional_id = prepared.transactional_id
        if transactional_id in self._ending:
            return
        self._ending[transactional_id] = prepared
        partition = self.partition_for(transactional_id)
        epoch = self._epochs[partition]

        def written(how: Written) -> None:
            del self._ending[transactional_id]
            if how is Written.ALL:
                self._runtime.tell(
                    partition, lambda shard, now_ms: shard.complete(prepared, now_ms)
                )
            elif self._epochs.get(partition) != epoch:
                # Loaded again meanwhile: what an older epoch was told says nothing of this one.
                self.markers_again(transactional_id)
            elif how is Written.NOT_ALL:
                self._runtime.tell(partition, lambda shard, now_ms: shard.put_off(prepared, now_ms))
            else:
                self._runtime.tell(partition, lambda shard, now_ms: shard.give_up(prepared))

        self._markers.write(prepared, epoch, written)
