"""What must hold between what a broker acknowledged and what it gives back.

A value is `producer * 2**40 + sequence`: it says who sent it and as the
how-many-th, so that nothing else need be remembered. Pure: lists in, a list of
complaints out, empty when all is well.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

PRODUCER_SHIFT = 40
MOST_COMPLAINTS = 20

Acknowledged = tuple[int, int, int]  # partition, offset, value
Read = Mapping[int, Sequence[tuple[int, int]]]  # partition -> (offset, value), as consumed


def violations(acknowledged: Iterable[Acknowledged], read: Read) -> list[str]:
    """Name what is wrong: lost, moved, duplicated, out of order, never sent.

    Every acknowledged record must be there once and at its offset; each
    partition's offsets must be dense and each producer's values in it ascend.
    """
    return list(islice(_complaints(acknowledged, read), MOST_COMPLAINTS))


def counted(acknowledged: Iterable[Acknowledged], read: Read) -> Counter[str]:
    """Count all that is wrong by kind: lost, duplicate, order, hole."""
    return Counter(complaint.partition(":")[0] for complaint in _complaints(acknowledged, read))


def _complaints(acknowledged: Iterable[Acknowledged], read: Read) -> Iterator[str]:
    for partition, records in sorted(read.items()):
        yield from _in_partition(partition, records)
    there = {partition: dict(records) for partition, records in read.items()}
    for partition, offset, value in acknowledged:
        stored = there.get(partition, {}).get(offset)
        if stored is None:
            yield f"lost: {name(value)} acknowledged at {partition}@{offset}, not there"
        elif stored != value:
            yield (
                f"lost: {name(value)} acknowledged at {partition}@{offset}, there is {name(stored)}"
            )


def _in_partition(partition: int, records: Sequence[tuple[int, int]]) -> Iterator[str]:
    next_offset = 0
    newest: dict[int, int] = {}
    seen: set[int] = set()
    for offset, value in records:
        if offset != next_offset:
            yield f"hole: partition {partition} goes from {next_offset - 1} to {offset}"
        next_offset = offset + 1
        producer = value >> PRODUCER_SHIFT
        before = newest.get(producer, -1)
        if value in seen:
            yield f"duplicate: {name(value)} again at {partition}@{offset}"
        elif value < before:
            yield f"order: {name(value)} at {partition}@{offset} behind {name(before)}"
        newest[producer] = max(value, before)
        seen.add(value)


def name(value: int) -> str:
    """`producer/sequence` of a value."""
    return f"{value >> PRODUCER_SHIFT}/{value & ((1 << PRODUCER_SHIFT) - 1)}"
