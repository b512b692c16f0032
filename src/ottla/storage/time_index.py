"""`.timeindex`: timestamp -> offset, for looking up by time and for retention.

An entry is 12 bytes, big-endian; timestamps rise strictly, offsets do not fall:

    0  int64  the largest timestamp so far, in ms
    8  int32  last offset of the batch that had it, less the segment's base offset

Every entry of the offset index brings one here if the largest timestamp has
grown since, and the last one is added when the segment is rolled or closed, so
the last entry of a finished segment is its largest timestamp.
"""

import itertools
from bisect import bisect_right
from struct import Struct

from ottla.model.ids import Offset
from ottla.storage.disk import Disk

ENTRY = Struct(">qi")
ENTRY_SIZE = 12
NO_TIMESTAMP = -1


class TimeIndex:
    """The time index of one segment; in memory are its last entry and what is not yet written."""

    __slots__ = ("_base", "_disk", "_pending", "_written", "last_offset", "last_timestamp", "path")

    def __init__(self, disk: Disk, path: str, base_offset: Offset) -> None:
        self.path = path
        self._disk = disk
        self._base = base_offset
        self._written = 0
        self._pending = bytearray()
        self.last_timestamp = NO_TIMESTAMP
        self.last_offset = base_offset

    @property
    def entries(self) -> int:
        return self._written + len(self._pending) // ENTRY_SIZE

    @property
    def size_bytes(self) -> int:
        return self.entries * ENTRY_SIZE

    def load(self) -> bool:
        """Learn the last entry; return False when the file is missing or cannot be an index.

        Raises:
            OSError: it cannot be read.
        """
        self.reset()
        try:
            size = self._disk.size(self.path)
        except FileNotFoundError:
            return False
        self._written = size // ENTRY_SIZE
        if self._written:
            file = self._disk.open(self.path)
            try:
                first = file.pread(ENTRY_SIZE, 0)
                last = file.pread(ENTRY_SIZE, (self._written - 1) * ENTRY_SIZE)
            finally:
                file.close()
            self.last_timestamp, relative = ENTRY.unpack(last)
            self.last_offset = self._base + relative
            if relative < 0 or self.last_timestamp < 0:
                return False
            if self._written > 1 and self.last_timestamp <= ENTRY.unpack(first)[0]:
                return False
        return size % ENTRY_SIZE == 0

    def is_sound(self) -> bool:
        """Look at every entry: timestamps rise, offsets do not fall."""
        return all(
            before[0] < after[0] and before[1] <= after[1]
            for before, after in itertools.pairwise(self.rows())
        )

    def maybe_append(self, timestamp: int, offset: Offset) -> None:
        """Add an entry if `timestamp` is above the last one's."""
        if timestamp > self.last_timestamp:
            assert offset >= self.last_offset or not self.entries, (self.path, offset)
            self._pending += ENTRY.pack(timestamp, offset - self._base)
            self.last_timestamp = timestamp
            self.last_offset = offset

    def rows(self) -> list[tuple[int, Offset]]:
        """Return every entry, as (timestamp, offset)."""
        data = self._disk.read(self.path) if self._written else b""
        data = data[: self._written * ENTRY_SIZE] + self._pending
        whole = len(data) - len(data) % ENTRY_SIZE
        base = self._base
        return [(ts, base + relative) for ts, relative in ENTRY.iter_unpack(data[:whole])]

    def lookup(self, timestamp: int) -> Offset:
        """Return an offset at or before which no record is as late as `timestamp`.

        It is that of the last entry not above `timestamp`, else the base offset.
        """
        if timestamp >= self.last_timestamp:
            return self.last_offset
        rows = self.rows()
        at = bisect_right(rows, timestamp, key=lambda row: row[0]) - 1
        return rows[at][1] if at >= 0 else self._base

    def truncate_to(self, offset: Offset) -> None:
        """Drop entries for `offset` and above, in the file too."""
        rows = self.rows()
        kept = [row for row in rows if row[1] < offset]
        if len(kept) < len(rows):
            self.reset()
            for timestamp, at in kept:
                self.maybe_append(timestamp, at)
            self.write_out()

    def reset(self) -> None:
        """Forget every entry; the file is overwritten by the next `write_out`."""
        self._written = 0
        self._pending = bytearray()
        self.last_timestamp = NO_TIMESTAMP
        self.last_offset = self._base

    def write_out(self) -> None:
        """Bring the file up to date. It is created if missing; nothing is synced."""
        entries = self.entries
        file = self._disk.open(self.path, create=True)
        try:
            if self._pending:
                file.pwrite(self._pending, self._written * ENTRY_SIZE)
            if file.size() > entries * ENTRY_SIZE:
                file.truncate(entries * ENTRY_SIZE)
        finally:
            file.close()
        self._written = entries
        self._pending = bytearray()
