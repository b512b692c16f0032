"""Requests from plain dicts, in any version."""

from collections.abc import Mapping
from typing import Any

from ottla.wire.message import Struct
from ottla.wire.source import fields_of, struct_class


def build(cls: type[Struct], version: int, values: Mapping[str, Any]) -> Any:
    """Return a `cls` with the `values` that `version` has; what it lacks is left out.

    Structs may be given as dicts. A name that no version has is a mistake.
    """
    fields = {field.name: field for field in fields_of(cls)}
    unknown = values.keys() - fields.keys()
    assert not unknown, f"{cls.__name__} has no {sorted(unknown)}"
    arguments = {}
    for name, value in values.items():
        field = fields[name]
        if not field.in_version(version):
            continue
        if field.element[0].isupper() and value is not None:
            inner = struct_class(cls, field.element)
            if field.is_list:
                value = [build(inner, version, item) for item in value]
            else:
                value = build(inner, version, value)
        arguments[name] = value
    return cls(**arguments)
