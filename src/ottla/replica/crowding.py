"""Replicas that find no room, and go on finding none: others should do without them.

A full disk heals, and so nothing is taken offline for it. But what it refuses to append as a
leader nobody else may append, and what it refuses as an in-sync follower is not committed
anywhere: the rest of the cluster, which has room, would wait for it.
"""

from collections.abc import Iterable

from ottla.replica.partition import Partition

LOOKS = 3
"""At so many looks, a second apart, there had been no room: retention does not make any just now."""


class Crowding:
    """Looks at the replicas of a broker once a second."""

    def __init__(self) -> None:
        self._refused: dict[Partition, int] = {}
        """Looks at which there had been no room, with at most one other between two of them."""
        self._quiet: set[Partition] = set()
        """Of these, those that found room at the last look, or did not look for any."""

    def look(self, partitions: Iterable[Partition]) -> list[Partition]:
        """Return those that found no room since the last look, and so at two before."""
        before, quiet = self._refused, self._quiet
        self._refused, self._quiet = {}, set()
        crowded = []
        for partition in partitions:
            if partition.log.found_no_room:
                partition.log.found_no_room = False
                looks = self._refused[partition] = before.get(partition, 0) + 1
                if looks >= LOOKS:
                    crowded.append(partition)
            elif partition in before and partition not in quiet:
                self._refused[partition] = before[partition]
                self._quiet.add(partition)
        return crowded
