"""Reads of what is not in memory."""

from tests.unit.storage.parts import append, batch, make_log

from ottla.storage.log_config import LogConfig
from ottla.storage.memory_disk import MemoryDisk

SMALL = LogConfig(segment_bytes=1000, index_interval_bytes=200)


class ColdDisk(MemoryDisk):
    cold = False

    def cached(self, path: str, position: int, size: int) -> bool:
        return not self.cold


def test_what_is_not_in_memory_is_read_by_a_worker() -> None:
    disk = ColdDisk()
    log = make_log(disk, SMALL)
    for _ in range(40):
        append(log, batch(2))
    for offset in range(80):
        disk.cold = False
        warm = log.read(offset, 500)
        disk.cold = True
        result = log.read(offset, 500)
        assert result.records == b""
        assert result.cold is not None
        records, next_offset = result.cold.run()
        assert result.cold.is_current()
        result.cold.release()
        assert (bytes(records), next_offset) == (bytes(warm.records), warm.next_offset)
    log.directory.handles.close_all()
    assert disk.open_files == 0


def test_a_cold_read_keeps_its_file_open_while_the_log_is_truncated() -> None:
    disk = ColdDisk()
    log = make_log(disk)
    append(log, batch(2))
    disk.cold = True
    cold = log.read(0, 500).cold
    assert cold is not None
    log.truncate_fully_and_start_at(7, 0)
    log.directory.handles.close_all()
    cold.run()
    assert not cold.is_current()
    cold.release()
    log.directory.handles.close_all()
    assert disk.open_files == 0
