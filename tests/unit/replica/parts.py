"""Building blocks of the replica tests: a partition over a log in memory, and who watches it."""

from collections.abc import Callable

from tests.unit.storage.parts import batch, make_log

from ottla.metadata.image import PartitionImage
from ottla.model.errors import ApiError, ErrorCode
from ottla.record.batch import read_header
from ottla.record.validate import ProduceRules
from ottla.replica.partition import Partition
from ottla.storage.log import AppendResult
from ottla.storage.log_config import LogConfig
from ottla.storage.memory_disk import MemoryDisk

TOPIC_ID = b"t" * 16
FLUSHED = LogConfig(flush_messages=1)


def alone(leader_epoch: int) -> PartitionImage:
    """A partition whose only replica leads."""
    return PartitionImage(1, leader_epoch, 0, (1,), (1,))


def among(
    leader_epoch: int,
    *,
    leader: int = 1,
    replicas: tuple[int, ...] = (1, 2, 3),
    isr: tuple[int, ...] | None = None,
    partition_epoch: int = 0,
) -> PartitionImage:
    """A partition with more replicas."""
    members = replicas if isr is None else isr
    return PartitionImage(leader, leader_epoch, partition_epoch, replicas, members)


class Watching:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def advanced(self, partition: Partition, size: int) -> None:
        self.heard.append(f"advanced to {partition.high_watermark} by {size}")

    def start_moved(self, partition: Partition) -> None:
        self.heard.append(f"starts at {partition.log.log_start_offset}")

    def changed(self, partition: Partition) -> None:
        self.heard.append(f"changed in epoch {partition.leader_epoch}")


class Told:
    """A callback that writes down what it was told."""

    def __init__(self) -> None:
        self.outcomes: list[ErrorCode | None] = []

    def __call__(self, error: ApiError | None) -> None:
        self.outcomes.append(None if error is None else error.code)


def make_partition(
    config: LogConfig | None = None,
    *,
    disk: MemoryDisk | None = None,
    request_flush: Callable[[Partition], None] = lambda partition: None,
    leads: bool = True,
) -> Partition:
    partition = Partition(
        "t",
        0,
        TOPIC_ID,
        make_log(disk, config),
        rules=ProduceRules(),
        request_flush=request_flush,
    )
    if leads:
        partition.become_leader(alone(0))
    return partition


def append(partition: Partition, count: int = 1) -> AppendResult:
    data = batch(count)
    return partition.append(memoryview(data), read_header(data), 0)


def follower_of(
    leader_epoch: int,
    config: LogConfig | None = None,
    *,
    request_flush: Callable[[Partition], None] = lambda partition: None,
) -> Partition:
    partition = make_partition(config, request_flush=request_flush, leads=False)
    partition.become_follower(among(leader_epoch, leader=2))
    return partition
