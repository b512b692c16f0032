"""Whatever is built is read back; whatever is broken is refused and nothing else happens."""

import contextlib
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.sparse_batch import build_sparse_batch

from ottla.model.errors import ApiError
from ottla.model.ids import TopicPartition
from ottla.model.isolation import CompressionType, TimestampType
from ottla.record.batch import HEADER_SIZE, batches, read_header, set_crc, verify_crc
from ottla.record.builder import build_batch
from ottla.record.compression import compress, decompress
from ottla.record.records import Record, fields_of, read_records, walk, walk_closely
from ottla.record.validate import (
    ProducedBatch,
    ProduceRules,
    RejectedBatchError,
    takes_long,
    validate_produced,
)
from ottla.record.varint import append_varint, read_varint, read_varlong

NOW_MS = 1_700_000_000_000
INT64 = st.integers(-(2**63), 2**63 - 1)
CODECS = st.sampled_from(list(CompressionType))
BYTES = st.none() | st.binary(max_size=20) | st.binary(min_size=100, max_size=300)
HEADERS = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=9)), max_size=3)


@st.composite
def record_lists(draw: st.DrawFn, timestamps: st.SearchStrategy[int] = INT64) -> list[Record]:
    """Records as a batch at offset 0 has them."""
    count = draw(st.integers(1, 8) | st.sampled_from([63, 64, 65, 200]))
    few = [
        (draw(timestamps), draw(BYTES), draw(BYTES), tuple(draw(HEADERS)))
        for _ in range(min(count, 8))
    ]
    return [Record(i, *few[i % len(few)]) for i in range(count)]


SENSIBLE = record_lists(st.integers(NOW_MS - 10_000, NOW_MS + 10_000))


@given(record_lists(), CODECS)
def test_records_come_back_through_every_codec(
    records: list[Record], codec: CompressionType
) -> None:
    batch = build_batch(records, compression=codec)
    assert verify_crc(batch)
    assert [header.size for header in batches(batch)] == [len(batch)]
    assert list(read_records(batch)) == records
    assert list(read_records(memoryview(b"__" + batch + b"__"), 2)) == records


@given(record_lists(), st.integers(0, 2**62), st.none() | INT64)
def test_sparse_batches_keep_offsets_and_times(
    records: list[Record], base_offset: int, horizon: int | None
) -> None:
    kept = [record._replace(offset=base_offset + 3 * record.offset) for record in records]
    batch = build_sparse_batch(
        kept,
        base_offset=base_offset,
        last_offset=kept[-1].offset + 5,
        leader_epoch=1,
        delete_horizon_ms=horizon,
    )
    assert list(read_records(batch)) == kept
    assert read_header(batch).last_offset == kept[-1].offset + 5


@given(record_lists())
def test_the_walks_agree_on_what_is_there(records: list[Record]) -> None:
    batch = build_batch(records)
    count = len(records)
    walk(batch, count, HEADER_SIZE)
    assert walk_closely(batch, count, HEADER_SIZE) == (
        True,
        all(record.key is not None for record in records),
    )
    fields = list(fields_of(batch, count, HEADER_SIZE))
    assert [(delta, has_key) for _, delta, has_key in fields] == [
        (record.offset, record.key is not None) for record in records
    ]
    for wrong in (count - 1, count + 1):
        with pytest.raises(ApiError):
            walk(batch, wrong, HEADER_SIZE)
        with pytest.raises(ApiError):
            walk_closely(batch, wrong, HEADER_SIZE)
        with pytest.raises(ApiError):
            list(fields_of(batch, wrong, HEADER_SIZE))


def walk_outcome(data: bytes, count: int, how: str) -> bool:
    try:
        if how == "walk":
            walk(data, count)
        elif how == "closely":
            walk_closely(data, count)
        else:
            list(fields_of(data, count))
    except ApiError:
        return False
    return True


@given(st.binary(max_size=60), st.integers(0, 10))
@example(b"\xff" * 60, 3)
@example(b"\x0c" + b"\x80" * 50, 1)
def test_a_closer_walk_never_accepts_more(data: bytes, count: int) -> None:
    simple = walk_outcome(data, count, "walk")
    closely = walk_outcome(data, count, "closely")
    assert simple or not closely
    assert closely == walk_outcome(data, count, "fields")


@given(SENSIBLE, CODECS, st.none() | CODECS, st.sampled_from(TimestampType))
def test_a_good_batch_is_accepted_and_stays_as_it_is_unless_recompressed(
    records: list[Record],
    codec: CompressionType,
    target: CompressionType | None,
    timestamp_type: TimestampType,
) -> None:
    sent = build_batch(records, compression=codec, producer_id=4, producer_epoch=1, base_sequence=9)
    rules = ProduceRules(target=target, timestamp_type=timestamp_type)
    produced = check(sent, rules)
    if target is None or target is codec:
        assert produced.batch == sent
    assert list(read_records(produced.batch)) == records
    assert verify_crc(produced.batch)
    again = check(bytes(produced.batch), rules)
    assert again == produced
    assert produced.records_count == len(records)
    assert produced.max_timestamp == max(record.timestamp for record in records)
    assert produced.last_sequence == 9 + len(records) - 1


def check(sent: bytes, rules: ProduceRules) -> ProducedBatch:
    takes_long(sent, rules, NOW_MS)
    return validate_produced(
        sent, rules, partition=TopicPartition("t", 0), api_version=12, now_ms=NOW_MS
    )


RULES = [
    ProduceRules(decompressed_limit=100_000),
    ProduceRules(compacted=True, decompressed_limit=100_000),
    ProduceRules(timestamp_before_max_ms=1000, decompressed_limit=100_000),
    ProduceRules(timestamp_type=TimestampType.LOG_APPEND_TIME, decompressed_limit=100_000),
    ProduceRules(walk=False, decompressed_limit=100_000),
    *[ProduceRules(target=codec, decompressed_limit=100_000) for codec in CompressionType],
]


@st.composite
def broken_batches(draw: st.DrawFn) -> bytes:
    """A batch with bytes changed, taken out or put in, mostly with the checksum made right again."""
    batch = bytearray(build_batch(draw(SENSIBLE), compression=draw(CODECS)))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(batch) - 1) | st.integers(0, HEADER_SIZE + 20))
        what = draw(st.sampled_from(["set", "cut", "insert", "field"]))
        if what == "set" and position < len(batch):
            batch[position] = draw(st.integers(0, 255))
        elif what == "cut":
            del batch[position : position + draw(st.integers(1, 5))]
        elif what == "insert":
            batch[position:position] = draw(st.binary(max_size=12))
        elif position + 4 <= len(batch):
            struct.pack_into(">i", batch, position, draw(st.integers(-(2**31), 2**31 - 1)))
    if draw(st.integers(0, 4)) and len(batch) >= HEADER_SIZE:
        struct.pack_into(">i", batch, 8, len(batch) - 12)
        batch[16] = 2
        set_crc(batch)
    return bytes(batch)


@given(broken_batches() | st.binary(max_size=200), st.sampled_from(RULES))
@settings(max_examples=600, deadline=None)
def test_a_broken_batch_is_refused_or_harmless(sent: bytes, rules: ProduceRules) -> None:
    try:
        produced = check(sent, rules)
    except RejectedBatchError:
        return
    assert verify_crc(produced.batch)
    header = read_header(produced.batch)
    assert header.size == len(produced.batch)
    assert header.last_offset == header.records_count - 1
    try:
        found = list(read_records(produced.batch, limit=100_000))
    except ApiError:
        return
    assert len(found) == header.records_count


@given(broken_batches() | st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_readers_raise_nothing_but_api_errors(data: bytes) -> None:
    verify_crc(data)
    try:
        for header in batches(data):
            assert header.end_position <= len(data)
            list(read_records(data, header.position, limit=100_000))
    except ApiError:
        pass


@given(CODECS, st.binary(max_size=300), st.data())
@settings(max_examples=400, deadline=None)
def test_a_broken_block_expands_within_the_limit_or_fails(
    codec: CompressionType, plain: bytes, data: st.DataObject
) -> None:
    block = bytearray(compress(codec, plain * 5))
    for _ in range(data.draw(st.integers(0, 3))):
        if block:
            position = data.draw(st.integers(0, len(block) - 1))
            block[position] = data.draw(st.integers(0, 255))
    limit = data.draw(st.integers(0, 2000))
    with contextlib.suppress(ApiError):
        assert len(decompress(codec, bytes(block), limit)) <= limit


@given(INT64)
def test_varints_come_back(value: int) -> None:
    out = bytearray()
    append_varint(out, value)
    assert len(out) <= 10
    assert read_varlong(out, 0) == (value, len(out))
    if -(2**31) <= value < 2**31:
        assert read_varint(out, 0) == (value, len(out))
