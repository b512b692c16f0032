"""The work of a compaction: bounded steps, damage found, nothing left behind by a failure."""

import pytest
from tests.unit.storage.compaction.parts import compact, plan_for
from tests.unit.storage.parts import append, batch, make_log, values

from ottla.model.errors import StorageError
from ottla.storage.compaction.job import STEP_RECORDS, CompactionJob
from ottla.storage.compaction.plan import Cleaned, DamagedLog, Finished
from ottla.storage.compaction.survey import Resources
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.memory_disk import MemoryDisk

CONFIG = LogConfig(segment_bytes=2_000, cleanup_policy=frozenset({"compact"}))


def filled(disk: MemoryDisk | None = None, batches: int = 60) -> Log:
    """Batches of two records, keys 0 and 1; only the last of them is worth keeping."""
    log = make_log(disk, CONFIG)
    for at in range(batches):
        append(log, batch(2, value=b"%d" % at))
    log.roll(0)
    log.high_watermark = log.log_end_offset
    log.flush()
    return log


def test_the_last_values_stay_at_their_offsets() -> None:
    log = filled()
    last = values(log)[-2:]
    assert compact(log, 0) == 120
    assert values(log) == last


def test_what_has_become_small_becomes_one() -> None:
    log = filled()
    assert len(log.segments) > 3
    compact(log, 0)
    compact(log, 0)
    assert [segment.base_offset for segment in log.segments] == [0, 120]


def test_a_step_takes_a_bounded_number_of_records() -> None:
    log = filled(batches=3_000)
    planned = plan_for(log, 0)
    assert planned is not None
    largest = max(segment.size for segment in planned.segments)
    steps = list(CompactionJob(log.directory.disk, planned).steps())
    sizes = [step for step in steps if isinstance(step, int)]
    assert len(sizes) > 2 * 6_000 / (STEP_RECORDS + 100)
    assert max(sizes) <= 2 * largest
    assert isinstance(steps[-1], Finished)


def test_every_byte_read_and_written_is_counted() -> None:
    log = filled()
    planned = plan_for(log, 0)
    assert planned is not None
    read = 2 * sum(segment.size for segment in planned.segments)
    steps = list(CompactionJob(log.directory.disk, planned).steps())
    written = sum(step.size for step in steps if isinstance(step, Cleaned))
    assert sum(step for step in steps if isinstance(step, int)) == read + written


def test_segments_of_which_everything_stays_are_left() -> None:
    log = filled()
    compact(log, 0)
    compact(log, 0)
    segments = list(log.segments)
    names = sorted(log.directory.disk.list(log.path))
    assert compact(log, 0) == 120
    assert list(log.segments) == segments
    assert sorted(log.directory.disk.list(log.path)) == names


@pytest.mark.parametrize("at", [0, 8, 14, 16, 30, 70])
def test_a_flipped_bit_is_found_and_nothing_is_compacted(at: int) -> None:
    """In offset, length, leader epoch, magic, and under the checksum."""
    disk = MemoryDisk()
    log = filled(disk)
    before = dict(disk.files)
    segment = log.segments[1]
    content = disk.files[segment.log_path].data
    content[at] ^= 1
    with pytest.raises(DamagedLog, match=segment.log_path):
        compact(log, 0)
    assert {path for path in disk.files if not path.endswith(".cleaned")} == set(before)


def test_a_flipped_bit_is_found_in_every_place() -> None:
    disk = MemoryDisk()
    log = filled(disk, batches=24)
    planned = plan_for(log, 0)
    assert planned is not None
    path = log.segments[1].log_path
    content = disk.files[path].data
    for at in range(len(content)):
        content[at] ^= 1 << at % 8
        with pytest.raises(DamagedLog):
            for _ in CompactionJob(disk, planned).steps():
                pass
        content[at] ^= 1 << at % 8


def test_a_small_map_takes_several_passes() -> None:
    log = make_log(None, CONFIG)
    for at in range(40):
        data = batch(4, value=b"%d" % at)
        append(log, data)
    log.roll(0)
    log.high_watermark = log.log_end_offset
    log.flush()
    last = values(log)[-4:]
    clean: int | None = None
    ends = []
    while clean != 160:
        clean = compact(log, 0, clean, Resources(key_map_bytes=24 * 5, load_factor=1.0))
        ends.append(clean)
    assert ends == sorted(ends)  # type: ignore[type-var]
    assert values(log) == last


def test_a_failure_leaves_nothing_behind() -> None:
    class Full(MemoryDisk):
        def fault(self, operation: str, path: str, size: int) -> int | None:
            if operation == "pwrite" and ".log.cleaned" in path:
                raise OSError(28, "no space left on device", path)
            return None

    log = filled(Full())
    before = values(log)
    with pytest.raises(OSError, match="space"):
        compact(log, 0)
    assert values(log)[-2:] == before[-2:]
    assert set(values(log)) <= set(before)
    assert not any(".cleaned" in path for path in log.directory.disk.list(log.path))


def test_who_reads_a_replaced_segment_goes_on() -> None:
    log = make_log(None, CONFIG._replace(segment_bytes=400_000))
    for at in range(30):
        append(log, batch(1, value=b"%d" % at * 4_000))
    log.roll(0)
    append(log, batch(1))
    log.high_watermark = log.log_end_offset
    log.flush()
    result = log.read_to_send(0, 1 << 20)
    stored = result.records
    expected = log.read(0, 1 << 20).records
    assert compact(log, 0) is not None
    log.directory.handles.close_all()
    target = memoryview(bytearray(len(stored)))
    assert stored.read_into(target, 0) == len(stored)  # type: ignore[union-attr]
    assert bytes(target) == bytes(expected)
    assert len(log.read(0, 1 << 20).records) < len(expected)


def test_a_reader_of_a_segment_that_is_gone_gets_an_error() -> None:
    log = make_log(None, CONFIG._replace(segment_bytes=400_000))
    for at in range(30):
        append(log, batch(1, value=b"%d" % at * 4_000))
    log.roll(0)
    log.high_watermark = log.log_end_offset
    log.flush()
    stored = log.read_to_send(0, 1 << 20).records
    old = list(log.segments)[:-1]
    compact(log, 0)
    for segment in old:
        segment.handle.discard()
    with pytest.raises(StorageError):
        stored.read_into(memoryview(bytearray(10)), 0)  # type: ignore[union-attr]
