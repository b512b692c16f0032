"""Every message class of the wire layer, and random messages of any version.

Three tests are built on it: properties of the codec, the comparison with
Kafka's own classes, and the goldens made by that comparison.
"""

import importlib
import pkgutil
import random
import struct
from collections.abc import Iterator
from typing import Any

import ottla.wire.generated
from ottla.wire.message import Field, Message, Struct
from ottla.wire.source import fields_of, struct_class

INTEGERS = {
    "int8": (-(1 << 7), (1 << 7) - 1),
    "int16": (-(1 << 15), (1 << 15) - 1),
    "uint16": (0, (1 << 16) - 1),
    "int32": (-(1 << 31), (1 << 31) - 1),
    "uint32": (0, (1 << 32) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
}
_LETTERS = "abcXYZ019._-/ äßπ€漢字😀"
_SIZES = (0, 0, 1, 1, 2, 3, 7, 20)
_LONG_SIZES = (126, 127, 128, 200, 16_382, 16_383)


OURS = {"DescribeRebalancesRequest", "DescribeRebalancesResponse"}
"""Messages that Kafka has not."""


def all_messages() -> list[type[Message]]:
    """Every generated message class that Kafka has too, in the order of their modules' names."""
    found: list[type[Message]] = []
    package = ottla.wire.generated
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(info.name)
        found += [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, Message)
            and value.__module__ == info.name
            and value.__name__ not in OURS
        ]
    return found


def all_versions() -> Iterator[tuple[type[Message], int]]:
    for cls in all_messages():
        for version in range(cls.MIN_VERSION, cls.MAX_VERSION + 1):
            yield cls, version


def random_message(
    cls: type[Message], version: int, chance: random.Random, seen: Any = None
) -> Message:
    """A message of `version` with random values in every field that version has.

    `seen`, a set, gets (class name, field name, version) for every field whose
    value is not the default.
    """
    message: Message = _struct(cls, version, chance, 0, set() if seen is None else seen)
    return message


def _struct(cls: type[Any], version: int, chance: random.Random, depth: int, seen: Any) -> Any:
    values: dict[str, Any] = {}
    for field in fields_of(cls):
        if not field.in_version(version):
            continue
        if field.tag is not None and chance.random() < 0.3:
            continue  # tagged fields are left out at times
        value = _field(cls, field, version, chance, depth, seen)
        values[field.name] = value
        if value != default(cls, field):
            seen.add((cls.__module__, cls.__name__, field.name, version))
    return cls(**values)


def default(cls: type[Struct], field: Field) -> Any:
    """What `field` holds in a new struct."""
    return getattr(cls(), field.name)


def _field(
    cls: type[Struct], field: Field, version: int, chance: random.Random, depth: int, seen: Any
) -> Any:
    if field.null_in_version(version) and chance.random() < 0.2:
        return None
    if not field.is_list:
        return _value(cls, field.element, version, chance, depth, seen)
    if depth > 2:
        count = chance.choice((0, 1, 1, 2))
    elif field.element[0].isupper():
        count = chance.choice((0, 1, 1, 2, 3))
    else:
        count = chance.choice((0, 1, 2, 5, 130 if depth == 0 else 3))
    return [_value(cls, field.element, version, chance, depth + 1, seen) for _ in range(count)]


def _value(
    cls: type[Struct], kind: str, version: int, chance: random.Random, depth: int, seen: Any
) -> Any:
    if kind[0].isupper():
        return _struct(struct_class(cls, kind), version, chance, depth + 1, seen)
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        return chance.choice((chance.randint(low, high), chance.randint(0, 100), low, high))
    if kind == "bool":
        return chance.random() < 0.5
    if kind == "float64":
        return chance.choice((chance.uniform(-1e9, 1e9), 0.5, 1e308, -0.0, float("inf")))
    if kind == "uuid":
        return chance.choice((chance.randbytes(16), bytes(16), b"\xff" * 16))
    size = chance.choice(_SIZES)
    if chance.random() < 0.02:
        size = chance.choice(_LONG_SIZES)
    if kind in ("string", "string16"):
        return "".join(chance.choices(_LETTERS, k=size))
    return chance.randbytes(size)


def describe(value: Any, cls: type[Struct] | None = None, field: Field | None = None) -> str:
    """`value` as text: every field by name, also those a version lacks.

    tests/interop/java/WireOracle.java describes Kafka's classes in the same way.
    """
    if value is None and cls is not None and field is not None and field.absent_is_none:
        value = struct_class(cls, field.type)()
    if value is None:
        return "~"
    if isinstance(value, Struct):
        fields = sorted(fields_of(type(value)), key=lambda f: f.name.replace("_", ""))
        texts = [
            f"{f.name.replace('_', '')}={describe(getattr(value, f.name), type(value), f)} "
            for f in fields
        ]
        return "{" + "".join(texts) + "}"
    if isinstance(value, list):
        return "[" + "".join(describe(item) + " " for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    if isinstance(value, int):
        return str(value)
    return f"'{(value.encode() if isinstance(value, str) else bytes(value)).hex()}'"
