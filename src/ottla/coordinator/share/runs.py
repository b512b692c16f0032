"""The records of one share partition between its start and its next offset, as runs of equal state.

    start_offset           next_offset
    |  accepted | acquired by m-1 | available |  (never delivered yet)

A *run* is a stretch of offsets that share one state. Runs are sorted, touch
each other and cover exactly [start_offset, next_offset). Those that change
separately are cut apart first, and neighbours that are over and done with are
joined again, so a partition has few however many records are in flight.

A change that waits for its durable write is marked by a `Transition`; the run
remembers what it was, and nobody else may change or acquire it meanwhile.
"""

from bisect import bisect_right
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from ottla.model.ids import Offset

NOBODY = ""


class RecordState(IntEnum):
    """By the numbers of the stored format."""

    AVAILABLE = 0
    ACQUIRED = 1
    ACKNOWLEDGED = 2
    ARCHIVED = 4

    @property
    def is_terminal(self) -> bool:
        return self >= RecordState.ACKNOWLEDGED


class StateBatch(NamedTuple):
    """A stretch of records as it is stored; both ends are included."""

    first_offset: Offset
    last_offset: Offset
    delivery_state: int
    delivery_count: int


class Transition:
    """A change on its way to disk: what is to be stored."""

    __slots__ = ("batches",)

    def __init__(self) -> None:
        self.batches: list[StateBatch] = []


class Run:
    """Records `first` to `last`, both included, in one state."""

    __slots__ = (
        "batch_size",
        "before",
        "changing",
        "count",
        "first",
        "last",
        "lock_until_ms",
        "member_id",
        "state",
    )

    def __init__(
        self,
        first: Offset,
        last: Offset,
        state: RecordState,
        count: int,
        member_id: str = NOBODY,
        lock_until_ms: int = 0,
        batch_size: int = 0,
    ) -> None:
        self.first = first
        self.last = last
        self.state = state
        self.count = count
        self.member_id = member_id
        self.lock_until_ms = lock_until_ms
        self.batch_size = batch_size or last - first + 1
        """How many records the batch had in which these were first delivered."""
        self.changing: Transition | None = None
        self.before: tuple[RecordState, int, str] | None = None

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    @property
    def is_available(self) -> bool:
        return self.state is RecordState.AVAILABLE and self.changing is None

    @property
    def is_over(self) -> bool:
        return self.changing is None and self.state.is_terminal

    def change(self, transition: Transition, state: RecordState) -> None:
        """Begin a change that counts once it is stored."""
        self.before = (self.state, self.count, self.member_id)
        self.changing = transition
        self.state = state
        self.member_id = NOBODY
        transition.batches.append(StateBatch(self.first, self.last, state, self.count))

    def __repr__(self) -> str:
        mark = "*" if self.changing is not None else ""
        return f"{self.first}-{self.last} {self.state.name}{mark} {self.count} {self.member_id}"


class Runs:
    """The runs of one share partition."""

    __slots__ = ("_firsts", "_runs", "start_offset")

    def __init__(self, start_offset: Offset) -> None:
        self.start_offset = start_offset
        self._runs: list[Run] = []
        self._firsts: list[Offset] = []

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def next_offset(self) -> Offset:
        return self._runs[-1].last + 1 if self._runs else self.start_offset

    @property
    def in_flight(self) -> int:
        """How many records lie between the start and the next offset, in whatever state."""
        return self.next_offset - self.start_offset

    @property
    def complete_count(self) -> int:
        """How many of them are over and done with."""
        return sum(run.size for run in self._runs if run.is_over)

    def append(self, run: Run) -> None:
        assert run.first == self.next_offset, (run, self.next_offset)
        self._runs.append(run)
        self._firsts.append(run.first)

    def touching(self, first: Offset, last: Offset) -> list[Run]:
        """The runs with a record in `first` to `last`, in order."""
        index = max(0, bisect_right(self._firsts, first) - 1)
        found = []
        for run in self._runs[index : bisect_right(self._firsts, last)]:
            if run.last >= first:
                found.append(run)
        return found

    def within(self, first: Offset, last: Offset) -> list[Run]:
        """The same, cut so that all of them lie between `first` and `last`."""
        self.cut(first)
        self.cut(last + 1)
        return self.touching(first, last)

    def cut(self, offset: Offset) -> None:
        """Make a run begin at `offset`, if it lies within one."""
        index = bisect_right(self._firsts, offset) - 1
        if index < 0:
            return
        run = self._runs[index]
        if run.first == offset or run.last < offset:
            return
        rest = Run(
            offset,
            run.last,
            run.state,
            run.count,
            run.member_id,
            run.lock_until_ms,
            run.batch_size,
        )
        rest.changing, rest.before = run.changing, run.before
        run.last = offset - 1
        self._runs.insert(index + 1, rest)
        self._firsts.insert(index + 1, offset)

    def settle(self) -> None:
        """Move the start past what is over, and join what need not be told apart."""
        done = 0
        for run in self._runs:
            if not run.is_over:
                break
            done += 1
        if done:
            self.start_offset = self._runs[done - 1].last + 1
        joined: list[Run] = []
        for run in self._runs[done:]:
            last = joined[-1] if joined else None
            if (
                last is not None
                and run.is_over
                and last.is_over
                and run.state is last.state
                and run.count == last.count
            ):
                last.last = run.last
            else:
                joined.append(run)
        self._runs = joined
        self._firsts = [run.first for run in joined]

    def drop_below(self, offset: Offset) -> None:
        """Begin at `offset`, whatever the state of what lies before."""
        if offset <= self.start_offset:
            return
        self.cut(offset)
        self._runs = [run for run in self._runs if run.first >= offset]
        self._firsts = [run.first for run in self._runs]
        self.start_offset = offset
