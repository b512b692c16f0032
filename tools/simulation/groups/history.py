"""What the members of a group did and were told.

Times are virtual seconds: what was asked at `start` was answered by `end`. Epochs
are generations in the classic protocol, member epochs in the newer one.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from tools.simulation.history import History, Outcome


class Held(NamedTuple):
    """A member was told, within this time, that it is one, in this epoch, and has these."""

    life: str
    """Of the client; one that was thrown out and came back is in another tenure."""
    tenure: int
    member_id: str
    instance_id: str | None
    epoch: int
    partitions: frozenset[int]
    start: float
    end: float
    had: frozenset[int] = frozenset()
    """What it had when it asked; of these it is to give up what is not in `partitions`."""
    entry: int = 0
    """How often it has come with this member id: in the newer protocol it may come again."""


class Kept(NamedTuple):
    """An offset was committed, or perhaps; every value is chosen once only."""

    member_id: str
    instance_id: str | None
    epoch: int
    partition: int
    offset: int
    start: float
    end: float
    outcome: Outcome


class Told(NamedTuple):
    """Somebody asked for the committed offset; -1: there is none."""

    who: str
    partition: int
    offset: int
    start: float
    end: float


@dataclass
class GroupHistory(History):
    held: list[Held] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    changes_kind: bool = False
    """An empty group of one protocol becomes one of the other, whose epochs begin anew."""

    @property
    def operations(self) -> int:
        return len(self.held) + len(self.kept) + len(self.told)
