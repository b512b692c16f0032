"""One share partition: which records are in whose hands (KIP-932). Pure: time comes in.

    available --acquire--> acquired --accept--> acknowledged
        ^                    |  |  --reject, gap, delivered too often--> archived
        +--release, lock over+  +--renew--> acquired, with a new lock

A consumer *acquires* records for a while; each time counts as a delivery. What
it acknowledges must be stored before it counts, so `acknowledge`, `release`
and `expire` return a `Transition` whose batches the shell stores and then
reports to `stored` or `refused`. Acquiring itself is not stored: after a
restart, what was acquired is available again.

What always holds: [start_offset, next_offset) spans at most
`max_record_locks` records that were acquired anew (a batch may go over it),
everything below start_offset is over, and no record is acquired by two members.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from ottla.coordinator.share.runs import (
    NOBODY,
    RecordState,
    Run,
    Runs,
    StateBatch,
    Transition,
)
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import Offset

RETRY_MS = 500
"""So long after it could not be stored that a lock is over this is tried again."""


class AcknowledgeType(IntEnum):
    GAP = 0
    ACCEPT = 1
    RELEASE = 2
    REJECT = 3
    RENEW = 4


_BECOMES = {
    AcknowledgeType.GAP: RecordState.ARCHIVED,
    AcknowledgeType.ACCEPT: RecordState.ACKNOWLEDGED,
    AcknowledgeType.RELEASE: RecordState.AVAILABLE,
    AcknowledgeType.REJECT: RecordState.ARCHIVED,
}


@dataclass(slots=True)
class ShareLimits:
    """A share group's settings, where they concern records in flight."""

    delivery_count_limit: int = 5
    max_record_locks: int = 2000
    lock_duration_ms: int = 30_000
    renewing_is_allowed: bool = True


class Acquired(NamedTuple):
    """Records handed to a consumer; both ends are included."""

    first_offset: Offset
    last_offset: Offset
    delivery_count: int


class Acknowledgement(NamedTuple):
    """What a consumer says about records: one type for all, or one for each."""

    first_offset: Offset
    last_offset: Offset
    types: Sequence[int]


class ShareState:
    """The records in flight of one share partition."""

    __slots__ = ("limits", "runs")

    def __init__(
        self, limits: ShareLimits, start_offset: Offset, batches: Iterable[StateBatch] = ()
    ) -> None:
        """Begin with what was stored; offsets no batch names were never delivered.

        Raises:
            ApiError: the stored batches are not in order, or lie below the start.
        """
        self.limits = limits
        self.runs = Runs(start_offset)
        for batch in batches:
            at = self.runs.next_offset
            if batch.first_offset < at or batch.last_offset < batch.first_offset:
                raise ApiError(
                    ErrorCode.UNKNOWN_SERVER_ERROR, f"stored batches are not in order: {batch}"
                )
            if batch.first_offset > at:
                self.runs.append(Run(at, batch.first_offset - 1, RecordState.AVAILABLE, 0))
            try:
                state = RecordState(batch.delivery_state)
            except ValueError:
                raise ApiError(
                    ErrorCode.UNKNOWN_SERVER_ERROR, f"an unknown delivery state: {batch}"
                ) from None
            if state is RecordState.ACQUIRED:
                state = RecordState.AVAILABLE
            self.runs.append(
                Run(batch.first_offset, batch.last_offset, state, batch.delivery_count)
            )
        self.runs.settle()

    @property
    def start_offset(self) -> Offset:
        return self.runs.start_offset

    @property
    def next_offset(self) -> Offset:
        """The first offset that was never acquired."""
        return self.runs.next_offset

    # Acquiring

    def next_fetch_offset(self) -> Offset:
        """Where to read from: the first record that is available, else behind all of them."""
        for run in self.runs:
            if run.is_available:
                return run.first
        return self.runs.next_offset

    def can_acquire(self) -> bool:
        """Whether there is anything to acquire, or room for more."""
        if self.next_fetch_offset() < self.runs.next_offset:
            return True
        return self.runs.in_flight < self.limits.max_record_locks

    def acquire(
        self,
        member_id: str,
        batches: Sequence[tuple[Offset, Offset]],
        fetch_offset: Offset,
        now_ms: int,
        *,
        max_records: int,
        batch_size: int,
        exactly: bool = False,
    ) -> list[Acquired]:
        """Hand the records of `batches`, read from `fetch_offset`, to a member, as far as they are free.

        `batches` are (first, last offset) of record batches in the log. About
        `max_records` are acquired, the last batch whole; `exactly` so many at
        the most where that is asked for (KIP-1206). New ones are given out in
        batches of about `batch_size`. A record delivered often is delivered
        with ever fewer others, at last alone.
        """
        if not batches or max_records <= 0:
            return []
        runs, limits = self.runs, self.limits
        first, last = batches[0][0], batches[-1][1]
        if fetch_offset < first:
            self._archive_missing(fetch_offset, first - 1)
        first = max(first, runs.start_offset)
        room = min(max_records, limits.max_record_locks - runs.in_flight)
        if room <= 0:
            if fetch_offset >= runs.next_offset:
                return []
            room = min(max_records, runs.next_offset - fetch_offset)
            last = min(last, runs.next_offset - 1)
        lock_until_ms = now_ms + limits.lock_duration_ms
        acquired: list[Acquired] = []
        taken, throttled = self._acquire_again(
            member_id, first, last, room, lock_until_ms, exactly, acquired
        )
        if not throttled and taken < room and last >= runs.next_offset:
            self._acquire_new(
                member_id, batches, last, room - taken, lock_until_ms, batch_size, exactly, acquired
            )
        return _joined(acquired)

    def _acquire_again(
        self,
        member_id: str,
        first: Offset,
        last: Offset,
        room: int,
        lock_until_ms: int,
        exactly: bool,
        acquired: list[Acquired],
    ) -> tuple[int, bool]:
        """Acquire what is in flight and free; return how many, and whether nothing may follow."""
        runs, limit = self.runs, self.limits.delivery_count_limit
        throttle_from = max(2, -(-limit // 2))
        taken = 0
        for run in runs.touching(first, last):
            if taken >= room:
                break
            if not run.is_available:
                continue
            wanted = min(run.last, last) - max(run.first, first) + 1
            if exactly:
                wanted = min(wanted, room - taken)
            throttled = run.count >= throttle_from
            if throttled:
                if taken:
                    return taken, True
                few = max(1, run.batch_size >> (run.count - throttle_from + 1))
                if limit > 2 and run.count == limit - 1:
                    few = 1
                wanted = min(wanted, few)
            begin = max(run.first, first)
            for part in runs.within(begin, begin + wanted - 1):
                part.state = RecordState.ACQUIRED
                part.count += 1
                part.member_id = member_id
                part.lock_until_ms = lock_until_ms
                acquired.append(Acquired(part.first, part.last, part.count))
            taken += wanted
            if throttled:
                return taken, True
        return taken, False

    def _acquire_new(
        self,
        member_id: str,
        batches: Sequence[tuple[Offset, Offset]],
        last: Offset,
        room: int,
        lock_until_ms: int,
        batch_size: int,
        exactly: bool,
        acquired: list[Acquired],
    ) -> None:
        """Acquire what was never delivered, cut at record batches once they are `batch_size` long."""
        runs = self.runs
        begin = max(runs.next_offset, batches[0][0])
        if begin > runs.next_offset:
            # The log has no records there, and never will.
            runs.append(Run(runs.next_offset, begin - 1, RecordState.ARCHIVED, 0))
            runs.settle()
        if last - begin + 1 > room:
            end = begin + room - 1
            if not exactly:
                end = next((b for a, b in batches if a <= end <= b), end)
            last = min(last, end)
        pieces: list[tuple[Offset, Offset]] = []
        at = begin
        if not exactly and last - begin + 1 > batch_size:
            for base, _ in batches:
                if base > last:
                    break
                if base - at >= batch_size:
                    pieces.append((at, base - 1))
                    at = base
        pieces.append((at, last))
        for a, b in pieces:
            runs.append(Run(a, b, RecordState.ACQUIRED, 1, member_id, lock_until_ms))
            acquired.append(Acquired(a, b, 1))

    def _archive_missing(self, first: Offset, last: Offset) -> None:
        """The log has no records between these offsets any more: nobody need wait for them."""
        for run in self.runs.touching(first, last):
            if run.is_available:
                for part in self.runs.within(max(run.first, first), min(run.last, last)):
                    part.state = RecordState.ARCHIVED
        self.runs.settle()

    def archive(self, first: Offset, last: Offset, member_id: str) -> None:
        """Give up what a member just acquired: it is of an aborted transaction. Not stored."""
        for run in self.runs.within(first, last):
            if run.state is RecordState.ACQUIRED and run.member_id == member_id:
                run.state, run.member_id = RecordState.ARCHIVED, NOBODY
        self.runs.settle()

    # Acknowledging

    def acknowledge(
        self, member_id: str, acknowledgements: Sequence[Acknowledgement], now_ms: int
    ) -> Transition:
        """Take a member's word for its records: all of it, or none.

        Raises:
            ApiError: INVALID_RECORD_STATE, a record is not the member's now;
                INVALID_REQUEST, it was never delivered. Nothing has changed.
        """
        planned: list[tuple[Run, int]] = []
        before = -1
        for ack in acknowledgements:
            _check_form(ack, before)
            before = ack.last_offset
            if ack.last_offset >= self.runs.start_offset:
                planned.extend(self._plan(member_id, ack))
        transition = Transition()
        for run, kind in planned:
            if kind == AcknowledgeType.RENEW:
                run.lock_until_ms = now_ms + self.limits.lock_duration_ms
            else:
                run.change(transition, self._after(run, _BECOMES[AcknowledgeType(kind)]))
        return transition

    def _plan(self, member_id: str, ack: Acknowledgement) -> list[tuple[Run, int]]:
        """Cut the runs as `ack` tells them apart, and check that each is the member's."""
        runs = self.runs
        if not len(runs):
            raise ApiError(
                ErrorCode.INVALID_RECORD_STATE,
                "Batch record not found. The request batch offsets are not found in the cache.",
            )
        if ack.first_offset >= runs.next_offset:
            raise ApiError(
                ErrorCode.INVALID_REQUEST,
                "Batch record not found. The first offset in request is past acquired records.",
            )
        if ack.last_offset >= runs.next_offset:
            raise ApiError(
                ErrorCode.INVALID_REQUEST,
                "Batch record not found. The last offset in request is past acquired records.",
            )
        planned = []
        for first, last, kind in _stretches(ack):
            if last < runs.start_offset:
                continue
            for run in runs.within(max(first, runs.start_offset), last):
                self._check(member_id, run, kind)
                planned.append((run, kind))
        return planned

    def _check(self, member_id: str, run: Run, kind: int) -> None:
        if run.state is not RecordState.ACQUIRED or run.changing is not None:
            raise ApiError(
                ErrorCode.INVALID_RECORD_STATE,
                "The batch cannot be acknowledged. The batch is not in the acquired state.",
            )
        if run.member_id != member_id:
            raise ApiError(
                ErrorCode.INVALID_RECORD_STATE, "Member is not the owner of batch record"
            )
        if kind == AcknowledgeType.RENEW and not self.limits.renewing_is_allowed:
            raise ApiError(
                ErrorCode.INVALID_RECORD_STATE,
                "Renewing acquisition locks is not enabled for the group.",
            )

    def _after(self, run: Run, state: RecordState) -> RecordState:
        """A record that is free again after its last delivery is given up."""
        if state is RecordState.AVAILABLE and run.count >= self.limits.delivery_count_limit:
            return RecordState.ARCHIVED
        return state

    def release(self, member_id: str) -> Transition:
        """A member's session is over: what it holds is free."""
        return self._free(run for run in self.runs if run.member_id == member_id)

    def expire(self, now_ms: int) -> Transition:
        """Free what was held for too long."""
        return self._free(run for run in self.runs if run.lock_until_ms <= now_ms)

    def _free(self, candidates: Iterable[Run]) -> Transition:
        transition = Transition()
        for run in candidates:
            if run.state is RecordState.ACQUIRED and run.changing is None:
                run.change(transition, self._after(run, RecordState.AVAILABLE))
        return transition

    def next_deadline_ms(self) -> int | None:
        """When the first lock is over."""
        return min(
            (
                run.lock_until_ms
                for run in self.runs
                if run.state is RecordState.ACQUIRED and run.changing is None
            ),
            default=None,
        )

    # The outcome of storing

    def after(self, transition: Transition) -> tuple[Offset, int]:
        """(start offset, records behind it that are over) once `transition` is stored."""
        start, complete, leading = self.runs.start_offset, 0, True
        for run in self.runs:
            over = run.state.is_terminal and run.changing in (None, transition)
            if over and leading:
                start = run.last + 1
            else:
                leading = False
                complete += run.size if over else 0
        return start, complete

    def stored(self, transition: Transition) -> None:
        """The change is durable: it counts."""
        for run in self.runs:
            if run.changing is transition:
                run.changing = run.before = None
        self.runs.settle()

    def refused(self, transition: Transition, now_ms: int) -> None:
        """The change could not be stored: everything is as before, locks that are over last a little."""
        for run in self.runs:
            if run.changing is transition:
                assert run.before is not None
                run.state, run.count, run.member_id = run.before
                run.changing = run.before = None
                if run.lock_until_ms <= now_ms:
                    run.lock_until_ms = now_ms + RETRY_MS
        self.runs.settle()

    # The log

    def log_start_moved(self, log_start_offset: Offset) -> None:
        """Records below the log's start are gone; who holds one may still acknowledge it, in vain."""
        self.runs.drop_below(log_start_offset)
        self.runs.settle()


def _check_form(ack: Acknowledgement, before: Offset) -> None:
    """Raise INVALID_REQUEST unless `ack` is whole, and behind the one that ended at `before`."""
    size = ack.last_offset - ack.first_offset + 1
    if ack.first_offset == before >= 0:
        raise ApiError(
            ErrorCode.INVALID_RECORD_STATE,
            "The offset cannot be acknowledged. The offset is not acquired.",
        )
    if (
        ack.first_offset < before
        or size < 1
        or len(ack.types) not in (1, size)
        or not all(AcknowledgeType.GAP <= kind <= AcknowledgeType.RENEW for kind in ack.types)
    ):
        raise ApiError(ErrorCode.INVALID_REQUEST)


def _stretches(ack: Acknowledgement) -> list[tuple[Offset, Offset, int]]:
    """(first, last, type) with equal neighbours joined."""
    if len(ack.types) == 1:
        return [(ack.first_offset, ack.last_offset, ack.types[0])]
    found: list[tuple[Offset, Offset, int]] = []
    for offset, kind in enumerate(ack.types, ack.first_offset):
        if found and found[-1][2] == kind:
            found[-1] = (found[-1][0], offset, kind)
        else:
            found.append((offset, offset, kind))
    return found


def _joined(acquired: list[Acquired]) -> list[Acquired]:
    """What was re-acquired, record by record, in stretches of equal delivery counts."""
    joined: list[Acquired] = []
    for one in acquired:
        last = joined[-1] if joined else None
        if (
            last is not None
            and one.delivery_count > 1
            and last.last_offset + 1 == one.first_offset
            and last.delivery_count == one.delivery_count
        ):
            joined[-1] = Acquired(last.first_offset, one.last_offset, one.delivery_count)
        else:
            joined.append(one)
    return joined
