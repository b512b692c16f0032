"""The group coordinator's place in the broker: which partitions it loads, and their logs as it sees them."""

from ottla.broker.system import System
from ottla.config.broker_config import BrokerConfig
from ottla.coordinator.group.coordinator import GroupCoordinator
from ottla.coordinator.group.settings import GroupSettings
from ottla.metadata.changes import Delta
from ottla.metadata.image import Image
from ottla.model.clock import Clock
from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import LeaderEpoch, Offset
from ottla.model.names import CONSUMER_OFFSETS
from ottla.model.parts import Buffer
from ottla.record.batch import read_header
from ottla.replica.partition import Partition
from ottla.replica.replicas import Replicas
from ottla.replica.waiting import Committed


def _taken_from(config: BrokerConfig) -> dict[str, int]:
    return {name: getattr(config, name) for name in GroupSettings.__dataclass_fields__}


class PartitionPort:
    """A partition of an internal topic, as a coordinator writes and reads it."""

    __slots__ = ("_clock", "_partition", "leader_epoch")

    def __init__(self, partition: Partition, clock: Clock) -> None:
        self._partition = partition
        self._clock = clock
        self.leader_epoch: LeaderEpoch = partition.leader_epoch

    @property
    def log_start_offset(self) -> Offset:
        return self._partition.log.log_start_offset

    @property
    def high_watermark(self) -> Offset:
        return self._partition.high_watermark

    def append(self, batch: bytes) -> Offset:
        partition = self._partition
        if partition.leader_epoch != self.leader_epoch:
            raise ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if partition.is_under_min_isr:
            raise ApiError(ErrorCode.NOT_ENOUGH_REPLICAS)
        most = partition.rules.max_message_bytes
        if len(batch) > most:
            raise ApiError(
                ErrorCode.RECORD_LIST_TOO_LARGE, f"{len(batch)} bytes are more than {most}"
            )
        header = read_header(batch)
        # Transactional ones have no sequences, which a client's batch must have.
        append = partition.append if header.producer_id < 0 else partition.append_of_coordinator
        result = append(memoryview(bytearray(batch)), header, self._clock.now_ms())
        return result.last_offset + 1

    def when_committed(self, offset: Offset, callback: Committed) -> None:
        self._partition.when_committed(offset, callback)

    def read(self, offset: Offset, max_bytes: int) -> Buffer:
        log = self._partition.log
        if offset >= log.log_end_offset:
            return b""
        result = log.read(offset, max_bytes)
        if result.cold is None:
            return result.records
        try:
            return result.cold.run()[0]
        except StorageError as error:
            log.read_failed(error)  # the shard cannot be loaded: somebody else must lead it
            raise
        finally:
            result.cold.release()


class Groups(GroupCoordinator):
    """The coordinator, following the image and the settings."""

    def __init__(self, config: BrokerConfig, system: System, replicas: Replicas) -> None:
        super().__init__(
            GroupSettings(**_taken_from(config)),
            system.steady_clock,
            system.transport_clock,
            system.randomness,
            partition_count=config.offsets_topic_num_partitions,
        )
        self.surroundings.config = config
        self._replicas = replicas
        self._clock = system.clock

    def configure(self, config: BrokerConfig) -> None:
        """Take over changed settings; they count from the next decision on."""
        for name, value in _taken_from(config).items():
            setattr(self.settings, name, value)
        self.surroundings.config = config

    def follow(self, image: Image, delta: Delta) -> None:
        """Load and unload with the leadership of the topic's partitions; forget deleted topics."""
        self.surroundings.image = image
        if delta.topics:
            self.topics_changed(delta.topics)
        gone = [name for name in delta.topics if name not in image.topics]
        if gone:
            self.topics_deleted(gone)
        if CONSUMER_OFFSETS not in delta.topics:
            return
        topic = image.topics.get(CONSUMER_OFFSETS)
        if topic is not None:
            self.set_partition_count(len(topic.partitions))
        led = {
            partition.partition: partition
            for partition in self._replicas.of_topic(CONSUMER_OFFSETS)
            if partition.is_leader
        }
        for number in self._runtime.partitions():
            if number not in led:
                self.unload(number)
        for number, partition in led.items():
            self.load(number, PartitionPort(partition, self._clock))
