"""What a replicated state machine says: records to append, answers to give.

Every coordinator (groups, transactions, share groups) is a set of *shards*,
one for each partition of its internal topic. A shard is a core: commands and
time come in, an `Outcome` comes out. `runtime.py` is the shell around it, and
does, for every outcome, in this order:

    decide   the shard's method; it may change who waits, and deadlines
    append   the records, as one batch; refused -> `Outcome.refused`
    apply    each record, by the same code that replays the log on loading
    answer   once the high watermark covers the last record applied

What must survive a restart changes in `Shard.apply` alone.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import LeaderEpoch, Offset, ProducerEpoch, ProducerId

Buffer = bytes | bytearray | memoryview


class Waiter:
    """A request that waits for its answer. Cores only keep and return it."""

    __slots__ = ()


class Call(Waiter):
    """Nobody waits: what is to be done once the records are committed."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call


Answer = tuple[Waiter, Any]
R = TypeVar("R")


class Outcome(Generic[R]):
    """The result of one decision.

    `answers` are given once `records` are committed; a command whose waiter is
    not among them is parked, and a later outcome answers it. `refused` is
    called when the append was refused, so nothing was written: it takes back
    what the decision had changed and returns the answers to give instead.
    Without it every waiter of `answers` fails with the code. With `producer` the
    records are part of that producer's transaction.
    """

    __slots__ = ("answers", "goes_on", "producer", "records", "refused")

    def __init__(
        self,
        records: list[R] | None = None,
        answers: list[Answer] | None = None,
        refused: Callable[[ErrorCode], "Outcome[R]"] | None = None,
        producer: tuple[ProducerId, ProducerEpoch] | None = None,
    ) -> None:
        self.records: list[R] = [] if records is None else records
        self.answers: list[Answer] = [] if answers is None else answers
        self.refused = refused
        self.producer = producer
        self.goes_on = False
        """A slice of long work: a deadline has the rest done, in another turn of the loop."""

    @property
    def is_divisible(self) -> bool:
        """Nobody waits for it, so its records need not be in one batch."""
        asked = self.answers or self.refused is not None or self.producer is not None
        return not asked and len(self.records) > 1


class Shard(Protocol[R]):
    """The state machines of one partition of an internal topic."""

    def encode(self, record: R, /) -> tuple[bytes, bytes | None]:
        """Return the key and value that go into the log."""

    def decode(self, key: bytes, value: bytes | None, /) -> R | None:
        """Read a record back; None for one to be passed over. Raises ProtocolError."""

    def apply(self, record: R, offset: Offset, producer_id: ProducerId, /) -> None:
        """Change what survives a restart. `producer_id` is -1 outside a transaction."""

    def apply_marker(self, producer_id: ProducerId, committed: bool, /) -> None:
        """The end of a producer's transaction on this partition."""

    def loaded(self, now_ms: int, /) -> Outcome[R]:
        """The whole log was applied: set deadlines, begin to serve."""

    def unloaded(self) -> Sequence[Waiter]:
        """The shard is given up: return everyone who still waits."""

    def next_deadline_ms(self) -> int | None:
        """When `wake` wants to be called."""

    def wake(self, now_ms: int, /) -> Outcome[R] | None:
        """Decide the earliest deadline that has passed; None when there is none."""


class LogPort(Protocol):
    """What a shard needs from its partition, led by this broker."""

    @property
    def leader_epoch(self) -> LeaderEpoch: ...

    @property
    def log_start_offset(self) -> Offset: ...

    @property
    def high_watermark(self) -> Offset: ...

    def append(self, batch: bytes, /) -> Offset:
        """Append as leader; return the offset after the batch.

        Raises:
            ApiError: refused, nothing was written.
            Exception: anything else leaves it unknown.
        """

    def when_committed(
        self, offset: Offset, callback: Callable[[ApiError | None], None], /
    ) -> None:
        """Call back once: the high watermark has reached `offset`, or leadership was lost."""

    def read(self, offset: Offset, max_bytes: int, /) -> Buffer:
        """Whole batches from the one that holds `offset`; empty at the end of the log."""
