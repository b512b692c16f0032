"""Records that are left in their file until they are sent."""

import asyncio

import pytest
from tests.unit.storage.parts import append, batch, make_log

from ottla.model.errors import StorageError
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.stored import LARGE_BYTES, StoredRecords
from ottla.testing.workers import SimulatedWorkers

CONFIG = LogConfig(segment_bytes=1_000_000, index_interval_bytes=4096)


class ColdDisk(MemoryDisk):
    cold = False

    def cached(self, path: str, position: int, size: int) -> bool:
        return not self.cold


def filled(disk: MemoryDisk | None = None, value_bytes: int = 3000, batches: int = 900) -> Log:
    log = make_log(disk, CONFIG)
    for _ in range(batches):
        append(log, batch(2, value=bytes(value_bytes)))
    return log


def whole(stored: StoredRecords) -> bytes:
    """All its bytes, read in odd pieces."""
    data = bytearray(len(stored))
    at = 0
    while at < len(data):
        at += stored.read_into(memoryview(data)[at : at + 70_001], at)
    return bytes(data)


@pytest.mark.parametrize(
    "max_bytes", [1_000, LARGE_BYTES - 1, LARGE_BYTES + 7_000, 500_000, 1 << 30]
)
@pytest.mark.parametrize("below", [1 << 40, 1_700, 301])
def test_they_are_what_a_read_gives(max_bytes: int, below: int) -> None:
    log = filled()
    stored_some = False
    for offset in [*range(0, 1800, 37), 1797, 1799]:
        expected = log.read(offset, max_bytes, below=below)
        result = log.read_to_send(offset, max_bytes, below=below)
        assert result.next_offset == expected.next_offset
        if isinstance(result.records, StoredRecords):
            stored_some = True
            assert whole(result.records) == bytes(expected.records)
        else:
            assert bytes(result.records) == bytes(expected.records)
            assert len(expected.records) < LARGE_BYTES
    assert stored_some == (max_bytes >= LARGE_BYTES)


def test_a_single_batch_over_the_limit_is_read_whole() -> None:
    log = filled(value_bytes=200_000, batches=12)
    for offset in range(0, 24, 2):
        assert len(log.read_to_send(offset, 100).records) > 400_000


def stored_part(log: Log) -> StoredRecords:
    part = log.read_to_send(0, 1 << 30).records
    assert isinstance(part, StoredRecords)
    return part


def test_nobody_reads_them_after_a_truncation() -> None:
    log = filled()
    part = stored_part(log)
    log.truncate_to(5, 0)
    with pytest.raises(StorageError, match="cut or deleted"):
        part.read_into(memoryview(bytearray(10)), 0)
    assert log.directory.is_online


def test_nobody_reads_them_after_their_segment_was_deleted() -> None:
    log = filled()
    part = stored_part(log)
    log.high_watermark = log.log_end_offset
    log.advance_log_start(1_700)
    log.apply_retention(0)
    with pytest.raises(StorageError, match="cut or deleted"):
        part.read_into(memoryview(bytearray(10)), 0)
    assert log.directory.is_online


def test_a_file_that_is_shorter_than_its_segment_is_told() -> None:
    disk = MemoryDisk()
    log = filled(disk)
    part = stored_part(log)
    disk.open(log.segments[0].log_path).truncate(1000)
    with pytest.raises(StorageError, match="ends at"):
        part.read_into(memoryview(bytearray(10)), 2000)


def test_what_is_not_in_memory_is_brought_there_by_a_worker() -> None:
    disk = ColdDisk()
    log = filled(disk)
    part = stored_part(log)
    disk.cold = True
    target = memoryview(bytearray(1000))
    assert part.read_into(target, 0) == 0

    async def warm() -> None:
        loop = asyncio.get_running_loop()
        warmed = loop.create_future()
        part.warm(SimulatedWorkers(loop, 1), 0, 1000, lambda: warmed.set_result(None))
        await warmed

    asyncio.run(warm())
    disk.cold = False
    assert part.read_into(target, 0) == 1000
    log.directory.handles.close_all()
    assert disk.open_files == 0
