"""`.txnindex`: the aborted transactions whose markers are in a segment.

The file exists only where there are any. An entry is 34 bytes, big-endian:

    0   int16  version 0
    2   int64  producer id
    10  int64  first offset of the transaction
    18  int64  last offset: of its abort marker
    26  int64  the last stable offset when the marker was written

Entries are appended as transactions abort, so last offsets rise strictly. They
are few: each is written at once, or with the next if there is no room, and read
from the file when asked for.
"""

import itertools
from struct import Struct
from typing import NamedTuple

from ottla.model.ids import Offset, ProducerId
from ottla.storage.disk import Disk, is_passing

ENTRY = Struct(">hqqqq")
ENTRY_SIZE = 34
VERSION = 0


class AbortedTransaction(NamedTuple):
    producer_id: ProducerId
    first_offset: Offset
    last_offset: Offset
    last_stable_offset: Offset


class TransactionIndex:
    """The aborted transactions of one segment."""

    __slots__ = ("_disk", "_unwritten", "begun_anew", "entries", "path")

    def __init__(self, disk: Disk, path: str) -> None:
        self.path = path
        self._disk = disk
        self.entries = 0
        self.begun_anew = False
        """Whether every marker of the segment is still to be looked at."""
        self._unwritten: list[AbortedTransaction] = []

    def load(self) -> bool:
        """Count the entries; return False when the file cannot be an index."""
        try:
            size = self._disk.size(self.path)
        except FileNotFoundError:
            size = 0
        self.entries = size // ENTRY_SIZE
        self._unwritten = []
        if size % ENTRY_SIZE:
            return False
        found = self.rows()
        return len(found) == self.entries and all(
            before.last_offset < after.last_offset for before, after in itertools.pairwise(found)
        )

    def append(self, aborted: AbortedTransaction) -> None:
        self._unwritten.append(aborted)
        self.entries += 1
        try:
            self.write_out()
        except OSError as error:
            if not is_passing(error):
                raise

    def write_out(self) -> None:
        """Bring the file up to date; nothing is synced."""
        if not self._unwritten:
            return
        data = b"".join(ENTRY.pack(VERSION, *aborted) for aborted in self._unwritten)
        file = self._disk.open(self.path, create=True)
        try:
            file.pwrite(data, (self.entries - len(self._unwritten)) * ENTRY_SIZE)
        finally:
            file.close()
        self._unwritten = []

    def rows(self) -> list[AbortedTransaction]:
        """Return every entry up to the first that is not one."""
        written = self.entries - len(self._unwritten)
        data = self._disk.read(self.path)[: written * ENTRY_SIZE] if written else b""
        found = []
        for version, *fields in ENTRY.iter_unpack(data[: len(data) - len(data) % ENTRY_SIZE]):
            if version != VERSION:
                break
            found.append(AbortedTransaction(*fields))
        return found + self._unwritten

    def collect(
        self, fetch_offset: Offset, end_offset: Offset
    ) -> tuple[list[AbortedTransaction], bool]:
        """Return what a reader of `[fetch_offset, end_offset)` must skip, and whether that is all.

        It is all once an entry's last stable offset has reached `end_offset`:
        any later one began after it.
        """
        found = []
        for aborted in self.rows():
            if aborted.last_offset >= fetch_offset and aborted.first_offset < end_offset:
                found.append(aborted)
            if aborted.last_stable_offset >= end_offset:
                return found, True
        return found, False

    def truncate_to(self, offset: Offset) -> None:
        """Drop entries whose marker is at `offset` or above."""
        kept = [aborted for aborted in self.rows() if aborted.last_offset < offset]
        if len(kept) < self.entries:
            self.reset()
            for aborted in kept:
                self.append(aborted)

    def begin_anew(self) -> None:
        """Remove the file; whoever reads the segment's markers appends to it again."""
        self.reset()
        self.begun_anew = True

    def reset(self) -> None:
        """Remove the file."""
        self.entries = 0
        self._unwritten = []
        if self._disk.exists(self.path):
            self._disk.remove(self.path)
