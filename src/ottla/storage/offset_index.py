"""`.index`: offset -> position in the segment, one entry about every 4 KiB of log.

An entry is 8 bytes, big-endian; both columns rise strictly:

    0  int32  last offset of a batch, less the segment's base offset
    4  int32  where that batch begins

An entry is due with the first batch that finds more than
`index.interval.bytes` appended since the last one. Kafka allocates the file at
10 MiB and trims it when the segment is done; ours just grows, written some
entries at a time, and is complete whenever the segment is rolled, flushed or
closed. What a crash leaves out, recovery adds.

In memory are the entries not yet written, and all of them after a look-up,
until `forget`. `entries` and `last_offset` are always known.
"""

import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable
from operator import lt

from ottla.model.ids import Offset
from ottla.storage.disk import Disk, is_passing

ENTRY_SIZE = 8
WRITE_ENTRIES = 64
"""So many unwritten entries are written without being asked."""


class OffsetIndex:
    """The offset index of one segment."""

    __slots__ = (
        "_base",
        "_disk",
        "_from",
        "_offsets",
        "_positions",
        "_written",
        "path",
        "write_first",
    )

    def __init__(self, disk: Disk, path: str, base_offset: Offset) -> None:
        self.path = path
        self._disk = disk
        self._base = base_offset
        self._written = 0
        """Entries the file holds."""
        self._from = 0
        """The first entry in memory."""
        self._offsets = array("i")
        self._positions = array("i")
        self.write_first: Callable[[], None] | None = None
        """What a recovery that begins at the last entry takes for complete until there."""

    @property
    def entries(self) -> int:
        return self._from + len(self._offsets)

    @property
    def size_bytes(self) -> int:
        return self.entries * ENTRY_SIZE

    def load(self) -> bool:
        """Read the file; return False when it is missing or cannot be an index.

        Raises:
            OSError: it cannot be read.
        """
        try:
            data = self._disk.read(self.path)
        except FileNotFoundError:
            self.reset()
            return False
        whole = len(data) - len(data) % ENTRY_SIZE
        columns = array("i", data[:whole])
        if sys.byteorder == "little":
            columns.byteswap()
        self._offsets = columns[0::2]
        self._positions = columns[1::2]
        self._from = 0
        self._written = len(self._offsets)
        if whole != len(data):
            return False
        # No entry is for the first batch, and a file that a running Kafka left ends in zeroes.
        offsets, positions = self._offsets, self._positions
        return not offsets or (
            offsets[0] >= 0
            and positions[0] > 0
            and (len(offsets) == 1 or (offsets[-1] > offsets[0] and positions[-1] > positions[0]))
        )

    def fits(self, size: int) -> bool:
        """Say whether what was loaded can be of a segment of `size` bytes: entries rise in it."""
        offsets, positions = self._offsets, self._positions
        return not positions or (
            positions[-1] < size
            and all(map(lt, offsets, offsets[1:]))
            and all(map(lt, positions, positions[1:]))
        )

    def expect(self, entries: int) -> None:
        """Say what the file holds, to read it only when it is needed."""
        self.reset()
        self._from = self._written = entries

    def append(self, last_offset: Offset, position: int) -> None:
        offsets = self._offsets
        offsets.append(last_offset - self._base)
        self._positions.append(position)
        if (self._from + len(offsets) - self._written) % WRITE_ENTRIES == 0:
            try:
                self.write_out()
            except OSError as error:
                # The log is what counts; these entries wait for the next time.
                if not is_passing(error):
                    raise

    def lookup(self, offset: Offset) -> int:
        """Return a position at or before the batch that holds `offset`."""
        relative = offset - self._base
        if not self._offsets or relative < self._offsets[0]:
            if self._from == 0:
                return 0
            self._load_all()
        at = bisect_right(self._offsets, relative) - 1
        return self._positions[at] if at >= 0 else 0

    def whole_before(self, position: int) -> int:
        """Return where some indexed batch begins that ends at or before `position`, or 0.

        It is the last but one that begins there: the last one may go on beyond.
        """
        if not self._positions or position < self._positions[0]:
            if self._from == 0:
                return 0
            self._load_all()
        at = bisect_right(self._positions, position) - 2
        return self._positions[at] if at >= 0 else 0

    def last(self) -> tuple[Offset, int]:
        """Return the last entry as (offset, position); (base offset, 0) without one."""
        if not self._offsets:
            if self._from == 0:
                return self._base, 0
            self._load_all()
        return self._base + self._offsets[-1], self._positions[-1]

    def rows(self) -> list[tuple[Offset, int]]:
        """Return every entry, as (offset, position)."""
        if self._from:
            self._load_all()
        return [(self._base + o, p) for o, p in zip(self._offsets, self._positions, strict=True)]

    def truncate_to(self, offset: Offset) -> None:
        """Drop entries for `offset` and above, in the file too."""
        if self._from:
            self._load_all()
        self._keep(_first_at_least(self._offsets, offset - self._base))

    def truncate_to_position(self, position: int) -> None:
        """Drop entries for batches that begin at `position` or later, in the file too."""
        if self._from:
            self._load_all()
        self._keep(_first_at_least(self._positions, position))

    def _keep(self, count: int) -> None:
        del self._offsets[count:]
        del self._positions[count:]
        if self._written > count:
            self._written = count
            file = self._disk.open(self.path)
            try:
                file.truncate(count * ENTRY_SIZE)
            finally:
                file.close()

    def reset(self) -> None:
        """Forget every entry; the file is overwritten by the next `write_out`."""
        self._from = self._written = 0
        self._offsets = array("i")
        self._positions = array("i")

    def write_out(self) -> None:
        """Bring the file up to date. It is created if missing; nothing is synced."""
        if self.write_first is not None:
            self.write_first()
        unwritten = self._written - self._from
        columns = array("i", bytes(ENTRY_SIZE * (len(self._offsets) - unwritten)))
        columns[0::2] = self._offsets[unwritten:]
        columns[1::2] = self._positions[unwritten:]
        if sys.byteorder == "little":
            columns.byteswap()
        entries = self.entries
        file = self._disk.open(self.path, create=True)
        try:
            if columns:
                file.pwrite(columns.tobytes(), self._written * ENTRY_SIZE)
            if file.size() > entries * ENTRY_SIZE:
                file.truncate(entries * ENTRY_SIZE)
        finally:
            file.close()
        self._written = entries

    def forget(self) -> int:
        """Keep in memory only what the file lacks; return the bytes freed."""
        count = self._written - self._from
        if count > 0:
            del self._offsets[:count]
            del self._positions[:count]
            self._from = self._written
        return max(count, 0) * ENTRY_SIZE

    def _load_all(self) -> None:
        offsets, positions = self._offsets, self._positions
        first, written = self._from, self._written
        unwritten = len(offsets) - (written - first)
        try:
            self.load()
        finally:
            if self._written < written:
                # Shorter than what was written: positions are still found, by walking.
                self._written = len(self._offsets)
            tail = len(offsets) - unwritten
            del self._offsets[written:]
            del self._positions[written:]
            self._offsets.extend(offsets[tail:])
            self._positions.extend(positions[tail:])
            self._from = 0


def _first_at_least(column: "array[int]", value: int) -> int:
    return bisect_right(column, value - 1)
