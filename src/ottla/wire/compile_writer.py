"""Compiling the writer of one version of one message.

The function made is `write(m, out, parts) -> out`: it appends to the bytearray
`out`. A records field ends that bytearray: it and the records, uncopied, go to
`parts`, and a new one is begun; what is returned is the last one, not yet in
`parts`. As in the reader, neighbouring fields of fixed size are one `pack`,
with the length or count that follows them.
"""

import struct
from collections.abc import Callable
from typing import Any

from ottla.wire import primitives
from ottla.wire.message import Field, Message, Struct
from ottla.wire.source import FORMATS, Runs, Source, fields_of, struct_class

Writer = Callable[[Struct, bytearray, list[Any]], bytearray]

_NAMES: dict[str, Any] = {
    "uvarint": primitives.uvarint,
    "unsupported": primitives.unsupported,
    "Unfit": (struct.error, AttributeError, TypeError),
    "bytearray": bytearray,
}


def compile_writer(cls: type[Message], version: int, ready: str | None = None) -> Writer:
    """Return the writer; it takes the elements of the top-level list `ready` as bytes."""
    return _Writer(cls, version, _is_flexible(cls, version), ready).compile(cls)


def compile_struct_writer(
    owner: type[Message], cls: type[Struct], version: int, ready: str | None = None
) -> Writer:
    """Return the writer of one `cls` as it stands inside `version` of `owner`.

    It takes the elements of its own list `ready` as bytes.
    """
    return _Writer(cls, version, _is_flexible(owner, version), ready).compile(cls)


def _is_flexible(cls: type[Message], version: int) -> bool:
    return cls.FLEXIBLE_FROM is not None and version >= cls.FLEXIBLE_FROM


class _Writer:
    def __init__(self, cls: type[Struct], version: int, flexible: bool, ready: str | None) -> None:
        self.cls = cls
        self.ready = ready
        self.version = version
        self.flexible = flexible
        self.source = Source(dict(_NAMES))
        self.run: list[tuple[str, str]] = []  # (format, expression)
        self.depth = 0
        self.out = "out"

    def compile(self, cls: type[Struct]) -> Writer:
        source = self.source
        with source.block("try:"):
            self.structure("m", cls)
            self.flush()
            source.line("return out")
        title = f"{cls.__name__} version {self.version}"
        with source.block("except Unfit as error:"):
            source.line(f"raise ValueError(f'{title} cannot be written: {{error}}') from error")
        return source.compile("def write(m, out, parts):", title + " writer")

    def structure(self, value: str, cls: type[Struct]) -> None:
        fields = fields_of(cls)
        for field in fields:
            if not field.in_version(self.version) and not field.ignorable:
                with self.source.block(f"if {self.differs(f'{value}.{field.name}', cls, field)}:"):
                    name = f"{cls.__name__}.{field.name}"
                    self.source.line(f"unsupported({name!r}, {self.version})")
        for field in fields:
            if field.in_version(self.version) and field.tag is None:
                self.field(f"{value}.{field.name}", cls, field)
        if self.flexible:
            self.tagged_fields(value, cls, fields)

    def differs(self, value: str, cls: type[Struct], field: Field) -> str:
        """An expression: is `value` other than the default of `field`?"""
        if field.default is None:
            return f"{value} is not None"
        if field.is_list:
            return f"{value} is None or {value}" if field.nullable else value
        if field.is_struct:
            inner = struct_class(cls, field.type)
            parts = [self.differs(f"{value}.{f.name}", inner, f) for f in fields_of(inner)]
            some = " or ".join(parts)
            if field.absent_is_none:
                return f"{value} is not None and ({some})"
            return f"{value} is None or {some}" if field.nullable else some
        if field.type == "bool":
            return f"not {value}" if field.default else value
        if field.default == "":
            return f"{value} != ''"
        return f"{value} != {field.default!r}"

    def field(self, value: str, cls: type[Struct], field: Field) -> None:
        nullable = field.null_in_version(self.version)
        if field.is_list:
            self.list_field(value, cls, field, nullable)
        elif field.is_struct:
            null = (255 if field.tag is None else 0) if nullable else None
            self.struct_field(value, struct_class(cls, field.type), null)
        elif field.type in FORMATS:
            self.run.append((FORMATS[field.type], value))
        else:
            self.sized(value, field.type, nullable)

    def struct_field(self, value: str, cls: type[Struct], null: int | None) -> None:
        """`null` is the byte that says so, or None where the struct may not be null."""
        source = self.source
        self.depth += 1
        local = f"m{self.depth}"
        source.line(f"{local} = {value}")
        if null is not None:
            self.flush()
            with source.block(f"if {local} is None:"):
                source.line(f"{self.out}.append({null})")
            with source.block("else:"):
                self.run.append(("b", "1"))
                self.structure(local, cls)
                self.flush()
        else:
            self.structure(local, cls)
        self.depth -= 1

    def sized(self, value: str, kind: str, nullable: bool) -> None:
        source = self.source
        compact = self.flexible and kind != "string16"
        source.line(f"v = {value}")
        if nullable:
            with source.block("if v is None:"):
                source.line(f"n = {0 if compact else -1}")
                source.line("v = b''")
            with source.block("else:"):
                self.measure(kind, compact)
        else:
            self.measure(kind, compact)
        self.length("h" if kind in ("string", "string16") else "i", compact)
        if kind == "records":
            with source.block("if v:"):
                source.line("parts.append(out)")
                source.line("parts.append(v)")
                source.line("out = bytearray()")
        else:
            source.line(f"{self.out} += v")

    def measure(self, kind: str, compact: bool) -> None:
        if kind in ("string", "string16"):
            self.source.line("v = v.encode()")
        self.source.line("n = len(v) + 1" if compact else "n = len(v)")

    def length(self, fixed_format: str, compact: bool) -> None:
        """Write the run and `n`."""
        if not compact:
            self.run.append((fixed_format, "n"))
            self.flush()
            return
        if not self.run:
            with self.source.block("if n < 128:"):
                self.source.line(f"{self.out}.append(n)")
            with self.source.block("else:"):
                self.source.line(f"{self.out} += uvarint(n)")
            return
        run = list(self.run)
        with self.source.block("if n < 128:"):
            self.run.append(("B", "n"))
            self.flush()
        self.run = run
        with self.source.block("else:"):
            self.flush()
            self.source.line(f"{self.out} += uvarint(n)")

    def list_field(self, value: str, cls: type[Struct], field: Field, nullable: bool) -> None:
        source = self.source
        self.depth += 1
        items, item = f"l{self.depth}", f"m{self.depth}"
        source.line(f"{items} = {value}")
        if nullable:
            with source.block(f"if {items} is None:"):
                source.line(f"n = {0 if self.flexible else -1}")
                source.line(f"{items} = ()")
            with source.block("else:"):
                source.line(f"n = len({items})" + (" + 1" if self.flexible else ""))
        else:
            source.line(f"n = len({items})" + (" + 1" if self.flexible else ""))
        self.length("i", self.flexible)
        element = field.element
        if cls is self.cls and field.name == self.ready:
            source.line(f"{self.out} += b''.join({items})")
        elif element in FORMATS and element != "uuid":
            form = FORMATS[element]
            runs = source.name("pack_run_" + form.replace("?", "Z"), _run(form))
            with source.block(f"if {items}:"):
                source.line(f"{self.out} += {runs}[len({items})](*{items})")
        else:
            with source.block(f"for {item} in {items}:"):
                if element[0].isupper():
                    self.structure(item, struct_class(cls, element))
                elif element == "uuid":
                    self.run.append(("16s", item))
                else:
                    self.sized(item, element, False)
                self.flush()
        self.depth -= 1

    def tagged_fields(self, value: str, cls: type[Struct], fields: list[Field]) -> None:
        source = self.source
        known = [f for f in fields if f.tag is not None and f.in_version(self.version)]
        known.sort(key=lambda f: f.tag or 0)
        if not known:
            self.run.append(("x", ""))
            return
        tests = [f"({self.differs(f'{value}.{f.name}', cls, f)})" for f in known]
        run = list(self.run)
        with source.block(f"if not ({' or '.join(tests)}):"):
            self.run.append(("x", ""))
            self.flush()
        self.run = run
        with source.block("else:"):
            self.flush()
            outer, self.out = self.out, f"out{self.depth}"
            self.depth += 1
            count, tags = f"count{self.depth}", f"tags{self.depth}"
            source.line(f"{count} = 0")
            source.line(f"{tags} = bytearray()")
            for field, test in zip(known, tests, strict=True):
                with source.block(f"if {test}:"):
                    source.line(f"{count} += 1")
                    source.line(f"{self.out} = bytearray()")
                    self.field(f"{value}.{field.name}", cls, field)
                    self.flush()
                    tag = primitives.uvarint(field.tag or 0)
                    source.line(f"{tags} += {tag!r} + uvarint(len({self.out}))")
                    source.line(f"{tags} += {self.out}")
            self.depth -= 1
            self.out = outer
            source.line(f"{self.out} += uvarint({count})")
            source.line(f"{self.out} += {tags}")

    def flush(self) -> None:
        """Write the `pack` of the fields of fixed size gathered so far."""
        if not self.run:
            return
        form = "".join(f for f, _ in self.run)
        values = ", ".join(v for _, v in self.run if v)
        if form == "x":
            self.source.line(f"{self.out}.append(0)")
        elif form == "B":
            self.source.line(f"{self.out}.append({values})")
        else:
            pack = self.source.name("pack_" + form.replace("?", "Z"), _pack(form))
            self.source.line(f"{self.out} += {pack}({values})")
        self.run.clear()


_PACK: dict[str, Callable[..., bytes]] = {}


_RUNS: dict[str, Runs] = {}


def _run(form: str) -> Runs:
    if form not in _RUNS:
        _RUNS[form] = Runs("pack", form)
    return _RUNS[form]


def _pack(form: str) -> Callable[..., bytes]:
    if form not in _PACK:
        _PACK[form] = struct.Struct(">" + form).pack
    return _PACK[form]
