"""One segment: a `.log` of batches back to back, with its indexes.

A segment holds offsets from its base offset on, in files named after it. The
indexes get an entry when more than `index.interval.bytes` were appended since
the last one, as Kafka's do. Where recent batches are is kept in memory
(`recent_last_offsets`, `recent_positions`), bounded, so that readers at the end
of the log, which are most, need no index.
"""

from array import array

from ottla.model.ids import Offset
from ottla.storage import names, scan
from ottla.storage.disk import Buffer, Disk
from ottla.storage.handles import Handle, Handles
from ottla.storage.log_config import INT32_MAX, LogConfig
from ottla.storage.offset_index import ENTRY_SIZE as OFFSET_ENTRY_SIZE
from ottla.storage.offset_index import OffsetIndex
from ottla.storage.time_index import ENTRY_SIZE as TIME_ENTRY_SIZE
from ottla.storage.time_index import NO_TIMESTAMP, TimeIndex
from ottla.storage.transaction_index import TransactionIndex

RECENT_BATCHES = 512
"""The positions of so many batches stay in memory, and up to twice as many."""


class Segment:
    """One segment's files and what is known of them."""

    __slots__ = (
        "_first_timestamp",
        "base_offset",
        "bytes_since_index_entry",
        "created_ms",
        "directory",
        "disk",
        "handle",
        "index_grew",
        "jitter_ms",
        "largest_timestamp",
        "largest_timestamp_offset",
        "name_synced",
        "offset_index",
        "recent_floor",
        "recent_last_offsets",
        "recent_positions",
        "size",
        "suffix",
        "time_index",
        "transaction_index",
    )

    def __init__(
        self,
        disk: Disk,
        handles: Handles,
        directory: str,
        base_offset: Offset,
        suffix: str = "",
    ) -> None:
        """`suffix` ends the files' names while they are not, or no longer, those of the log."""
        self.disk = disk
        self.directory = directory
        self.base_offset = base_offset
        self.suffix = suffix
        self.handle = Handle(self._path(names.LOG), handles)
        self.offset_index = OffsetIndex(disk, self._path(names.INDEX), base_offset)
        self.time_index = TimeIndex(disk, self._path(names.TIME_INDEX), base_offset)
        self.offset_index.write_first = self.time_index.write_out
        self.transaction_index = TransactionIndex(disk, self._path(names.TRANSACTION_INDEX))
        self.index_grew = True
        """An index may have become full since `must_roll` last looked."""
        self.size = 0
        """Bytes of whole batches; where the next one goes."""
        self.bytes_since_index_entry = 0
        self.largest_timestamp = NO_TIMESTAMP
        self.largest_timestamp_offset = base_offset
        """Last offset of the first batch that has it."""
        self._first_timestamp: int | None = None
        self.created_ms = 0
        self.jitter_ms = 0
        self.name_synced = False
        """The directory entry is durable; its first flush sees to that."""
        self.recent_floor = base_offset
        """From this offset on, the two lists below know every batch."""
        self.recent_last_offsets = array("q")
        self.recent_positions = array("i")

    def _path(self, suffix: str) -> str:
        return f"{self.directory}/{names.offset_file(self.base_offset, suffix)}{self.suffix}"

    @property
    def log_path(self) -> str:
        return self.handle.path

    def __repr__(self) -> str:
        return f"Segment({self.log_path}, {self.size} bytes)"

    # Opening.

    def create(self, now_ms: int) -> None:
        """Begin an empty one; its file appears with the first batch or `close`."""
        self.created_ms = now_ms

    def open(self, now_ms: int, next_offset: Offset) -> bool:
        """Learn sizes and the largest timestamp from files that should be whole.

        Return False when the time index cannot be that of a segment below `next_offset`.
        """
        self.size = self.disk.size(self.log_path)
        self.name_synced = True
        self.created_ms = now_ms
        self.recent_floor = next_offset
        try:
            entries = self.disk.size(self.offset_index.path) // OFFSET_ENTRY_SIZE
        except FileNotFoundError:
            entries = 0
        self.offset_index.expect(entries)
        whole = self.time_index.load()
        self.largest_timestamp = self.time_index.last_timestamp
        self.largest_timestamp_offset = self.time_index.last_offset
        self.transaction_index.load()
        if not whole:
            return not self.disk.exists(self.time_index.path)
        return not self.time_index.entries or self.largest_timestamp_offset < next_offset

    # Appending.

    def must_roll(
        self, config: LogConfig, size: int, max_timestamp: int, last_offset: Offset, now_ms: int
    ) -> bool:
        """Does a batch of `size` bytes belong into a new segment?"""
        filled = self.size
        if filled > config.segment_bytes - size or last_offset - self.base_offset > INT32_MAX:
            return True
        if filled > 0:
            first = self._first_timestamp
            if first is not None and first >= 0:
                waited_ms = max_timestamp - first
            else:
                waited_ms = self.waited_ms(max_timestamp, now_ms)
            if waited_ms > config.segment_ms - self.jitter_ms:
                return True
        if not self.index_grew:
            return False
        index_bytes = config.segment_index_bytes
        is_full = (
            self.offset_index.entries >= index_bytes // OFFSET_ENTRY_SIZE
            or self.time_index.entries >= index_bytes // TIME_ENTRY_SIZE - 1
        )
        self.index_grew = is_full
        return is_full

    def first_timestamp(self) -> int:
        """Return the largest timestamp of its first batch, -1 if it has none.

        Raises:
            OSError: it cannot be read.
        """
        first = self._first_timestamp
        if first is None:
            first = self._first_timestamp = self._read_first_timestamp()
        return first

    def waited_ms(self, max_timestamp: int, now_ms: int) -> int:
        """How long it has been filling: by its first batch's timestamp, else since it was made."""
        first = self.first_timestamp()
        return max_timestamp - first if first >= 0 else now_ms - self.created_ms

    def _read_first_timestamp(self) -> int:
        try:
            for header in scan.headers(self.handle.get().pread, 0, self.size):
                return header.max_timestamp
        except scan.NotABatch:
            pass
        return NO_TIMESTAMP

    def write(self, data: Buffer) -> None:
        """Write batches at the end; `publish` each of them next.

        Raises:
            OSError: the file may hold some of `data` beyond `size`.
        """
        handle = self.handle
        handle.used = True
        file = handle.file
        if file is None:
            file = handle.get(create=self.size == 0)
        file.pwrite(data, self.size)

    def publish(
        self, size: int, last_offset: Offset, max_timestamp: int, index_interval_bytes: int
    ) -> None:
        """Count the batch written at the end, and index it when that is due."""
        position = self.size
        if position == 0:
            self._first_timestamp = max_timestamp
        if max_timestamp > self.largest_timestamp:
            self.largest_timestamp = max_timestamp
            self.largest_timestamp_offset = last_offset
        since = self.bytes_since_index_entry
        if since > index_interval_bytes:
            self.time_index.maybe_append(self.largest_timestamp, self.largest_timestamp_offset)
            self.offset_index.append(last_offset, position)
            self.index_grew = True
            since = 0
        self.bytes_since_index_entry = since + size
        lasts = self.recent_last_offsets
        if len(lasts) >= 2 * RECENT_BATCHES:
            self.recent_floor = lasts[RECENT_BATCHES - 1] + 1
            del lasts[:RECENT_BATCHES]
            del self.recent_positions[:RECENT_BATCHES]
        lasts.append(last_offset)
        self.recent_positions.append(position)
        self.size = position + size

    def cut_back(self) -> None:
        """Remove what a failed write left beyond the end."""
        if self.handle.file is not None or self.disk.exists(self.log_path):
            file = self.handle.get()
            if file.size() > self.size:
                file.truncate(self.size)

    # Finishing.

    def finish(self) -> None:
        """Complete the index files: it gets no more batches, or the broker stops."""
        self.time_index.maybe_append(self.largest_timestamp, self.largest_timestamp_offset)
        self.offset_index.write_out()
        self.transaction_index.write_out()

    def become_inactive(self) -> None:
        """Finish, and keep in memory what a closed segment needs."""
        self.finish()
        self.become_closed()

    def become_closed(self) -> None:
        """Keep in memory what a closed segment needs."""
        self.offset_index.forget()
        self.recent_floor = self.base_offset + INT32_MAX + 1
        self.recent_last_offsets = array("q")
        self.recent_positions = array("i")

    def ensure_file(self) -> None:
        """Make the `.log` file exist, though nothing was written."""
        self.handle.get(create=True)

    # Looking up.

    def find(self, offset: Offset, read: scan.Read) -> scan.Found | None:
        """Return the first batch that ends at or after `offset`, None if all end before.

        Raises:
            NotABatch: the file is damaged.
            NotCached: `read` would have to wait.
        """
        hint = self.offset_index.lookup(offset)
        try:
            return scan.find(read, hint, self.size, offset)
        except scan.NotABatch:
            if hint == 0:
                raise
            return scan.find(read, 0, self.size, offset)

    # Cutting.

    def truncate_to(self, offset: Offset, now_ms: int) -> Offset:
        """Drop the batches that hold `offset` or more; return the end that leaves.

        A batch that spans `offset` goes as a whole.
        """
        if self.size == 0:
            return self.base_offset
        read = self.handle.get().pread
        found = self.find(offset, read)
        position = self.size if found is None else found.position
        self.offset_index.truncate_to_position(position)
        self.time_index.truncate_to(offset if found is None else found.base_offset)
        self.transaction_index.truncate_to(offset)
        if found is not None:
            self.handle.get().truncate(position)
        self.size = position
        self.bytes_since_index_entry = 0
        if position == 0:
            self.created_ms = now_ms
            self._first_timestamp = None
        end = self._rescan()
        self.recent_floor = end
        self.recent_last_offsets = array("q")
        self.recent_positions = array("i")
        return end

    def _rescan(self) -> Offset:
        """Set the largest timestamp, and return the offset after the last batch."""
        self.largest_timestamp = self.time_index.last_timestamp
        self.largest_timestamp_offset = self.time_index.last_offset
        end = self.base_offset
        if self.size == 0:
            return end
        read = self.handle.get().pread
        for header in scan.headers(read, self.offset_index.last()[1], self.size):
            end = header.next_offset
            if header.max_timestamp > self.largest_timestamp:
                self.largest_timestamp = header.max_timestamp
                self.largest_timestamp_offset = header.last_offset
        return end

    def next_offset(self) -> Offset:
        """Read the offset after the last batch from the files."""
        return self._rescan()

    # Removing and replacing.

    def rename(self, suffix: str) -> None:
        """Give its files names that end in `suffix`, the `.log` last; open ones stay open.

        Raises:
            OSError: some may have been renamed.
        """
        old = self.paths()
        self.suffix = suffix
        self.handle.path = self._path(names.LOG)
        self.offset_index.path = self._path(names.INDEX)
        self.time_index.path = self._path(names.TIME_INDEX)
        self.transaction_index.path = self._path(names.TRANSACTION_INDEX)
        for before, after in reversed(list(zip(old, self.paths(), strict=True))):
            if self.disk.exists(before):
                self.disk.rename(before, after)

    def paths(self) -> list[str]:
        return [
            self.log_path,
            self.offset_index.path,
            self.time_index.path,
            self.transaction_index.path,
        ]
