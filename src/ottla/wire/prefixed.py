"""Messages with an int16 in front that says how to read them.

Records of internal topics: a key has its *record type* there, a value its
schema version (type 2 is the metadata of a classic group, and so on; the types
of the three internal topics overlap). Embedded blobs, such as a consumer's
subscription, and the bodies of control records have their schema version.
"""

import struct
from typing import TypeVar

from ottla.model.errors import ProtocolError
from ottla.wire.codec import decode, encode
from ottla.wire.message import Buffer, Message

_prefix = struct.Struct(">h")
M = TypeVar("M", bound=Message)


def read_prefix(buffer: Buffer) -> int:
    """Return a key's record type, or a blob's version; ProtocolError if it is too short."""
    if len(buffer) < 2:
        raise ProtocolError("no room for an int16 in front")
    prefix: int = _prefix.unpack_from(buffer)[0]
    return prefix


def decode_versioned(cls: type[M], buffer: Buffer, *, lenient: bool = False) -> M:
    """Return the message behind its version; bytes after it are ignored.

    `lenient` reads a version from the future as the latest known, as the
    readers of the classic consumer protocol do.

    Raises:
        ProtocolError: the bytes are malformed, or the version is unknown.
    """
    version = read_prefix(buffer)
    if lenient and version > cls.MAX_VERSION:
        version = cls.MAX_VERSION
    return decode(cls, version, buffer, 2)[0]


def encode_versioned(message: Message, version: int) -> bytes:
    """Return `message` behind its version. Raises as `codec.encode`."""
    return _prefix.pack(version) + encode(message, version)


def decode_key(cls: type[M], buffer: Buffer) -> M:
    """Return the key behind its record type, which the caller chose `cls` by.

    Raises:
        ProtocolError: the bytes are malformed.
    """
    return decode(cls, 0, buffer, 2)[0]


def encode_key(message: Message) -> bytes:
    """Return a record's key behind its record type."""
    record_type: int = message.RECORD_TYPE  # type: ignore[attr-defined]
    return _prefix.pack(record_type) + encode(message, 0)
