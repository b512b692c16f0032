"""Which partition of an internal topic holds a key."""

from functools import lru_cache


@lru_cache(maxsize=4096)
def java_hash(text: str) -> int:
    """`String.hashCode()` of Java, over UTF-16 code units, as a signed 32-bit integer."""
    value = 0
    units = text.encode("utf-16-be", "surrogatepass")
    for high, low in zip(units[::2], units[1::2]):
        value = (31 * value + (high << 8 | low)) & 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value


def partition_for(key: str, partition_count: int) -> int:
    """The partition that holds group or transactional id `key`.

    By the absolute value of its hash; the smallest integer, which has none,
    counts as 0 (`Utils.abs`).
    """
    number = java_hash(key)
    return 0 if number == -(1 << 31) else abs(number) % partition_count
