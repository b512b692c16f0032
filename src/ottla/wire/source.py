"""Growing the source text of one function, and what readers and writers share about structs."""

import struct
import sys
from collections.abc import Callable
from typing import Any

from ottla.wire.message import Field, Struct

FORMATS = {
    "bool": "?",
    "int8": "b",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "float64": "d",
    "uuid": "16s",
}
"""The `struct` format of each type of fixed size."""


class Runs(dict[int, Callable[..., Any]]):
    """The `pack` or `unpack_from` of n numbers of one format, by n; small n are kept."""

    def __init__(self, method: str, form: str) -> None:
        self.method = method
        self.form = form

    def __missing__(self, count: int) -> Callable[..., Any]:
        run: Callable[..., Any] = getattr(struct.Struct(f">{count}{self.form}"), self.method)
        if count <= 64:
            self[count] = run
        return run


class Source:
    """Lines of one function, and the names it uses from outside."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names
        self.lines: list[str] = []
        self.depth = 1

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def block(self, head: str) -> "Block":
        """`with source.block("if x:"):` indents what follows."""
        self.line(head)
        return Block(self)

    def name(self, stem: str, value: Any) -> str:
        """Make `value` known to the function and return the name it has there."""
        name = stem
        number = 0
        while self.names.setdefault(name, value) is not value:
            number += 1
            name = f"{stem}_{number}"
        return name

    def compile(self, head: str, title: str) -> Callable[..., Any]:
        code = compile("\n".join([head, *self.lines]), f"<ottla.wire {title}>", "exec")
        exec(code, self.names)
        function: Callable[..., Any] = self.names[head.split("(")[0].removeprefix("def ")]
        return function


class Block:
    def __init__(self, source: Source) -> None:
        self.source = source

    def __enter__(self) -> None:
        self.source.depth += 1

    def __exit__(self, *_: object) -> None:
        self.source.depth -= 1


def fields_of(cls: type[Struct]) -> list[Field]:
    return [Field(*row) for row in cls.FIELDS]


def struct_class(owner: type[Struct], name: str) -> type[Struct]:
    """Return the struct class `name` from the module of `owner`."""
    cls: type[Struct] = getattr(sys.modules[owner.__module__], name)
    return cls


def minimum_size(owner: type[Struct], kind: str, version: int, flexible: bool) -> int:
    """The fewest bytes one `kind` (a type of the schema language, no list) takes."""
    if kind in FORMATS:
        return struct.calcsize(">" + FORMATS[kind])
    if kind == "string16":
        return 2
    if not kind[0].isupper():
        return 1 if flexible else 2 if kind == "string" else 4
    total = 1 if flexible else 0
    for field in fields_of(struct_class(owner, kind)):
        if field.in_version(version) and field.tag is None:
            if field.is_list:
                total += 1 if flexible else 4
            elif field.is_struct and field.null_in_version(version):
                total += 1
            else:
                total += minimum_size(owner, field.type, version, flexible)
    return total
