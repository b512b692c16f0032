"""The indexes of a segment, in step with its batches."""

from collections.abc import Callable

from ottla.model.ids import Offset
from ottla.record.batch import BatchHeader
from ottla.storage import names
from ottla.storage.disk import Disk
from ottla.storage.offset_index import OffsetIndex
from ottla.storage.time_index import TimeIndex
from ottla.storage.transaction_index import AbortedTransaction, TransactionIndex
from ottla.storage.verify.findings import Finding, Kind

SPARSE_BYTES = 256 * 1024
"""An index that leaves out more than this was cut: every look-up beyond walks so far."""

UNUSED_BYTES = 4096
"""An active segment's index of at least this size may end in zeroes: Kafka allocates ahead."""


class Indexes:
    """The three indexes of one segment, compared with its batches as they go by."""

    def __init__(
        self,
        disk: Disk,
        folder: str,
        base: Offset,
        found: Callable[[Finding], None],
        *,
        size: int,
        active: bool,
        clean: bool,
    ) -> None:
        """`size`: of the segment's log; `clean`: the broker stopped cleanly, all is complete."""
        self._disk = disk
        self._found = found
        self.active = active
        self.size = size
        self.must_exist = size > 0 and (not active or clean)
        self.offset_index = f"{folder}/{names.offset_file(base, names.INDEX)}"
        self.time_index = f"{folder}/{names.offset_file(base, names.TIME_INDEX)}"
        self.transaction_index = f"{folder}/{names.offset_file(base, names.TRANSACTION_INDEX)}"
        self.aborted: list[AbortedTransaction] = []
        """What the batches say belongs in the transaction index."""
        self._largest_timestamp = -1
        self._last_batch = 0
        self._offsets = self._load_offsets(base)
        self._next_offset = 0
        self._times = self._load_times(base)
        self._next_time = 0

    def _tell(self, kind: Kind, path: str, position: int | None, problem: str) -> None:
        self._found(Finding(kind, path, position, problem))

    def _load_offsets(self, base: Offset) -> list[tuple[Offset, int]]:
        index = OffsetIndex(self._disk, self.offset_index, base)
        index.load()
        rows = self._used(Kind.OFFSET_INDEX, self.offset_index, 8, index.rows(), (base, 0))
        return self._rising(Kind.OFFSET_INDEX, self.offset_index, 8, rows, strictly=(0, 1))

    def _load_times(self, base: Offset) -> list[tuple[int, Offset]]:
        index = TimeIndex(self._disk, self.time_index, base)
        index.load()
        rows = self._used(Kind.TIME_INDEX, self.time_index, 12, index.rows(), (0, base))
        return self._rising(Kind.TIME_INDEX, self.time_index, 12, rows, strictly=(0,))

    def _used(
        self, kind: Kind, path: str, entry: int, rows: list[tuple[int, int]], zero: tuple[int, int]
    ) -> list[tuple[int, int]]:
        """Leave out the zeroes at the end, where they may be; tell of a file that is not whole."""
        disk = self._disk
        if not disk.exists(path):
            if self.must_exist:
                self._tell(kind, path, None, "is missing")
            return []
        size = disk.size(path)
        if size % entry:
            self._tell(kind, path, size - size % entry, "the last entry is cut off")
        used = len(rows)
        while used and rows[used - 1] == zero:
            used -= 1
        unused = len(rows) - used
        if unused and not (self.active and unused * entry >= UNUSED_BYTES):
            self._tell(kind, path, used * entry, f"the last {unused} entries are zeroes")
        return rows[:used]

    def _rising(
        self,
        kind: Kind,
        path: str,
        entry: int,
        rows: list[tuple[int, int]],
        *,
        strictly: tuple[int, ...],
    ) -> list[tuple[int, int]]:
        for at in range(1, len(rows)):
            before, row = rows[at - 1], rows[at]
            if row < before or any(row[column] <= before[column] for column in strictly):
                self._tell(kind, path, at * entry, f"entry {row} after {before}")
                return rows[:at]
        return rows

    def batch(self, header: BatchHeader) -> None:
        position, last = header.position, header.last_offset
        self._last_batch = position
        largest = self._largest_timestamp
        self._largest_timestamp = max(largest, header.max_timestamp)
        offsets, at = self._offsets, self._next_offset
        while at < len(offsets) and offsets[at][1] <= position:
            problem = None
            if offsets[at][1] < position:
                problem = f"no batch begins at {offsets[at][1]}"
            elif offsets[at][0] != last:
                problem = f"offset {offsets[at][0]}, but the batch there ends at {last}"
            if problem is not None:
                self._tell(Kind.OFFSET_INDEX, self.offset_index, at * 8, problem)
            at += 1
        self._next_offset = at
        times, at = self._times, self._next_time
        while at < len(times) and times[at][1] <= last:
            problem = None
            if times[at][1] < last:
                problem = f"no batch ends at offset {times[at][1]}"
            elif times[at][0] != header.max_timestamp:
                problem = f"timestamp {times[at][0]}, but its batch has {header.max_timestamp}"
            elif times[at][0] <= largest:
                problem = f"timestamp {times[at][0]} was there before offset {last}"
            if problem is not None:
                self._tell(Kind.TIME_INDEX, self.time_index, at * 12, problem)
            at += 1
        self._next_time = at

    def ended(self, *, whole: bool, transactions: bool) -> None:
        """The batches are through.

        Args:
            whole: they reached the end of the file.
            transactions: they say all that belongs in the transaction index.
        """
        if not whole:
            return
        for at in range(self._next_offset, len(self._offsets)):
            problem = f"no batch begins at {self._offsets[at][1]}"
            self._tell(Kind.OFFSET_INDEX, self.offset_index, at * 8, problem)
        for at in range(self._next_time, len(self._times)):
            problem = f"no batch ends at offset {self._times[at][1]}"
            self._tell(Kind.TIME_INDEX, self.time_index, at * 12, problem)
        disk = self._disk
        last = self._offsets[-1][1] if self._offsets else 0
        if disk.exists(self.offset_index) and self._last_batch - last > SPARSE_BYTES:
            problem = f"has no entry for the {self.size - last} bytes after position {last}"
            self._tell(Kind.OFFSET_INDEX, self.offset_index, len(self._offsets) * 8, problem)
        largest = self._times[-1][0] if self._times else -1
        if self.must_exist and disk.exists(self.time_index) and largest < self._largest_timestamp:
            problem = f"ends with timestamp {largest}, the log has {self._largest_timestamp}"
            self._tell(Kind.TIME_INDEX, self.time_index, len(self._times) * 12, problem)
        self._check_transactions(compare=transactions)

    def _check_transactions(self, *, compare: bool) -> None:
        path = self.transaction_index
        index = TransactionIndex(self._disk, path)
        if not index.load():
            self._tell(
                Kind.TRANSACTION_INDEX, path, len(index.rows()) * 34, "no rising, whole entries"
            )
        if not compare:
            return
        listed, said = index.rows(), self.aborted
        for at, (theirs, ours) in enumerate(zip(listed, said, strict=False)):
            if theirs != ours:
                self._tell(Kind.TRANSACTION_INDEX, path, at * 34, f"{theirs}, in the log {ours}")
                return
        if len(listed) != len(said):
            self._tell(
                Kind.TRANSACTION_INDEX,
                path,
                min(len(listed), len(said)) * 34,
                f"{len(listed)} aborted transactions, {len(said)} in the log",
            )
