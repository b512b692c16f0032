"""What the shapes put to Kafka do not show; those are in test_validate_against_kafka.py."""

from typing import Any

import pytest

from ottla.model.errors import ErrorCode
from ottla.model.ids import TopicPartition
from ottla.model.isolation import CompressionType, TimestampType
from ottla.record.batch import HEADER_SIZE, read_header, set_crc
from ottla.record.builder import build_batch
from ottla.record.checksum import Buffer
from ottla.record.compression import compress
from ottla.record.records import Record, read_records
from ottla.record.validate import (
    MANY_RECORDS,
    MAX_RECORD_ERRORS,
    ProducedBatch,
    ProduceRules,
    RejectedBatchError,
    must_expand,
    takes_long,
    validate_produced,
)

NOW_MS = 1_700_000_000_000
NONE, GZIP, SNAPPY, LZ4, ZSTD = CompressionType


def check(records: Buffer | None, rules: ProduceRules | None = None) -> ProducedBatch:
    return validate_produced(
        records,
        rules or ProduceRules(),
        partition=TopicPartition("rides", 3),
        api_version=12,
        now_ms=NOW_MS,
    )


def code_of(records: Buffer | None, rules: ProduceRules | None = None) -> ErrorCode:
    with pytest.raises(RejectedBatchError) as raised:
        check(records, rules)
    return raised.value.code


def some(count: int = 3, codec: CompressionType = NONE, ahead_ms: int = 0) -> bytes:
    return build_batch(
        [Record(timestamp=NOW_MS + ahead_ms + n, key=b"k", value=b"v" * 50) for n in range(count)],
        compression=codec,
        producer_id=9,
        producer_epoch=2,
        base_sequence=2**31 - 2,
        transactional=True,
    )


def test_what_comes_back_is_the_batch_in_numbers_and_the_same_bytes() -> None:
    sent = memoryview(bytearray(b"..." + some()))[3:]
    produced = check(sent)
    assert produced.batch is sent
    assert produced == ProducedBatch(sent, 0x10, 3, NOW_MS, NOW_MS + 2, 9, 2, 2**31 - 2)
    assert produced.last_sequence == 0
    assert produced.is_transactional
    assert check(build_batch([Record(timestamp=NOW_MS)])).last_sequence == -1


def test_the_reason_is_for_the_log_and_the_message_for_the_client() -> None:
    with pytest.raises(RejectedBatchError, match="base offset is 7") as raised:
        check(build_batch([Record(timestamp=NOW_MS)], base_offset=7))
    assert raised.value.message is None
    assert raised.value.record_errors == []


def test_a_null_key_names_the_partition_and_the_record() -> None:
    batch = build_batch([Record(timestamp=NOW_MS, key=key) for key in (b"a", None)])
    with pytest.raises(RejectedBatchError) as raised:
        check(batch, ProduceRules(compacted=True))
    ((index, message),) = raised.value.record_errors
    assert index == 1
    assert message.endswith("rides-3")


@pytest.mark.parametrize("codec", CompressionType)
def test_header_validation_does_not_look_at_the_records(codec: CompressionType) -> None:
    batch = bytearray(some(codec=codec))
    batch[HEADER_SIZE:] = bytes(len(batch) - HEADER_SIZE)
    set_crc(batch)
    lax = ProduceRules(walk=False)
    assert check(batch, lax).batch is batch
    assert not must_expand(batch, lax)
    assert code_of(batch) in (ErrorCode.INVALID_RECORD, ErrorCode.UNKNOWN_SERVER_ERROR)


def test_header_validation_still_keeps_the_rules_that_need_records() -> None:
    lax = ProduceRules(walk=False, compacted=True)
    batch = build_batch([Record(timestamp=NOW_MS)], compression=GZIP)
    assert must_expand(batch, lax)
    assert code_of(batch, lax) is ErrorCode.INVALID_RECORD
    ahead = some(ahead_ms=4_000_000, codec=GZIP)
    assert code_of(ahead, ProduceRules(walk=False)) is ErrorCode.INVALID_TIMESTAMP


def test_whether_a_codec_will_run() -> None:
    assert not must_expand(b"", ProduceRules())
    assert not must_expand(some(), ProduceRules())
    assert not must_expand(some(), ProduceRules(target=NONE))
    assert must_expand(some(), ProduceRules(target=LZ4))
    assert must_expand(some(codec=LZ4), ProduceRules())
    assert must_expand(some(codec=LZ4), ProduceRules(target=NONE, walk=False))
    assert not must_expand(some(codec=LZ4), ProduceRules(target=LZ4, walk=False))


def test_what_takes_long_is_known_beforehand() -> None:
    def slow(batch: bytes, **rules: Any) -> bool:
        return takes_long(batch, ProduceRules(**rules), NOW_MS)

    many = [Record(timestamp=NOW_MS, value=bytes(7)) for _ in range(MANY_RECORDS + 1)]
    late = [record._replace(timestamp=NOW_MS * 2) for record in many]
    assert not slow(b"")
    assert not slow(some(codec=LZ4)), "few records, of few bytes"
    assert not slow(build_batch(many)), "the walk over lengths is fast"
    assert slow(build_batch(many), compacted=True)
    assert slow(build_batch(late))
    assert not slow(build_batch(late), timestamp_type=TimestampType.LOG_APPEND_TIME)
    for codec in list(CompressionType)[1:]:
        assert slow(build_batch(many, compression=codec))
        assert not slow(build_batch(many, compression=codec), walk=False)
    large = build_batch([Record(timestamp=NOW_MS, value=bytes(2 << 20))], compression=ZSTD)
    assert len(large) < 1_000
    assert slow(large), "one record, but what a record"


def keyless(count: int) -> bytes:
    return build_batch([Record(timestamp=NOW_MS, value=b"x") for _ in range(count)])


def test_so_many_records_are_named_and_all_of_them_counted() -> None:
    count = MAX_RECORD_ERRORS + 5
    for batch, rules in (
        (keyless(count), ProduceRules(compacted=True)),
        (keyless(count), ProduceRules(compacted=True, target=ZSTD)),
        (some(count, ahead_ms=4_000_000), ProduceRules()),
    ):
        with pytest.raises(
            RejectedBatchError, match=f"due to {count} |invalid timestamp"
        ) as raised:
            check(batch, rules)
        named = [index for index, _ in raised.value.record_errors]
        assert named == list(range(MAX_RECORD_ERRORS))


@pytest.mark.parametrize("codec", CompressionType)
@pytest.mark.parametrize("target", CompressionType)
def test_recompression_keeps_everything_but_the_codec(
    codec: CompressionType, target: CompressionType
) -> None:
    sent = some(200, codec)
    produced = check(sent, ProduceRules(target=target))
    before, after = read_header(sent), read_header(produced.batch)
    assert after.compression is target
    assert after.is_transactional
    assert list(read_records(produced.batch)) == list(read_records(sent))
    same = {"batch_length": 0, "crc": 0, "attributes": 0}
    assert after._replace(**same) == before._replace(**same)
    assert isinstance(produced.batch, bytearray) or codec is target


def test_recompression_uses_the_level() -> None:
    sent = some(500)
    sizes = {
        len(check(sent, ProduceRules(target=GZIP, target_level=level)).batch) for level in (1, 9)
    }
    assert len(sizes) == 2


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_a_batch_that_expands_past_the_limit_is_too_large(codec: CompressionType) -> None:
    batch = some(2_000, codec)
    check(batch)
    assert code_of(batch, ProduceRules(decompressed_limit=10_000)) is ErrorCode.MESSAGE_TOO_LARGE


def test_a_correction_is_made_in_a_copy() -> None:
    sent = bytes(some())
    raised = bytearray(sent)
    raised[35:43] = (NOW_MS + 10**9).to_bytes(8, "big")
    set_crc(raised)
    before = bytes(raised)
    produced = check(raised)
    assert produced.batch == sent
    assert produced.max_timestamp == NOW_MS + 2
    assert raised == before


def test_append_time_topics_do_not_look_at_timestamps() -> None:
    rules = ProduceRules(timestamp_type=TimestampType.LOG_APPEND_TIME, timestamp_before_max_ms=1)
    assert check(some(ahead_ms=10**10), rules).max_timestamp == NOW_MS + 10**10 + 2


def test_every_byte_changed_is_noticed() -> None:
    sent = some(1)
    for position in range(len(sent)):
        changed = bytearray(sent)
        changed[position] ^= 0x41
        if 12 <= position < 16:  # the leader epoch is for the broker to say
            check(changed)
        else:
            code_of(changed)


def test_a_codec_of_another_kind_of_block_is_refused() -> None:
    batch = bytearray(some(3)[:HEADER_SIZE] + compress(ZSTD, b"abc"))
    batch[8:12] = (len(batch) - 12).to_bytes(4, "big")
    batch[22] |= GZIP
    set_crc(batch)
    assert code_of(batch) is ErrorCode.UNKNOWN_SERVER_ERROR


def test_records_without_a_time_are_not_those_of_1970() -> None:
    """librdkafka says 0 is the latest of them; by that they would expire at once."""
    sent = bytearray(build_batch([Record(timestamp=-1, value=b"v")] * 3))
    assert check(bytes(sent)).batch == sent
    sent[35:43] = bytes(8)
    set_crc(sent, 0)
    produced = check(sent)
    assert (produced.base_timestamp, produced.max_timestamp) == (-1, -1)
    assert read_header(produced.batch).max_timestamp == -1
