"""What the members of a share group were given, and what they said of it.

Times are virtual seconds: what was asked at `start` was answered by `end`. A *session* is one of
a client's, told apart by a number: what is held in it is free when it is over.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from tools.simulation.history import History, Outcome

from ottla.client.share_member import Ack

Place = tuple[int, int]
"""(partition, offset)"""


class Holder(NamedTuple):
    """A life of a client, and which of its sessions it was."""

    life: str
    session: int


class Delivered(NamedTuple):
    """A record was acquired within this time."""

    holder: Holder
    place: Place
    value: bytes
    times: int
    """How often it was delivered, with this time."""
    start: float
    end: float
    broker: int
    """Which start of the broker gave it; 0: not known, there may have been two."""


class Said(NamedTuple):
    """What became of a record, as its holder said."""

    holder: Holder
    place: Place
    ack: Ack
    start: float
    end: float
    outcome: Outcome


class Alive(NamedTuple):
    """A request within a session was answered well."""

    holder: Holder
    start: float
    end: float


class Unheard(NamedTuple):
    """A fetch whose answer never came: it may have acquired records."""

    life: str
    start: float
    end: float


@dataclass
class ShareHistory(History):
    lock_s: float = 0.0
    limit: int = 0
    """How often a record is delivered at most."""
    delivered: list[Delivered] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    alive: list[Alive] = field(default_factory=list)
    unheard: list[Unheard] = field(default_factory=list)

    @property
    def operations(self) -> int:
        return len(self.produced) + len(self.delivered) + len(self.said) + len(self.alive)
