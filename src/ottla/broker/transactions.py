"""The transaction coordinator's place in the broker: its partitions, and its markers' way to logs."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

from ottla.broker.groups import Groups, PartitionPort
from ottla.broker.remote_markers import RemoteMarker, RemoteMarkers
from ottla.broker.system import System
from ottla.config.broker_config import BrokerConfig
from ottla.coordinator.transaction.coordinator import TransactionCoordinator
from ottla.coordinator.transaction.markers import Written
from ottla.coordinator.transaction.settings import TransactionSettings
from ottla.coordinator.transaction.state import Transaction
from ottla.metadata.changes import Delta
from ottla.metadata.image import Image
from ottla.model.clock import Clock
from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import (
    NO_BROKER,
    BrokerId,
    LeaderEpoch,
    ProducerEpoch,
    ProducerId,
    TopicPartition,
)
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
    """Writes markers into the partitions led here; the group coordinator hears of its own.

    Those of partitions led elsewhere it gives to `remote`, in a cluster.
    """

    def __init__(
        self,
        replicas: Replicas,
        groups: Groups,
        clock: Clock,
        transport_clock: Clock,
        remote: RemoteMarkers | None = None,
        is_coordinated: Callable[[str, LeaderEpoch], bool] = lambda transactional_id, epoch: True,
        marked: Callable[[TopicPartition, ProducerId], None] = lambda name, producer_id: None,
        image: Callable[[], Image] = Image,
    ) -> None:
        """`is_coordinated` says whether an id is coordinated here still, and in that epoch.

        `marked` hears of every marker that is appended here; `image` is the newest, newer
        perhaps than what the parts of the broker have followed.
        """
        self._replicas = replicas
        self._groups = groups
        self._clock = clock
        self._transport_clock = transport_clock
        self._remote = remote
        self._is_coordinated = is_coordinated
        self._marked = marked
        self._image = image
        self._unwritten: deque[tuple[TopicPartition, Ending]] = deque()
        self._left = MARKERS_A_TURN
        self._unfinished: dict[str, Ending] = {}
        self._next_turn: asyncio.Handle | None = None

    def write(
        self,
        prepared: Transaction,
        coordinator_epoch: LeaderEpoch,
        written: Callable[[Written], None],
    ) -> None:
        ending = Ending(prepared, EndTxnMarker(prepared.commits, coordinator_epoch), written)
        before = self._unfinished.pop(prepared.transactional_id, None)
        if before is not None and (before.prepared, before.marker) == (prepared, ending.marker):
            # While one partition has no leader the others get no second marker each time.
            ending.have, ending.fenced = before.have, before.fenced
        unwritten = sorted(prepared.partitions - ending.have - ending.fenced)
        ending.count += len(unwritten)
        ending.unfinished = self._unfinished
        self._unwritten.extend((name, ending) for name in unwritten)
        self._write_some()
        ending.over()

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
        committed = partial(ending.committed, name)
        prepared = ending.prepared
        try:
            if not self._is_coordinated(prepared.transactional_id, ending.marker.coordinator_epoch):
                committed(ApiError(ErrorCode.NOT_COORDINATOR))
                return
            if self._is_gone(name):
                committed(None)
                return
            leader = NO_BROKER if self._remote is None else self._leader_elsewhere(name)
            if self._remote is not None and leader != NO_BROKER:
                self._remote.write(leader, self._sent(name, ending, committed))
                return
            self.write_one(
                name,
                prepared.producer_id,
                prepared.producer_epoch,
                ending.marker,
                prepared.version,
                committed,
            )
        except (ApiError, StorageError) as error:
            log.warning("%s has no marker of %s: %s", name, prepared.transactional_id, error)
            code = error.code if isinstance(error, ApiError) else ErrorCode.KAFKA_STORAGE_ERROR
            committed(ApiError(code))
        except AssertionError:
            raise  # the broker stops
        except Exception as error:
            log.exception("%s has no marker of %s", name, prepared.transactional_id)
            committed(ApiError(ErrorCode.UNKNOWN_SERVER_ERROR, str(error)))

    def _leader_elsewhere(self, name: TopicPartition) -> BrokerId:
        """Which other broker leads; none where this one does, or nobody."""
        partition = self._replicas.find_by_name(name.topic, name.partition)
        if partition is not None and partition.is_leader:
            return NO_BROKER
        return self._image().topics[name.topic].partitions[name.partition].leader

    def _sent(self, name: TopicPartition, ending: "Ending", committed: Committed) -> RemoteMarker:
        prepared, marker = ending.prepared, ending.marker
        return RemoteMarker(
            name,
            prepared.producer_id,
            prepared.producer_epoch,
            marker,
            prepared.version,
            lambda: self._is_coordinated(prepared.transactional_id, marker.coordinator_epoch),
            committed,
        )

    def forget(self) -> None:
        """Who coordinates again has every marker written anew; others' are not sent any more."""
        self._unfinished.clear()
        if self._remote is not None:
            self._remote.drop_unwanted()

    def missing_in(self, image: Image, delta: Delta) -> list[str]:
        """Ids whose markers are not written, and may be now: in what was changed somebody leads."""
        return [
            transactional_id
            for transactional_id, ending in self._unfinished.items()
            if any(
                name.topic in delta.topics
                and (
                    self._is_gone(name)
                    or image.topics[name.topic].partitions[name.partition].leader != NO_BROKER
                )
                for name in ending.prepared.partitions - ending.have - ending.fenced
            )
        ]

    def close(self) -> None:
        """Write no more: what is left is written after the next start."""
        if self._remote is not None:
            self._remote.close()
        self._unwritten.clear()
        if self._next_turn is not None:
            self._next_turn.cancel()

    def _is_gone(self, name: TopicPartition) -> bool:
        topic = self._image().topics.get(name.topic)
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
        self._marked(name, producer_id)
        if name.topic == CONSUMER_OFFSETS:
            self._groups.marked(name.partition, producer_id, marker.committed, end)
        partition.when_committed(end, committed)


class Ending:
    """A transaction on its way to its partitions: how many markers are not committed yet.

    The turn in which it begins counts as one, so that nobody hears of the end before it is over.
    """

    def __init__(
        self, prepared: Transaction, marker: EndTxnMarker, written: Callable[[Written], None]
    ) -> None:
        self.prepared = prepared
        self.marker = marker
        self.count = 1
        self.have: set[TopicPartition] = set()
        self.fenced: set[TopicPartition] = set()
        """Where somebody went on already who came after us: no marker of ours is taken there."""
        self.unfinished: dict[str, Ending] = {}
        self._written = written

    def committed(self, name: TopicPartition, error: ApiError | None) -> None:
        if error is None:
            self.have.add(name)
        elif error.code in FENCED:
            self.fenced.add(name)
        self.over()

    def over(self) -> None:
        self.count -= 1
        if self.count:
            return
        if not self.prepared.partitions <= self.have | self.fenced:
            self.unfinished[self.prepared.transactional_id] = self
            self._written(Written.NOT_ALL)
        elif self.prepared.partitions <= self.have:
            self._written(Written.ALL)
        else:
            log.warning(
                "%s: %s take no marker of coordinator epoch %d, producer epoch %d; none is sent again",
                self.prepared.transactional_id,
                ", ".join(map(str, sorted(self.fenced))),
                self.marker.coordinator_epoch,
                self.prepared.producer_epoch,
            )
            self._written(Written.NEVER)


FENCED = (ErrorCode.TRANSACTION_COORDINATOR_FENCED, ErrorCode.INVALID_PRODUCER_EPOCH)


class Transactions(TransactionCoordinator):
    """The coordinator, following the image and the settings."""

    def __init__(
        self,
        config: BrokerConfig,
        system: System,
        replicas: Replicas,
        groups: Groups,
        next_producer_id: Callable[[], Awaitable[ProducerId]],
        image: Callable[[], Image],
        remote: RemoteMarkers | None = None,
        marked: Callable[[TopicPartition, ProducerId], None] = lambda name, producer_id: None,
    ) -> None:
        """`remote` takes markers to the other brokers of a cluster.

        `marked` hears of every marker that is appended here; `image` is the newest.
        """
        self.local_markers = LocalMarkers(
            replicas,
            groups,
            system.clock,
            system.transport_clock,
            remote,
            self.is_coordinated,
            marked,
            image,
        )
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
        for transactional_id in self.local_markers.missing_in(image, delta):
            self.markers_again(transactional_id)
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
        left = [number for number in self._runtime.partitions() if number not in led]
        for number in left:
            self.unload(number)
        if left:
            self.local_markers.forget()
        for number, partition in led.items():
            self.load(number, PartitionPort(partition, self._clock))
