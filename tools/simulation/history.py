"""What clients of a simulated broker asked and were told, and what was there in the end.

Times are virtual seconds. A fact is known from `end` on; the question was put at
`start`. An operation whose outcome is UNKNOWN may have happened or not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


class Outcome(Enum):
    OK = "ok"
    FAIL = "fail"
    """It did not happen, and never will."""
    UNKNOWN = "unknown"


class Produced(NamedTuple):
    producer: str
    """Who numbered the values."""
    idempotent: bool
    partition: int
    values: tuple[bytes, ...]
    start: float
    end: float
    outcome: Outcome
    base_offset: int = -1
    """-1: the broker did not say."""
    forbidden: str = ""
    """Why it must not be accepted: a wrong checksum, a gap in the sequence."""


class Fetched(NamedTuple):
    """What one answer said of one partition."""

    reader: str
    partition: int
    asked: int
    records: tuple[tuple[int, bytes], ...]
    """(offset, value), from the asked offset on."""
    high_watermark: int
    log_start: int
    start: float
    end: float


class Refused(NamedTuple):
    """A fetch that was told that there is nothing to read where it asked."""

    reader: str
    partition: int
    asked: int
    why: str
    start: float
    end: float


class Overtaken(NamedTuple):
    """A producer's first batch, refused again and again because its sequence is not the next."""

    partition: int
    producer_id: int
    value: bytes


class Listed(NamedTuple):
    partition: int
    high_watermark: int
    log_start: int
    start: float
    end: float


class Deleted(NamedTuple):
    """Records below `offset` were asked to go."""

    partition: int
    offset: int
    start: float
    end: float


class Committed(NamedTuple):
    group: str
    partition: int
    offset: int
    start: float
    end: float
    outcome: Outcome


class Loss(NamedTuple):
    """Where a power cut may take unflushed records: where the log ended then, and before."""

    at: float
    partition: int
    end: int
    flushed_end: int
    """What was promised to be left."""


class Stored(NamedTuple):
    """A record of the final log."""

    offset: int
    value: bytes
    producer_id: int


@dataclass
class Final:
    """What is there when all is over."""

    records: dict[int, list[Stored]] = field(default_factory=dict)
    log_start: dict[int, int] = field(default_factory=dict)
    log_end: dict[int, int] = field(default_factory=dict)
    committed: dict[tuple[str, int], int] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    """What is wrong with the files themselves."""


@dataclass
class History:
    produced: list[Produced] = field(default_factory=list)
    fetched: list[Fetched] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    overtaken: list[Overtaken] = field(default_factory=list)
    listed: list[Listed] = field(default_factory=list)
    deleted: list[Deleted] = field(default_factory=list)
    committed: list[Committed] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    deaths: list[float] = field(default_factory=list)
    """When a process died without stopping."""
    elections: list[float] = field(default_factory=list)
    """When another broker led for a moment."""
    stuck: list[str] = field(default_factory=list)
    """Who had not finished long after everything was healed."""
    unexpected: list[str] = field(default_factory=list)
    """Exceptions nobody foresaw."""
    final: Final = field(default_factory=Final)

    @property
    def operations(self) -> int:
        return sum(
            len(each)
            for each in (
                self.produced,
                self.fetched,
                self.refused,
                self.listed,
                self.deleted,
                self.committed,
            )
        )

    def generation(self, partition: int, offset: int, start: float, end: float) -> int | None:
        """How often the record at `offset` may have been lost before; None: perhaps meanwhile."""
        count = 0
        for loss in self.losses:
            if loss.partition == partition and loss.end <= offset:
                if loss.at <= start:
                    count += 1
                elif loss.at <= end:
                    return None
        return count

    def last_generation(self, partition: int, offset: int) -> int:
        return sum(loss.partition == partition and loss.end <= offset for loss in self.losses)

    def facts(self) -> Iterator[tuple[int, int, bytes, int, str]]:
        """(partition, offset, value, generation, who says so) of every acknowledgement and read."""
        for ack in self.produced:
            if ack.outcome is Outcome.OK and ack.base_offset >= 0:
                for index, value in enumerate(ack.values):
                    offset = ack.base_offset + index
                    generation = self.generation(ack.partition, offset, ack.start, ack.end)
                    if generation is not None:
                        who = f"acknowledged to {ack.producer} at {ack.end:.3f} s"
                        yield ack.partition, offset, value, generation, who
        for read in self.fetched:
            for offset, value in read.records:
                generation = self.generation(read.partition, offset, read.start, read.end)
                if generation is not None:
                    who = f"read by {read.reader} at {read.end:.3f} s"
                    yield read.partition, offset, value, generation, who
