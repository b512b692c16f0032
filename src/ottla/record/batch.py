"""The header of a record batch (magic 2), read and stamped in place over a buffer.

All integers are big-endian:

    0  int64   base offset               assigned by the broker
    8  int32   batch length              bytes after this field: the total less 12
    12 int32   partition leader epoch    assigned by the broker
    16 int8    magic                     2
    17 uint32  crc                       CRC-32C of everything from byte 21 on
    21 int16   attributes                bits 0-2 compression, 3 timestamp type,
                                         4 transactional, 5 control, 6 delete horizon
    23 int32   last offset delta
    27 int64   base timestamp            of the first record; the delete horizon if bit 6 is set
    35 int64   max timestamp
    43 int64   producer id               -1: none
    51 int16   producer epoch            -1: none
    53 int32   base sequence             -1: none
    57 int32   records count
    61         the records, compressed as one block if bits 0-2 say so

Base offset and leader epoch lie before the checksummed bytes, so the broker
stamps them without touching the checksum. Functions take a buffer and the
position of a batch in it, and read nothing outside the batch.
"""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import LeaderEpoch, Offset, ProducerEpoch, ProducerId
from ottla.model.isolation import CompressionType, TimestampType
from ottla.record.checksum import Buffer, crc32c

HEADER = Struct(">qiibIhiqqqhii")
HEADER_SIZE = 61
LOG_OVERHEAD = 12
"""Base offset and batch length: what the batch length does not count."""
MAGIC = 2
NO_SEQUENCE = -1
NO_TIMESTAMP = -1

LEADER_EPOCH_POSITION = 12
MAGIC_POSITION = 16
CRC_POSITION = 17
ATTRIBUTES_POSITION = 21
"""Where the checksummed bytes begin."""
MAX_TIMESTAMP_POSITION = 35

COMPRESSION_MASK = 0x07
LOG_APPEND_TIME_FLAG = 0x08
TRANSACTIONAL_FLAG = 0x10
CONTROL_FLAG = 0x20
DELETE_HORIZON_FLAG = 0x40

_INT16 = Struct(">h")
_INT32 = Struct(">i")
_UINT32 = Struct(">I")
_INT64 = Struct(">q")
_OFFSET_AND_LENGTH = Struct(">qi")
_EPOCH = Struct(">i")


class BatchHeader(NamedTuple):
    """Every field of a batch's header, and the batch's position in its buffer."""

    base_offset: Offset
    batch_length: int
    leader_epoch: LeaderEpoch
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: ProducerId
    producer_epoch: ProducerEpoch
    base_sequence: int
    records_count: int
    position: int

    @property
    def size(self) -> int:
        """Bytes of the whole batch."""
        return self.batch_length + LOG_OVERHEAD

    @property
    def end_position(self) -> int:
        return self.position + self.batch_length + LOG_OVERHEAD

    @property
    def last_offset(self) -> Offset:
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> Offset:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def last_sequence(self) -> int:
        """The sequence of the last record, or -1; sequences wrap from 2^31 - 1 to 0."""
        if self.base_sequence == NO_SEQUENCE:
            return NO_SEQUENCE
        return (self.base_sequence + self.last_offset_delta) & 0x7FFFFFFF

    @property
    def compression(self) -> CompressionType:
        """Raise ApiError(UNSUPPORTED_COMPRESSION_TYPE) for a codec that does not exist."""
        try:
            return CompressionType(self.attributes & COMPRESSION_MASK)
        except ValueError:
            raise ApiError(
                ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
                f"Unknown compression type id: {self.attributes & COMPRESSION_MASK}",
            ) from None

    @property
    def timestamp_type(self) -> TimestampType:
        return TimestampType((self.attributes & LOG_APPEND_TIME_FLAG) >> 3)

    @property
    def is_transactional(self) -> bool:
        return self.attributes & TRANSACTIONAL_FLAG != 0

    @property
    def is_control(self) -> bool:
        return self.attributes & CONTROL_FLAG != 0

    @property
    def delete_horizon_ms(self) -> int | None:
        """When the batch's tombstones and abort markers may go, if compaction has set it."""
        return self.base_timestamp if self.attributes & DELETE_HORIZON_FLAG else None


def read_header(buffer: Buffer, position: int = 0) -> BatchHeader:
    """Return the header of the batch that starts at `position`; nothing is checked.

    Raises:
        ApiError: CORRUPT_MESSAGE, fewer than 61 bytes are there.
    """
    if position + HEADER_SIZE > len(buffer):
        raise ApiError(ErrorCode.CORRUPT_MESSAGE, "Record batch is cut off within its header")
    return BatchHeader._make((*HEADER.unpack_from(buffer, position), position))


def batches(buffer: Buffer, position: int = 0, end: int | None = None) -> Iterator[BatchHeader]:
    """Yield the header of each whole batch in `buffer[position:end]`, back to back.

    A last batch that is cut off ends the iteration in silence: fetch responses
    and torn files have one. Checksums and records are not looked at.

    Raises:
        ApiError: CORRUPT_MESSAGE, the bytes at the next boundary cannot be a
            batch: a size below 61 or another magic than 2.
    """
    if end is None:
        end = len(buffer)
    while position + HEADER_SIZE <= end:
        header = BatchHeader._make((*HEADER.unpack_from(buffer, position), position))
        if header.magic != MAGIC or header.batch_length < HEADER_SIZE - LOG_OVERHEAD:
            raise ApiError(
                ErrorCode.CORRUPT_MESSAGE,
                f"No record batch at position {position}: "
                f"magic {header.magic}, batch length {header.batch_length}",
            )
        following = position + header.batch_length + LOG_OVERHEAD
        if following > end:
            return
        yield header
        position = following


def size_at(buffer: Buffer, position: int = 0) -> int:
    """Bytes of the batch at `position`, by its own account; 12 bytes must be there."""
    length: int = _OFFSET_AND_LENGTH.unpack_from(buffer, position)[1]
    return length + LOG_OVERHEAD


def magic_at(buffer: Buffer, position: int = 0) -> int:
    """The magic byte (0 to 255); 17 bytes must be there."""
    return buffer[position + MAGIC_POSITION]


def verify_crc(buffer: Buffer, position: int = 0, size: int | None = None) -> bool:
    """Say whether the checksum of the batch of `size` bytes at `position` is right.

    `size` is taken from the batch if not given. False also where the buffer
    ends before the batch does.
    """
    if position + HEADER_SIZE > len(buffer):
        return False
    if size is None:
        size = size_at(buffer, position)
    end = position + size
    if size < HEADER_SIZE or end > len(buffer):
        return False
    computed = crc32c(memoryview(buffer)[position + ATTRIBUTES_POSITION : end])
    stored: int = _UINT32.unpack_from(buffer, position + CRC_POSITION)[0]
    return computed == stored


def stamp(
    buffer: bytearray | memoryview, position: int, base_offset: Offset, leader_epoch: LeaderEpoch
) -> None:
    """Write base offset and leader epoch in place; the checksum does not cover them."""
    _INT64.pack_into(buffer, position, base_offset)
    _EPOCH.pack_into(buffer, position + LEADER_EPOCH_POSITION, leader_epoch)


def set_log_append_time(buffer: bytearray | memoryview, position: int, max_timestamp: int) -> None:
    """Make `max_timestamp` the time of every record of the batch, and the checksum right again.

    Readers give each record of a LogAppendTime batch its max timestamp, so the
    records themselves stay as they are.
    """
    (attributes,) = _INT16.unpack_from(buffer, position + ATTRIBUTES_POSITION)
    _INT16.pack_into(buffer, position + ATTRIBUTES_POSITION, attributes | LOG_APPEND_TIME_FLAG)
    _INT64.pack_into(buffer, position + MAX_TIMESTAMP_POSITION, max_timestamp)
    set_crc(buffer, position)


def set_crc(buffer: bytearray | memoryview, position: int = 0) -> None:
    """Compute the checksum of the whole batch at `position` and write it."""
    end = position + size_at(buffer, position)
    crc = crc32c(memoryview(buffer)[position + ATTRIBUTES_POSITION : end])
    _UINT32.pack_into(buffer, position + CRC_POSITION, crc)
