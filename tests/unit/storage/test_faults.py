"""What a failing system call does to a log (DESIGN.md section 5, "Errors")."""

import errno
import os

import pytest
from tests.unit.storage.parts import append, batch, make_log, values

from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.storage.directory import QUIET_LOOKS
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.memory_disk import MemoryDisk

SMALL = LogConfig(segment_bytes=1000, index_interval_bytes=100)
PASSING = [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENOMEM]


class FaultyDisk(MemoryDisk):
    """Fails the operations in `failing` with `error`; tears the writes in `tearing`."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: frozenset[str] = frozenset()
        self.suffix = ""
        self.error = errno.EIO
        self.tear_at: int | None = None

    def fail(self, *operations: str, error: int = errno.EIO, suffix: str = "") -> None:
        self.failing = frozenset(operations)
        self.error = self.torn = error
        self.suffix = suffix

    def heal(self) -> None:
        self.failing = frozenset()
        self.tear_at = None

    def fault(self, operation: str, path: str, size: int) -> int | None:
        if operation in self.failing and path.endswith(self.suffix):
            raise OSError(self.error, os.strerror(self.error), path)
        if operation == "pwrite" and path.endswith(".log"):
            return self.tear_at
        return None


def faulty(config: LogConfig = SMALL) -> tuple[FaultyDisk, Log]:
    disk = FaultyDisk()
    return disk, make_log(disk, config)


def refused(log: Log) -> ErrorCode:
    with pytest.raises(ApiError) as error:
        append(log, batch(2))
    return error.value.code


@pytest.mark.parametrize("error", PASSING)
@pytest.mark.parametrize("torn_after", [0, 1, 60, 80])
def test_a_write_without_room_leaves_the_log_as_it_was(error: int, torn_after: int) -> None:
    disk, log = faulty()
    append(log, batch(2))
    size, before = log.size_bytes, values(log)
    disk.torn = error
    disk.tear_at = torn_after
    assert refused(log) is ErrorCode.KAFKA_STORAGE_ERROR
    assert log.directory.is_online
    assert (log.log_end_offset, log.size_bytes) == (2, size)
    assert len(disk.files[log.segments.active.log_path].data) == size
    assert values(log) == before
    disk.heal()
    assert append(log, batch(2)).base_offset == 2


def test_a_full_disk_at_a_roll_is_refused_and_heals() -> None:
    disk, log = faulty()
    while log.segments.active.size < 850:
        append(log, batch(2))
    end = log.log_end_offset
    disk.fail("create", "write", error=errno.ENOSPC)
    with pytest.raises(ApiError):
        append(log, batch(9))
    with pytest.raises(ApiError):
        append(log, batch(9))
    assert len(log.segments) == 1
    disk.heal()
    assert append(log, batch(9)).base_offset == end
    assert len(log.segments) == 2
    assert [offset for offset, _ in values(log)] == list(range(end + 9))


@pytest.mark.parametrize("suffix", [".index", "leader-epoch-checkpoint"])
def test_an_index_that_cannot_be_written_waits(suffix: str) -> None:
    disk, log = faulty(SMALL._replace(segment_bytes=100_000))
    disk.fail("open", "create", "write", error=errno.ENOSPC, suffix=suffix)
    for _ in range(300):
        append(log, batch(2))
    assert log.directory.is_online
    disk.heal()
    assert [offset for offset, _ in values(log)] == list(range(600))
    log.upkeep(0)
    log.close()
    rows = log.segments.active.offset_index.rows()
    assert len(rows) > 64
    assert len(disk.read(log.segments.active.offset_index.path)) == 8 * len(rows)


def test_a_failing_write_takes_the_directory_offline() -> None:
    disk, log = faulty()
    append(log, batch(2))
    disk.tear_at = 30
    disk.torn = errno.EIO
    with pytest.raises(StorageError):
        append(log, batch(2))
    assert not log.directory.is_online
    disk.heal()
    assert refused(log) is ErrorCode.KAFKA_STORAGE_ERROR


def test_a_cut_that_fails_takes_the_directory_offline() -> None:
    disk, log = faulty()
    append(log, batch(2))
    disk.tear_at = 30
    disk.fail("truncate", error=errno.ENOSPC)
    with pytest.raises(StorageError):
        append(log, batch(2))
    assert not log.directory.is_online


def test_a_failure_between_write_and_publication_takes_the_directory_offline() -> None:
    disk, log = faulty(SMALL._replace(segment_bytes=100_000))
    disk.fail("create", error=errno.EIO, suffix=".index")

    def append_until_the_index_is_written() -> None:
        for _ in range(300):
            append(log, batch(2))

    with pytest.raises(StorageError):
        append_until_the_index_is_written()
    assert not log.directory.is_online
    assert log.segments.active.offset_index.entries > 60


@pytest.mark.parametrize("operation", ["sync", "sync_directory"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_failing_sync_takes_the_directory_offline(operation: str, error: int) -> None:
    disk, log = faulty()
    append(log, batch(2))
    disk.fail(operation, error=error)
    with pytest.raises(StorageError):
        log.flush()
    assert not log.directory.is_online
    assert log.flushed_end_offset == 0
    disk.heal()
    assert refused(log) is ErrorCode.KAFKA_STORAGE_ERROR


def test_a_failing_read_takes_the_directory_offline() -> None:
    disk, log = faulty()
    append(log, batch(2))
    disk.fail("pread")
    with pytest.raises(StorageError):
        log.read(0, 100)
    assert not log.directory.is_online


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE])
def test_too_many_open_files_close_some_and_go_on(error: int) -> None:
    disk, log = faulty()
    append(log, batch(2))
    log.directory.handles.close_all()
    disk.fail("open", error=error)
    with pytest.raises(ApiError):
        log.read(0, 100)
    assert log.directory.is_online
    disk.heal()
    assert len(values(log)) == 2


def test_reads_go_on_while_the_disk_is_full() -> None:
    disk, log = faulty()
    append(log, batch(2))
    disk.fail("pwrite", error=errno.ENOSPC)
    assert refused(log) is ErrorCode.KAFKA_STORAGE_ERROR
    assert len(values(log)) == 2


def test_a_full_disk_is_told_of_once_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    disk, log = faulty()
    directory = log.directory

    def look(times: int) -> int:
        for _ in range(times):
            directory.look_back()
        return len(caplog.records)

    append(log, batch(2))
    assert look(QUIET_LOOKS) == 0
    for _ in range(2):
        disk.fail("pwrite", error=errno.ENOSPC)
        for _ in range(5):
            assert refused(log) is ErrorCode.KAFKA_STORAGE_ERROR
            look(1)
        disk.heal()
        append(log, batch(2))
        assert "is full" in caplog.text
        assert look(QUIET_LOOKS - 1) == 1
        assert look(QUIET_LOOKS) == 2
        assert "any more" in caplog.text
        caplog.clear()
    disk.fail("pwrite", error=errno.ENOSPC)
    refused(log)
    disk.fail("pwrite", error=errno.EMFILE)
    for _ in range(3):
        refused(log)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


@pytest.mark.parametrize("operation", ["create", "pwrite"])
def test_what_follows_a_batch_that_found_no_room_is_not_out_of_order(operation: str) -> None:
    """Also where that batch was to begin a segment."""
    disk, log = faulty()
    sequence = 0
    while len(log.segments) == 1 and log.segments.active.size < 900:
        append(log, batch(1, producer_id=7, producer_epoch=0, base_sequence=sequence))
        sequence += 1
    disk.fail(operation, error=errno.ENOSPC)
    big = 1 if operation == "pwrite" else 5
    for at in (sequence, sequence + big):
        with pytest.raises(ApiError) as error:
            append(log, batch(big, producer_id=7, producer_epoch=0, base_sequence=at))
        assert error.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    disk.heal()
    append(log, batch(big, producer_id=7, producer_epoch=0, base_sequence=sequence))
