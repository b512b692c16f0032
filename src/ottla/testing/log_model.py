"""What one log must hold: a dictionary of batches, and what a crash may do to it.

A batch is in `sent` from its acknowledgement by the log until it is truncated
or found missing after a crash. What was begun and not completed when the crash
came may be there or not (`ghosts`); so may be what a truncation took. Below
`asked`, the highest log start anybody asked for, nothing need be there, and what
is there may have holes: deletions may be undone, in part.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from ottla.model.errors import ApiError
from ottla.record.batch import LOG_OVERHEAD, BatchHeader, read_header, size_at
from ottla.record.records import read_records
from ottla.storage.log import Log
from ottla.storage.timestamps import offset_for_timestamp

READ_BYTES = 700


class Wrong(AssertionError):  # noqa: N818  # it is what the log is
    """The log is not what it must be."""


class Sent(NamedTuple):
    """One batch as it is in the log."""

    header: BatchHeader
    data: bytes
    timestamps: tuple[int, ...]
    """Of its records."""

    @property
    def base(self) -> int:
        return self.header.base_offset

    @property
    def end(self) -> int:
        return self.header.next_offset


def parse(data: bytes) -> Sent:
    """Describe a batch as it is on disk."""
    return Sent(read_header(data), data, tuple(record.timestamp for record in read_records(data)))


@dataclass
class LogModel:
    """One incarnation of one partition."""

    begin: int = 0
    end: int = 0
    asked: int = 0
    """No start above it was ever asked for."""
    empty_at: int = 0
    """The log was emptied to start at this offset: below it, it promises nothing."""
    sent: dict[int, Sent] = field(default_factory=dict)
    """By base offset, rising."""
    ghosts: dict[int, set[bytes]] = field(default_factory=dict)
    cut_to: int | None = None
    """Everything from here on is being cut."""
    deleted: dict[int, set[bytes]] = field(default_factory=dict)
    """What retention took: it may be back after any crash."""

    # What is done to the log.

    def begin_append(self, data: bytes) -> None:
        self.ghosts.setdefault(read_header(data).base_offset, set()).add(data)

    def complete_append(self, data: bytes) -> None:
        sent = parse(data)
        self.ghosts[sent.base].discard(data)
        self.sent[sent.base] = sent
        self.end = sent.end

    def begin_cut(self, offset: int) -> int:
        """Records at `offset` and above go; return where that cuts: a batch goes whole."""
        cut = min(offset, self.end)
        for base in [base for base, sent in self.sent.items() if sent.end > offset]:
            gone = self.sent.pop(base)
            cut = min(cut, base)
            self.ghosts.setdefault(base, set()).add(gone.data)
        self.cut_to = cut
        return cut

    def retained_from(self, begin: int) -> None:
        """Retention took what ends at `begin` or before."""
        self.begin = begin
        for base in [base for base, sent in self.sent.items() if sent.end <= begin]:
            self.deleted.setdefault(base, set()).add(self.sent.pop(base).data)

    def complete_cut(self, end: int) -> None:
        self.end = end
        self.begin = min(self.begin, end)
        self.cut_to = None
        self.ghosts.clear()

    # What must hold.

    def check_ends(self, log: Log) -> None:
        have = (log.log_start_offset, log.log_end_offset)
        if have != (self.begin, self.end):
            raise Wrong(f"{log}, not [{self.begin}, {self.end})")

    def check_all(self, log: Log) -> None:
        """Compare everything that can be read with what must be there."""
        self.check_ends(log)
        found = read_all(log)
        wanted = {base: sent for base, sent in self.sent.items() if sent.end > self.begin}
        if {sent.base: sent.data for sent in found} != {b: s.data for b, s in wanted.items()}:
            raise Wrong(f"{log} has {_bases(found)}, not {_bases(list(wanted.values()))}")
        check_sound(log, found, max(self.asked, self.begin))

    def check_survival(self, log: Log, promised: int, *, in_order: bool) -> None:
        """After a crash: all below `promised` is there, nothing else than what was sent is.

        `in_order`: no later file survived an earlier one, so the log begins where it did.
        """
        if self.cut_to is not None:
            promised = min(promised, self.cut_to)
        found = {sent.base: sent for sent in read_all(log)}
        for base, sent in found.items():
            original = self.sent.get(base)
            if (
                (original is None or original.data != sent.data)
                and sent.data not in self.ghosts.get(base, ())
                and sent.data not in self.deleted.get(base, ())
            ):
                raise Wrong(f"{log} has at {base} what was never sent there")
        for base, sent in self.sent.items():
            if sent.end > promised or base < self.asked:
                continue
            if base not in found or found[base].data != sent.data:
                raise Wrong(f"{log} lost [{base}, {sent.end}), promised below {promised}")
        if in_order and log.log_start_offset > max(self.asked, self.begin):
            raise Wrong(f"{log} starts above {self.asked}, which was asked for")
        if log.log_end_offset < promised and promised > self.empty_at:
            raise Wrong(f"{log} ends below {promised}, which was promised")
        check_sound(log, list(found.values()), max(self.asked, log.log_start_offset))

    def adopt(self, log: Log) -> None:
        """Go on from what the log has after a crash."""
        found = {sent.base: sent for sent in read_all(log)}
        for base, sent in self.sent.items():
            if base not in found and base < max(self.asked, log.log_start_offset):
                self.deleted.setdefault(base, set()).add(sent.data)
        for base, ghosts in self.ghosts.items():
            if base < log.log_start_offset:  # removed, but not for good
                self.deleted.setdefault(base, set()).update(ghosts)
        self.sent = found
        self.ghosts.clear()
        self.cut_to = None
        self.begin, self.end = log.log_start_offset, log.log_end_offset
        self.asked = max(self.asked, self.begin)


def read_all(log: Log) -> list[Sent]:
    """Read every batch, from the log's start to its end."""
    offset = log.log_start_offset
    found: list[Sent] = []
    try:
        while offset < log.log_end_offset:
            result = log.read(offset, READ_BYTES)
            if result.next_offset <= offset:
                raise Wrong(f"{log} has nothing at {offset}")
            records = bytes(result.records)
            position = 0
            while position < len(records):
                if len(records) - position < LOG_OVERHEAD:
                    raise Wrong(f"{log}: {records[position:].hex()} is no batch, after {offset}")
                size = size_at(records, position)
                found.append(parse(records[position : position + size]))
                position += size
            offset = result.next_offset
    except ApiError as error:
        raise Wrong(f"{log} cannot be read at {offset}: {error}") from error
    return found


def check_sound(log: Log, found: list[Sent], dense_from: int) -> None:
    """Offsets have no holes, look-ups find what reading finds, epochs and producers agree."""
    _check_dense(log, found, dense_from)
    _check_times(log, found)
    for sent in found:
        offset = max(sent.base, log.log_start_offset)
        if log.leader_epochs.epoch_of(offset) != sent.header.leader_epoch:
            raise Wrong(f"{log}: epoch of {offset} is not {sent.header.leader_epoch}")
        first = read_header(log.read(offset, 1).records)
        if first.base_offset != sent.base:
            raise Wrong(f"{log}: a read at {offset} begins at {first.base_offset}")
    _check_producers(log, found, dense_from)


def _check_dense(log: Log, found: list[Sent], dense_from: int) -> None:
    expected = None
    for sent in found:
        if expected is not None and (
            sent.base < expected or (sent.base > expected and expected >= dense_from)
        ):
            raise Wrong(f"{log}: a batch at {sent.base}, after one that ends at {expected}")
        expected = sent.end
    if found and (found[-1].end != log.log_end_offset or found[0].base > max(dense_from, 0)):
        raise Wrong(f"{log} has {_bases(found)}")
    if not found and log.log_end_offset > dense_from:
        raise Wrong(f"{log} is empty")


def _check_times(log: Log, found: list[Sent]) -> None:
    rows = [
        (sent.base + at, timestamp)
        for sent in found
        for at, timestamp in enumerate(sent.timestamps)
        if sent.base + at >= log.log_start_offset
    ]
    wanted = {
        timestamp + more for _, timestamp in rows[:: max(len(rows) // 8, 1)] for more in (0, 1)
    }
    for timestamp in sorted(wanted):
        first = next((offset for offset, there in rows if there >= timestamp), None)
        answer = offset_for_timestamp(log, timestamp)
        if (None if answer is None else answer.offset) != first:
            raise Wrong(f"{log}: time {timestamp} is at {first}, not {answer}")


def _check_producers(log: Log, found: list[Sent], dense_from: int) -> None:
    """The last batch of each producer is remembered, and each sequence is there once."""
    last: dict[int, Sent] = {}
    for sent in found:
        header = sent.header
        if header.producer_id < 0 or sent.base < dense_from:
            continue
        before = last.get(header.producer_id)
        if before is not None:
            follows = before.header.base_sequence + before.header.records_count
            if header.base_sequence != follows:
                raise Wrong(f"{log}: sequence {header.base_sequence} at {sent.base}, not {follows}")
        last[header.producer_id] = sent
    states = log.producers.producers
    for producer_id, sent in last.items():
        state = states.get(producer_id)
        header = sent.header
        sequence = header.base_sequence + header.records_count - 1
        if (
            state is None
            or state.last_sequence != sequence
            or state.batches[-1].base_offset != sent.base
        ):
            raise Wrong(f"{log}: producer {producer_id} ended with {sequence} at {sent.base}")


def _bases(found: list[Sent]) -> str:
    return " ".join(f"[{sent.base},{sent.end})" for sent in found)
