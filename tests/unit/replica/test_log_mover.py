"""A move meets full disks, lost directories and cold files; the rest is in tests/simulation."""

import errno

import pytest
from tests.unit.replica.parts import alone
from tests.unit.replica.test_flusher import Workers
from tests.unit.storage.parts import CountingRandomness, append, batch, values

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition
from ottla.model.workers import Lane
from ottla.record.validate import ProduceRules
from ottla.replica.log_mover import PAUSE_MS, RETRY_MS, LogMover
from ottla.replica.partition import Partition
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Logs
from ottla.storage.memory_disk import MemoryDisk
from ottla.testing.clock import ManualClock

NAME = TopicPartition("rides", 0)


class Disk(MemoryDisk):
    full = broken = cold = False

    def fault(self, operation: str, path: str, size: int) -> int | None:
        if operation == "pwrite" and path.startswith("/two") and path.endswith(".log"):
            if self.full:
                raise OSError(errno.ENOSPC, "full", path)
            if self.broken:
                raise OSError(errno.EIO, "broken", path)
        return None

    def cached(self, path: str, position: int, size: int) -> bool:
        return not self.cold


class World:
    def __init__(self) -> None:
        self.disk = Disk()
        self.clock = ManualClock()
        self.workers = Workers()
        self.failed: list[BaseException] = []
        self.logs = Logs(self.disk, ["/one", "/two"], CountingRandomness())
        self.logs.start()
        self.logs.identify("cluster", 1)
        config = LogConfig(retention_ms=-1)
        self.logs.load(lambda partition, topic_id: config, 0)
        log = self.logs.create(NAME, b"t" * 16, config, 0)
        for number in range(5):
            append(log, batch(value=b"%d" % number))
        self.held = values(log)
        self.partition = Partition(
            "rides", 0, b"t" * 16, log, rules=ProduceRules(), request_flush=lambda asked: None
        )
        self.partition.become_leader(alone(0))
        self.mover = LogMover(
            self.logs,
            self.clock,
            self.workers,
            domain_clock=self.clock,
            bytes_per_s=lambda: 2**63 - 1,
            failed=lambda partition, error: self.failed.append(error),
        )

    def work(self) -> None:
        """Play the workers until they have nothing to do."""
        while self.workers.jobs:
            self.workers.jobs.pop(0).run()

    @property
    def place(self) -> str:
        return self.partition.log.directory.path


def test_a_move_ends_in_the_other_directory() -> None:
    world = World()
    world.mover.move(world.partition, "/two")
    world.mover.move(world.partition, "/two")
    world.clock.advance(PAUSE_MS)
    assert world.workers.jobs[0].lane is Lane.UPKEEP, "the copy is made durable"
    assert world.place == "/one"
    world.work()
    assert world.place == "/two"
    assert values(world.partition.log) == world.held
    assert world.logs.get(NAME) is world.partition.log


def test_what_came_while_the_copy_was_made_durable_is_in_it() -> None:
    world = World()
    world.mover.move(world.partition, "/two")
    world.clock.advance(PAUSE_MS)
    append(world.partition.log, batch(value=b"late"))
    world.work()
    assert values(world.partition.log) == [*world.held, (5, b"late")]


def test_a_full_disk_is_tried_again() -> None:
    world = World()
    world.disk.full = True
    world.mover.move(world.partition, "/two")
    world.clock.advance(PAUSE_MS + 3 * RETRY_MS)
    assert (world.place, world.workers.jobs, world.failed) == ("/one", [], [])
    world.disk.full = False
    world.clock.advance(RETRY_MS)
    world.work()
    assert values(world.partition.log) == world.held
    assert world.place == "/two"


def test_a_directory_that_fails_ends_the_move_and_the_replica_stays() -> None:
    world = World()
    world.disk.broken = True
    world.mover.move(world.partition, "/two")
    world.clock.advance(PAUSE_MS)
    assert len(world.failed) == 1
    assert world.place == "/one"
    assert not world.logs.futures
    assert values(world.partition.log) == world.held
    with pytest.raises(ApiError) as refused:
        world.mover.move(world.partition, "/two")
    assert refused.value.code is ErrorCode.KAFKA_STORAGE_ERROR


def test_what_is_not_cached_is_read_by_a_worker() -> None:
    world = World()
    world.partition.log.roll(0)
    append(world.partition.log, batch(value=b"in the next segment"))
    held = values(world.partition.log)
    world.disk.cold = True
    world.mover.move(world.partition, "/two")
    world.clock.advance(PAUSE_MS)
    assert world.workers.jobs[0].lane is Lane.READ
    for _ in range(4):
        world.work()
        world.clock.advance(PAUSE_MS)
    world.disk.cold = False
    world.clock.advance(PAUSE_MS)
    world.work()
    assert world.place == "/two"
    assert values(world.partition.log) == held


def test_a_mover_that_is_closed_copies_no_more() -> None:
    world = World()
    world.mover.move(world.partition, "/two")
    world.mover.close()
    world.clock.advance(10 * RETRY_MS)
    assert not world.workers.jobs
    assert NAME in world.logs.futures


def test_a_move_given_up_leaves_nothing() -> None:
    world = World()
    world.mover.move(world.partition, "/two")
    world.mover.cancel_of(world.partition.log)
    world.clock.advance(10 * RETRY_MS)
    for job in world.logs.removal_jobs(world.clock.now_ms()):
        job.run()
    assert not [name for name in world.disk.list("/two") if name.startswith("rides")]
