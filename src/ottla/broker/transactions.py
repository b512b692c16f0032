"""The transaction coordinator's place in the broker: its partitions, and markers into local logs."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from ottla.broker.groups import Groups, PartitionPort
from ottla.broker.system import System
from ottla.config.broker_config import BrokerConfig
from ottla.coordinator.transaction.coordinator import TransactionCoordinator
from ottla.coordinator.transaction.settings import TransactionSettings
from ottla.coordinator.transaction.state import Transaction
from ottla.metadata.changes import Delta
from ottla.metadata.image import Image
from ottla.model.clock import Clock
from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import LeaderEpoch, ProducerEpoch, ProducerId, TopicPartition
from ottla.model.names import CONSUMER_OFFSETS, TRANSACTION_STATE
from ottla.record.control import EndTxnMarker
from ottla.replica.partition import Partition
from ottla.replica.replicas import Replicas
from ottla.replica.waiting import Committed

log = logging.getLogger("ottla.transactions")


def _taken_from(config: BrokerConfig) -> dict[str, int]:
    return {name: getattr(config, name) for name in TransactionSettings.__dataclass_fields__}


MARKERS_A_TURN = 64
"""Written in one turn of the loop, of however many transactions; the others in the turns after."""

TURN_MS = 2
"""By a clock of whole milliseconds: a turn has fewer markers where they take long, as a log's first."""


class LocalMarkers:
    """Writes markers into the partitions led here; the group coordinator hears of its own."""

    def __init__(
        self, replicas: Replicas, groups: Groups, clock: Clock, transport_clock: Clock
    ) -> None:
        self._replicas = replicas
        self._groups = groups
        self._clock = clock
        self._transport_clock = transport_clock
        self._unwritten: deque[tuple[TopicPartition, Ending]] = deque()
        self._left = MARKERS_A_TURN
        self._next_turn: asyncio.Handle | None = None
        self.image: Image | None = None

    def write(
        self,
        prepared: Transaction,
        coordinator_epoch: LeaderEpoch,
        written: Callable[[bool], None],
    ) -> None:
        ending = Ending(prepared, EndTxnMarker(prepared.commits, coordinator_epoch), written)
        ending.count += len(prepared.partitions)
        self._unwritten.extend((name, ending) for name in sorted(prepared.partitions))
        self._write_some()
        ending.committed(None)

    def _write_some(self) -> None:
        """Write as many as this turn may have, and the rest from the next on."""
        until_ms = self._transport_clock.now_ms() + TURN_MS
        while self._unwritten and self._left:
            self._left -= 1
            self._write_for(*self._unwritten.popleft())
            if self._transport_clock.now_ms() >= until_ms:
                self._left = 0
        if self._next_turn is None:
            self._next_turn = asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._next_turn = None
        self._left = MARKERS_A_TURN
        if self._unwritten:
            self._write_some()

    def _write_for(self, name: TopicPartition, ending: "Ending") -> None:
        if self._is_gone(name):
            ending.committed(None)
            return
        prepared = ending.prepared
        try:
            self.write_one(
                name,
                prepared.producer_id,
                prepared.producer_epoch,
                ending.marker,
                prepared.version,
                ending.committed,
            )
        except (ApiError, StorageError) as error:
            log.warning("%s has no marker of %s: %s", name, prepared.transactional_id, error)
            ending.committed(ApiError(ErrorCode.KAFKA_STORAGE_ERROR))

    def close(self) -> None:
        """Write no more: what is left is written after the next start."""
        self._unwritten.clear()
        if self._next_turn is not None:
            self._next_turn.cancel()

    def _is_gone(self, name: TopicPartition) -> bool:
        topic = None if self.image is None else self.image.topics.get(name.topic)
        return topic is None or name.partition >= len(topic.partitions)

    def write_one(
        self,
        name: TopicPartition,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        marker: EndTxnMarker,
        transaction_version: int,
        committed: Committed,
    ) -> None:
        """Append a marker.

        Raises:
            ApiError, StorageError: nothing was appended.
        """
        partition: Partition | None = self._replicas.find_by_name(name.topic, name.partition)
        if partition is None:
            raise ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        end = partition.append_marker(
            producer_id, producer_epoch, marker, transaction_version, self._clock.now_ms()
        )
        if name.topic == CONSUMER_OFFSETS:
            self._groups.marked(name.partition, producer_id, marker.committed, end)
        partition.when_committed(end, committed)


class Ending:
    """A transaction on its way to its partitions: how many markers are not committed yet.

    The turn in which it begins counts as one, so that nobody hears of the end before it is over.
    """

    def __init__(
        self, prepared: Transaction, marker: EndTxnMarker, written: Callable[[bool], None]
    ) -> None:
        self.prepared = prepared
        self.marker = marker
        self.count = 1
        self._written = written
        self._all = True

    def committed(self, error: ApiError | None) -> None:
        self._all = self._all and error is None
        self.count -= 1
        if not self.count:
            self._written(self._all)


class Transactions(TransactionCoordinator):
    """The coordinator, following the image and the settings."""

    def __init__(
        self,
        config: BrokerConfig,
        system: System,
        replicas: Replicas,
        groups: Groups,
        next_producer_id: Callable[[], Awaitable[ProducerId]],
    ) -> None:
        self.local_markers = LocalMarkers(replicas, groups, system.clock, system.transport_clock)
        super().__init__(
            TransactionSettings(**_taken_from(config)),  # type: ignore[arg-type]
            system.clock,
            system.transport_clock,
            self.local_markers,
            next_producer_id,
            partition_count=config.transaction_state_log_num_partitions,
        )
        self._replicas = replicas
        self._clock = system.clock

    def configure(self, config: BrokerConfig) -> None:
        """Take over changed settings; they count from the next decision on."""
        for name, value in _taken_from(config).items():
            setattr(self.settings, name, value)

    def close(self) -> None:
        """Stop; markers not written by now are written after the next start."""
        super().close()
        self.local_markers.close()

    def follow(self, image: Image, delta: Delta) -> None:
        """Load and unload with the leadership of the topic's partitions."""
        self.local_markers.image = image
        if TRANSACTION_STATE not in delta.topics:
            return
        topic = image.topics.get(TRANSACTION_STATE)
        if topic is not None:
            self.set_partition_count(len(topic.partitions))
        led = {
            partition.partition: partition
            for partition in self._replicas.of_topic(TRANSACTION_STATE)
            if partition.is_leader
        }
        for number in self._runtime.partitions():
            if number not in led:
                self.unload(number)
        for number, partition in led.items():
            self.load(number, PartitionPort(partition, self._clock))
