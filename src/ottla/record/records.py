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

`walk` looks at lengths only and is on the path of every produce: exactly so many
records, ending where the batch ends. What it does not look at, it lets through:
readers must not trust what is inside a record. `read_records` decodes everything
and refuses what does not fit.
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
from ottla.record.varint import append_varint, read_varint, read_varlong, wrap_int64

RecordHeader = tuple[str, bytes | None]

MIN_RECORD_SIZE = 6
"""Of a record with neither key, value nor headers, without its length."""


WORTH_A_LOOK = 32
"""Records left, from which on it is tried whether many are of one size."""

FEW = 16
"""Of them so many are compared first; where they are alike, then eight times as many, and so on."""

MANY = 64
"""If no more than this are alike, looking costs more than it gives."""

LONGEST_BURST = 1024
"""At most so many are visited one by one before another try."""


class Record(NamedTuple):
    """One record; to build a batch, `offset` and `timestamp` may be left out."""

    offset: Offset = 0
    timestamp: int = NO_TIMESTAMP
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[RecordHeader, ...] = ()


def walk(records: Buffer, count: int, position: int = 0) -> None:
    """Check that exactly `count` records fill `records[position:]`, by their lengths.

    Raises:
        ApiError: INVALID_RECORD, they are more or fewer, or a length is
            impossible.
    """
    one_byte = _ONE_BYTE
    first_of_two = _FIRST_OF_TWO
    left = count
    burst = FEW if count >= WORTH_A_LOOK else count
    try:
        while left:
            if left >= WORTH_A_LOOK:
                size, alike = _alike(records, position, left)
                position += size * alike
                left -= alike
                # Where neighbours differ, it is tried ever less often.
                burst = FEW if alike > MANY else min(4 * burst, LONGEST_BURST)
            step = min(left, burst)
            left -= step
            for _ in repeat(None, step):
                first = records[position]
                if first < 0x80:
                    position += one_byte[first]
                else:
                    second = records[position + 1]
                    if second < 0x80:
                        position += first_of_two[first] + (second << 6)
                    else:
                        position = _following(records, position)
    except IndexError:
        position = _NEVER
    if position != len(records):
        raise _miscounted(count)


def _alike(records: Buffer, position: int, count: int) -> tuple[int, int]:
    """Return (bytes, n): the next n records, at most `count`, all take so many bytes.

    If the first is of that size, and the byte where the second then begins is the same, the second
    is of that size too, and so on: all those bytes are compared at once, and no record is visited.
    """
    first = records[position]
    if first < 0x80:
        size = _ONE_BYTE[first]
    else:
        second = records[position + 1]
        if second >= 0x80:
            return 0, 0
        size = _FIRST_OF_TWO[first] + (second << 6)
    most = min(count, (len(records) - position) // size)
    looked_at = FEW
    while True:
        count = min(most, looked_at)
        alike = _same(records, position, size, count)
        if alike < count or count == most:
            break
        looked_at *= 8
    if first >= 0x80:
        alike = min(alike, _same(records, position + 1, size, alike))
    return size, alike


def _same(records: Buffer, position: int, stride: int, count: int) -> int:
    """Return how many bytes, `stride` apart, are as the first, at most `count`."""
    column = bytes(records[position : position + stride * count : stride])
    return len(column) - len(column.lstrip(column[:1]))


def walk_closely(records: Buffer, count: int, position: int = 0) -> tuple[bool, bool]:
    """Walk, and say whether offset deltas are 0, 1, 2... and whether every record has a key.

    About 2.5 times the work of `walk`: for compressed batches and compacted topics.

    Raises:
        ApiError: INVALID_RECORD as in `walk`, or a varint is longer than it may be.
    """
    one_byte = _ONE_BYTE
    first_of_two = _FIRST_OF_TWO
    dense = True
    keyed = True
    try:
        for index in range(count):
            first = records[position]
            if first < 0x80:
                field = position + 2
                position += one_byte[first]
            else:
                second = records[position + 1]
                if second < 0x80:
                    field = position + 3
                    position += first_of_two[first] + (second << 6)
                else:
                    field = read_varint(records, position)[1] + 1
                    position = _following(records, position)
            if records[field] >= 0x80:
                field += 1
                if records[field] >= 0x80:
                    field = read_varlong(records, field - 1)[1] - 1
            if index < 64 and records[field + 1] == index << 1:
                field += 2
            elif (
                index < 8192
                and records[field + 1] == (index << 1 & 0x7F | 0x80)
                and records[field + 2] == index >> 6
            ):
                field += 3
            else:
                delta, field = read_varint(records, field + 1)
                if delta != index:
                    dense = False
            if records[field] & 1 and read_varint(records, field)[0] < 0:
                keyed = False
    except IndexError:
        position = _NEVER
    if position != len(records):
        raise _miscounted(count)
    return dense, keyed


def fields_of(records: Buffer, count: int, position: int = 0) -> Iterator[tuple[int, int, bool]]:
    """Yield timestamp delta, offset delta and whether there is a key, of exactly `count` records.

    What `walk_closely` does not tell; some three times slower.

    Raises:
        ApiError: INVALID_RECORD as in `walk_closely`, perhaps only after the last record.
    """
    one_byte = _ONE_BYTE
    first_of_two = _FIRST_OF_TWO
    try:
        for _ in repeat(None, count):
            first = records[position]
            if first < 0x80:
                field = position + 2
                position += one_byte[first]
            elif records[position + 1] < 0x80:
                field = position + 3
                position += first_of_two[first] + (records[position + 1] << 6)
            else:
                field = read_varint(records, position)[1] + 1
                position = _following(records, position)
            first = records[field]
            if first < 0x80:
                timestamp_delta = (first >> 1) ^ -(first & 1)
                field += 1
            elif records[field + 1] < 0x80:
                timestamp_delta = ((first & 0x7F) >> 1 | records[field + 1] << 6) ^ -(first & 1)
                field += 2
            else:
                timestamp_delta, field = read_varlong(records, field)
            first = records[field]
            if first < 0x80:
                offset_delta = (first >> 1) ^ -(first & 1)
                field += 1
            elif records[field + 1] < 0x80:
                offset_delta = ((first & 0x7F) >> 1 | records[field + 1] << 6) ^ -(first & 1)
                field += 2
            else:
                offset_delta, field = read_varint(records, field)
            has_key = not records[field] & 1 or read_varint(records, field)[0] >= 0
            yield timestamp_delta, offset_delta, has_key
    except IndexError:
        position = _NEVER
    if position != len(records):
        raise _miscounted(count)


def _following(records: Buffer, position: int) -> int:
    """Return where the next record would start, after one of any length."""
    length, body = read_varint(records, position)
    return body + length if length >= MIN_RECORD_SIZE else _NEVER


def _miscounted(count: int) -> ApiError:
    return ApiError(
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
        timestamp = append_time
        if timestamp is None:
            timestamp = wrap_int64(base_timestamp + timestamp_delta)
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
    append_varint(body, wrap_int64(timestamp_delta))
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
