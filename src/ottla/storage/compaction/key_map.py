"""The last offset of each key, in memory of a fixed size.

A key is known by 128 bits of its BLAKE2b hash, so an entry is 24 bytes whatever
the key's length: two keys with the same hash are not to be expected before the
sun goes out. Open addressing over three columns of 64 bits; the third is the
offset plus one, 0 where the slot is free.
"""

from array import array
from hashlib import blake2b
from struct import Struct

from ottla.model.ids import Offset

ENTRY_BYTES = 24

_HALVES = Struct("<QQ")
_NONE = -1


class KeyMap:
    """Keys of the dirty part of a log; `capacity` may be put, no more."""

    __slots__ = ("_first", "_offsets", "_second", "_slots", "capacity", "latest_offset", "size")

    def __init__(self, memory_bytes: int, load_factor: float, records: int) -> None:
        """Take at most `memory_bytes`, and less where `records`, the most to come, need less."""
        load_factor = min(max(load_factor, 0.1), 1.0)
        slots = max(1, memory_bytes // ENTRY_BYTES)
        self.capacity = max(1, int(slots * load_factor))
        if records < self.capacity:
            slots = min(slots, int(records / load_factor) + 1)
        self._slots = slots
        self._first = array("Q", (0,)) * slots
        self._second = array("Q", (0,)) * slots
        self._offsets = array("Q", (0,)) * slots
        self.size = 0
        self.latest_offset: Offset = _NONE
        """Everything up to it has been taken into account."""

    @property
    def is_full(self) -> bool:
        return self.size >= self.capacity

    def put(self, key: bytes, offset: Offset) -> None:
        """Remember `offset`, above all before it, as the last of `key`."""
        first, second = _HALVES.unpack(blake2b(key, digest_size=16).digest())
        firsts, offsets = self._first, self._offsets
        slots = self._slots
        slot = first % slots
        while offsets[slot]:
            if firsts[slot] == first and self._second[slot] == second:
                offsets[slot] = offset + 1
                return
            slot += 1
            if slot == slots:
                slot = 0
        firsts[slot] = first
        self._second[slot] = second
        offsets[slot] = offset + 1
        self.size += 1

    def get(self, key: bytes) -> Offset:
        """Return the last offset of `key`, -1 if it was not put."""
        first, second = _HALVES.unpack(blake2b(key, digest_size=16).digest())
        firsts, offsets = self._first, self._offsets
        slots = self._slots
        slot = first % slots
        for _ in range(slots):
            found = offsets[slot]
            if not found:
                return _NONE
            if firsts[slot] == first and self._second[slot] == second:
                return int(found) - 1
            slot += 1
            if slot == slots:
                slot = 0
        return _NONE
