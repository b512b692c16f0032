"""What a producer may send for one partition.

The answers are those that Kafka 4.3.1 gave, one by one, to the shapes in
`tools/probes/produce_shapes.py`; where ours differ, the table of differences in
the test of this module says so and why. Its order is kept where it shows: how
many batches, magic, codec of that version of the request, base offset, size,
checksum, counts, producer, records.

The records are read no further than a rule asks for. Mostly that is the walk
over their lengths; close to it for compressed batches (offset deltas) and
compacted topics (keys); their timestamps only where the header says that one is
out of bounds, or old ones are refused too. Bytes are copied only where they
must change: another codec, or a header that is not what the broker would write.
"""

from itertools import islice
from struct import Struct
from typing import NamedTuple

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import ProducerEpoch, ProducerId, TopicPartition
from ottla.model.isolation import CompressionType, TimestampType
from ottla.record.batch import (
    ATTRIBUTES_POSITION,
    COMPRESSION_MASK,
    CONTROL_FLAG,
    DELETE_HORIZON_FLAG,
    HEADER,
    HEADER_SIZE,
    LOG_APPEND_TIME_FLAG,
    LOG_OVERHEAD,
    MAGIC,
    MAGIC_POSITION,
    MAX_TIMESTAMP_POSITION,
    NO_TIMESTAMP,
    TRANSACTIONAL_FLAG,
    BatchHeader,
    magic_at,
    read_header,
    set_crc,
    size_at,
)
from ottla.record.builder import assemble_batch, build_batch
from ottla.record.checksum import Buffer, crc32c
from ottla.record.compression import DEFAULT_LIMIT, decompress, expands_past
from ottla.record.records import decode_records, fields_of, walk, walk_closely
from ottla.record.varint import wrap_int64

UNLIMITED_MS = 2**63 - 1
FIRST_VERSION_WITH_ZSTD = 7

_OLDEST_MAGIC_OVERHEAD = 14
"""No batch of any magic has a smaller batch length."""
_MAX_BATCH_LENGTH = 2**31 - 1 - LOG_OVERHEAD

_INT16 = Struct(">h")
_INT64 = Struct(">q")


class ProduceRules(NamedTuple):
    """What a topic's settings ask of a batch; made once for each change of the settings."""

    max_message_bytes: int = 1_048_588
    compacted: bool = False
    timestamp_type: TimestampType = TimestampType.CREATE_TIME
    timestamp_before_max_ms: int = UNLIMITED_MS
    timestamp_after_max_ms: int = 3_600_000
    target: CompressionType | None = None
    """The codec that batches are stored with, or None for that of the producer."""
    target_level: int | None = None
    walk: bool = True
    """False: take the header's word for the records (`record.validation=header`)."""
    decompressed_limit: int = DEFAULT_LIMIT


class ProducedBatch(NamedTuple):
    """A batch that may be appended. Its offset and leader epoch are still to be stamped."""

    batch: Buffer
    """What to append: a slice of what came in, or a new `bytearray`."""
    attributes: int
    records_count: int
    base_timestamp: int
    max_timestamp: int
    producer_id: ProducerId
    producer_epoch: ProducerEpoch
    base_sequence: int

    @property
    def last_offset_delta(self) -> int:
        return self.records_count - 1

    @property
    def last_sequence(self) -> int:
        """The sequence of the last record, or -1; sequences wrap from 2^31 - 1 to 0."""
        if self.base_sequence < 0:
            return self.base_sequence
        return (self.base_sequence + self.records_count - 1) & 0x7FFFFFFF

    @property
    def is_transactional(self) -> bool:
        return self.attributes & TRANSACTIONAL_FLAG != 0


_produced = tuple.__new__
"""What ProducedBatch() calls in the end: a tenth of the time of a small batch's validation."""


class RecordError(NamedTuple):
    """Why one record of the batch was refused."""

    batch_index: int
    message: str


MAX_RECORD_ERRORS = 1_000
"""So many records of one batch are named; a few hundred bytes can stand for millions."""

SMALL_BYTES = 16 * 1024
"""A compressed batch up to this is expanded faster than it is handed to a worker, mostly."""

SMALL_EXPANDED = 1024 * 1024
MANY_RECORDS = 2_000
"""Looking closely at so many takes about a millisecond."""


class RejectedBatchError(ApiError):
    """A producer's batch is refused.

    `message` is what the answer carries: as from Kafka, mostly nothing. `str()`
    of it says more, for the broker's log.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str,
        message: str | None = None,
        record_errors: list[RecordError] | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.message = message
        self.record_errors = record_errors or []


def must_expand(records: Buffer, rules: ProduceRules) -> bool:
    """Say whether validation will run a codec, so that it had better happen off the loop."""
    if len(records) < HEADER_SIZE:
        return False
    codec = records[ATTRIBUTES_POSITION + 1] & COMPRESSION_MASK
    if rules.target is not None and rules.target != codec:
        return True
    return codec != 0 and (rules.walk or rules.compacted)


def takes_long(records: Buffer, rules: ProduceRules, now_ms: int) -> bool:
    """Say whether validation had better happen off the loop.

    Because a codec will run over much, or over little that may stand for much, or
    because many records will be looked at one by one. What the batch says of
    itself is enough: where it lies, validation ends early.
    """
    size = len(records)
    if size <= SMALL_BYTES and (size < HEADER_SIZE or not must_expand(records, rules)):
        return False
    _, _, _, _, _, attributes, _, base, latest, _, _, _, count = HEADER.unpack_from(records)
    if must_expand(records, rules):
        if size > SMALL_BYTES or count > MANY_RECORDS:
            return True
        codec = attributes & COMPRESSION_MASK
        block = memoryview(records)[HEADER_SIZE:]
        return 0 < codec <= 4 and expands_past(CompressionType(codec), block, SMALL_EXPANDED)
    return count > MANY_RECORDS and (
        rules.compacted or _must_see_times(attributes, base, latest, rules, now_ms)
    )


def _must_see_times(
    attributes: int, base_timestamp: int, max_timestamp: int, rules: ProduceRules, now_ms: int
) -> bool:
    """Say whether the header's timestamps do not speak for those of all records."""
    return attributes & LOG_APPEND_TIME_FLAG != 0 or (
        rules.timestamp_type == 0
        and (
            max_timestamp - now_ms > rules.timestamp_after_max_ms
            or max_timestamp < base_timestamp
            or (base_timestamp < 0 and not base_timestamp == max_timestamp == NO_TIMESTAMP)
            or rules.timestamp_before_max_ms != UNLIMITED_MS
        )
    )


def validate_produced(
    records: Buffer | None,
    rules: ProduceRules,
    *,
    partition: TopicPartition,
    api_version: int,
    now_ms: int,
) -> ProducedBatch:
    """Check the bytes a produce request has for one partition: one batch, and what it may be.

    Sequence and epoch of the producer are the log's to judge, whether a
    transactional batch may be there is the handler's.

    Raises:
        RejectedBatchError: with Kafka's code. UNKNOWN_SERVER_ERROR, as there, for
            compressed blocks that cannot be expanded and codecs that do not exist.
    """
    size = len(records) if records is not None else 0
    if records is None or size < HEADER_SIZE:
        raise _no_batch(records)
    (
        base_offset,
        batch_length,
        _,
        magic,
        crc,
        attributes,
        last_offset_delta,
        base_timestamp,
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        count,
    ) = HEADER.unpack_from(records)

    if batch_length + LOG_OVERHEAD != size or magic != MAGIC:
        _check_framing(records, batch_length, magic)
        size = batch_length + LOG_OVERHEAD
        records = memoryview(records)[:size]
    codec = attributes & COMPRESSION_MASK
    if codec == 4 and api_version < FIRST_VERSION_WITH_ZSTD:
        raise RejectedBatchError(
            ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
            f"zstd needs version {FIRST_VERSION_WITH_ZSTD} of the request, not {api_version}",
        )
    if base_offset:
        raise _invalid(f"base offset is {base_offset}, not 0")
    if size > rules.max_message_bytes:
        raise _too_large(size, rules)
    if size < HEADER_SIZE or crc32c(memoryview(records)[ATTRIBUTES_POSITION:]) != crc:
        raise RejectedBatchError(ErrorCode.CORRUPT_MESSAGE, "checksum of the batch is wrong")
    if codec > 4:
        raise RejectedBatchError(ErrorCode.UNKNOWN_SERVER_ERROR, f"there is no codec {codec}")
    if count < 1 or last_offset_delta != count - 1:
        raise _invalid(f"count is {count}, last offset delta {last_offset_delta}")
    if attributes & CONTROL_FLAG:
        raise _invalid("clients may not write control records")
    if producer_id >= 0 and base_sequence < 0:
        raise _invalid(f"producer {producer_id} sent base sequence {base_sequence}")

    try:
        if _must_see_times(attributes, base_timestamp, max_timestamp, rules, now_ms):
            return _examine(records, rules, partition, now_ms)
        if rules.target is not None and rules.target != codec:
            return _examine(records, rules, partition, now_ms)
        if codec or rules.compacted:
            return _examine(records, rules, partition, None)
        if rules.walk:
            walk(records, count, HEADER_SIZE)
    except RejectedBatchError:
        raise
    except ApiError as error:
        raise _as_kafka_says(error) from None
    return _produced(
        ProducedBatch,
        (
            records,
            attributes,
            count,
            base_timestamp,
            max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
        ),
    )


def _no_batch(records: Buffer | None) -> RejectedBatchError:
    """Return what is wrong with bytes that are too few for a batch."""
    try:
        if records is not None and len(records) >= LOG_OVERHEAD:
            _check_batch_length(size_at(records) - LOG_OVERHEAD)
        if records is not None and len(records) > MAGIC_POSITION:
            _check_framing(records, size_at(records) - LOG_OVERHEAD, magic_at(records))
    except RejectedBatchError as rejected:
        return rejected
    return _invalid("there is no whole batch")


def _check_framing(records: Buffer, batch_length: int, magic: int) -> None:
    """Return if there is one whole batch of this magic, and behind it less than another.

    What is behind is ignored, as Kafka does, unless its size or magic could not
    be those of a batch.
    """
    _check_batch_length(batch_length)
    if not 0 <= magic <= MAGIC:
        signed = magic - 256 if magic > 127 else magic
        message = f"Invalid magic found in record: {signed}"
        raise RejectedBatchError(ErrorCode.CORRUPT_MESSAGE, message, message)
    size = batch_length + LOG_OVERHEAD
    if size > len(records):
        raise _invalid(f"batch of {size} bytes is cut off after {len(records)}")
    if magic != MAGIC:
        raise _invalid(f"magic is {magic}, not {MAGIC}")
    rest = memoryview(records)[size:]
    if len(rest) < LOG_OVERHEAD:
        return
    following = size_at(rest)
    if following < _OLDEST_MAGIC_OVERHEAD + LOG_OVERHEAD:
        raise RejectedBatchError(ErrorCode.CORRUPT_MESSAGE, "what follows the batch is not one")
    if len(rest) <= MAGIC_POSITION:
        return
    if rest[MAGIC_POSITION] > MAGIC:
        raise RejectedBatchError(ErrorCode.CORRUPT_MESSAGE, "what follows the batch is not one")
    if len(rest) >= following:
        raise _invalid("there is more than one batch")


def _check_batch_length(batch_length: int) -> None:
    if batch_length < _OLDEST_MAGIC_OVERHEAD:
        message = (
            f"Record size {batch_length} is less than the minimum record overhead "
            f"({_OLDEST_MAGIC_OVERHEAD})"
        )
        raise RejectedBatchError(ErrorCode.CORRUPT_MESSAGE, message, message)
    if batch_length > _MAX_BATCH_LENGTH:
        raise RejectedBatchError(
            ErrorCode.UNKNOWN_SERVER_ERROR, f"batch length {batch_length} is past 2^31"
        )


def _examine(
    records: Buffer, rules: ProduceRules, partition: TopicPartition, now_ms: int | None
) -> ProducedBatch:
    """Look into the records, with their timestamps if `now_ms` is given, and rewrite if need be."""
    header = read_header(records)
    source = header.compression
    target = source if rules.target is None else rules.target
    appended = header.attributes & LOG_APPEND_TIME_FLAG != 0
    dense = True
    max_timestamp = header.max_timestamp
    plain: Buffer = memoryview(records)[HEADER_SIZE:]
    if source is not target or rules.walk or rules.compacted or now_ms is not None:
        plain = decompress(source, plain, rules.decompressed_limit, portable=True)
        if now_ms is not None:
            dense, max_timestamp = _check_each(plain, header, rules, partition, now_ms)
        else:
            dense, keyed = walk_closely(plain, header.records_count)
            if rules.compacted and not keyed:
                raise _without_keys(plain, header.records_count, partition)
    batch = records
    attributes = header.attributes
    base_timestamp = header.base_timestamp
    if source is not target:
        batch = _rebuild(plain, header, target, rules, max_timestamp, dense and not appended)
        if len(batch) > rules.max_message_bytes:
            raise _too_large(len(batch), rules)
    elif source is not CompressionType.NONE and not dense:
        raise RejectedBatchError(
            ErrorCode.UNKNOWN_SERVER_ERROR, "offset deltas in the compressed batch have gaps"
        )
    elif max_timestamp != header.max_timestamp or appended:
        batch = _with_times(records, header, max_timestamp)
    if batch is not records:
        written = read_header(batch)
        attributes = written.attributes
        base_timestamp = written.base_timestamp
    return ProducedBatch(
        batch,
        attributes,
        header.records_count,
        base_timestamp,
        max_timestamp,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
    )


def _check_each(
    plain: Buffer, header: BatchHeader, rules: ProduceRules, partition: TopicPartition, now_ms: int
) -> tuple[bool, int]:
    """Check timestamps and keys; return whether offset deltas are dense, and the latest timestamp.

    A record of a batch with the append-time bit has the batch's max timestamp.
    """
    appended = header.attributes & LOG_APPEND_TIME_FLAG != 0
    create_time = rules.timestamp_type is TimestampType.CREATE_TIME
    earliest = now_ms - rules.timestamp_before_max_ms
    latest = now_ms + rules.timestamp_after_max_ms
    no_key = _no_key(partition)
    within = f"[{wrap_int64(earliest)}, {wrap_int64(latest)}]"
    compacted = rules.compacted
    base_timestamp = header.base_timestamp
    errors: list[RecordError] = []
    refused = 0
    untimely = False
    dense = True
    max_timestamp = NO_TIMESTAMP
    fields = fields_of(plain, header.records_count)
    for index, (timestamp_delta, offset_delta, has_key) in enumerate(fields):
        if offset_delta != index:
            dense = False
        if appended:
            timestamp = header.max_timestamp
        else:
            timestamp = wrap_int64(base_timestamp + timestamp_delta)
        if timestamp > max_timestamp:
            max_timestamp = timestamp
        if compacted and not has_key:
            message = no_key
        elif create_time and timestamp != NO_TIMESTAMP:
            if earliest <= timestamp <= latest:
                continue
            untimely = True
            message = (
                f"Timestamp {timestamp} of message with offset {offset_delta} is out of "
                f"range. The timestamp should be within {within}"
            )
        elif appended:
            untimely = True
            message = ""
        else:
            continue
        refused += 1
        if refused <= MAX_RECORD_ERRORS:
            errors.append(RecordError(index, message))
    if errors:
        if appended:
            errors = _with_descriptions(errors, plain, header, rules)
        raise _refused(errors, refused, untimely)
    return dense, max_timestamp


def _without_keys(plain: Buffer, count: int, partition: TopicPartition) -> RejectedBatchError:
    """The refusal of a compacted topic: which of the records have no key."""
    message = _no_key(partition)
    keyless = (index for index, (_, _, keyed) in enumerate(fields_of(plain, count)) if not keyed)
    errors = [RecordError(index, message) for index in islice(keyless, MAX_RECORD_ERRORS)]
    return _refused(errors, len(errors) + sum(1 for _ in keyless), False)


def _with_descriptions(
    errors: list[RecordError], plain: Buffer, header: BatchHeader, rules: ProduceRules
) -> list[RecordError]:
    """Give the errors without a message that of a record with the append-time bit."""
    in_place = header.compression is not CompressionType.NONE and rules.target in (
        None,
        header.compression,
    )
    kind = "PartialDefaultRecord" if in_place else "DefaultRecord"
    described = []
    records = enumerate(decode_records(plain, header))
    for index, message in errors:
        record = next(record for number, record in records if number == index)
        described.append(
            RecordError(
                index,
                message
                or f"Invalid timestamp type in message {kind}(offset={record.offset}, "
                f"timestamp={record.timestamp}, key={len(record.key or b'')} bytes, "
                f"value={len(record.value or b'')} bytes). Producer should not set timestamp "
                "type to LogAppendTime.",
            )
        )
    return described


def _rebuild(
    plain: Buffer,
    header: BatchHeader,
    target: CompressionType,
    rules: ProduceRules,
    max_timestamp: int,
    as_they_are: bool,
) -> bytearray:
    """Return the batch with its records in another codec; `as_they_are` need not be encoded again."""
    if as_they_are:
        batch = assemble_batch(
            plain,
            header.records_count,
            base_offset=0,
            last_offset_delta=header.last_offset_delta,
            leader_epoch=header.leader_epoch,
            base_timestamp=header.base_timestamp,
            max_timestamp=max_timestamp,
            compression=target,
            level=rules.target_level,
            producer_id=header.producer_id,
            producer_epoch=header.producer_epoch,
            base_sequence=header.base_sequence,
            transactional=header.is_transactional,
            control=False,
            timestamp_type=TimestampType.CREATE_TIME,
        )
    else:
        batch = build_batch(
            decode_records(plain, header),
            leader_epoch=header.leader_epoch,
            compression=target,
            level=rules.target_level,
            producer_id=header.producer_id,
            producer_epoch=header.producer_epoch,
            base_sequence=header.base_sequence,
            transactional=header.is_transactional,
        )
    return bytearray(batch)


def _with_times(records: Buffer, header: BatchHeader, max_timestamp: int) -> bytearray:
    """Return a copy whose header has CreateTime, that max timestamp, and no bits unknown here."""
    batch = bytearray(records)
    known = COMPRESSION_MASK | TRANSACTIONAL_FLAG | DELETE_HORIZON_FLAG
    _INT16.pack_into(batch, ATTRIBUTES_POSITION, header.attributes & known)
    _INT64.pack_into(batch, MAX_TIMESTAMP_POSITION, max_timestamp)
    set_crc(batch)
    return batch


def _no_key(partition: TopicPartition) -> str:
    return f"Compacted topic cannot accept message without key in topic partition {partition}"


def _refused(errors: list[RecordError], refused: int, untimely: bool) -> RejectedBatchError:
    """All of a batch is refused for `refused` of its records, of which `errors` names the first."""
    if untimely:
        code = ErrorCode.INVALID_TIMESTAMP
        message = "One or more records have been rejected due to invalid timestamp"
    else:
        code = ErrorCode.INVALID_RECORD
        shown = ", ".join(
            f"RecordError(batchIndex={error.batch_index}, message='{error.message}')"
            for error in errors[:3]
        )
        message = (
            f"One or more records have been rejected due to {refused} record errors in "
            f"total, and only showing the first three errors at most: [{shown}]"
        )
    return RejectedBatchError(code, message, message, errors)


def _invalid(detail: str) -> RejectedBatchError:
    return RejectedBatchError(ErrorCode.INVALID_RECORD, detail)


def _too_large(size: int, rules: ProduceRules) -> RejectedBatchError:
    return RejectedBatchError(
        ErrorCode.MESSAGE_TOO_LARGE,
        f"batch of {size} bytes is larger than the {rules.max_message_bytes} allowed",
    )


def _as_kafka_says(error: ApiError) -> RejectedBatchError:
    """A compressed block in doubt is an unknown error there, which no client tries again."""
    code = error.code
    if code is ErrorCode.CORRUPT_MESSAGE:
        code = ErrorCode.UNKNOWN_SERVER_ERROR
    return RejectedBatchError(code, str(error))
