"""Messages from bytes and to bytes.

The code for one version of one class is compiled when it is first used, and
kept. `decode` copies everything out of the buffer but records, which come back
as slices of it; `encode_parts` leaves records where they are.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from ottla.model.errors import ProtocolError
from ottla.wire.compile_reader import compile_reader
from ottla.wire.compile_writer import compile_struct_writer, compile_writer
from ottla.wire.message import Buffer, Message, Struct
from ottla.wire.primitives import UnsupportedFieldError

__all__ = [
    "Buffer",
    "Reader",
    "UnsupportedFieldError",
    "Writer",
    "decode",
    "encode",
    "encode_around",
    "encode_parts",
    "encode_struct",
    "encode_struct_around",
    "reader",
    "writer",
]

M = TypeVar("M", bound=Message)
S = TypeVar("S", bound=Struct)
Reader: TypeAlias = Callable[[Buffer, int], tuple[M, int]]
Writer: TypeAlias = Callable[[S, bytearray, list[Any]], bytearray]

_readers: dict[tuple[type[Message], int], Reader[Any]] = {}
_writers: dict[tuple[type[Message], int], Writer[Any]] = {}
_struct_writers: dict[tuple[type[Message], type[Struct], int, str | None], Writer[Any]] = {}
_around_writers: dict[tuple[type[Message], str, int], Writer[Any]] = {}


def decode(cls: type[M], version: int, buffer: Buffer, position: int = 0) -> tuple[M, int]:
    """Return the message that starts at `position`, and the position after it.

    Bytes after the message are the caller's business.

    Raises:
        ProtocolError: the bytes are no such message, or there is no such version.
    """
    read = _readers.get((cls, version))
    if read is None:
        read = reader(cls, version)
    message, end = read(buffer, position)
    return message, end


def encode(message: Message, version: int) -> bytes:
    """Return `message` as bytes; records are copied.

    Raises:
        UnsupportedFieldError: a field is set that `version` lacks and that may not be dropped.
        ValueError: a value does not fit its field, or there is no such version.
    """
    parts: list[Buffer] = []
    rest = writer(type(message), version)(message, bytearray(), parts)
    if not parts:
        return bytes(rest)
    parts.append(rest)
    return b"".join(parts)


def encode_parts(message: Message, version: int, head: Buffer = b"") -> list[Buffer]:
    """Return `head` and `message` as buffers to be sent one after the other.

    The first is a bytearray that begins with `head`, so the caller can still
    set a length there; records are the objects of the message, not copies.
    Raises as `encode`.
    """
    parts: list[Buffer] = []
    rest = writer(type(message), version)(message, bytearray(head), parts)
    if rest:
        parts.append(rest)
    return parts


def encode_struct(struct: Struct, owner: type[Message], version: int) -> bytes:
    """Return `struct`, which has no records, as it stands inside `version` of `owner`.

    For answers put together from parts that were encoded before. Raises as `encode`.
    """
    return bytes(_struct_writer(owner, type(struct), version, None)(struct, bytearray(), []))


def encode_struct_around(
    struct: Struct, owner: type[Message], version: int, field: str, elements: list[bytes]
) -> bytes:
    """Return what `encode_struct` does, with `elements` in the list `field` of `struct`.

    They were made by `encode_struct` for the same owner and version; what the
    struct itself holds in `field` is not looked at. Raises as `encode`.
    """
    write = _struct_writer(owner, type(struct), version, field)
    own = getattr(struct, field)
    setattr(struct, field, elements)
    try:
        return bytes(write(struct, bytearray(), []))
    finally:
        setattr(struct, field, own)


def _struct_writer(
    owner: type[Message], cls: type[Struct], version: int, ready: str | None
) -> Writer[Any]:
    key = (owner, cls, version, ready)
    write = _struct_writers.get(key)
    if write is None:
        _check_version(owner, version)
        write = _struct_writers[key] = compile_struct_writer(owner, cls, version, ready)
    return write


def encode_around(
    message: Message, version: int, field: str, elements: list[bytes], head: Buffer = b""
) -> bytearray:
    """Return `head` and `message`, which has no records, with `elements` in its list `field`.

    The elements were made by `encode_struct` for the same version; what the
    message itself holds in `field` is not looked at. Raises as `encode`.
    """
    key = (type(message), field, version)
    write = _around_writers.get(key)
    if write is None:
        _check_version(type(message), version)
        write = _around_writers[key] = compile_writer(type(message), version, field)
    own = getattr(message, field)
    setattr(message, field, elements)
    try:
        return write(message, bytearray(head), [])
    finally:
        setattr(message, field, own)


def reader(cls: type[M], version: int) -> Reader[M]:
    """Return the function behind `decode`: `(buffer, position) -> (message, end)`."""
    read: Reader[M] | None = _readers.get((cls, version))
    if read is None:
        if not cls.MIN_VERSION <= version <= cls.MAX_VERSION:
            raise ProtocolError(f"{cls.__name__} has no version {version}")
        read = _readers[cls, version] = compile_reader(cls, version)  # type: ignore[assignment]
    return read  # type: ignore[return-value]


def writer(cls: type[M], version: int) -> Writer[M]:
    """Return the function behind `encode`: `(message, out, parts) -> rest`.

    It appends to `out`; if the message has records, `out` and they move to
    `parts`, and what follows them is in the bytearray that is returned.
    """
    write: Writer[M] | None = _writers.get((cls, version))
    if write is None:
        _check_version(cls, version)
        write = _writers[cls, version] = compile_writer(cls, version)
    return write


def _check_version(cls: type[Message], version: int) -> None:
    if not cls.MIN_VERSION <= version <= cls.MAX_VERSION:
        raise ValueError(f"{cls.__name__} has no version {version}")
