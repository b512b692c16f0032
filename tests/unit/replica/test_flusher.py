"""One sync covers all who wait; one that fails acknowledges nobody."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.replica.parts import FLUSHED, TOPIC_ID, Told, alone, append, make_partition

from ottla.model.errors import ErrorCode, StorageError
from ottla.model.ids import TopicPartition
from ottla.model.workers import Lane
from ottla.record.validate import ProduceRules
from ottla.replica.flusher import Flusher
from ottla.replica.partition import Partition
from ottla.storage.directory import LogDirectory
from ottla.storage.disk import RealDisk, RealFile
from ottla.storage.handles import Handle, Handles
from ottla.storage.log import Log
from ottla.storage.memory_disk import MemoryDisk
from ottla.testing.clock import ManualClock


class Submitted:
    """A job in the hands of a worker that the test plays."""

    def __init__(self, lane: Lane, job: Callable[[], Any]) -> None:
        self.lane = lane
        self._job = job
        self._callbacks: list[Callable[[Any], object]] = []
        self._error: Exception | None = None
        self._result: Any = None

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        self._callbacks.append(callback)

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result

    def run(self, error: Exception | None = None) -> None:
        """Do the job, or fail, and deliver that on the loop."""
        self._error = error
        if error is None:
            self._result = self._job()
        for callback in self._callbacks:
            callback(self)


class Workers:
    def __init__(self) -> None:
        self.jobs: list[Submitted] = []

    def submit(self, lane: Lane, job: Callable[[], Any]) -> Any:
        self.jobs.append(Submitted(lane, job))
        return self.jobs[-1]


class World:
    def __init__(self) -> None:
        self.workers = Workers()
        self.failed: list[BaseException] = []
        self.clock = ManualClock()
        self.flusher = Flusher(
            self.workers, self.clock, lambda partition, error: self.failed.append(error)
        )
        self.disk = MemoryDisk()
        self.partition: Partition = make_partition(
            FLUSHED, disk=self.disk, request_flush=self.flusher.request
        )


def test_who_comes_during_a_sync_is_covered_by_the_next() -> None:
    world = World()
    told = Told()
    for end in (1, 2, 3):
        append(world.partition)
        world.partition.when_committed(end, told)
    assert len(world.workers.jobs) == 1, "two more wait for the next"
    assert world.workers.jobs[0].lane is Lane.FSYNC
    world.workers.jobs[0].run()
    assert told.outcomes == [None], "the first sync covers what was there when it was asked for"
    assert len(world.workers.jobs) == 2
    world.workers.jobs[1].run()
    assert told.outcomes == [None] * 3
    assert len(world.workers.jobs) == 2, "nobody waits any more"


def test_what_is_flushed_already_needs_no_sync() -> None:
    world = World()
    append(world.partition)
    world.workers.jobs[0].run()
    world.flusher.request(world.partition)
    assert len(world.workers.jobs) == 1


@pytest.mark.parametrize("error", [StorageError("the disk failed"), OSError(5, "I/O error")])
def test_a_sync_that_fails_acknowledges_nobody_and_is_not_tried_again(error: Exception) -> None:
    world = World()
    told = Told()
    append(world.partition)
    append(world.partition)
    world.partition.when_committed(1, told)
    world.workers.jobs[0].run(error)
    assert world.failed == [error]
    assert told.outcomes == []
    assert world.partition.high_watermark == 0
    assert not world.partition.log.directory.is_online
    assert len(world.workers.jobs) == 1
    world.partition.resign()
    assert told.outcomes == [ErrorCode.NOT_LEADER_OR_FOLLOWER]


def test_a_truncation_during_a_sync_commits_nothing_of_what_is_gone() -> None:
    world = World()
    for _ in range(3):
        append(world.partition)
    world.partition.log.truncate_to(1, 0)
    world.workers.jobs[0].run()
    assert world.partition.log.flushed_end_offset <= 1


def test_who_waits_for_idleness_is_told_behind_the_last_sync() -> None:
    world = World()
    told: list[str] = []
    world.flusher.when_idle(lambda: told.append("at once"))
    assert told == ["at once"]
    append(world.partition)
    append(world.partition)
    world.flusher.when_idle(lambda: told.append("at last"))
    world.workers.jobs[0].run()
    assert told == ["at once"], "the second record's sync has begun"
    world.workers.jobs[1].run()
    assert told == ["at once", "at last"]


def test_a_slow_disk_waits_for_those_it_just_answered() -> None:
    world = World()
    for _ in range(4):
        append(world.partition)
    world.clock.advance(8)
    world.workers.jobs[0].run()
    assert len(world.workers.jobs) == 1, "of the four, one was answered and comes again"
    append(world.partition)
    assert len(world.workers.jobs) == 2
    world.clock.advance(8)
    world.workers.jobs[1].run()
    assert world.partition.high_watermark == 5
    for _ in range(3):
        append(world.partition)
    assert len(world.workers.jobs) == 2
    append(world.partition)
    assert len(world.workers.jobs) == 3, "the four are there again"


def test_a_slow_disk_waits_no_longer_than_a_quarter_of_a_sync() -> None:
    world = World()
    for _ in range(4):
        append(world.partition)
    world.clock.advance(8)
    world.workers.jobs[0].run()
    world.clock.advance(1)
    assert len(world.workers.jobs) == 1
    world.clock.advance(1)
    assert len(world.workers.jobs) == 2, "three were waiting"
    world.workers.jobs[1].run()
    assert world.partition.high_watermark == 4


def test_one_who_waits_alone_waits_for_nobody() -> None:
    world = World()
    for number in range(1, 4):
        append(world.partition)
        assert len(world.workers.jobs) == number
        world.clock.advance(8)
        world.workers.jobs[-1].run()


def test_nobody_is_waited_for_on_a_fast_disk() -> None:
    world = World()
    for _ in range(4):
        append(world.partition)
    world.clock.advance(1)
    world.workers.jobs[0].run()
    assert len(world.workers.jobs) == 2


def test_a_pause_in_which_nobody_comes_ends_in_idleness() -> None:
    world = World()
    told: list[str] = []
    for _ in range(2):
        append(world.partition)
    world.clock.advance(8)
    world.workers.jobs[0].run()
    world.clock.advance(2)
    world.clock.advance(8)
    world.workers.jobs[1].run()
    world.flusher.when_idle(lambda: told.append("idle"))
    assert told == ["idle"]


class FileSyncs:
    """Plays the kernel."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Callable[[OSError | None], object]]] = []

    def sync(self, fd: int, done: Callable[[OSError | None], object]) -> None:
        self.asked.append((fd, done))


class RealWorld:
    """A partition in files of the operating system, whose first flush, of names too, has begun."""

    def __init__(self, folder: Path) -> None:
        disk = RealDisk()
        disk.make_directories(f"{folder}/t-0")
        directory = LogDirectory(str(folder), disk, Handles(disk))
        log = Log(TopicPartition("t", 0), TOPIC_ID, directory, FLUSHED, now_ms=0)
        self.failed: list[BaseException] = []
        self.workers = Workers()
        self.syncs = FileSyncs()
        flusher = Flusher(
            self.workers,
            ManualClock(),
            lambda partition, error: self.failed.append(error),
            self.syncs,
        )
        self.partition = Partition(
            "t", 0, TOPIC_ID, log, rules=ProduceRules(), request_flush=flusher.request
        )
        self.partition.become_leader(alone(0))
        append(self.partition)

    def first_flush(self) -> None:
        self.workers.jobs.pop().run()
        assert not self.syncs.asked

    @property
    def handle(self) -> Handle:
        return self.partition.log.segments.active.handle


def test_where_one_file_is_all_there_is_the_kernel_syncs_it(tmp_path: Path) -> None:
    world = RealWorld(tmp_path)
    world.first_flush()
    told = Told()
    append(world.partition)
    world.partition.when_committed(2, told)
    assert not world.workers.jobs
    ((fd, done),) = world.syncs.asked
    assert isinstance(world.handle.file, RealFile)
    assert fd == world.handle.file.fd
    assert world.handle.leases == 1, "the number is no other file's meanwhile"
    assert told.outcomes == []
    done(None)
    assert told.outcomes == [None]
    assert world.handle.leases == 0
    assert world.partition.log.flushed_end_offset == 2


def test_a_sync_that_fails_in_the_kernel_acknowledges_nobody(tmp_path: Path) -> None:
    world = RealWorld(tmp_path)
    world.first_flush()
    told = Told()
    append(world.partition)
    append(world.partition)
    world.partition.when_committed(2, told)
    ((_, done),) = world.syncs.asked
    done(OSError(errno.EIO, "I/O error"))
    (error,) = world.failed
    assert isinstance(error, StorageError)
    assert "I/O error" in str(error)
    assert told.outcomes == []
    assert world.partition.high_watermark == 1
    assert not world.partition.log.directory.is_online
    assert len(world.syncs.asked) == 1, "nothing is tried again"
    assert world.handle.leases == 0


def test_a_new_segment_has_more_to_sync_than_one_file(tmp_path: Path) -> None:
    world = RealWorld(tmp_path)
    world.first_flush()
    world.partition.log.roll(0)
    append(world.partition)
    assert not world.syncs.asked
    world.workers.jobs.pop().run()
    assert world.partition.high_watermark == 2
    append(world.partition)
    assert len(world.syncs.asked) == 1


def test_a_name_that_may_not_be_synced_is_more_than_one_file(tmp_path: Path) -> None:
    """The truncation makes nothing of the flush under way count."""
    world = RealWorld(tmp_path)
    append(world.partition)
    append(world.partition)
    world.partition.log.truncate_to(2, 0)
    world.partition.log.unsynced.epochs = False  # so that the name alone is left
    world.first_flush()
    assert world.partition.high_watermark == 0
    world.workers.jobs.pop().run()
    assert world.partition.high_watermark == 2
