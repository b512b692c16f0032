"""What the clients of a transactional world did and saw, and what its logs say in the end.

Times are virtual seconds. A value is in one transaction alone, and begins with
its name: `a.2.5:1` is the second record of the fifth transaction of the second
life of transactional id `a`.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from tools.simulation.history import History, Outcome

Producer = tuple[int, int]
"""(producer id, epoch)"""

FEW_VIRTUAL_S = 5.0
"""More than markers take where nothing is broken."""


class Wrote(NamedTuple):
    """One record sent in a transaction."""

    value: bytes
    partition: int
    start: float
    end: float
    outcome: Outcome


class Moved(NamedTuple):
    """A group's offset, to be moved by the transaction from where it was committed."""

    group: str
    partition: int
    before: int
    after: int


@dataclass
class Attempt:
    """One transaction, as its client knows it."""

    name: str
    transactional_id: str
    producer: Producer
    timeout_s: float
    born: float
    """When its producer had taken over the transactional id."""
    start: float
    wrote: list[Wrote] = field(default_factory=list)
    moved: Moved | None = None
    read: list[bytes] = field(default_factory=list)
    """What it has read, of others and of itself."""
    commits: bool | None = None
    """How its client asked for it to end; None: it did not."""
    ends: float = -1.0
    """When it asked."""
    end: float = -1.0
    outcome: Outcome = Outcome.UNKNOWN
    """Of the end."""


class Initiated(NamedTuple):
    """A producer took over its transactional id."""

    transactional_id: str
    producer: Producer
    start: float
    end: float


class Late(NamedTuple):
    """A request of a transaction that had ended, sent (again) afterwards."""

    kind: str
    attempt: str
    transactional_id: str
    producer: Producer
    decided: bool
    """How the attempt had ended."""
    commits: bool
    """What the late request asks for, if it is about an end."""
    partition: int
    start: float
    end: float
    code: int
    """As answered."""


class Seen(NamedTuple):
    """A stretch of a partition as a read_committed consumer got it."""

    reader: str
    partition: int
    first: int
    """Its offset; `next` is the first one behind it."""
    next: int
    records: tuple[tuple[int, bytes], ...]
    """(offset, value)"""
    last_stable: int
    start: float


class Placed(NamedTuple):
    """A record of the final log; `fate` says how its transaction ended, None: it has not."""

    offset: int
    value: bytes
    producer: Producer
    fate: bool | None


class Marker(NamedTuple):
    offset: int
    producer: Producer
    commits: bool


class Decision(NamedTuple):
    """A Prepare record of the transaction log."""

    transactional_id: str
    producer: Producer
    commits: bool
    partitions: frozenset[tuple[str, int]]


class Stable(NamedTuple):
    """How far a partition could be read when all was over."""

    last_stable: int
    high_watermark: int
    at: float


@dataclass
class TransactionHistory(History):
    attempts: list[Attempt] = field(default_factory=list)
    initiated: list[Initiated] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    healed: float = 0.0
    """From when on nothing was broken any more."""

    # What is there when all is over
    placed: dict[int, list[Placed]] = field(default_factory=dict)
    markers: dict[tuple[str, int], list[Marker]] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    """By transactional id."""
    stable: dict[int, Stable] = field(default_factory=dict)
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    """Committed, by group and partition."""

    @property
    def operations(self) -> int:
        return (
            sum(len(each.wrote) + 2 for each in self.attempts)
            + len(self.initiated)
            + len(self.late)
            + len(self.seen)
        )
