"""Putting compacted segments in place: a death anywhere leaves the old or the new."""

import pytest
from tests.unit.storage.compaction.parts import plan_for, put_in_place
from tests.unit.storage.parts import PARTITION, ROOT, CountingRandomness, append, batch, values

from ottla.storage import names
from ottla.storage.compaction.job import CompactionJob
from ottla.storage.compaction.plan import Cleaned
from ottla.storage.compaction.swap import Swap
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Logs
from ottla.storage.memory_disk import MemoryDisk

CONFIG = LogConfig(
    segment_bytes=1_000,
    cleanup_policy=frozenset({"compact"}),
    retention_ms=-1,
    index_interval_bytes=100,
)


def load(disk: MemoryDisk) -> Logs:
    logs = Logs(disk, [ROOT], CountingRandomness())
    logs.start()
    logs.identify("cluster", 1)
    logs.load(lambda partition, topic_id: CONFIG, 0)
    return logs


def cleaned(disk: MemoryDisk) -> tuple[Logs, Log, list[Cleaned]]:
    logs = load(disk)
    log = logs.create(PARTITION, b"t" * 16, CONFIG, 0)
    for at in range(30):
        append(log, batch(2, value=b"%d" % at))
    log.roll(0)
    log.high_watermark = log.log_end_offset
    log.flush()
    planned = plan_for(log, 0)
    assert planned is not None
    steps = list(CompactionJob(disk, planned).steps())
    return logs, log, [step for step in steps if isinstance(step, Cleaned)]


def suffixes(disk: MemoryDisk, log: Log) -> set[str]:
    ends = (names.CLEANED, names.SWAP, names.DELETED)
    return {name[name.rindex(".") :] for name in disk.list(log.path) if name.endswith(ends)}


class DiedError(Exception):
    pass


@pytest.mark.parametrize("at", range(60))
def test_a_death_at_any_rename_or_removal_leaves_one_or_the_other(at: int) -> None:
    class Dying(MemoryDisk):
        left = -1

        def fault(self, operation: str, path: str, size: int) -> int | None:
            if operation in ("rename", "remove", "sync_directory"):
                if self.left == 0:
                    raise DiedError
                self.left -= 1
            return None

    disk = Dying()
    _, log, made = cleaned(disk)
    before = values(log)
    disk.left = at
    try:
        for one in made:
            put_in_place(log, log.generation, one, 0)
    except DiedError:
        pass
    disk.left = -1
    disk.process_death()
    found = load(disk).get(PARTITION)
    assert found is not None
    after = values(found)
    assert after[-2:] == before[-2:]
    assert set(after) <= set(before)
    assert found.log_end_offset == 60
    assert suffixes(disk, log) == set()


def test_every_step_has_its_names() -> None:
    disk = MemoryDisk()
    _, log, made = cleaned(disk)
    assert suffixes(disk, log) == {names.CLEANED}
    (one, *_) = made
    swap = Swap(log, log.generation, one)
    swap.stage()
    assert f"{names.offset_file(0, names.LOG)}{names.SWAP}" in disk.list(log.path)
    swap.put_in_place(0)
    assert names.SWAP in suffixes(disk, log)
    assert names.DELETED in suffixes(disk, log)
    assert values(log)[-2:]
    swap.finish()
    assert names.SWAP not in suffixes(disk, log)
    assert values(log)[-2:]


def test_a_log_that_was_truncated_meanwhile_is_left() -> None:
    disk = MemoryDisk()
    _, log, made = cleaned(disk)
    generation = log.generation
    log.truncate_to(30, 0)
    swap = Swap(log, generation, made[0])
    assert not swap.is_current()
    swap.drop()
    assert suffixes(disk, log) <= {names.CLEANED}
    assert [offset for offset, _ in values(log)] == list(range(log.log_end_offset))


def test_a_staged_one_can_be_dropped() -> None:
    disk = MemoryDisk()
    _, log, made = cleaned(disk)
    before = values(log)
    swap = Swap(log, log.generation, made[0])
    swap.stage()
    swap.drop()
    disk.process_death()
    found = load(disk).get(PARTITION)
    assert found is not None
    assert values(found) == before


def test_a_segment_replaced_twice_keeps_the_newer_file() -> None:
    """Both old files get one name: who held the first is let go, the second stays its time."""
    disk = MemoryDisk()
    logs, log, made = cleaned(disk)
    for one in made:
        logs.remove_later(log, put_in_place(log, log.generation, one, 0), 0)
    for at in range(30):
        append(log, batch(2, value=b"%d" % at))
    log.roll(0)
    log.high_watermark = log.log_end_offset
    log.flush()
    planned = plan_for(log, 0, 60)
    assert planned is not None
    for step in CompactionJob(disk, planned).steps():
        if isinstance(step, Cleaned):
            logs.remove_later(log, put_in_place(log, log.generation, step, 50), 50)
    first = f"{log.path}/{names.offset_file(0, names.LOG)}{names.DELETED}"
    assert disk.exists(first)
    for job in logs.removal_jobs(60_000):
        job.run()
    assert disk.exists(first), "the first delay was another file's"
    for job in logs.removal_jobs(60_050):
        job.run()
    assert suffixes(disk, log) == set()
