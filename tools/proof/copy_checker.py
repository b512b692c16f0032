"""What must hold between a topic and its copy made in transactions.

Partition by partition, the copy is the source: every value once, in the same order. Whoever reads
committed records meanwhile sees the same as who reads at the end. Pure: lists in, complaints out.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

MOST_COMPLAINTS = 20

Values = Mapping[int, Sequence[str]]
"""partition -> the values in the order of their offsets"""


def violations(source: Values, copied: Values, meanwhile: Values) -> list[str]:
    """Name what is wrong; `meanwhile` is what was read while the copy was made."""
    found = []
    for complaint in _complaints(source, copied, meanwhile):
        found.append(complaint)
        if len(found) == MOST_COMPLAINTS:
            break
    return found


def counted(source: Values, copied: Values, meanwhile: Values) -> Counter[str]:
    """Count all that is wrong by kind: lost, duplicate, foreign, order, meanwhile."""
    return Counter(
        complaint.partition(":")[0] for complaint in _complaints(source, copied, meanwhile)
    )


def _complaints(source: Values, copied: Values, meanwhile: Values) -> Iterator[str]:
    for partition, wanted in sorted(source.items()):
        there = copied.get(partition, ())
        times = Counter(there)
        for value in wanted:
            if not times[value]:
                yield f"lost: {value} is not in partition {partition} of the copy"
        for value, count in times.items():
            for _ in range(count - 1):
                yield f"duplicate: {value} again in partition {partition} of the copy"
        known = set(wanted)
        yield from (f"foreign: {value} was never in the source" for value in times.keys() - known)
        firsts = [value for value in dict.fromkeys(there) if value in known]
        if firsts != [value for value in wanted if times[value]]:
            yield f"order: partition {partition} of the copy has another order"
        if list(meanwhile.get(partition, ())) != list(there):
            yield f"meanwhile: a reader of partition {partition} saw something else"
