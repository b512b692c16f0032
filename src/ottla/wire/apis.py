"""Every API that this package can read and write.

What a broker advertises is decided elsewhere: only what it implements.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import NamedTuple

from ottla.wire.generated.api_table import ROWS
from ottla.wire.message import Message


class ApiInfo(NamedTuple):
    """One API, in the versions Kafka serves unless told to serve unstable ones too.

    `flexible_from` is the first version with compact lengths and tagged
    fields, or None if there is none; `unstable` is a version above
    `max_version` that the codec knows and Kafka does not advertise.
    """

    key: int
    name: str
    min_version: int
    max_version: int
    flexible_from: int | None
    unstable: int | None
    module: str

    @property
    def request_name(self) -> str:
        return f"{self._stem}Request"

    @property
    def response_name(self) -> str:
        return f"{self._stem}Response"

    @property
    def _stem(self) -> str:
        return self.name.title().replace("_", "")

    def is_flexible(self, version: int) -> bool:
        return self.flexible_from is not None and version >= self.flexible_from


class _Apis(Mapping[int, ApiInfo]):
    def __init__(self) -> None:
        self._rows = {row[0]: row for row in ROWS}
        self._made: dict[int, ApiInfo] = {}

    def __getitem__(self, key: int) -> ApiInfo:
        info = self._made.get(key)
        if info is None:
            _, name, first, last, flexible_from, unstable, module = self._rows[key]
            if unstable is not None:
                last = unstable - 1
            info = ApiInfo(key, name, first, last, flexible_from, unstable, module)
            self._made[key] = info
        return info

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


API: Mapping[int, ApiInfo] = _Apis()

_classes: dict[str, type[Message]] = {}


def request_class(key: int) -> type[Message]:
    """Return the request class of API `key`, imported on first use; KeyError if unknown."""
    return _class(API[key].module, API[key].request_name)


def response_class(key: int) -> type[Message]:
    """Return the response class of API `key`, imported on first use; KeyError if unknown."""
    return _class(API[key].module, API[key].response_name)


def _class(module: str, name: str) -> type[Message]:
    cls = _classes.get(name)
    if cls is None:
        cls = _classes[name] = getattr(import_module(f"ottla.wire.generated.{module}"), name)
    return cls
