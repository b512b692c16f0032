"""Building blocks of the storage tests: a log on a memory disk, and batches for it."""

from collections.abc import Sequence

from ottla.model.ids import TopicPartition, Uuid
from ottla.record.batch import BatchHeader, read_header
from ottla.record.builder import build_batch
from ottla.record.records import Record, read_records
from ottla.storage.directory import LogDirectory
from ottla.storage.disk import Disk
from ottla.storage.handles import Handles
from ottla.storage.log import AppendResult, Log, LogSummary
from ottla.storage.log_config import LogConfig
from ottla.storage.memory_disk import MemoryDisk

ROOT = "/data"
PARTITION = TopicPartition("t", 0)


class CountingRandomness:
    """Predictable."""

    def __init__(self) -> None:
        self.count = 0

    def uuid(self) -> Uuid:
        self.count += 1
        return self.count.to_bytes(16, "big")

    def below(self, bound: int, /) -> int:
        self.count += 1
        return self.count % bound


def batch(
    count: int = 1,
    *,
    timestamp: int = 1000,
    value: bytes = b"value",
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    transactional: bool = False,
) -> bytearray:
    """A batch of `count` records, each a millisecond after the one before."""
    records = [
        Record(timestamp=timestamp + at, key=str(at).encode(), value=value) for at in range(count)
    ]
    return bytearray(
        build_batch(
            records,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            base_sequence=base_sequence,
            transactional=transactional,
        )
    )


def make_log(
    disk: Disk | None = None,
    config: LogConfig | None = None,
    *,
    summary: LogSummary | None = None,
    now_ms: int = 0,
) -> Log:
    disk = disk or MemoryDisk()
    directory = LogDirectory(ROOT, disk, Handles(disk))
    disk.make_directories(f"{ROOT}/t-0")
    return Log(
        PARTITION, bytes(16), directory, config or LogConfig(), now_ms=now_ms, summary=summary
    )


def append(log: Log, data: bytearray, *, epoch: int = 0, now_ms: int = 0) -> AppendResult:
    return log.append(data, read_header(data), epoch, now_ms)


def values(log: Log, start: int | None = None) -> list[tuple[int, bytes | None]]:
    """Return (offset, value) of every record from `start` on, read from the log."""
    offset = log.log_start_offset if start is None else start
    found = []
    while offset < log.log_end_offset:
        result = log.read(offset, 1 << 20)
        assert result.cold is None
        assert len(result.records) > 0, offset
        for header in whole(result.records):
            for record in read_records(result.records, header.position):
                if record.offset >= offset:
                    found.append((record.offset, record.value))
        offset = result.next_offset
    return found


def whole(records: bytes | bytearray | memoryview) -> Sequence[BatchHeader]:
    """Return the headers of back-to-back batches that fill `records` exactly."""
    found = []
    position = 0
    while position < len(records):
        header = read_header(records, position)
        found.append(header)
        position = header.end_position
    assert position == len(records)
    return found
