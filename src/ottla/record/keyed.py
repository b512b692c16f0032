"""The records of a batch as compaction sees them: offset, key, is there a value; kept or not.

What is kept is copied as it is, but for its timestamp delta where the batch's
base timestamp changes.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.isolation import CompressionType
from ottla.record.batch import (
    CONTROL_FLAG,
    LOG_APPEND_TIME_FLAG,
    NO_TIMESTAMP,
    TRANSACTIONAL_FLAG,
    BatchHeader,
)
from ottla.record.builder import assemble_batch
from ottla.record.records import MIN_RECORD_SIZE
from ottla.record.varint import append_varint, read_varint, read_varlong, wrap_int64


class KeyedRecord(NamedTuple):
    """One record, by its place in the uncompressed records of its batch."""

    offset_delta: int
    timestamp_delta: int
    key: bytes | None
    has_value: bool
    rest: int
    """Where its offset delta begins: all from here on stays as it is."""
    end: int


def keyed_records(records: bytes, count: int) -> Iterator[KeyedRecord]:
    """Yield the `count` records that fill `records`, uncompressed.

    Raises:
        ApiError: INVALID_RECORD, a record does not fit where it is.
    """
    position = 0
    whole = len(records)
    make = tuple.__new__
    try:
        for _ in range(count):
            # Most varints are a byte, or two: to read those here takes half the time.
            byte = records[position]
            if byte < 0x80:
                length, start = (byte >> 1) ^ -(byte & 1), position + 1
            elif records[position + 1] < 0x80:
                length = ((byte & 0x7F) >> 1 | records[position + 1] << 6) ^ -(byte & 1)
                start = position + 2
            else:
                length, start = read_varint(records, position)
            end = start + length
            if length < MIN_RECORD_SIZE or end > whole:
                raise IndexError
            byte = records[start + 1]
            if byte < 0x80:
                timestamp_delta, rest = (byte >> 1) ^ -(byte & 1), start + 2
            else:
                timestamp_delta, rest = read_varlong(records, start + 1)
            byte = records[rest]
            if byte < 0x80:
                offset_delta, at = (byte >> 1) ^ -(byte & 1), rest + 1
            elif records[rest + 1] < 0x80:
                offset_delta = ((byte & 0x7F) >> 1 | records[rest + 1] << 6) ^ -(byte & 1)
                at = rest + 2
            else:
                offset_delta, at = read_varint(records, rest)
            byte = records[at]
            if byte < 0x80:
                size, at = (byte >> 1) ^ -(byte & 1), at + 1
            else:
                size, at = read_varint(records, at)
            key = None
            if size >= 0:
                following = at + size
                if following > end:
                    raise IndexError
                key = records[at:following]
                at = following
            byte = records[at]
            if byte < 0x80:
                size, at = (byte >> 1) ^ -(byte & 1), at + 1
            elif records[at + 1] < 0x80:
                size, at = ((byte & 0x7F) >> 1 | records[at + 1] << 6) ^ -(byte & 1), at + 2
            else:
                size, at = read_varint(records, at)
            if at + size > end:
                raise IndexError
            yield make(KeyedRecord, (offset_delta, timestamp_delta, key, size >= 0, rest, end))
            position = end
    except IndexError:
        position = -1
    if position != len(records):
        raise ApiError(ErrorCode.INVALID_RECORD, "a record of the batch does not fit its length")


def rebuild(
    header: BatchHeader,
    records: bytes,
    kept: Sequence[KeyedRecord],
    delete_horizon_ms: int | None,
) -> bytes:
    """Return the batch with `kept` alone, in order; none: its header, for what it says.

    Offsets, sequence and producer stay those of the batch; it is compressed as it
    was, at the codec's default level. A delete horizon takes the place of the base
    timestamp. An empty batch has none, and keeps the greatest timestamp.
    """
    base_timestamp = max_timestamp = NO_TIMESTAMP
    payload = bytearray()
    append_time = header.attributes & LOG_APPEND_TIME_FLAG != 0
    if not kept:
        delete_horizon_ms = None
        max_timestamp = header.max_timestamp
    else:
        base_timestamp = _timestamp(header, kept[0])
        max_timestamp = header.max_timestamp
        if not append_time:
            max_timestamp = max(_timestamp(header, record) for record in kept)
        if delete_horizon_ms is not None:
            base_timestamp = delete_horizon_ms
    for record in kept:
        delta = bytearray(1)  # attributes, unused
        append_varint(delta, wrap_int64(_timestamp(header, record) - base_timestamp))
        append_varint(payload, len(delta) + record.end - record.rest)
        payload += delta
        payload += records[record.rest : record.end]
    return assemble_batch(
        payload,
        len(kept),
        base_offset=header.base_offset,
        last_offset_delta=header.last_offset_delta,
        leader_epoch=header.leader_epoch,
        base_timestamp=base_timestamp,
        max_timestamp=max_timestamp,
        compression=header.compression if kept else CompressionType.NONE,
        level=None,
        producer_id=header.producer_id,
        producer_epoch=header.producer_epoch,
        base_sequence=header.base_sequence,
        transactional=header.attributes & TRANSACTIONAL_FLAG != 0,
        control=header.attributes & CONTROL_FLAG != 0,
        timestamp_type=header.timestamp_type,
        delete_horizon=delete_horizon_ms is not None,
    )


def _timestamp(header: BatchHeader, record: KeyedRecord) -> int:
    if header.attributes & LOG_APPEND_TIME_FLAG:
        return header.max_timestamp
    return wrap_int64(header.base_timestamp + record.timestamp_delta)
