"""The segments of a log, in order: which one holds an offset."""

from bisect import bisect_right
from collections.abc import Iterator

from ottla.model.ids import Offset
from ottla.storage.segment import Segment


class Segments:
    """At least one segment; the last is the active one."""

    __slots__ = ("_bases", "_segments")

    def __init__(self, segments: list[Segment]) -> None:
        assert segments
        self._segments = segments
        self._bases = [segment.base_offset for segment in segments]

    def __len__(self) -> int:
        return len(self._segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    def __getitem__(self, index: int) -> Segment:
        return self._segments[index]

    @property
    def active(self) -> Segment:
        return self._segments[-1]

    @property
    def first(self) -> Segment:
        return self._segments[0]

    @property
    def size_bytes(self) -> int:
        return sum(segment.size for segment in self._segments)

    def index_of(self, offset: Offset) -> int:
        """Return the index of the last segment that begins at or below `offset`, 0 if none does."""
        return max(bisect_right(self._bases, offset) - 1, 0)

    def from_offset(self, offset: Offset) -> list[Segment]:
        """Return the segment that holds `offset`, and all after it."""
        return self._segments[self.index_of(offset) :]

    def append(self, segment: Segment) -> None:
        assert segment.base_offset > self._bases[-1], (segment, self._bases[-1])
        self._segments.append(segment)
        self._bases.append(segment.base_offset)

    def remove_first(self, count: int) -> list[Segment]:
        """Take the oldest `count` out; the active one must stay."""
        assert count < len(self._segments)
        removed = self._segments[:count]
        del self._segments[:count]
        del self._bases[:count]
        return removed

    def remove_from(self, index: int) -> list[Segment]:
        """Take out the segment at `index` and all after it; one must stay."""
        assert index > 0
        removed = self._segments[index:]
        del self._segments[index:]
        del self._bases[index:]
        return removed

    def replace(self, first: int, count: int, segment: Segment) -> list[Segment]:
        """Let `segment` stand for the `count` from `first` on, which begin where it does."""
        assert segment.base_offset == self._bases[first]
        assert first + count < len(self._segments)
        replaced = self._segments[first : first + count]
        self._segments[first : first + count] = [segment]
        self._bases[first : first + count] = [segment.base_offset]
        return replaced

    def replace_all(self, segment: Segment) -> list[Segment]:
        """Take all out and start over with `segment`."""
        removed = self._segments[:]
        self._segments[:] = [segment]
        self._bases[:] = [segment.base_offset]
        return removed
