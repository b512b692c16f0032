import pytest

from ottla.model.errors import ApiError, ErrorCode
from ottla.record.batch import read_header, verify_crc
from ottla.record.control import (
    ControlRecordType,
    EndTxnMarker,
    build_end_txn_marker,
    control_type,
    read_end_txn_marker,
)
from ottla.record.records import Record, read_records


@pytest.mark.parametrize("committed", [True, False])
def test_a_marker_comes_back_as_it_was_built(committed: bool) -> None:
    batch = build_end_txn_marker(
        committed=committed,
        coordinator_epoch=12,
        timestamp=99,
        producer_id=5,
        producer_epoch=6,
        base_offset=1_000,
    )
    header = read_header(batch)
    (record,) = read_records(batch)
    assert verify_crc(batch)
    assert header.is_control
    assert header.is_transactional
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (5, 6, -1)
    assert record.key == bytes([0, 0, 0, int(committed)])
    assert record.value == bytes([0, 0, 0, 0, 0, 12])
    assert (record.offset, record.timestamp) == (1_000, 99)
    assert read_end_txn_marker(record) == EndTxnMarker(committed, 12)


def test_types_of_control_records() -> None:
    assert control_type(bytes([0, 0, 0, 2])) is ControlRecordType.LEADER_CHANGE
    assert control_type(bytes([0, 9, 0, 1, 5])) is ControlRecordType.COMMIT
    assert control_type(bytes([0, 0, 0, 99])) is ControlRecordType.UNKNOWN
    assert read_end_txn_marker(Record(key=bytes([0, 0, 0, 2]))) is None


@pytest.mark.parametrize(
    "record",
    [
        Record(),
        Record(key=b"\0\0\0"),
        Record(key=b"\xff\xff\0\0"),
        Record(key=bytes(4)),
        Record(key=bytes(4), value=bytes(5)),
        Record(key=bytes(4), value=b"\xff\xff\0\0\0\0"),
    ],
)
def test_a_marker_that_is_none_is_corrupt(record: Record) -> None:
    with pytest.raises(ApiError) as raised:
        read_end_txn_marker(record)
    assert raised.value.code is ErrorCode.CORRUPT_MESSAGE
