"""Where a process runs: the address that others reach it at, and what it is started inside of."""

from typing import NamedTuple


class Place(NamedTuple):
    """A machine, or what stands for one."""

    host: str = "127.0.0.1"
    inside: tuple[str, ...] = ()
    """Put before a command, it runs there."""


HERE = Place()
