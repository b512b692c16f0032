"""Zigzag varints, as records use them (Protocol Buffers' `sint32` and `sint64`).

Seven bits a byte, the lowest first, the high bit says that more follow; the
sign is folded into bit 0, so that -1 is one byte too.
"""

from ottla.model.errors import ApiError, ErrorCode
from ottla.record.checksum import Buffer

MAX_VARINT_SIZE = 5
MAX_VARLONG_SIZE = 10


def wrap_int64(value: int) -> int:
    """The 64-bit integer that is left of `value` after an overflow, as Kafka computes timestamps."""
    if -(2**63) <= value < 2**63:
        return value
    return (value + 2**63 & 2**64 - 1) - 2**63


def append_varint(out: bytearray, value: int) -> None:
    """Append a 32- or 64-bit integer; the bytes are the same where both fit."""
    value = (value << 1) ^ (value >> 63)
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def read_varint(buffer: Buffer, position: int) -> tuple[int, int]:
    """Return a 32-bit integer and the position after it.

    Raises:
        ApiError: INVALID_RECORD, over five bytes long.
        IndexError: the buffer ends first.
    """
    byte = buffer[position]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), position + 1
    return _read_long(buffer, position, MAX_VARINT_SIZE, 0xFFFFFFFF)


def read_varlong(buffer: Buffer, position: int) -> tuple[int, int]:
    """Return a 64-bit integer and the position after it.

    Raises:
        ApiError: INVALID_RECORD, over ten bytes long.
        IndexError: the buffer ends first.
    """
    byte = buffer[position]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), position + 1
    return _read_long(buffer, position, MAX_VARLONG_SIZE, 0xFFFFFFFFFFFFFFFF)


def _read_long(buffer: Buffer, position: int, max_size: int, mask: int) -> tuple[int, int]:
    value = 0
    shift = 0
    for taken in range(max_size):
        byte = buffer[position + taken]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            value &= mask
            return (value >> 1) ^ -(value & 1), position + taken + 1
        shift += 7
    raise ApiError(ErrorCode.INVALID_RECORD, f"Varint is longer than {max_size} bytes")
