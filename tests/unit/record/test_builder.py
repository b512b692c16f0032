import pytest

from ottla.model.isolation import CompressionType, TimestampType
from ottla.record.batch import read_header, verify_crc
from ottla.record.builder import build_batch
from ottla.record.records import Record, read_records


def test_a_batch_has_what_it_was_built_with() -> None:
    batch = build_batch(
        [Record(timestamp=5), Record(timestamp=9), Record(timestamp=4)],
        base_offset=100,
        leader_epoch=3,
        producer_id=7,
        producer_epoch=2,
        base_sequence=2**31 - 2,
        transactional=True,
    )
    header = read_header(batch)
    assert verify_crc(batch)
    assert header.size == len(batch)
    assert header.last_offset == 102
    assert header.records_count == 3
    assert (header.base_timestamp, header.max_timestamp) == (5, 9)
    assert (header.leader_epoch, header.producer_id, header.producer_epoch) == (3, 7, 2)
    assert header.last_sequence == 0
    assert header.is_transactional
    assert not header.is_control
    assert header.compression is CompressionType.NONE


def test_offsets_are_dense_from_the_base_whatever_the_records_say() -> None:
    batch = build_batch([Record(offset=5), Record(offset=5)], base_offset=40)
    assert [r.offset for r in read_records(batch)] == [40, 41]


def test_append_time_is_the_greatest_timestamp() -> None:
    batch = build_batch(
        [Record(timestamp=5), Record(timestamp=3)], timestamp_type=TimestampType.LOG_APPEND_TIME
    )
    assert [r.timestamp for r in read_records(batch)] == [5, 5]


def test_a_batch_of_nothing_is_not_built() -> None:
    with pytest.raises(ValueError, match="at least one"):
        build_batch([])
