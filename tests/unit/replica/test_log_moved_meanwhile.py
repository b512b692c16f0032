"""A log moved between directories while it is cut, or flushed."""

from pathlib import Path

import pytest
from tests.unit.replica.parts import alone
from tests.unit.replica.test_flusher import Workers
from tests.unit.replica.test_log_mover import NAME, World
from tests.unit.storage.parts import CountingRandomness, append, batch, values

from ottla.model.errors import StorageError
from ottla.record.validate import ProduceRules
from ottla.replica.flusher import Flusher
from ottla.replica.log_mover import PAUSE_MS, LogMover
from ottla.replica.partition import Partition
from ottla.storage.disk import RealDisk
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Logs
from ottla.testing.clock import ManualClock


def test_what_was_cut_while_the_copy_was_made_durable_is_not_in_it() -> None:
    world = World()
    world.mover.move(world.partition, "/two")
    world.clock.advance(PAUSE_MS)
    log = world.partition.log
    log.truncate_to(3, 0)
    for number in range(4):
        append(log, batch(value=b"new%d" % number), epoch=1)
    held = values(log)
    world.work()
    assert world.place == "/two"
    assert values(world.partition.log) == held


def test_a_flush_of_the_old_log_that_ends_after_the_swap(tmp_path: Path) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    clock, workers, failed = ManualClock(), Workers(), []
    logs = Logs(RealDisk(), [one, two], CountingRandomness())
    logs.start()
    logs.identify("cluster", 1)
    config = LogConfig(retention_ms=-1)
    logs.load(lambda partition, topic_id: config, 0)
    flusher = Flusher(workers, clock, lambda partition, error: failed.append(error))
    log = logs.create(NAME, b"t" * 16, config, 0)
    if log.make is not None:
        logs.make_directories(10)
    for number in range(5):
        append(log, batch(value=b"%d" % number))
    partition = Partition(
        "rides", 0, b"t" * 16, log, rules=ProduceRules(), request_flush=flusher.request
    )
    partition.become_leader(alone(0))
    mover = LogMover(
        logs,
        clock,
        workers,
        domain_clock=clock,
        bytes_per_s=lambda: 2**63 - 1,
        failed=lambda partition, error: failed.append(error),
    )
    flusher.request(partition)
    (flush,) = workers.jobs
    workers.jobs.clear()
    mover.move(partition, two)
    clock.advance(PAUSE_MS)
    while workers.jobs:
        workers.jobs.pop(0).run()
    assert partition.log.directory.path == two
    with pytest.raises(StorageError) as met:
        flush._job()  # the directory of the old log has another name by now
    flush.run(met.value)
    assert partition.log.directory.is_online, partition.log.directory.offline_reason
    assert failed == []
