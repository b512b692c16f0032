import pytest

from ottla.model.errors import ApiError, ErrorCode
from ottla.record.batch import HEADER_SIZE, read_header
from ottla.record.builder import build_batch
from ottla.record.records import (
    Record,
    append_record,
    decode_records,
    fields_of,
    read_records,
    records_of,
    walk,
    walk_closely,
)
from ottla.record.varint import append_varint

RECORD = Record(
    offset=7,
    timestamp=1_500,
    key=b"key",
    value=b"value",
    headers=(("a", b"1"), ("ä", None), ("", b"")),
)


def encoded(*sizes: int) -> bytes:
    """Records whose values have these sizes."""
    out = bytearray()
    for delta, size in enumerate(sizes):
        append_record(out, delta, 0, None, bytes(size))
    return bytes(out)


def refused(records: bytes, count: int) -> bool:
    try:
        walk(records, count)
    except ApiError as error:
        return error.code is ErrorCode.INVALID_RECORD
    return False


def test_a_record_is_the_bytes_of_the_table() -> None:
    out = bytearray()
    append_record(out, 1, -2, b"k", None, (("h", b""),))
    assert out.hex() == "14000302026b0102026800"


def test_records_come_back_as_they_went_in() -> None:
    null = Record(offset=8, timestamp=1_400)
    assert list(read_records(build_batch([RECORD, null], base_offset=7))) == [RECORD, null]


def test_the_records_of_an_uncompressed_batch_are_a_view() -> None:
    batch = build_batch([RECORD])
    view = records_of(batch, read_header(batch))
    assert isinstance(view, memoryview)
    assert view == batch[HEADER_SIZE:]


@pytest.mark.parametrize("sizes", [(0,), (3, 0, 57, 58), (8_180, 8_190, 9_000), (3_000_000, 1)])
def test_the_walk_accepts_exactly_the_records_that_are_there(sizes: tuple[int, ...]) -> None:
    records = encoded(*sizes)
    assert not refused(records, len(sizes))
    assert refused(records, len(sizes) + 1)
    assert refused(records, len(sizes) - 1)
    assert refused(records + b"\x00", len(sizes))
    assert refused(records[:-1], len(sizes))


def test_the_walk_may_start_behind_the_header() -> None:
    walk(build_batch([RECORD, RECORD]), 2, HEADER_SIZE)


@pytest.mark.parametrize("length", [-1, 0, 5, -64, -65, -8193, 2**31 - 1, -(2**31)])
def test_the_walk_refuses_an_impossible_length(length: int) -> None:
    out = bytearray()
    append_varint(out, length)
    assert refused(bytes(out) + bytes(max(0, min(length, 100))), 1)


def test_the_walk_refuses_a_length_of_more_than_five_bytes() -> None:
    assert refused(b"\x8c\x80\x80\x80\x80\x00" + bytes(6), 1)


def test_the_walk_takes_lengths_that_are_longer_than_they_need_be() -> None:
    assert not refused(b"\x8c\x00" + bytes(6) + b"\x8c\x80\x80\x80\x00" + bytes(6), 2)


@pytest.mark.parametrize(
    "digits",
    [
        "",  # nothing there
        "100000000101",  # ends before its length
        "0e00000001010000",  # a byte too many inside
        "0c000000040100",  # key past the end
        "0c000000010102",  # a header that is not there
        "0c000000010101",  # a negative number of headers
        "100000000101020101",  # a header without a key
        "0a0000000101",  # shorter than any record
    ],
)
def test_a_record_that_does_not_fit_is_invalid(digits: str) -> None:
    header = read_header(build_batch([RECORD]))
    with pytest.raises(ApiError) as raised:
        list(decode_records(bytes.fromhex(digits), header))
    assert raised.value.code is ErrorCode.INVALID_RECORD


def test_a_batch_cut_off_is_corrupt() -> None:
    with pytest.raises(ApiError) as raised:
        list(read_records(build_batch([RECORD])[:-1]))
    assert raised.value.code is ErrorCode.CORRUPT_MESSAGE


def test_a_header_key_that_is_not_utf8_is_still_read() -> None:
    batch = bytearray(build_batch([Record(headers=(("key", b""),))]))
    batch[batch.index(b"key")] = 0xFF
    assert next(read_records(batch)).headers == (("\ufffdey", b""),)


def test_the_close_walk_follows_offset_deltas_of_any_width() -> None:
    records = bytearray()
    for index in range(20_000):
        append_record(records, index, index % 3 * 1_000_000, None if index % 7 else b"k", b"")
    assert walk_closely(records, 20_000) == (True, False)
    assert [keyed for _, _, keyed in fields_of(records, 20_000)] == [
        index % 7 == 0 for index in range(20_000)
    ]


@pytest.mark.parametrize("deltas", [(0, 0), (1, 0), (0, 2), (0, -1), (0, 64), (0, 8192)])
def test_the_close_walk_tells_a_gap(deltas: tuple[int, int]) -> None:
    records = bytearray()
    for delta in deltas:
        append_record(records, delta, 0, b"k", b"")
    assert walk_closely(records, 2) == (False, True)


def test_the_close_walk_reads_a_long_run_of_continuation_bytes_once() -> None:
    with pytest.raises(ApiError):
        walk_closely(b"\xa0\x01\x00" + b"\x80" * 79, 1)


def test_fields_are_timestamp_delta_offset_delta_and_whether_there_is_a_key() -> None:
    records = bytearray()
    append_record(records, 0, -5_000_000_000, b"", None)
    append_record(records, 70_000, 9, None, bytes(10_000))
    assert list(fields_of(records, 2)) == [(-5_000_000_000, 0, True), (9, 70_000, False)]
