"""Which partition a record goes to.

A key decides by murmur2, as in Kafka's Java client and most others (librdkafka
differs unless told `murmur2_random`). Records without a key stick to one
partition until its batch is full, then move to another (KIP-480).
"""

from collections.abc import Callable

MASK = 0xFFFFFFFF
SEED = 0x9747B28C
MULTIPLIER = 0x5BD1E995
SHIFT = 24


def murmur2(data: bytes) -> int:
    """The 32-bit hash of `org.apache.kafka.common.utils.Utils.murmur2`, unsigned."""
    length = len(data)
    hashed = (SEED ^ length) & MASK
    whole = length & ~3
    for position in range(0, whole, 4):
        word = int.from_bytes(data[position : position + 4], "little")
        word = (word * MULTIPLIER) & MASK
        word ^= word >> SHIFT
        word = (word * MULTIPLIER) & MASK
        hashed = ((hashed * MULTIPLIER) & MASK) ^ word
    if whole < length:
        hashed ^= int.from_bytes(data[whole:], "little")
        hashed = (hashed * MULTIPLIER) & MASK
    hashed ^= hashed >> 13
    hashed = (hashed * MULTIPLIER) & MASK
    return hashed ^ (hashed >> 15)


def partition_of(key: bytes, partition_count: int) -> int:
    """Where records with this key go."""
    return (murmur2(key) & 0x7FFFFFFF) % partition_count


class StickyPartitioner:
    """Keeps keyless records of one topic together, batch by batch.

    `below(n)` gives a random number in [0, n).
    """

    def __init__(self, below: Callable[[int], int]) -> None:
        self._below = below
        self._current = -1

    def choose(self, partition_count: int) -> int:
        if not 0 <= self._current < partition_count:
            self._current = self._below(partition_count)
        return self._current

    def batch_full(self) -> None:
        """Move on: the next keyless record starts a batch elsewhere."""
        self._current = -1
