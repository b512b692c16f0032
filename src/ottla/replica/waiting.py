"""Callbacks parked until an offset is committed (pure)."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import TypeAlias

from ottla.model.errors import ApiError
from ottla.model.ids import Offset

Committed: TypeAlias = Callable[[ApiError | None], None]
"""Called once: with None, or with why it will not be."""


class OffsetWaits:
    """Who waits for which end offset of one partition; the lowest first, then the oldest."""

    __slots__ = ("_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[Offset, int, Committed]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, end_offset: Offset, callback: Committed) -> None:
        """Call back once everything below `end_offset` is committed."""
        self._serial += 1
        heappush(self._heap, (end_offset, self._serial, callback))

    def committed(self, high_watermark: Offset) -> None:
        """Everything below `high_watermark` is committed."""
        heap = self._heap
        while heap and heap[0][0] <= high_watermark:
            heappop(heap)[2](None)

    def fail(self, error: ApiError) -> None:
        """Nobody will be told that their offset was committed."""
        heap, self._heap = self._heap, []
        for _, _, callback in sorted(heap, key=lambda wait: wait[1]):
            callback(error)
