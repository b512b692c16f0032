"""Deadlines of a shard, by key.

Most deadlines are sessions, put off by every heartbeat and hardly ever met.
So putting one off only writes a dict; the heap keeps the older entry, and when
that comes up it is pushed again at the later time. A key has at most one live
deadline; the heap holds at most one entry for each time a deadline was set to
come *earlier* than its entry, and is rebuilt when most of it is stale.
"""

import heapq
from collections.abc import Hashable


class Deadlines:
    """Which keys are due, in order of their time, then of setting."""

    __slots__ = ("_entries", "_heap", "_order", "_when")

    def __init__(self) -> None:
        self._when: dict[Hashable, int] = {}
        self._entries: dict[Hashable, int] = {}  # the earliest heap entry of each live key
        self._heap: list[tuple[int, int, Hashable]] = []
        self._order = 0

    def __len__(self) -> int:
        return len(self._when)

    def set(self, key: Hashable, when_ms: int) -> None:
        """Set or move the deadline of `key`."""
        self._when[key] = when_ms
        entry = self._entries.get(key)
        if entry is None or when_ms < entry:
            self._push(key, when_ms)

    def cancel(self, key: Hashable) -> None:
        """Forget `key`; harmless when it has no deadline."""
        if self._when.pop(key, None) is not None:
            del self._entries[key]
            if len(self._heap) > 64 and len(self._heap) > 4 * len(self._when):
                self._rebuild()

    def get(self, key: Hashable) -> int | None:
        return self._when.get(key)

    def next_ms(self) -> int | None:
        """The earliest deadline, or None."""
        self._clean()
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now_ms: int) -> Hashable | None:
        """Remove and return the key with the earliest deadline at or before `now_ms`."""
        self._clean()
        if not self._heap or self._heap[0][0] > now_ms:
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._when[key]
        del self._entries[key]
        return key

    def _push(self, key: Hashable, when_ms: int) -> None:
        self._entries[key] = when_ms
        self._order += 1
        heapq.heappush(self._heap, (when_ms, self._order, key))

    def _clean(self) -> None:
        """Make the top of the heap a live deadline at its own time."""
        heap = self._heap
        while heap:
            entry_ms, _, key = heap[0]
            if self._entries.get(key) != entry_ms:
                heapq.heappop(heap)
                continue
            when_ms = self._when[key]
            if when_ms == entry_ms:
                return
            heapq.heappop(heap)
            self._push(key, when_ms)

    def _rebuild(self) -> None:
        self._heap = []
        self._entries = {}
        for key, when_ms in self._when.items():
            self._push(key, when_ms)
