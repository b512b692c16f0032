"""What waits to be removed, and the job that removes it."""

import errno

import pytest

from ottla.model.errors import StorageError
from ottla.storage import names
from ottla.storage.directory import LogDirectory
from ottla.storage.handles import Handles
from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.removals import FilesJob, NotNowError, Removals
from ottla.storage.segment import Segment

ROOT = "/data"
LOG = f"{ROOT}/t-0"


@pytest.fixture
def disk() -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_directories(LOG)
    return disk


@pytest.fixture
def directory(disk: MemoryDisk) -> LogDirectory:
    return LogDirectory(ROOT, disk, Handles(disk))


def segment(disk: MemoryDisk, base: int, suffix: str = "") -> Segment:
    made = Segment(disk, Handles(disk), LOG, base)
    for path in made.paths():
        disk.create(path + suffix, b"12345678")
    made.size = 8
    return made


def run(jobs: list[FilesJob]) -> None:
    for job in jobs:
        job.run()
        job.done()


def test_nothing_goes_before_its_time(disk: MemoryDisk, directory: LogDirectory) -> None:
    removals = Removals()
    removals.add_segment(directory, segment(disk, 0, names.DELETED), 100)
    removals.add_tree(directory, LOG, 200)
    assert removals.jobs(99) == []
    run(removals.jobs(100))
    assert disk.list(LOG) == []
    run(removals.jobs(200))
    assert disk.list(ROOT) == []
    assert removals.jobs(10**9) == []


def test_bytes_count_until_they_are_gone(disk: MemoryDisk, directory: LogDirectory) -> None:
    removals = Removals()
    removals.add_segment(directory, segment(disk, 0, names.DELETED), 100)
    assert (removals.bytes_in(directory), directory.leaving_bytes) == (8, 0)
    (job,) = removals.jobs(100)
    assert (removals.bytes_in(directory), directory.leaving_bytes) == (0, 8)
    run([job])
    assert directory.leaving_bytes == 0


def test_what_is_hastened_is_due(disk: MemoryDisk, directory: LogDirectory) -> None:
    other = LogDirectory("/other", disk, Handles(disk))
    removals = Removals()
    removals.add_segment(directory, segment(disk, 0, names.DELETED), 100)
    removals.add_tree(other, "/other/x", 100)
    removals.hasten(directory, 5)
    assert [job.directory for job in removals.jobs(5)] == [directory]


def test_who_reads_a_replaced_segment_may_go_on(disk: MemoryDisk, directory: LogDirectory) -> None:
    replaced = segment(disk, 0)
    removals = Removals()
    removals.add_replaced(directory, [replaced], 100)
    assert not replaced.handle.is_discarded
    newer = segment(disk, 0)
    removals.add_replaced(directory, [newer], 150)
    assert replaced.handle.is_discarded
    assert removals.jobs(100) == []
    run(removals.jobs(150))
    assert newer.handle.is_discarded
    assert disk.list(LOG) == []


def test_an_offline_directory_is_left_alone(disk: MemoryDisk, directory: LogDirectory) -> None:
    removals = Removals()
    removals.add_tree(directory, LOG, 0)
    directory.go_offline("for the test")
    assert removals.jobs(0) == []


def test_a_file_that_is_gone_already_is_no_error(disk: MemoryDisk, directory: LogDirectory) -> None:
    job = FilesJob(directory)
    job.removals = [f"{LOG}/none"]
    job.run()


def test_what_fails_names_the_directory(directory: LogDirectory) -> None:
    job = FilesJob(directory)
    job.writes = [("/nowhere/file", b"")]
    with pytest.raises(StorageError, match=ROOT):
        job.run()


def test_what_finds_no_room_may_be_done_again(disk: MemoryDisk, directory: LogDirectory) -> None:
    job = FilesJob(directory)
    job.writes = [(f"{ROOT}/checkpoint", b"0\n")]

    def full(what: str, name: str, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    disk.fault = full  # type: ignore[method-assign]
    with pytest.raises(NotNowError, match=ROOT):
        job.run()
    assert directory.is_online
    del disk.fault
    job.run()
    assert disk.read(f"{ROOT}/checkpoint") == b"0\n"
