"""What the clients of a cluster were told, and what contradicts itself in it.

A value is `producer * 2**40 + sequence`, as in `tools.proof.checker`. Whoever learns what is at
an offset says so here; the first word counts, and every other is compared with it. Pure, but for
a lock: several threads write, and times are given.
"""

import threading
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence

from tools.proof.checker import PRODUCER_SHIFT, name

NOTHING = -1
ACKNOWLEDGED = 1
READ = 2

Records = Mapping[int, Sequence[tuple[int, int]]]
"""partition -> (offset, value), in the order of reading."""

KINDS = (
    "lost",
    "duplicate",
    "inconsistent",
    "order",
    "hole",
    "phantom",
    "watermark",
    "reader",
    "producer",
    "group",
    "replicas",
    "stall",
)
"""What may be wrong: acknowledged and not there; one value twice; two values at one offset; behind
a later one of its producer; an offset without a record; never sent; a high watermark that went
back; a reader that was thrown out of its place; a producer that was told to give up; members of a
group that left something out, went back behind what they committed, or were told of an error;
copies that differ; a cluster that does not come back."""

MOST_LINES = 10
"""Of each kind."""


class Journal:
    """Values by partition and offset, and who vouched for them."""

    def __init__(self, partitions: int, producers: int) -> None:
        self.sent = [0] * producers
        """How many values each producer has made."""
        self.acknowledged_count = 0
        self.without_offset: list[tuple[int, int]] = []
        """(partition, value) acknowledged by a broker that no longer knew where it is."""
        self.wrong: Counter[str] = Counter()
        self.lines: list[str] = []
        self.notes: list[str] = []
        """What may explain them."""
        self._values = [array("q") for _ in range(partitions)]
        self._vouched = [bytearray() for _ in range(partitions)]
        self._watermarks = [0] * partitions
        self._lock = threading.Lock()

    def complain(self, kind: str, line: str) -> None:
        """Something is wrong."""
        assert kind in KINDS
        with self._lock:
            self._complain(kind, line)

    def note(self, line: str) -> None:
        """Something happened that is not wrong by itself."""
        with self._lock:
            self.notes.append(line)

    def _complain(self, kind: str, line: str) -> None:
        self.wrong[kind] += 1
        if self.wrong[kind] <= MOST_LINES:
            self.lines.append(f"{kind}: {line}")

    def acknowledged(self, partition: int, offset: int, value: int, at: float) -> None:
        """A producer was told that its value is there; offset -1 if not where."""
        with self._lock:
            self.acknowledged_count += 1
            if offset < 0:
                self.without_offset.append((partition, value))
            else:
                self._learn(partition, offset, value, ACKNOWLEDGED, f"acknowledged at {at:.3f}")

    def read(self, partition: int, offset: int, value: int, at: float) -> None:
        """Somebody read it while the cluster was disturbed."""
        with self._lock:
            self._learn(partition, offset, value, READ, f"read at {at:.3f}")

    def watermark(self, partition: int, offset: int, at: float) -> None:
        """One client asked, after its last answer had come, and was told this."""
        with self._lock:
            before = self._watermarks[partition]
            if offset < before:
                self._complain(
                    "watermark", f"{partition} ends at {offset} at {at:.3f}, it was {before}"
                )
            self._watermarks[partition] = max(before, offset)

    def end(self, partition: int) -> int:
        """The first offset that nobody knows of."""
        with self._lock:
            return len(self._values[partition])

    def _learn(self, partition: int, offset: int, value: int, who: int, said: str) -> None:
        values, vouched = self._values[partition], self._vouched[partition]
        if offset >= len(values):
            missing = offset + 1 - len(values)
            values.extend([NOTHING] * missing)
            vouched.extend(bytes(missing))
        known = values[offset]
        if known == NOTHING:
            values[offset] = value
        elif known != value:
            self._complain(
                "inconsistent",
                f"{name(value)} at {partition}@{offset} {said}, {name(known)} was there before",
            )
            if who == ACKNOWLEDGED and not vouched[offset] & ACKNOWLEDGED:
                values[offset] = value
        vouched[offset] |= who

    def conclude(self, records: Records) -> None:
        """Compare with everything that is there in the end."""
        with self._lock:
            places = {p: {value for _, value in there} for p, there in records.items()}
            for partition, there in sorted(records.items()):
                self._look_through(partition, there)
                self._miss(partition, dict(there))
            for partition, value in self.without_offset:
                if value not in places[partition]:
                    self._complain("lost", f"{name(value)} acknowledged in {partition}, not there")

    def _miss(self, partition: int, there: Mapping[int, int]) -> None:
        vouched = self._vouched[partition]
        for offset, value in enumerate(self._values[partition]):
            stored = there.get(offset, NOTHING)
            if stored == value or not vouched[offset]:
                continue
            who = "acknowledged" if vouched[offset] & ACKNOWLEDGED else "read"
            what = "nothing" if stored == NOTHING else name(stored)
            kind = "lost" if stored == NOTHING or vouched[offset] & ACKNOWLEDGED else "inconsistent"
            self._complain(kind, f"{name(value)} {who} at {partition}@{offset}, there is {what}")

    def _look_through(self, partition: int, records: Sequence[tuple[int, int]]) -> None:
        next_offset = 0
        newest: dict[int, int] = {}
        seen: set[int] = set()
        for offset, value in records:
            if offset != next_offset:
                self._complain("hole", f"{partition} goes from {next_offset - 1} to {offset}")
            next_offset = offset + 1
            producer = value >> PRODUCER_SHIFT
            sequence = value & ((1 << PRODUCER_SHIFT) - 1)
            before = newest.get(producer, NOTHING)
            if producer >= len(self.sent) or sequence >= self.sent[producer]:
                self._complain("phantom", f"{name(value)} at {partition}@{offset} was never sent")
            elif value in seen:
                self._complain("duplicate", f"{name(value)} again at {partition}@{offset}")
            elif value < before:
                self._complain(
                    "order", f"{name(value)} at {partition}@{offset} behind {name(before)}"
                )
            newest[producer] = max(value, before)
            seen.add(value)
