"""The state of compaction: checkpoints, what is looked at, what is remembered."""

import pytest
from tests.unit.storage.parts import PARTITION, ROOT, CountingRandomness, append, batch

from ottla.model.ids import TopicPartition
from ottla.storage import checkpoints
from ottla.storage.compaction.compactor import Compactor
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Logs
from ottla.storage.memory_disk import MemoryDisk

CONFIG = LogConfig(segment_bytes=500, cleanup_policy=frozenset({"compact"}), retention_ms=-1)
CHECKPOINT = f"{ROOT}/{checkpoints.CLEANER}"


def load(disk: MemoryDisk, config: LogConfig = CONFIG) -> Logs:
    logs = Logs(disk, [ROOT], CountingRandomness())
    logs.start()
    logs.identify("cluster", 1)
    logs.load(lambda partition, topic_id: config, 0)
    return logs


def fill(log: Log, batches: int = 20) -> None:
    for _ in range(batches):
        append(log, batch(2))
    log.high_watermark = log.log_end_offset
    log.flush()


def with_log(disk: MemoryDisk, config: LogConfig = CONFIG) -> tuple[Logs, Log]:
    logs = load(disk, config)
    log = logs.create(PARTITION, b"t" * 16, config, 0)
    fill(log)
    return logs, log


def ratios(compactor: Compactor) -> dict[TopicPartition, float]:
    return {log.partition: dirt.dirty_ratio for log, dirt in compactor.candidates(0)}


def test_only_compacted_topics_are_looked_at() -> None:
    for policy, looked_at in ((("compact",), 1), (("compact", "delete"), 1), (("delete",), 0)):
        logs, _ = with_log(MemoryDisk(), CONFIG._replace(cleanup_policy=frozenset(policy)))
        assert len(ratios(Compactor(logs))) == looked_at
    logs, _ = with_log(MemoryDisk(), CONFIG._replace(cleanup_policy=frozenset()))
    assert ratios(Compactor(logs)) == {}


def test_the_checkpoint_has_kafkas_format_and_is_believed() -> None:
    disk = MemoryDisk()
    logs, log = with_log(disk)
    compactor = Compactor(logs)
    compactor.load()
    clean = log.segments.active.base_offset
    compactor.done(log, clean).run()
    assert disk.read(CHECKPOINT) == b"0\n1\nt 0 %d\n" % clean
    logs.close()
    again = Compactor(load(disk))
    again.load()
    assert ratios(again) == {}, "a log with nothing dirty is not even opened"


def test_a_garbled_checkpoint_makes_everything_dirty() -> None:
    disk = MemoryDisk()
    logs, _ = with_log(disk)
    logs.close()
    disk.create(CHECKPOINT, b"0\n7\nnonsense\n")
    compactor = Compactor(load(disk))
    compactor.load()
    assert ratios(compactor) == {PARTITION: 1.0}


def test_a_truncation_makes_everything_dirty() -> None:
    logs, log = with_log(MemoryDisk())
    compactor = Compactor(logs)
    compactor.done(log, log.segments.active.base_offset)
    assert ratios(compactor) == {PARTITION: 0.0}
    log.truncate_to(10, 0)
    compactor.checkpoint(log.directory).run()
    assert log.directory.disk.read(CHECKPOINT) == b"0\n1\nt 0 %d\n" % log.log_end_offset
    fill(log)
    assert ratios(compactor)[PARTITION] == 1.0


def test_what_is_not_flushed_is_not_compacted() -> None:
    """The last value of a key must not be lost with the page cache when older ones are gone."""
    logs, log = with_log(MemoryDisk())
    flushed = log.flushed_end_offset
    for _ in range(20):
        append(log, batch(2))
    log.high_watermark = log.log_end_offset
    ((_, dirt),) = Compactor(logs).candidates(0)
    assert dirt.end_offset <= flushed < log.segments.active.base_offset


def test_a_damaged_log_is_left_alone() -> None:
    logs, log = with_log(MemoryDisk())
    compactor = Compactor(logs)
    compactor.damaged(log, "a wrong checksum")
    assert ratios(compactor) == {}


def test_a_deleted_log_is_forgotten_and_one_of_its_name_is_new() -> None:
    disk = MemoryDisk()
    logs, log = with_log(disk)
    compactor = Compactor(logs)
    compactor.done(log, log.segments.active.base_offset).run()
    logs.delete(PARTITION, 0)
    (job,) = compactor.forget_deleted()
    job.run()
    assert disk.read(CHECKPOINT) == b"0\n0\n"
    fill(logs.create(PARTITION, b"u" * 16, CONFIG, 0))
    assert ratios(compactor) == {PARTITION: 1.0}


@pytest.mark.parametrize("clean_stop", [True, False])
def test_a_topic_made_anew_does_not_inherit_how_clean_its_namesake_was(clean_stop: bool) -> None:
    disk = MemoryDisk()
    logs, log = with_log(disk)
    compactor = Compactor(logs)
    compactor.done(log, log.segments.active.base_offset).run()
    logs.delete(PARTITION, 0)
    fill(logs.create(PARTITION, b"u" * 16, CONFIG, 0))
    if clean_stop:
        logs.close()
    else:
        for job in logs.checkpoint_jobs():
            job.run()
        logs.release()
        disk.process_death()
    again = Compactor(load(disk))
    again.load()
    assert ratios(again) == {PARTITION: 1.0}


def test_kafkas_checkpoint_without_ids_is_believed() -> None:
    disk = MemoryDisk()
    logs, log = with_log(disk)
    compactor = Compactor(logs)
    compactor.done(log, log.segments.active.base_offset).run()
    disk.remove(f"{ROOT}/{checkpoints.IDS_OF}{checkpoints.CLEANER}")
    logs.close()
    again = Compactor(load(disk))
    again.load()
    assert ratios(again) == {}


def test_what_is_compacted_is_written_down_before() -> None:
    disk = MemoryDisk()
    logs, log = with_log(disk)
    compactor = Compactor(logs)
    job = compactor.begun(log)
    assert job is not None
    job.run()
    assert disk.read(CHECKPOINT) == b"0\n1\nt 0 0\n"
    assert ratios(compactor) == {PARTITION: 1.0}
    assert compactor.begun(log) is None
