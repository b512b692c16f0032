"""What stays of one batch, case by case."""

from typing import Any

import pytest

from ottla.model.isolation import CompressionType, TimestampType
from ottla.record.batch import read_header, verify_crc
from ottla.record.builder import assemble_batch, build_batch
from ottla.record.control import build_end_txn_marker
from ottla.record.records import Record, read_records
from ottla.storage.compaction.key_map import KeyMap
from ottla.storage.compaction.rules import Kept, Outcome, Verdict, what_stays

NOW, RETENTION = 50_000, 1_000
NOTHING_SPECIAL = Verdict(discards=False, stays_empty=False)
RECORDS = [
    Record(timestamp=10, key=b"a", value=b"1"),
    Record(timestamp=30, key=b"b", value=None),
    Record(timestamp=20, key=b"c", value=b"3", headers=(("h", b"x"), ("n", None))),
    Record(timestamp=5, key=None, value=b"4"),
]


def made(records: list[Record] = RECORDS, **options: Any) -> bytes:
    return build_batch(records, base_offset=100, leader_epoch=3, **options)


def latest(**offsets: int) -> KeyMap:
    keys = KeyMap(1_000, 0.9, 10)
    for key, offset in offsets.items():
        keys.put(key.encode(), offset)
    keys.latest_offset = 1_000
    return keys


def stays(batch: bytes, keys: KeyMap, verdict: Verdict = NOTHING_SPECIAL, now: int = NOW) -> Kept:
    return what_stays(read_header(batch), batch, verdict, keys, now, RETENTION)


def left(kept: Kept) -> list[tuple[int, int, bytes | None]]:
    assert verify_crc(kept.batch)
    return [(r.offset, r.timestamp, r.key) for r in read_records(kept.batch)]


def test_the_last_of_each_key_stays() -> None:
    kept = stays(made(), latest(a=200, b=201, c=102))
    assert left(kept) == [(102, 20, b"c")]
    header = read_header(kept.batch)
    assert (header.base_offset, header.last_offset, header.leader_epoch) == (100, 103, 3)
    assert (header.base_timestamp, header.max_timestamp) == (20, 20)
    assert next(read_records(kept.batch)).headers == RECORDS[2].headers


def test_a_batch_of_which_all_stays_is_not_touched() -> None:
    batch = made(RECORDS[:1], producer_id=5, producer_epoch=1, base_sequence=9)
    assert stays(batch, latest(a=100)) == Kept(batch, 1, Outcome.AS_IT_WAS)


def test_records_above_the_map_stay_as_they_are() -> None:
    keys = latest(a=100)
    keys.latest_offset = 99
    batch = made([RECORDS[0], RECORDS[3]])
    assert stays(batch, keys).batch == batch


def test_nothing_is_left_of_a_batch_without_any_last_value() -> None:
    assert stays(made(), latest(a=200, b=201, c=202)) == Kept(b"", 0, Outcome.GONE)


def test_the_header_stays_where_it_says_the_last_sequence() -> None:
    batch = made(producer_id=5, producer_epoch=1, base_sequence=9, transactional=True)
    kept = stays(batch, latest(a=200, b=201, c=202), Verdict(False, True))
    before, after = read_header(batch), read_header(kept.batch)
    assert kept.outcome is Outcome.EMPTY
    assert len(kept.batch) == 61
    assert verify_crc(kept.batch)
    assert after.records_count == 0
    assert after.base_timestamp == -1
    for same in ("last_offset", "last_sequence", "producer_epoch", "max_timestamp", "attributes"):
        assert getattr(after, same) == getattr(before, same)


def test_an_empty_batch_stays_as_it_is_or_goes() -> None:
    batch = stays(made(), latest(a=200, b=201, c=202), Verdict(False, True)).batch
    assert stays(batch, latest(), Verdict(False, True)) == Kept(batch, 0, Outcome.EMPTY)
    assert stays(batch, latest()) == Kept(b"", 0, Outcome.GONE)


def test_a_deletion_sets_the_delete_horizon_and_goes_when_it_is_past() -> None:
    first = stays(made(RECORDS[:3]), latest(a=100, b=101, c=102))
    header = read_header(first.batch)
    assert header.delete_horizon_ms == NOW + RETENTION
    assert left(first) == [(100, 10, b"a"), (101, 30, b"b"), (102, 20, b"c")]
    assert header.max_timestamp == 30
    keys = latest(a=100, b=101, c=102)
    again = stays(first.batch, keys, now=NOW + RETENTION - 1)
    assert again.batch == first.batch
    later = stays(first.batch, keys, now=NOW + RETENTION)
    assert left(later) == [(100, 10, b"a"), (102, 20, b"c")]
    assert read_header(later.batch).delete_horizon_ms == NOW + RETENTION


def test_an_aborted_batch_goes_whatever_its_keys() -> None:
    assert stays(made(), latest(), Verdict(True, False)).outcome is Outcome.GONE


def marker() -> bytes:
    return build_end_txn_marker(
        committed=False,
        coordinator_epoch=1,
        timestamp=40,
        producer_id=5,
        producer_epoch=2,
        base_offset=110,
    )


def test_a_marker_stays_while_its_transaction_has_batches() -> None:
    assert stays(marker(), latest()) == Kept(marker(), 1, Outcome.AS_IT_WAS)


def test_a_marker_goes_after_its_horizon() -> None:
    needless = Verdict(discards=True, stays_empty=False)
    first = stays(marker(), latest(), needless)
    header = read_header(first.batch)
    assert header.delete_horizon_ms == NOW + RETENTION
    assert header.is_control
    assert [r.timestamp for r in read_records(first.batch)] == [40]
    assert stays(first.batch, latest(), needless, NOW + RETENTION - 1).batch == first.batch
    assert stays(first.batch, latest(), needless, NOW + RETENTION).outcome is Outcome.GONE
    emptied = stays(first.batch, latest(), Verdict(True, True), NOW + RETENTION)
    header = read_header(emptied.batch)
    assert (header.records_count, header.is_control, header.producer_epoch) == (0, True, 2)


@pytest.mark.parametrize("codec", list(CompressionType))
def test_it_is_compressed_as_it_was(codec: CompressionType) -> None:
    kept = stays(made(compression=codec), latest(a=100, b=200, c=102))
    assert read_header(kept.batch).compression is codec
    assert left(kept) == [(100, 10, b"a"), (102, 20, b"c")]


def test_append_time_is_every_records_time() -> None:
    batch = made(timestamp_type=TimestampType.LOG_APPEND_TIME)
    kept = stays(batch, latest(a=200, b=201, c=102))
    header = read_header(kept.batch)
    assert header.timestamp_type is TimestampType.LOG_APPEND_TIME
    assert (header.base_timestamp, header.max_timestamp) == (30, 30)
    assert left(kept) == [(102, 30, b"c")]


def test_what_makes_no_sense_stays() -> None:
    batch = assemble_batch(
        b"\x00" * 40,
        3,
        base_offset=100,
        last_offset_delta=2,
        leader_epoch=0,
        base_timestamp=0,
        max_timestamp=0,
        compression=CompressionType.NONE,
        level=None,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        transactional=False,
        control=False,
        timestamp_type=TimestampType.CREATE_TIME,
    )
    assert stays(batch, latest()) == Kept(batch, 3, Outcome.UNREADABLE)
