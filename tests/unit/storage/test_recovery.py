"""What is left of a log after a crash, however it was damaged."""

import contextlib
import copy
import logging
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.unit.storage.parts import (
    PARTITION,
    ROOT,
    CountingRandomness,
    append,
    batch,
    values,
)

from ottla.model.errors import ApiError
from ottla.record.batch import read_header
from ottla.record.control import build_end_txn_marker
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Logs
from ottla.storage.memory_disk import MemoryDisk
from ottla.storage.producer_snapshot import SnapshotEntry, encode_snapshot
from ottla.storage.producer_state import AppendOrigin
from ottla.storage.roots import LogsError
from ottla.storage.timestamps import offset_for_timestamp
from ottla.testing.broken import broken
from ottla.testing.power import Died, PowerDisk
from ottla.testing.randomness import SeededRandomness

CONFIG = LogConfig(segment_bytes=900, index_interval_bytes=200, retention_ms=-1)
FOLDER = f"{ROOT}/t-0"


def start(disk: MemoryDisk, config: LogConfig = CONFIG) -> Logs:
    logs = Logs(disk, [ROOT], CountingRandomness())
    logs.start()
    logs.identify("cluster", 1)
    logs.load(lambda partition, topic_id: config, 0)
    return logs


def only(logs: Logs) -> Log:
    log = logs.get(PARTITION)
    assert log is not None
    return log


def crashed(batches: int = 24) -> tuple[MemoryDisk, list[tuple[int, bytes | None]]]:
    """A log of several segments whose broker was killed, and what it held."""
    disk = MemoryDisk()
    logs = start(disk)
    log = logs.create(PARTITION, b"t" * 16, CONFIG, 0)
    for at in range(batches):
        append(log, batch(2, timestamp=1000 + 10 * at, value=b"v%d" % at), epoch=at // 10)
    held = values(log)
    disk.process_death()
    return disk, held


def names_of(disk: MemoryDisk, suffix: str) -> list[str]:
    return [f"{FOLDER}/{name}" for name in disk.list(FOLDER) if name.endswith(suffix)]


def test_a_dead_process_loses_nothing() -> None:
    disk, held = crashed()
    logs = start(disk)
    assert not logs.stopped_cleanly
    assert logs.recovered[0].cut_at is None
    assert values(only(logs)) == held
    assert list(only(logs).leader_epochs) == [(0, 0), (1, 20), (2, 40)]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_torn_end_is_cut_at_a_batch(data: st.DataObject) -> None:
    disk, held = crashed()
    path = names_of(disk, ".log")[-1]
    content = disk.files[path].data
    size = data.draw(st.integers(0, len(content)), label="size")
    junk = data.draw(st.binary(max_size=200) | st.integers(0, 300).map(bytes), label="junk")
    whole = [
        header
        for header in (read_header(content, at) for at in _starts(bytes(content)))
        if header.end_position <= size
    ]
    assume(bytes(content[size : size + 1]) != junk[:1] or not junk)
    expected = whole[-1].next_offset if whole else int(path[-24:-4])
    del content[size:]
    content.extend(junk)
    disk.boot += "+" if data.draw(st.booleans(), label="machine died") else ""
    log = only(start(disk))
    assert log.log_end_offset == expected
    assert values(log) == held[:expected]
    assert len(content) == (whole[-1].end_position if whole else 0)
    append(log, batch(1))
    assert log.log_end_offset == expected + 1


@pytest.mark.parametrize(("how", "lacks"), [("torn", False), ("flipped", True)])
def test_what_was_whole_and_is_not_any_more_may_have_been_committed(how: str, lacks: bool) -> None:
    """A process that dies cuts its last write short, no more."""
    disk, held = crashed()
    content = disk.files[names_of(disk, ".log")[-1]].data
    if how == "torn":
        del content[-3:]
    else:
        content[-3] ^= 4
    logs = start(disk)
    log = only(logs)
    assert log.log_end_offset == len(held) - 2
    assert logs.lacks_committed(log) is lacks
    # The broker died before anybody heard of it, with or without the machine.
    for boot in (disk.boot, "another"):
        logs.release()
        disk.boot = boot
        logs = start(disk)
        assert logs.lacks_committed(only(logs)) is lacks
    logs.accept_losses()
    logs.release()
    logs = start(disk)
    assert not logs.lacks_committed(only(logs))


def _starts(data: bytes) -> list[int]:
    starts, position = [], 0
    while position < len(data):
        starts.append(position)
        position = read_header(data, position).end_position
    return starts


DAMAGE = ("gone", "empty", "short", "zeroes", "junk")


def garble(disk: MemoryDisk, path: str, damage: str) -> None:
    data = disk.files[path].data
    if damage == "gone":
        disk.remove(path)
    elif damage == "empty":
        data.clear()
    elif damage == "short":
        del data[len(data) // 2 + 1 :]
    elif damage == "zeroes":
        data.extend(bytes(96))
    else:
        data[:] = b"\xff\x01" * 24


@pytest.mark.parametrize("machine", [False, True])
@pytest.mark.parametrize("suffix", [".index", ".timeindex", ".snapshot", "epoch-checkpoint"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_companions_are_made_anew(suffix: str, damage: str, machine: bool) -> None:
    disk, held = crashed()
    for path in names_of(disk, suffix):
        garble(disk, path, damage)
    disk.boot += "+" if machine else ""
    log = only(start(disk))
    assert values(log) == held
    assert list(log.leader_epochs) == [(0, 0), (1, 20), (2, 40)]
    for offset in range(len(held)):
        assert values(log, offset) == held[offset:]


@pytest.mark.parametrize("stop", ["clean", "process", "machine"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_nothing_is_lost_with_any_other_file_of_the_directory(damage: str, stop: str) -> None:
    """One after the other: checkpoints, marks of a stop, whose partition it is."""
    disk, held = crashed()
    logs = start(disk)
    for job in logs.checkpoint_jobs():
        job.run()
    if stop == "clean":
        logs.close()
    else:
        disk.process_death()
        disk.boot += "+" if stop == "machine" else ""
    garbled = [
        path
        for path in disk.files
        if not path.endswith((".log", ".index", ".timeindex", ".snapshot", ".lock"))
        and "epoch-checkpoint" not in path
    ]
    assert len(garbled) > 8
    for path in garbled:
        damaged = copy.deepcopy(disk)
        garble(damaged, path, damage)
        if path.endswith("meta.properties") and damage not in ("gone", "zeroes"):
            with pytest.raises(LogsError, match=r"meta\.properties"):
                start(damaged)
            continue
        log = only(start(damaged))
        assert values(log) == held, path
        assert log.log_end_offset == len(held), path


def test_a_flipped_byte_cuts_there_after_the_machine_died(
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk, held = crashed()
    path = names_of(disk, ".log")[1]
    disk.files[path].data[70] ^= 1
    disk.boot += "+"
    with caplog.at_level(logging.WARNING):
        logs = start(disk)
    log = only(logs)
    assert logs.recovered[0].cut_at == log.log_end_offset == int(path[-24:-4])
    assert values(log) == held[: log.log_end_offset]
    [line] = [message for message in caplog.messages if "cut at" in message]
    assert path in line
    assert "later segments removed" in line


def test_below_the_recovery_point_nothing_is_checked() -> None:
    disk = MemoryDisk()
    logs = start(disk)
    log = logs.create(PARTITION, b"t" * 16, CONFIG, 0)
    for at in range(24):
        append(log, batch(2, value=b"v%d" % at))
    log.flush()
    for job in logs.checkpoint_jobs():
        job.run()
    end = log.log_end_offset
    disk.process_death()
    disk.boot += "+"
    first = names_of(disk, ".log")[0]
    disk.files[first].data[70] ^= 1
    assert only(start(disk)).log_end_offset == end


def test_a_hole_between_segments_ends_the_log_unless_it_is_compacted() -> None:
    for policy, lost in (("delete", True), ("compact", False)):
        disk, held = crashed()
        path = names_of(disk, ".log")[1]
        del disk.files[path].data[_starts(bytes(disk.files[path].data))[-1] :]
        disk.boot += "+"
        log = only(start(disk, CONFIG._replace(cleanup_policy=frozenset({policy}))))
        assert (log.log_end_offset < len(held)) is lost


def test_aborted_transactions_are_found_again() -> None:
    disk = MemoryDisk()
    logs = start(disk)
    log = logs.create(PARTITION, b"t" * 16, CONFIG, 0)
    sequence = 0
    for at in range(12):
        append(
            log,
            batch(2, producer_id=9, producer_epoch=0, base_sequence=sequence, transactional=True),
        )
        sequence += 2
        marker = bytearray(
            build_end_txn_marker(
                committed=at % 3 == 0,
                coordinator_epoch=0,
                timestamp=1,
                producer_id=9,
                producer_epoch=0,
            )
        )
        log.append(marker, read_header(marker), 0, 0, AppendOrigin.COORDINATOR)
    expected = log.aborted_transactions(0, log.log_end_offset)
    assert len(expected) == 8
    for machine in (False, True):
        disk.process_death()
        if machine:
            disk.boot += "+"
            for path in names_of(disk, ".txnindex"):
                disk.remove(path)
        log = only(start(disk))
        assert log.aborted_transactions(0, log.log_end_offset) == expected
        assert log.last_stable_offset == log.high_watermark


def test_aborted_transactions_from_before_a_snapshot_are_found_again() -> None:
    """A clean stop leaves a snapshot in the midst of a segment; then the process dies."""
    disk = MemoryDisk()
    config = CONFIG._replace(segment_bytes=1 << 20, index_interval_bytes=1 << 20)
    logs = start(disk, config)
    log = logs.create(PARTITION, b"t" * 16, config, 0)
    transactional = batch(2, producer_id=9, producer_epoch=0, base_sequence=0, transactional=True)
    append(log, transactional)
    marker = bytearray(
        build_end_txn_marker(
            committed=False, coordinator_epoch=0, timestamp=1, producer_id=9, producer_epoch=0
        )
    )
    log.append(marker, read_header(marker), 0, 0, AppendOrigin.COORDINATOR)
    expected = log.aborted_transactions(0, log.log_end_offset)
    assert len(expected) == 1
    logs.close()
    only(start(disk, config))
    disk.process_death()
    log = only(start(disk, config))
    assert log.aborted_transactions(0, log.log_end_offset) == expected


def test_a_log_that_ends_below_its_start_begins_there() -> None:
    disk, _ = crashed()
    disk.write(f"{ROOT}/log-start-offset-checkpoint", b"0\n1\nt 0 500\n", sync=True)
    disk.remove(f"{ROOT}/ottla-ids-of-log-start-offset-checkpoint")  # as Kafka leaves it
    log = only(start(disk))
    assert (log.log_start_offset, log.log_end_offset) == (500, 500)
    assert append(log, batch(1)).base_offset == 500


@pytest.mark.parametrize("how", ["clean", "process", "machine"])
def test_the_last_five_batches_of_a_producer_are_remembered_by_the_next_broker(how: str) -> None:
    disk = MemoryDisk()
    logs = start(disk)
    log = logs.create(PARTITION, b"t" * 16, CONFIG, 0)

    def send(log: Log, sequence: int) -> int:
        append(log, batch(1, value=b"between"))
        return append(
            log, batch(2, producer_id=9, producer_epoch=0, base_sequence=sequence)
        ).base_offset

    bases = [send(log, 2 * number) for number in range(30)]
    assert len(names_of(disk, ".log")) > 3
    if how == "clean":
        logs.close()
    disk.process_death()
    disk.boot += "+" if how == "machine" else ""
    log = only(start(disk))
    assert [send(log, 2 * number) for number in range(25, 30)] == bases[25:]
    with pytest.raises(ApiError):
        send(log, 2 * 24)


def test_a_recovery_that_was_cut_short_leaves_as_much_to_be_doubted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk, held = crashed()
    disk.files[names_of(disk, ".log")[1]].data[70] ^= 1
    disk.boot += "+"

    def fault(operation: str, path: str, size: int) -> None:
        if operation == "pread":
            raise OSError(5, "Input/output error", path)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "fault", fault)
        assert start(disk).get(PARTITION) is None
    disk.process_death()
    log = only(start(disk))
    assert 0 < log.log_end_offset < len(held)
    assert values(log) == held[: log.log_end_offset]


def test_leftovers_of_deletion_are_removed() -> None:
    disk, held = crashed()
    disk.create(f"{FOLDER}/00000000000000000000.log.deleted", b"x")
    disk.create(f"{FOLDER}/leader-epoch-checkpoint.tmp", b"x")
    assert values(only(start(disk))) == held
    assert not names_of(disk, ".deleted")
    assert not names_of(disk, ".tmp")


def test_after_a_clean_stop_a_log_that_changed_is_checked() -> None:
    disk, held = crashed()
    start(disk).close()
    path = names_of(disk, ".log")[-1]
    disk.files[path].data.extend(b"somebody was here")
    logs = start(disk)
    assert logs.stopped_cleanly
    assert values(only(logs)) == held


def test_a_clean_stop_of_kafka_counts_though_ours_is_older() -> None:
    disk, held = crashed()
    start(disk).close()
    disk.write(f"{ROOT}/.kafka_cleanshutdown", b'{"version":0,"brokerEpoch":13}', sync=True)
    logs = start(disk)
    assert logs.stopped_cleanly
    assert only(logs).is_open
    assert values(only(logs)) == held


def compacting(*, cleaned: bool) -> tuple[MemoryDisk, list[tuple[int, bytes | None]]]:
    """A log whose first two segments were just compacted into one `.swap`."""
    disk, held = crashed()
    first, second, *_ = names_of(disk, ".log")
    disk.create(f"{first}.swap", disk.read(first) + disk.read(second))
    for suffix in (".index", ".timeindex"):
        disk.create(first.replace(".log", f"{suffix}.swap"), b"")
    if cleaned:
        disk.create(first.replace(".log", ".log.cleaned"), b"half")
    return disk, held


@pytest.mark.parametrize("cleaned", [False, True])
def test_a_compaction_is_completed_or_undone(cleaned: bool) -> None:
    disk, held = compacting(cleaned=cleaned)
    before = len(names_of(disk, ".log"))
    log = only(start(disk))
    assert values(log) == held
    assert len(log.segments) == before - (0 if cleaned else 1)
    assert not names_of(disk, ".swap")
    assert not names_of(disk, ".cleaned")
    for offset in range(len(held)):
        assert values(log, offset) == held[offset:]


def test_every_flipped_bit_of_a_segment_is_met_after_a_power_cut() -> None:
    every_flipped_bit_is_met()


def test_a_recovery_that_checks_no_sum_is_seen() -> None:
    with broken("recover_without_crc"), pytest.raises((AssertionError, ApiError)):
        every_flipped_bit_is_met()


def every_flipped_bit_is_met() -> None:
    """What is left begins as it did; a batch whose place is in doubt is not among it."""
    disk, held = crashed(8)
    disk.boot += "+"
    for path in names_of(disk, ".log"):
        whole = bytes(disk.files[path].data)
        starts = set(_starts(whole))
        for bit in range(len(whole) * 8):
            header_byte = max(at for at in starts if at <= bit // 8)
            if 12 <= bit // 8 - header_byte < 16:
                continue  # the leader epoch is found against its file: see test_verify.py
            damaged = copy.deepcopy(disk)
            damaged.files[path].data[bit // 8] ^= 1 << bit % 8
            logs = start(damaged)
            assert logs.recovered[0].cut_at is not None, (path, bit)
            left = values(only(logs))
            assert left == held[: len(left)], (path, bit)


def put_aside(disk: MemoryDisk, path: str) -> None:
    disk.rename(path, path + ".deleted")


@pytest.mark.parametrize("came_back", [0, 1])
def test_offsets_that_retention_took_are_not_given_twice(came_back: int) -> None:
    """The power went when segments were being deleted, and the names of newer ones with it."""
    disk, _ = crashed()
    first, second, third, *newer = names_of(disk, ".log")
    for path in (first, second)[came_back:]:
        put_aside(disk, path)
    for path in (third, *newer):
        disk.remove(path)
    disk.boot += "+"
    log = only(start(disk))
    there = int(third[-24:-4])
    assert (log.log_start_offset, log.log_end_offset) == (there, there)
    assert append(log, batch(1)).base_offset == there


def test_a_log_that_begins_anew_stays_there_after_the_next_power_cut() -> None:
    for seed in range(20):
        disk = PowerDisk(SeededRandomness(seed))
        log = start(disk).create(PARTITION, b"t" * 16, CONFIG, 0)
        for _ in range(4):
            append(log, batch(2))
        put_aside(disk, f"{FOLDER}/00000000000000000000.log")
        disk.sync_all()
        for _ in range(2):
            disk.power_cut()
            log = only(start(disk))
            assert (log.log_start_offset, log.log_end_offset) == (8, 8)


def test_a_compacted_log_goes_on_where_it_ended_and_keeps_what_it_has() -> None:
    disk, held = crashed()
    _first, second, third, *newer = names_of(disk, ".log")
    put_aside(disk, second)
    for path in (third, *newer):
        disk.remove(path)
    disk.boot += "+"
    log = only(start(disk, CONFIG._replace(cleanup_policy=frozenset({"compact"}))))
    assert append(log, batch(1)).base_offset == int(third[-24:-4])
    assert values(log)[:-1] == held[: int(second[-24:-4])]


def test_an_index_whose_segment_is_lost_is_not_of_the_next_one_there() -> None:
    disk, _ = crashed(3)
    name = f"{FOLDER}/00000000000000000000"
    disk.create(f"{name}.index", bytes(7) + b"\x64" + bytes(7) + b"\x64")
    disk.remove(f"{name}.log")
    disk.boot += "+"
    log = only(start(disk))
    assert not disk.exists(f"{name}.index")
    append(log, batch(2))
    held = values(log)
    disk.process_death()
    assert values(only(start(disk))) == held


def test_times_are_found_whenever_the_process_died_while_it_rolled() -> None:
    for operations in range(1, 12):
        disk = PowerDisk(SeededRandomness(operations))
        log = start(disk).create(PARTITION, b"t" * 16, CONFIG, 0)
        for at in range(4):
            append(log, batch(2, timestamp=1000 + 10 * at))
        log.finish()
        disk.process_death()
        log = only(start(disk))
        for timestamp in (5000, 1000, 1000, 1000):
            append(log, batch(2, timestamp=timestamp))
        disk.dies_at = disk.operations + operations
        with contextlib.suppress(Died):
            log.roll(0)
        disk.process_death()
        log = only(start(disk))
        found = offset_for_timestamp(log, 5000)
        assert found is not None, operations
        assert found.offset == 8


def test_a_flush_of_an_empty_segment_makes_its_name_durable() -> None:
    """What retention took unflushed has left nothing else that says where the log goes on."""
    for seed in range(20):
        disk = PowerDisk(SeededRandomness(seed))
        logs = start(disk)
        log = logs.create(PARTITION, b"t" * 16, CONFIG._replace(retention_ms=1), 0)
        append(log, batch(2))
        log.flush()
        append(log, batch(2))
        log.high_watermark = 4
        assert log.apply_retention(10**6)
        log.flush()
        assert log.flushed_end_offset == 4
        disk.power_cut()
        assert only(start(disk)).log_end_offset == 4


def test_a_closed_segment_whose_times_are_all_lost_gets_them_again() -> None:
    disk, _ = crashed()
    path = names_of(disk, ".timeindex")[0]
    disk.files[path].data.clear()
    disk.write(f"{ROOT}/recovery-point-offset-checkpoint", b"0\n1\nt 0 48\n", sync=True)
    disk.remove(f"{ROOT}/ottla-ids-of-recovery-point-offset-checkpoint")
    disk.boot += "+"
    found = offset_for_timestamp(only(start(disk)), 1000)
    assert found is not None
    assert found.offset == 0


def deaths_in_a_cut(offset: int) -> Iterator[tuple[PowerDisk, list[tuple[int, bytes | None]]]]:
    """Let the process die at each operation of a truncation; yield what the log held before."""
    for at in count(1):
        disk = PowerDisk(SeededRandomness(at))
        log = start(disk).create(PARTITION, b"t" * 16, CONFIG, 0)
        for number in range(24):
            append(log, batch(2, value=b"v%d" % number))
        held = values(log)
        disk.sync_all()
        log.flushed_with_all()
        disk.dies_at = disk.operations + at
        try:
            log.truncate_to(offset, 0)
            return
        except Died:
            disk.process_death()
            yield disk, held


@pytest.mark.parametrize("offset", [0, 5, 20])
def test_a_cut_that_a_death_interrupted_leaves_a_beginning(offset: int) -> None:
    for disk, held in deaths_in_a_cut(offset):
        log = only(start(disk))
        assert log.log_start_offset == 0
        assert log.log_end_offset <= len(held)
        assert values(log) == held[: log.log_end_offset]


@pytest.mark.parametrize("offset", [5, 20])
def test_a_cut_that_a_death_interrupted_is_not_undone_later(offset: int) -> None:
    """The process died before the cut was synced; then others were appended, and the power went."""
    for disk, held in deaths_in_a_cut(offset):
        log = only(start(disk))
        end = log.log_end_offset
        append(log, batch(1, value=b"new"))
        disk.power_cut()
        log = only(start(disk))
        assert values(log) in (held[:end], [*held[:end], (end, b"new")])


def test_producers_of_before_are_unknown_in_a_log_that_began_anew() -> None:
    """The snapshots of what was dropped may be back after a power cut."""
    for seed in range(60):
        disk = PowerDisk(SeededRandomness(seed))
        log = start(disk).create(PARTITION, b"t" * 16, CONFIG, 0)
        mine = {"producer_id": 7, "producer_epoch": 0, "base_sequence": 0}
        append(log, batch(1, **mine))  # type: ignore[arg-type]
        for _ in range(12):
            append(log, batch(2))
        log.roll(0)
        disk.sync_all()
        log.truncate_fully_and_start_at(25, 0)
        append(log, batch(1, **mine))  # type: ignore[arg-type]
        disk.power_cut()
        log = only(start(disk))
        if log.log_end_offset == 26:
            assert append(log, batch(1, **mine)).base_offset == 25  # type: ignore[arg-type]


def test_a_snapshot_from_below_the_log_is_not_believed() -> None:
    """Its removal was undone by a power cut, and the one where the log begins was lost."""
    disk, _ = crashed()
    first, second, *_ = names_of(disk, ".log")
    there = int(second[-24:-4])
    entry = SnapshotEntry(7, 0, 3, 3, 0, 1000, -1, -1)
    disk.create(f"{FOLDER}/{there - 1:020d}.snapshot", encode_snapshot([entry]))
    for path in (first, *names_of(disk, ".snapshot")[2:]):
        disk.remove(path)
    disk.boot += "+"
    log = only(start(disk))
    assert log.log_start_offset == there
    assert 7 not in log.producers.producers
    assert f"{FOLDER}/{there - 1:020d}.snapshot" not in names_of(disk, ".snapshot")
