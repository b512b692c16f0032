"""Putting compacted segments in the place of those they were made from, safe at every moment.

    .cleaned   being written, or not wanted yet: removed at a start
    .swap      whole and durable: a start puts it in place of all it covers
    .deleted   replaced: removed at a start, or after `file.delete.delay.ms`

1. `stage`: the new files become `.swap`; the directory is synced.
2. `put_in_place`: the old ones become `.deleted`, and readers turn to the new
   ones; the directory is synced. Who was reading the old goes on with them.
3. `finish`: the new ones get their names; the directory is synced.

Without the sync between 2 and 3 a power cut could leave a new segment under its
name beside old ones that it covers; without the last, a `.swap` that is all
there is beside a `.cleaned` of the next compaction, which says that it is not whole.
"""

from ottla.storage import names
from ottla.storage.compaction.plan import Cleaned
from ottla.storage.log import Log
from ottla.storage.segment import Segment


class Swap:
    """One group of segments of one log; on the loop. Every method may raise OSError."""

    def __init__(self, log: Log, generation: int, cleaned: Cleaned) -> None:
        """`generation` is the log's when it was planned."""
        self.log = log
        self._cleaned = cleaned
        self._generation = generation
        self._segment = self._new(names.CLEANED)

    def _new(self, suffix: str) -> Segment:
        directory = self.log.directory
        base_offset = self._cleaned.sources[0]
        return Segment(directory.disk, directory.handles, self.log.path, base_offset, suffix)

    def is_current(self) -> bool:
        """Whether the log still has what the new segment was made from."""
        log, sources = self.log, self._cleaned.sources
        if log.generation != self._generation:
            return False
        first = log.segments.index_of(sources[0])
        found = [segment.base_offset for segment in log.segments][first : first + len(sources) + 1]
        return found == [*sources, self._cleaned.end_offset]

    def stage(self) -> None:
        self._segment.rename(names.SWAP)

    def drop(self) -> None:
        """Remove what was made, for good: the log has changed meanwhile, or something failed."""
        disk = self.log.directory.disk
        if not disk.is_directory(self.log.path):
            return
        for suffix in (names.SWAP, names.CLEANED):
            for path in self._new(suffix).paths():
                if disk.exists(path):
                    disk.remove(path)
        disk.sync_directory(self.log.path)

    def put_in_place(self, now_ms: int) -> list[Segment]:
        """Return the segments replaced; their files have names in `.deleted`."""
        log, sources = self.log, self._cleaned.sources
        new = self._segment
        new.open(now_ms, self._cleaned.end_offset)
        assert new.size == self._cleaned.size, (new, self._cleaned)
        new.become_closed()
        first = log.segments.index_of(sources[0])
        old = [log.segments[first + at] for at in range(len(sources))]
        for segment in old:
            segment.rename(names.DELETED)
        log.segments.replace(first, len(sources), new)
        log.replaced(old)
        return old

    def finish(self) -> None:
        self._segment.rename("")
