"""Share groups' place in the broker: which partitions of their state topic are led here."""

from collections.abc import Callable

from ottla.broker.groups import Groups, PartitionPort
from ottla.broker.remote_share_state import RemoteShareState
from ottla.broker.share_persister import ClusterPersister
from ottla.broker.system import System
from ottla.config.broker_config import BrokerConfig
from ottla.coordinator.share.coordinator import ShareCoordinator
from ottla.coordinator.share.shares import Shares
from ottla.metadata.changes import Delta
from ottla.metadata.image import Image
from ottla.model.errors import ApiError, StorageError
from ottla.model.names import SHARE_GROUP_STATE
from ottla.replica.partition import Partition
from ottla.replica.replicas import Replicas

ANSWERS_IN = 2
"""Times the time in which state must be written."""


def _number(config: BrokerConfig, name: str) -> int:
    value = config.values[name]
    assert isinstance(value, int), name
    return value


class BrokerShares(Shares):
    """Share groups, following the image."""

    def __init__(
        self,
        config: BrokerConfig,
        system: System,
        replicas: Replicas,
        groups: Groups,
        remote: Callable[[Callable[[], int]], RemoteShareState] | None,
        image: Callable[[], Image],
    ) -> None:
        """`remote` makes the way to other brokers, where there are any, with a time limit in ms."""
        write_timeout_ms = _number(config, "share.coordinator.write.timeout.ms")
        state = ShareCoordinator(
            system.steady_clock,
            system.transport_clock,
            partition_count=_number(config, "share.coordinator.state.topic.num.partitions"),
            updates_per_snapshot=_number(
                config, "share.coordinator.snapshot.update.records.per.snapshot"
            ),
            commit_timeout_ms=write_timeout_ms,
            compression=_number(config, "share.coordinator.state.topic.compression.codec"),
        )
        self._way: ClusterPersister | None = None
        if remote is not None:
            # The other broker gives up first, and says so.
            asked = remote(lambda: ANSWERS_IN * write_timeout_ms)
            self._way = ClusterPersister(
                config.node_id, state, asked, image, system.transport_clock
            )
        super().__init__(groups, state, system.steady_clock, self._way)
        self._config = config
        self._replicas = replicas
        self._clock = system.clock
        self._topic_ids: dict[str, bytes] = {}

    def follow(self, image: Image, delta: Delta) -> None:
        """Load and unload with the leadership of the state topic; forget topics that are gone."""
        gone = set()
        for name in delta.topics:
            topic = image.topics.get(name)
            before = self._topic_ids.pop(name, None)
            if topic is not None:
                self._topic_ids[name] = topic.topic_id
            if before is not None and (topic is None or topic.topic_id != before):
                gone.add(before)
        if gone:
            self.state.topics_deleted(gone)
        if SHARE_GROUP_STATE not in delta.topics:
            return
        topic = image.topics.get(SHARE_GROUP_STATE)
        if topic is not None:
            self.state.set_partition_count(len(topic.partitions))
        led = self._led()
        for number in self.state.partitions():
            if number not in led:
                self.state.unload(number)
        for number, partition in led.items():
            self.state.load(number, PartitionPort(partition, self._clock))

    def _led(self) -> dict[int, Partition]:
        return {
            partition.partition: partition
            for partition in self._replicas.of_topic(SHARE_GROUP_STATE)
            if partition.is_leader
        }

    # Upkeep

    def prune_interval_ms(self) -> int:
        return _number(self._config, "share.coordinator.state.topic.prune.interval.ms")

    def prune(self) -> None:
        """Delete what no snapshot in use needs any more."""
        for number, partition in self._led().items():
            needed = self.state.needed_from(number)
            if needed is not None and partition.log.log_start_offset < needed:
                try:
                    partition.advance_log_start(min(needed, partition.high_watermark))
                except (ApiError, StorageError):
                    continue  # the directory's failure is told elsewhere

    def snapshot_interval_ms(self) -> int:
        return _number(self._config, "share.coordinator.cold.partition.snapshot.interval.ms")

    def write_anew(self) -> None:
        """Write state that no longer changes again, so that `prune` gets on."""
        self.state.write_anew(self.snapshot_interval_ms())

    def close(self) -> None:
        self.partitions.close()
        if self._way is not None:
            self._way.close()
        self.state.close()
