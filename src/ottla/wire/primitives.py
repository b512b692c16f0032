"""The pieces that the compiled readers and writers share, for what is not one `struct` format.

Big-endian throughout. An *unsigned varint* has 7 bits a byte, the least
significant first, and the high bit of a byte says that more follow; at most 5
bytes, so below 2^35.
"""

from typing import Never

from ottla.model.errors import ProtocolError
from ottla.wire.message import Buffer

MAX_ELEMENTS = 1_000_000
"""List elements one message may have in all.

An element of two bytes on the wire is an object of a hundred in memory; this
keeps the largest request from becoming gigabytes and stalling the loop.
"""


class UnsupportedFieldError(ValueError):
    """A field is set that the version to be written does not have."""


def read_uvarint(buffer: Buffer, position: int) -> tuple[int, int]:
    """Return (value, position after it); IndexError where the buffer ends within."""
    byte = buffer[position]
    if byte < 128:
        return byte, position + 1
    return finish_uvarint(buffer, position + 1, byte)


def finish_uvarint(buffer: Buffer, position: int, first: int) -> tuple[int, int]:
    """As `read_uvarint`, after a first byte that said that more follow."""
    value = first & 0x7F
    for shift in (7, 14, 21, 28):
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 128:
            return value, position
    raise ProtocolError("a varint is longer than 5 bytes")


def uvarint(value: int) -> bytes:
    """Return `value`, at least 0, as an unsigned varint."""
    if value < 128:
        return bytes((value,))
    out = bytearray()
    while value > 127:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def skip_tagged(buffer: Buffer, position: int, size: int, count: int) -> int:
    """Return the position after `count` tagged fields that nobody here knows."""
    if count > 127:
        count, position = finish_uvarint(buffer, position, count)
    for _ in range(count):
        _, position = read_uvarint(buffer, position)
        length, position = read_uvarint(buffer, position)
        position += length
        if position > size:
            truncated()
    return position


def truncated() -> Never:
    raise ProtocolError("a length or count is beyond the end of the message")


def too_many() -> Never:
    raise ProtocolError(f"more than {MAX_ELEMENTS} list elements in one message")


def null(field: str) -> Never:
    raise ProtocolError(f"{field} is null, which it may not be")


def wrong_size(field: str) -> Never:
    raise ProtocolError(f"the size of tagged field {field} is wrong")


def unsupported(field: str, version: int) -> Never:
    raise UnsupportedFieldError(f"version {version} has no {field}")
