"""What must hold of transactions, one function each: T1 to T6 of the design.

Each yields a line for every violation, and is pure: the same history, the same lines.
"""

from collections.abc import Callable, Iterator
from functools import partial

from tools.simulation import checkers
from tools.simulation.history import Outcome
from tools.simulation.transactions.history import (
    FEW_VIRTUAL_S,
    Attempt,
    Late,
    TransactionHistory,
)

Checker = Callable[[TransactionHistory], Iterator[str]]

AT_REST = frozenset({"Empty", "CompleteCommit", "CompleteAbort"})


def torn(history: TransactionHistory) -> Iterator[str]:
    """T1: the records of a transaction are all there or none, in all partitions, each once."""
    fates: dict[bytes, list[bool | None]] = {}
    for log in history.placed.values():
        for placed in log:
            fates.setdefault(placed.value, []).append(placed.fate)
    for attempt in history.attempts:
        counted = {w.value for w in attempt.wrote if True in fates.get(w.value, ())}
        if not counted:
            continue
        for wrote in attempt.wrote:
            found = fates.get(wrote.value, [])
            if wrote.outcome is Outcome.OK and found != [True]:
                yield (
                    f"{_text(wrote.value)} is {found} in partition {wrote.partition}, "
                    f"{_text(min(counted))} is committed"
                )
            elif found not in ([], [True]):
                yield f"{_text(wrote.value)} is {found} in partition {wrote.partition}"


def ends(history: TransactionHistory) -> Iterator[str]:
    """T1: a transaction ends as its client was told, and commits only if it was asked to."""
    counted = {p.value for log in history.placed.values() for p in log if p.fate is True}
    for attempt in history.attempts:
        there = [each.value for each in attempt.wrote if each.value in counted]
        acked = [each.value for each in attempt.wrote if each.outcome is Outcome.OK]
        if attempt.commits and attempt.outcome is Outcome.OK:
            lost = [_text(value) for value in acked if value not in counted]
            if lost:
                yield f"{attempt.name} was committed at {attempt.end:.3f} s, {lost} do not count"
        elif not attempt.commits and there:
            asked = "nobody ended it" if attempt.commits is None else "it was to be aborted"
            yield f"{attempt.name} has {_text(there[0])} committed, {asked}"


def offsets_apart(history: TransactionHistory) -> Iterator[str]:
    """T1: a group's offset is where its committed transactions left it, without gap or overlap."""
    counted = {p.value for log in history.placed.values() for p in log if p.fate is True}
    moves: dict[tuple[str, int], list[tuple[int, int, str]]] = {}
    for attempt in history.attempts:
        if attempt.moved is None:
            continue
        moved = attempt.moved
        if any(each.value in counted for each in attempt.wrote):
            chain = moves.setdefault((moved.group, moved.partition), [])
            chain.append((moved.before, moved.after, attempt.name))
    for place in sorted({*moves, *history.offsets}):
        reached = 0
        for before, after, name in sorted(moves.get(place, [])):
            if before != reached:
                yield f"{name} goes on from {before} of {place}, {reached} was reached"
            reached = after
        committed = history.offsets.get(place, 0)
        if committed != reached:
            yield f"{place}: {committed} is committed, transactions reached {reached}"


def aborted_reads(history: TransactionHistory) -> Iterator[str]:
    """T2, G1a: nobody reads what was aborted, or was never decided."""
    counted = {
        (number, p.offset): p.value for number, log in history.placed.items() for p in log if p.fate
    }
    for seen in history.seen:
        for offset, value in seen.records:
            if counted.get((seen.partition, offset)) != value:
                yield f"{seen.reader} read {_text(value)} at {seen.partition}@{offset}"


def intermediate_reads(history: TransactionHistory) -> Iterator[str]:
    """T2, G1b: who reads a stretch gets all of it that counts, in one piece."""
    for number, log in history.placed.items():
        counted = [(each.offset, each.value) for each in log if each.fate is True]
        for seen in history.seen:
            if seen.partition != number:
                continue
            got = {offset for offset, _ in seen.records}
            for offset, value in counted:
                if seen.first <= offset < seen.next and offset not in got:
                    yield (
                        f"{seen.reader} did not get {_text(value)} at {number}@{offset}, "
                        f"it read {seen.first} to {seen.next}"
                    )


def circular_reads(history: TransactionHistory) -> Iterator[str]:
    """T2, G1c: no two transactions read each other's records, nor do more in a circle."""
    after = {
        attempt.name: sorted(
            {source for value in attempt.read if (source := _attempt_of(value)) != attempt.name}
        )
        for attempt in history.attempts
    }
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> Iterator[str]:
        if name in path:
            yield " reads ".join([*path[path.index(name) :], name])
        elif name not in done:
            for source in after.get(name, ()):
                yield from walk(source, [*path, name])
            done.add(name)

    for name in after:
        yield from walk(name, [])


def zombies(history: TransactionHistory) -> Iterator[str]:
    """T3: once a producer has taken over a transactional id, the one before can do nothing."""
    for new in history.initiated:
        for attempt in history.attempts:
            if attempt.transactional_id != new.transactional_id or attempt.born > new.start:
                continue
            for wrote in attempt.wrote:
                if wrote.outcome is Outcome.OK and wrote.start > new.end:
                    yield f"{_text(wrote.value)} was written, {new.producer} began at {new.end:.3f}"
            if attempt.outcome is Outcome.OK and attempt.ends > new.end:
                yield f"{attempt.name} was ended, {new.producer} began at {new.end:.3f}"


def late_requests(history: TransactionHistory) -> Iterator[str]:
    """T4: what belongs to a transaction that is over changes nothing (KAFKA-17754)."""
    for late in history.late:
        if late.code:
            continue
        said = f"late {late.kind} of {late.attempt} {late.producer} at {late.start:.3f} s is taken"
        if late.kind not in ("end", "marker"):
            yield said
        elif late.kind == "end" and late.commits != late.decided:
            yield f"{said}, though it had ended otherwise"
        elif (newer := _open_meanwhile(history, late)) is not None:
            yield f"{said}, while {newer.name} is open"
    for number, log in history.placed.items():
        for placed in log:
            if placed.value.startswith(b"late"):
                yield f"{_text(placed.value)} is at {number}@{placed.offset}"


def _open_meanwhile(history: TransactionHistory, late: Late) -> Attempt | None:
    """A newer transaction of this id that was certainly open all the while."""
    for attempt in history.attempts:
        if attempt.transactional_id != late.transactional_id or attempt.producer <= late.producer:
            continue
        mine = [w for w in attempt.wrote if late.kind == "end" or w.partition == late.partition]
        begun = any(w.outcome is Outcome.OK and w.end < late.start for w in mine)
        taken_over = any(
            new.transactional_id == late.transactional_id
            and new.start < late.end
            and new.end > attempt.start
            for new in history.initiated
        )
        if (
            begun
            and not taken_over
            and (attempt.commits is None or attempt.ends > late.end)
            and attempt.start + attempt.timeout_s > late.end
        ):
            return attempt
    return None


def hanging(history: TransactionHistory) -> Iterator[str]:
    """T5: a transaction whose client is gone ends within its time-out; readers go on.

    The last stable offset is where the oldest open transaction begins: that one is to blame.
    """
    begins: dict[tuple[int, int], Attempt] = {}
    where = {p.value: (number, p.offset) for number, log in history.placed.items() for p in log}
    for attempt in history.attempts:
        places = sorted(where[each.value] for each in attempt.wrote if each.value in where)
        first = dict(reversed(places))
        begins.update(dict.fromkeys(first.items(), attempt))
    looks = [(seen.partition, seen.last_stable, seen.start) for seen in history.seen]
    looks += [(number, each.last_stable, each.at) for number, each in history.stable.items()]
    for number, last_stable, at in looks:
        blocks = begins.get((number, last_stable))
        if blocks is None:
            continue
        over = max(blocks.start + blocks.timeout_s, history.healed) + FEW_VIRTUAL_S
        if at > over:
            yield f"{blocks.name} at {number}@{last_stable} is open at {at:.3f} s"


def half_ended(history: TransactionHistory) -> Iterator[str]:
    """T6: what was decided is carried out: each partition has its marker, restarts or not."""
    for decision in history.decisions:
        for place in sorted(decision.partitions):
            if not any(
                marker.producer == decision.producer and marker.commits == decision.commits
                for marker in history.markers.get(place, ())
            ):
                how = "commit" if decision.commits else "abort"
                yield (
                    f"{place[0]}-{place[1]} has no {how} marker of {decision.producer}, "
                    f"transactional id {decision.transactional_id}"
                )
    for transactional_id, state in sorted(history.states.items()):
        if state not in AT_REST:
            yield f"{transactional_id} is {state} in the end"


CHECKERS: dict[str, Checker] = {
    checker.__name__: checker
    for checker in (
        torn,
        ends,
        offsets_apart,
        aborted_reads,
        intermediate_reads,
        circular_reads,
        zombies,
        late_requests,
        hanging,
        half_ended,
        checkers.flushed,
        checkers.liveness,
        checkers.files,
        checkers.unexpected,
    )
}

violations = partial(checkers.violations, checkers=CHECKERS)


def _attempt_of(value: bytes) -> str:
    return value.partition(b":")[0].decode(errors="backslashreplace")


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")
