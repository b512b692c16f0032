"""What every generated class is: plain attributes, in slots, with their schema beside them.

A `Message` stands alone on the wire (a request, a header, a record's value); a
`Struct` is a part of one. One class holds all versions: a field that a version
lacks has its default after decoding that version.
"""

from typing import Any, ClassVar, NamedTuple, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview

NEW: Any = object()
"""The default of an argument whose value is a new empty list, or a new struct."""

Row: TypeAlias = tuple[str, str, int, int, tuple[int, int] | None, int | None, object, bool]
"""A `Field`, as the generated classes write it down."""


class Field(NamedTuple):
    """One field of a struct.

    `type` is one of the schema language, with `[]` in front for a list.
    `default` is None for null, and () for an empty list or a new struct.
    """

    name: str
    type: str
    first: int
    last: int
    nullable: tuple[int, int] | None
    tag: int | None
    default: Any
    ignorable: bool

    @property
    def is_list(self) -> bool:
        return self.type.startswith("[]")

    @property
    def element(self) -> str:
        return self.type.removeprefix("[]")

    @property
    def is_struct(self) -> bool:
        """True for one struct, false for a list of them."""
        return self.type[0].isupper()

    @property
    def absent_is_none(self) -> bool:
        """A tagged struct that is not there is None, and not one more object."""
        return self.tag is not None and self.is_struct and self.nullable is None

    def in_version(self, version: int) -> bool:
        return self.first <= version <= self.last

    def null_in_version(self, version: int) -> bool:
        return self.nullable is not None and self.nullable[0] <= version <= self.nullable[1]


class Struct:
    """Equal if of the same class with equal fields; not hashable."""

    __slots__: tuple[str, ...] = ()
    FIELDS: ClassVar[tuple[Row, ...]] = ()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({fields})"


class Message(Struct):
    """A struct with versions of its own."""

    __slots__ = ()
    MIN_VERSION: ClassVar[int]
    MAX_VERSION: ClassVar[int]
    FLEXIBLE_FROM: ClassVar[int | None]
