"""The records inside a batch.

    varint  length             bytes after this field
    int8    attributes         unused
    varlong timestamp delta    to the batch's base timestamp
    varint  offset delta       to the batch's base offset
    varint  key length         -1: null
            key
    varint  value length       -1: null
            value
    varint  headers count
            per header: varint key length, key (UTF-8), varint value length (-1: null), value

Two ways through them: `walk` looks at lengths only and is on the path of every
produce; `read_records` decodes everything.
"""

from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import Offset
from ottla.record.batch import (
    COMPRESSION_MASK,
    HEADER_SIZE,
    LOG_APPEND_TIME_FLAG,
    NO_TIMESTAMP,
    BatchHeader,
    read_header,
)
from ottla.record.checksum import Buffer
from ottla.record.compression import DEFAULT_LIMIT, decompress
from ottla.record.varint import append_varint, read_varint, read_varlong

RecordHeader = tuple[str, bytes | None]

MIN_RECORD_SIZE = 6
"""Of a record with neither key, value nor headers, without its length."""


class Record(NamedTuple):
    """One record; to build a batch, `offset` and `timestamp` may be left out."""

    offset: Offset = 0
    timestamp: int = NO_TIMESTAMP
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[RecordHeader, ...] = ()


def walk(records: bytes, count: int, position: int = 0) -> None:
    """Check that exactly `count` records fill `records[position:]`, by their lengths.

    `records` are uncompressed. Indexing `bytes` is what makes this cheap: pass
    them, not a view.

    Raises:
        ApiError: INVALID_RECORD, they are more or fewer, or a length is
            impossible. (Kafka says the same in several ways.)
    """
    one_byte = _ONE_BYTE
    more = _FIRST_OF_TWO
    try:
        for _ in repeat(None, count):
            first = records[position]
            if first < 0x80:
                position += one_byte[first]
            else:
                second = records[position + 1]
                if second < 0x80:
                    position += more[first] + (second << 6)
                else:
                    length, position = read_varint(records, position)
                    position += length if length >= MIN_RECORD_SIZE else _NEVER
    except IndexError:
        position = _NEVER
    if position != len(records):
        raise ApiError(
            ErrorCode.INVALID_RECORD,
            f"Record batch does not hold exactly the {count} records its header counts",
        )


_NEVER = 1 << 40
"""Past the end of any batch: where an impossible length leads."""

_ONE_BYTE = [
    (byte >> 1) + 1 if byte & 1 == 0 and byte >> 1 >= MIN_RECORD_SIZE else _NEVER
    for byte in range(0x80)
]
"""By the only byte of a length: how far it is to the next record."""

_FIRST_OF_TWO = [((byte & 0x7F) >> 1) + 2 if byte & 1 == 0 else _NEVER for byte in range(0x100)]
"""By the first of two bytes: its share of how far it is to the next record."""


def read_records(
    batch: Buffer, position: int = 0, *, limit: int = DEFAULT_LIMIT
) -> Iterator[Record]:
    """Yield the records of the batch at `position`, decompressed if they need be.

    At most `limit` bytes are decompressed to. The checksum is not looked at.

    Raises:
        ApiError: CORRUPT_MESSAGE, the header or the compressed block is not
            whole, or expands past `limit`; INVALID_RECORD, a record does not fit.
    """
    header = read_header(batch, position)
    yield from decode_records(records_of(batch, header, limit=limit), header)


def records_of(batch: Buffer, header: BatchHeader, *, limit: int = DEFAULT_LIMIT) -> Buffer:
    """Return the bytes of the records of a batch, decompressed; uncompressed ones as a view.

    Raises:
        ApiError: CORRUPT_MESSAGE as in `read_records`.
    """
    if header.batch_length < HEADER_SIZE - 12 or header.end_position > len(batch):
        raise ApiError(ErrorCode.CORRUPT_MESSAGE, "Record batch is cut off")
    block = memoryview(batch)[header.position + HEADER_SIZE : header.end_position]
    if header.attributes & COMPRESSION_MASK == 0:
        return block
    return decompress(header.compression, block, limit)


def decode_records(records: Buffer, header: BatchHeader) -> Iterator[Record]:
    """Yield the `header.records_count` records that `records` hold, uncompressed.

    Bytes after the last record are not looked at.

    Raises:
        ApiError: INVALID_RECORD, a record does not fit where it is.
    """
    data = bytes(records)
    base_offset = header.base_offset
    base_timestamp = header.base_timestamp
    append_time = header.max_timestamp if header.attributes & LOG_APPEND_TIME_FLAG else None
    position = 0
    for index in range(header.records_count):
        try:
            length, start = read_varint(data, position)
            end = start + length
            if length < MIN_RECORD_SIZE or end > len(data):
                raise IndexError
            timestamp_delta, after = read_varlong(data, start + 1)
            offset_delta, after = read_varint(data, after)
            key, after = _read_bytes(data, after, end)
            value, after = _read_bytes(data, after, end)
            headers, after = _read_headers(data, after, end)
        except IndexError:
            after = end = -1
            length = -1
        if length < 0 or after != end:
            raise ApiError(
                ErrorCode.INVALID_RECORD, f"Record {index} of its batch does not fit its length"
            )
        timestamp = base_timestamp + timestamp_delta if append_time is None else append_time
        yield Record(base_offset + offset_delta, timestamp, key, value, headers)
        position = end


def _read_bytes(data: bytes, position: int, end: int) -> tuple[bytes | None, int]:
    length, position = read_varint(data, position)
    if length < 0:
        return None, position
    following = position + length
    if following > end:
        raise IndexError
    return data[position:following], following


def _read_headers(data: bytes, position: int, end: int) -> tuple[tuple[RecordHeader, ...], int]:
    count, position = read_varint(data, position)
    if count == 0:
        return (), position
    if count < 0 or 2 * count > end - position:
        raise IndexError
    headers = []
    for _ in range(count):
        key, position = _read_bytes(data, position, end)
        value, position = _read_bytes(data, position, end)
        if key is None:
            raise IndexError
        headers.append((key.decode("utf-8", "replace"), value))
    return tuple(headers), position


def append_record(
    out: bytearray,
    offset_delta: int,
    timestamp_delta: int,
    key: bytes | None,
    value: bytes | None,
    headers: tuple[RecordHeader, ...] = (),
) -> None:
    """Append one record in its uncompressed form."""
    body = bytearray(1)
    append_varint(body, timestamp_delta)
    append_varint(body, offset_delta)
    _append_bytes(body, key)
    _append_bytes(body, value)
    append_varint(body, len(headers))
    for name, content in headers:
        _append_bytes(body, name.encode())
        _append_bytes(body, content)
    append_varint(out, len(body))
    out += body


def _append_bytes(out: bytearray, value: bytes | None) -> None:
    if value is None:
        out.append(1)
    else:
        append_varint(out, len(value))
        out += value
