import pytest

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.isolation import CompressionType, TimestampType
from ottla.record.batch import (
    HEADER_SIZE,
    batches,
    magic_at,
    read_header,
    set_log_append_time,
    size_at,
    stamp,
    verify_crc,
)
from ottla.record.builder import build_batch
from ottla.record.records import Record, read_records

RECORDS = [Record(timestamp=1_000 + n, key=b"k", value=b"v" * n) for n in range(3)]


def test_the_header_has_every_field_at_its_place() -> None:
    fields = [
        ("0000000000000102", "base_offset", 0x102),
        ("00000031", "batch_length", 49),
        ("00000304", "leader_epoch", 0x304),
        ("02", "magic", 2),
        ("fffefdfc", "crc", 0xFFFEFDFC),
        ("0073", "attributes", 0x73),
        ("00000506", "last_offset_delta", 0x506),
        ("0000000000000708", "base_timestamp", 0x708),
        ("000000000000090a", "max_timestamp", 0x90A),
        ("0000000000000b0c", "producer_id", 0xB0C),
        ("0d0e", "producer_epoch", 0xD0E),
        ("7fffffff", "base_sequence", 0x7FFFFFFF),
        ("00001112", "records_count", 0x1112),
    ]
    buffer = bytes(5) + bytes.fromhex("".join(digits for digits, _, _ in fields))

    header = read_header(buffer, 5)

    assert {name: getattr(header, name) for _, name, _ in fields} == {
        name: value for _, name, value in fields
    }
    assert header.position == 5
    assert header.size == HEADER_SIZE
    assert header.end_position == 5 + HEADER_SIZE
    assert header.last_offset == 0x102 + 0x506
    assert header.next_offset == 0x102 + 0x507
    assert header.last_sequence == 0x505  # wrapped
    assert header.compression is CompressionType.LZ4
    assert header.timestamp_type is TimestampType.CREATE_TIME
    assert header.is_transactional
    assert header.is_control
    assert header.delete_horizon_ms == 0x708


def test_a_batch_without_a_producer_has_no_last_sequence() -> None:
    header = read_header(build_batch(RECORDS))
    assert header.last_sequence == -1
    assert header.delete_horizon_ms is None


def test_a_codec_that_does_not_exist_is_unsupported() -> None:
    batch = bytearray(build_batch(RECORDS))
    batch[22] |= 5
    with pytest.raises(ApiError) as raised:
        _ = read_header(batch).compression
    assert raised.value.code is ErrorCode.UNSUPPORTED_COMPRESSION_TYPE


@pytest.mark.parametrize("size", [0, 1, 12, 60])
def test_a_header_cut_off_is_corrupt(size: int) -> None:
    with pytest.raises(ApiError) as raised:
        read_header(build_batch(RECORDS)[:size])
    assert raised.value.code is ErrorCode.CORRUPT_MESSAGE


def test_batches_come_back_to_back_and_a_last_one_cut_off_is_left_out() -> None:
    first = build_batch(RECORDS, base_offset=10)
    second = build_batch(RECORDS[:1], base_offset=13)
    whole = first + second
    for end in range(len(first), len(whole)):
        assert [h.base_offset for h in batches(whole[:end])] == [10]
    found = list(batches(memoryview(whole + first[:70])))
    assert [(h.base_offset, h.position, h.size) for h in found] == [
        (10, 0, len(first)),
        (13, len(first), len(second)),
    ]
    assert [h.base_offset for h in batches(whole, len(first))] == [13]
    assert [h.base_offset for h in batches(whole, 0, len(first))] == [10]


def test_batches_stop_with_an_error_where_no_batch_can_be() -> None:
    good = build_batch(RECORDS)
    wrong_magic = bytearray(good)
    wrong_magic[16] = 1
    too_small = bytearray(good)
    too_small[8:12] = (48).to_bytes(4, "big")
    negative = bytearray(good)
    negative[8:12] = b"\xff" * 4
    for bad in (wrong_magic, too_small, negative):
        found = batches(good + bad)
        assert next(found).position == 0
        with pytest.raises(ApiError) as raised:
            next(found)
        assert raised.value.code is ErrorCode.CORRUPT_MESSAGE


def test_stamping_leaves_the_checksum_right() -> None:
    buffer = bytearray(b"..." + build_batch(RECORDS))
    stamp(buffer, 3, 1 << 40, 77)
    header = read_header(buffer, 3)
    assert (header.base_offset, header.leader_epoch) == (1 << 40, 77)
    assert size_at(buffer, 3) == len(buffer) - 3
    assert magic_at(buffer, 3) == 2
    assert verify_crc(buffer, 3)
    assert [r.offset for r in read_records(buffer, 3)] == [(1 << 40) + n for n in range(3)]


def test_log_append_time_becomes_the_time_of_every_record_and_the_checksum_follows() -> None:
    view = memoryview(bytearray(build_batch(RECORDS)))
    set_log_append_time(view, 0, 5_000)
    assert verify_crc(view)
    assert read_header(view).timestamp_type is TimestampType.LOG_APPEND_TIME
    assert {r.timestamp for r in read_records(view)} == {5_000}


def test_any_byte_changed_behind_the_checksum_is_noticed() -> None:
    batch = build_batch(RECORDS)
    assert verify_crc(batch)
    for position in range(17, len(batch)):
        changed = bytearray(batch)
        changed[position] ^= 1
        assert not verify_crc(changed)


def test_a_batch_that_is_not_all_there_has_no_right_checksum() -> None:
    batch = build_batch(RECORDS)
    for size in range(len(batch)):
        assert not verify_crc(batch[:size])
    assert verify_crc(batch + b"rest")
    assert not verify_crc(batch, 0, 60)
