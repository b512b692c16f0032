"""What must hold of a history, one function each; named after the invariants of the design.

Each yields a line for every violation. They are pure: the same history, the same lines.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from tools.simulation.history import History, Outcome

HistoryT = TypeVar("HistoryT", bound=History)
Checker = Callable[[History], Iterator[str]]


def lost_writes(history: History) -> Iterator[str]:
    """D1: every acknowledged record is there, at its offset, unless it was deleted on request."""
    final = {p: {s.offset: s.value for s in log} for p, log in history.final.records.items()}
    for ack in history.produced:
        if ack.outcome is not Outcome.OK or ack.base_offset < 0:
            continue
        for index, value in enumerate(ack.values):
            offset, partition = ack.base_offset + index, ack.partition
            generation = history.generation(partition, offset, ack.start, ack.end)
            if generation != history.last_generation(partition, offset):
                continue
            if offset < history.final.log_start[partition]:
                continue
            there = final[partition].get(offset)
            if there != value:
                yield (
                    f"{_text(value)} acknowledged at {partition}@{offset} "
                    f"at {ack.end:.3f} s, there is {_text(there)}"
                )


def two_values(history: History) -> Iterator[str]:
    """D2: no offset ever yields two values."""
    seen: dict[tuple[int, int, int], tuple[bytes, str]] = {}
    for partition, log in history.final.records.items():
        for stored in log:
            generation = history.last_generation(partition, stored.offset)
            seen[partition, stored.offset, generation] = stored.value, "there in the end"
    for partition, offset, value, generation, who in history.facts():
        before = seen.setdefault((partition, offset, generation), (value, who))
        if before[0] != value:
            yield f"{partition}@{offset}: {_text(value)} {who}, {_text(before[0])} {before[1]}"


def duplicates(history: History) -> Iterator[str]:
    """D2: a value of an idempotent producer is at one offset."""
    idempotent = {v for p in history.produced if p.idempotent for v in p.values}
    where: dict[bytes, tuple[int, int, str]] = {}
    for partition, log in history.final.records.items():
        for stored in log:
            if stored.value in idempotent:
                place = partition, stored.offset, "there in the end"
                before = where.setdefault(stored.value, place)
                if before[:2] != place[:2]:
                    yield f"{_text(stored.value)} at {partition}@{stored.offset} and {before}"
    for partition, offset, value, generation, who in history.facts():
        if value in idempotent and generation == history.last_generation(partition, offset):
            before = where.setdefault(value, (partition, offset, who))
            if before[:2] != (partition, offset):
                yield f"{_text(value)} at {partition}@{offset} ({who}) and {before}"


def order(history: History) -> Iterator[str]:
    """D4: per idempotent producer and partition, offsets rise in the order of sending."""
    numbers: dict[bytes, tuple[str, int]] = {}
    for ack in history.produced:
        if ack.idempotent:
            for value in ack.values:
                numbers[value] = ack.producer, int(value.rpartition(b"-")[2])
    for partition, log in history.final.records.items():
        newest: dict[str, int] = {}
        for stored in log:
            if stored.value in numbers:
                producer, number = numbers[stored.value]
                if number < newest.get(producer, -1):
                    yield f"{_text(stored.value)} at {partition}@{stored.offset} behind a later one"
                newest[producer] = max(number, newest.get(producer, -1))


def forbidden(history: History) -> Iterator[str]:
    """D4, F7: batches out of sequence or with a wrong checksum are refused."""
    for ack in history.produced:
        if ack.forbidden and ack.outcome is Outcome.OK:
            if ack.forbidden == "gap" and history.losses:
                continue  # the producer may have been forgotten with its records
            yield f"{_text(ack.values[0])} accepted at {ack.partition}: {ack.forbidden}"


def overtaken(history: History) -> Iterator[str]:
    """D4: a first batch is out of sequence only where a later one of its producer is there."""
    for partition, producer_id, value in history.overtaken:
        if any(each.partition == partition for each in (*history.losses, *history.deleted)):
            continue
        if all(each.producer_id != producer_id for each in history.final.records[partition]):
            yield f"{_text(value)} at {partition}, a first batch, is refused, and no other is there"


def phantoms(history: History) -> Iterator[str]:
    """D3, D5: what is read was sent, did not fail, and stays."""
    sent: dict[bytes, Outcome] = {}
    for ack in history.produced:
        for value in ack.values:
            if sent.get(value) is not Outcome.OK:
                sent[value] = ack.outcome
    final = {p: {s.offset: s.value for s in log} for p, log in history.final.records.items()}
    read: Iterator[tuple[int, int, bytes, int, str]] = history.facts()
    for partition, offset, value, generation, who in read:
        if value not in sent:
            yield f"{_text(value)} at {partition}@{offset} was never sent: {who}"
        elif sent[value] is Outcome.FAIL:
            yield f"{_text(value)} at {partition}@{offset} was refused: {who}"
        elif (
            who.startswith("read")
            and generation == history.last_generation(partition, offset)
            and offset >= history.final.log_start[partition]
            and offset not in final[partition]
        ):
            yield f"{_text(value)} at {partition}@{offset}, {who}, is not there"
    for partition, log in history.final.records.items():
        for stored in log:
            outcome = sent.get(stored.value)
            if outcome is None or outcome is Outcome.FAIL:
                said = "never sent" if outcome is None else "refused"
                yield f"{_text(stored.value)} at {partition}@{stored.offset} was {said}"


def _watermarks(history: History) -> Iterator[tuple[int, int, int, float, float]]:
    """(partition, high watermark, log start, start, end) of every answer that says them."""
    for each in (*history.fetched, *history.listed):
        yield each.partition, each.high_watermark, each.log_start, each.start, each.end


def high_watermark(history: History) -> Iterator[str]:
    """D5: neither the high watermark nor the log's start goes back.

    Where the log starts is written down once a minute, as in Kafka: a death may undo that.
    """
    for partition in history.final.log_end:
        said = [each for each in _watermarks(history) if each[0] == partition]
        losses = [loss for loss in history.losses if loss.partition == partition]
        end = history.final.log_end[partition]
        start = history.final.log_start[partition]
        said.append((partition, end, start, float("inf"), float("inf")))
        events: list[tuple[float, int, int, int]] = []
        for number, (_, watermark, log_start, began, ended) in enumerate(said):
            capped = min([watermark, *(x.end for x in losses if began < x.at <= ended)])
            if watermark >= 0:
                events.append((began, 1, number, watermark))
                events.append((ended, 2, number, capped))
            if log_start >= 0 and not any(began < at <= ended for at in history.deaths):
                events.append((began, 3, number, log_start))
                events.append((ended, 4, number, log_start))
        events += [(loss.at, 0, -1, loss.end) for loss in losses]
        events += [(at, 5, -1, 0) for at in history.deaths]
        highest = highest_start = 0
        for at, kind, number, offset in sorted(events):
            if kind == 0:
                highest = min(highest, offset)
            elif kind == 1:
                ended = said[number][4]
                allowed = min([highest, *(x.end for x in losses if at < x.at <= ended)])
                if offset < allowed:
                    yield f"{partition}: high watermark {offset} at {at:.3f} s after {highest}"
            elif kind == 2:
                highest = max(highest, offset)
            elif kind == 5:
                highest_start = 0
            elif kind == 3 and offset < highest_start and said[number][4] < float("inf"):
                yield f"{partition}: log start {offset} at {at:.3f} s after {highest_start}"
            elif kind == 4:
                highest_start = max(highest_start, offset)


def above_high_watermark(history: History) -> Iterator[str]:
    """D5: no record is served at or above the high watermark."""
    for read in history.fetched:
        if read.records and read.records[-1][0] >= read.high_watermark >= 0:
            yield (
                f"{read.reader} read {read.partition}@{read.records[-1][0]} at {read.end:.3f} s, "
                f"the high watermark is {read.high_watermark}"
            )


def unreadable(history: History) -> Iterator[str]:
    """D5: a record once readable stays readable."""
    for refusal in history.refused:
        partition, asked = refusal.partition, refusal.asked
        if any(d.partition == partition and d.offset > asked for d in history.deleted):
            continue
        if any(x.partition == partition and x.end < asked for x in history.losses):
            continue
        if any(refusal.start <= at <= refusal.end for at in history.elections):
            continue  # what was read meanwhile was thrown away; it is read again
        yield f"{refusal.reader} at {partition}@{asked} at {refusal.end:.3f} s: {refusal.why}"
    for read in history.fetched:
        expected = read.asked
        for offset, _ in read.records:
            if offset != expected:
                yield f"{read.reader}: a hole at {read.partition}@{expected}, next is {offset}"
                break
            expected += 1


def deletions(history: History) -> Iterator[str]:
    """D1: nothing goes from the log's start but what was asked to go."""
    for partition, start in history.final.log_start.items():
        asked = [each.offset for each in history.deleted if each.partition == partition]
        if start > max(asked, default=0):
            yield f"{partition}: the log starts at {start}, asked were {asked}"


def flushed(history: History) -> Iterator[str]:
    """D6: a power cut takes nothing that was flushed."""
    for loss in history.losses:
        if loss.end < loss.flushed_end:
            yield (
                f"{loss.partition}: cut to {loss.end} at {loss.at:.3f} s, "
                f"flushed up to {loss.flushed_end}"
            )


def commits(history: History) -> Iterator[str]:
    """G2: the committed offset is the last one acknowledged, or one asked for since."""
    if any(loss.partition < 0 for loss in history.losses):
        return
    groups = {(each.group, each.partition) for each in history.committed}
    for group, partition in sorted(groups):
        mine = [c for c in history.committed if (c.group, c.partition) == (group, partition)]
        mine.sort(key=lambda commit: commit.start)
        last = max((i for i, c in enumerate(mine) if c.outcome is Outcome.OK), default=-1)
        if last < 0:
            continue
        allowed = {c.offset for i, c in enumerate(mine) if i >= last or c.end > mine[last].start}
        there = history.final.committed.get((group, partition), -1)
        if there not in allowed:
            yield f"{group} on {partition}: {there} is committed, not one of {sorted(allowed)}"


def liveness(history: History) -> Iterator[str]:
    """L: everybody finishes once all is healed."""
    yield from history.stuck


def files(history: History) -> Iterator[str]:
    """The log's own files are whole: checksums, offsets without holes."""
    yield from history.final.damage


def unexpected(history: History) -> Iterator[str]:
    """Nothing was raised that nobody foresaw."""
    yield from history.unexpected


CHECKERS: dict[str, Checker] = {
    checker.__name__: checker
    for checker in (
        lost_writes,
        two_values,
        duplicates,
        order,
        forbidden,
        overtaken,
        phantoms,
        high_watermark,
        above_high_watermark,
        unreadable,
        deletions,
        flushed,
        commits,
        liveness,
        files,
        unexpected,
    )
}


def violations(
    history: HistoryT, checkers: Mapping[str, Callable[[HistoryT], Iterator[str]]]
) -> list[str]:
    """All that is wrong, each line with its checker's name in front."""
    found = []
    for name, checker in checkers.items():
        for number, line in enumerate(checker(history)):
            if number == 5:
                found.append(f"{name}: and more")
                break
            found.append(f"{name}: {line}")
    return found


def _text(value: bytes | None) -> str:
    return "nothing" if value is None else value.decode(errors="backslashreplace")
