"""Compiling the reader of one version of one message.

The function made is `read(b, p) -> (message, position after it)`, with nested
structs and lists in line. Neighbouring fields of fixed size, and the length
or count that follows them, are one `unpack`:

    m1.index, n = unpack_iB(b, p)
    p += 5

Nothing is trusted: lengths and counts are compared with the bytes that remain
before they are used; what `struct` and indexing refuse becomes ProtocolError.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any

from ottla.model.errors import ProtocolError
from ottla.wire import primitives
from ottla.wire.message import Buffer, Field, Message, Struct
from ottla.wire.source import FORMATS, Runs, Source, fields_of, minimum_size, struct_class

_NAMES: dict[str, Any] = {
    "new": object.__new__,
    "finish": primitives.finish_uvarint,
    "skip_tagged": primitives.skip_tagged,
    "truncated": primitives.truncated,
    "too_many": primitives.too_many,
    "null": primitives.null,
    "wrong_size": primitives.wrong_size,
    "MAX_ELEMENTS": primitives.MAX_ELEMENTS,
    "ProtocolError": ProtocolError,
    "Malformed": (struct.error, IndexError, UnicodeDecodeError),
}


def compile_reader(
    cls: type[Message], version: int
) -> Callable[[Buffer, int], tuple[Message, int]]:
    flexible = cls.FLEXIBLE_FROM is not None and version >= cls.FLEXIBLE_FROM
    return _Reader(cls, version, flexible).compile()


class _Reader:
    def __init__(self, cls: type[Message], version: int, flexible: bool) -> None:
        self.cls = cls
        self.version = version
        self.flexible = flexible
        self.source = Source(dict(_NAMES))
        self.run: list[tuple[str, str]] = []  # (format, where its value goes)
        self.depth = 0
        self.views = any(row.element == "records" for row in _all_fields(cls, version))

    def compile(self) -> Callable[[Buffer, int], tuple[Message, int]]:
        source = self.source
        # Without records, bytes are sliced and decoded faster than a view, by more than
        # the copy costs.
        kind = "memoryview" if self.views else "bytes"
        with source.block(f"if type(b) is not {kind}:"):
            source.line(f"b = {kind}(b)")
        source.line("size = len(b)")
        source.line("left = MAX_ELEMENTS")
        with source.block("try:"):
            self.structure("m", self.cls)
            self.flush()
            source.line("return m, p")
        with source.block("except Malformed as error:"):
            title = f"{self.cls.__name__} version {self.version}"
            source.line(f"raise ProtocolError(f'{title}: {{error}}') from None")
        return source.compile("def read(b, p):", title + " reader")

    def structure(self, target: str, cls: type[Struct]) -> None:
        """Read a `cls` into the new local variable `target`."""
        source = self.source
        source.line(f"{target} = new({source.name(cls.__name__, cls)})")
        fields = fields_of(cls)
        for field in fields:
            if not field.in_version(self.version) or field.tag is not None:
                source.line(f"{target}.{field.name} = {self.default(cls, field)}")
        for field in fields:
            if field.in_version(self.version) and field.tag is None:
                self.field(target, cls, field)
        if self.flexible:
            self.tagged_fields(target, cls, fields)

    def default(self, cls: type[Struct], field: Field) -> str:
        if field.default is None or field.absent_is_none:
            return "None"
        if field.is_list:
            return "[]"
        if field.is_struct:
            return f"{self.source.name(field.type, struct_class(cls, field.type))}()"
        return repr(field.default)

    def field(self, target: str, cls: type[Struct], field: Field) -> None:
        where = f"{target}.{field.name}"
        if field.is_list:
            self.list_field(where, cls, field)
        elif field.is_struct:
            self.struct_field(where, cls, field)
        elif field.type in FORMATS:
            self.run.append((FORMATS[field.type], where))
        else:
            self.sized(where, field.type, field.null_in_version(self.version))

    def struct_field(self, where: str, cls: type[Struct], field: Field) -> None:
        source = self.source
        inner = struct_class(cls, field.type)
        if not field.null_in_version(self.version):
            self.nested(where, inner)
            return
        # In line -1 is null; as a tagged field, 0 is.
        self.run.append(("b", "n"))
        self.flush()
        with source.block("if n < 0:" if field.tag is None else "if n < 1:"):
            source.line(f"{where} = None")
        with source.block("else:"):
            self.nested(where, inner)
            self.flush()

    def nested(self, where: str, cls: type[Struct]) -> None:
        self.depth += 1
        self.structure(f"m{self.depth}", cls)
        self.source.line(f"{where} = m{self.depth}")
        self.depth -= 1

    def sized(self, where: str, kind: str, nullable: bool) -> None:
        """Read something with a length in front: string, bytes, records."""
        source = self.source
        offset = self.length("h" if kind in ("string", "string16") else "i", kind != "string16")
        with source.block(f"if n < {offset}:"):
            source.line(f"{where} = None" if nullable else f"null({where.split('.')[-1]!r})")
        with source.block("else:"):
            source.line("e = p + n - 1" if offset else "e = p + n")
            with source.block("if e > size:"):
                source.line("truncated()")
            if kind == "records":
                source.line(f"{where} = b[p:e]")
            elif kind == "bytes":
                source.line(f"{where} = bytes(b[p:e])")
            else:
                view = ".tobytes()" if self.views else ""
                source.line(f"{where} = b[p:e]{view}.decode()")
            source.line("p = e")

    def length(self, fixed_format: str, may_be_compact: bool = True) -> int:
        """Read a length or count into `n`; return 1 if it is one too many (compact), else 0."""
        if self.flexible and may_be_compact:
            self.run.append(("B", "n"))
            self.flush()
            with self.source.block("if n > 127:"):
                self.source.line("n, p = finish(b, p, n)")
            return 1
        self.run.append((fixed_format, "n"))
        self.flush()
        return 0

    def list_field(self, where: str, cls: type[Struct], field: Field) -> None:
        source = self.source
        offset = self.length("i")
        name = field.name
        with source.block(f"if n < {offset}:"):
            nullable = field.null_in_version(self.version)
            source.line(f"{where} = None" if nullable else f"null({name!r})")
        with source.block("else:"):
            if offset:
                source.line("n -= 1")
            element = field.element
            size = minimum_size(cls, element, self.version, self.flexible)
            with source.block(f"if n * {size} > size - p:"):
                source.line("truncated()")
            source.line("left -= n")
            with source.block("if left < 0:"):
                source.line("too_many()")
            if element in FORMATS and element != "uuid":
                form = FORMATS[element]
                runs = source.name("unpack_run_" + form.replace("?", "Z"), _run(form))
                source.line(f"{where} = list({runs}[n](b, p)) if n else []")
                source.line(f"p += n * {size}" if size > 1 else "p += n")
            else:
                self.elements(where, cls, element)

    def elements(self, where: str, cls: type[Struct], element: str) -> None:
        source = self.source
        self.depth += 1
        items, item = f"l{self.depth}", f"m{self.depth}"
        source.line(f"{items} = []")
        with source.block("for _ in range(n):"):
            if element[0].isupper():
                self.structure(item, struct_class(cls, element))
                self.flush()
            elif element == "uuid":
                self.run.append(("16s", item))
                self.flush()
            else:
                self.sized(item, element, False)
            source.line(f"{items}.append({item})")
        source.line(f"{where} = {items}")
        self.depth -= 1

    def tagged_fields(self, target: str, cls: type[Struct], fields: list[Field]) -> None:
        source = self.source
        known = [f for f in fields if f.tag is not None and f.in_version(self.version)]
        self.run.append(("B", "n"))
        self.flush()
        if not known:
            with source.block("if n:"):
                source.line("p = skip_tagged(b, p, size, n)")
            return
        self.depth += 1
        end, tag = f"end{self.depth}", f"tag{self.depth}"
        with source.block("if n:"):
            with source.block("if n > 127:"):
                source.line("n, p = finish(b, p, n)")
            with source.block("for _ in range(n):"):
                self.varint(tag)
                self.varint("n")
                source.line(f"{end} = p + n")
                with source.block(f"if {end} > size:"):
                    source.line("truncated()")
                for number, field in enumerate(known):
                    with source.block(f"{'el' if number else ''}if {tag} == {field.tag}:"):
                        self.field(target, cls, field)
                        self.flush()
                        with source.block(f"if p != {end}:"):
                            source.line(f"wrong_size({field.name!r})")
                with source.block("else:"):
                    source.line(f"p = {end}")
        self.depth -= 1

    def varint(self, where: str) -> None:
        self.run.append(("B", where))
        self.flush()
        with self.source.block(f"if {where} > 127:"):
            self.source.line(f"{where}, p = finish(b, p, {where})")

    def flush(self) -> None:
        """Write the `unpack` of the fields of fixed size gathered so far."""
        if not self.run:
            return
        form = "".join(f for f, _ in self.run)
        targets = ", ".join(t for _, t in self.run)
        size = struct.calcsize(">" + form)
        if form == "B":
            self.source.line(f"{targets} = b[p]")
        else:
            unpack = self.source.name("unpack_" + form.replace("?", "Z"), _unpack(form))
            self.source.line(f"{targets}{',' if len(self.run) == 1 else ''} = {unpack}(b, p)")
        self.source.line(f"p += {size}")
        self.run.clear()


def _all_fields(cls: type[Struct], version: int) -> Iterator[Field]:
    """The fields `version` has, those of nested structs too."""
    for field in fields_of(cls):
        if field.in_version(version):
            yield field
            if field.element[0].isupper():
                yield from _all_fields(struct_class(cls, field.element), version)


_UNPACK: dict[str, Callable[..., Any]] = {}


_RUNS: dict[str, Runs] = {}


def _run(form: str) -> Runs:
    if form not in _RUNS:
        _RUNS[form] = Runs("unpack_from", form)
    return _RUNS[form]


def _unpack(form: str) -> Callable[..., Any]:
    if form not in _UNPACK:
        _UNPACK[form] = struct.Struct(">" + form).unpack_from
    return _UNPACK[form]
