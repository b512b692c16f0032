"""One sync covers all who wait; one that fails acknowledges nobody."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.replica.parts import FLUSHED, Told, append, make_partition

from ottla.model.errors import ErrorCode, StorageError
from ottla.model.workers import Lane
from ottla.replica.flusher import Flusher
from ottla.replica.partition import Partition
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
