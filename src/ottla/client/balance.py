"""Which replicas and leaders to move so that all brokers have about as much to do (pure).

In this order, and again until nothing changes:

1.  Whoever is to be emptied, or is no broker any more, gets replaced.
2.  Replicas of a partition that share a rack go to racks that have none, as far as there are any.
3.  Brokers differ by at most one replica, as far as the racks allow.
4.  Brokers with as many replicas hold about as many bytes: a large replica is exchanged for a small.
5.  Each leads about as many: the order of a partition's replicas says who is preferred, so this
    moves no data.

Nobody moves twice: what is told is where a partition's replicas are now and in the end. Every
step makes racks better, or counts at the same racks, or bytes at the same counts, so it ends,
and what is balanced stays as it is.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from ottla.model.ids import BrokerId, PartitionId, TopicName

TOLERANCE = 0.1
"""Bytes are even enough where brokers differ by less than this part of their mean."""


class Site(NamedTuple):
    """A broker that can have replicas."""

    broker_id: BrokerId
    rack: str | None = None


class Placed(NamedTuple):
    """A partition and where it is; the first replica is the preferred leader."""

    topic: TopicName
    partition: PartitionId
    replicas: tuple[BrokerId, ...]
    size_bytes: int = 0
    """Of one replica."""


class Move(NamedTuple):
    topic: TopicName
    partition: PartitionId
    before: tuple[BrokerId, ...]
    after: tuple[BrokerId, ...]
    size_bytes: int

    @property
    def added(self) -> tuple[BrokerId, ...]:
        """Brokers that copy the partition."""
        return tuple(broker for broker in self.after if broker not in self.before)

    @property
    def bytes_copied(self) -> int:
        return self.size_bytes * len(self.added)


class NoRoomError(ValueError):
    """A partition has more replicas than there are brokers to hold them."""


def balance(
    sites: Sequence[Site], partitions: Sequence[Placed], *, without: Collection[BrokerId] = ()
) -> list[Move]:
    """Return the moves after which replicas, bytes and leaders are even, none on brokers `without`.

    Raises:
        NoRoomError: there are too few brokers.
    """
    plan = _Plan([site for site in sites if site.broker_id not in without], partitions)
    plan.replace_missing()
    while plan.spread_over_racks() or plan.even_counts() or plan.even_bytes():
        pass
    plan.even_leaders(range(len(partitions)))
    return plan.moves()


def empty(
    sites: Sequence[Site], partitions: Sequence[Placed], brokers: Collection[BrokerId]
) -> list[Move]:
    """Return the moves after which `brokers` hold nothing; nothing else moves.

    Raises:
        NoRoomError: there are too few others.
    """
    plan = _Plan([site for site in sites if site.broker_id not in brokers], partitions)
    plan.even_leaders(plan.replace_missing())
    return plan.moves()


class _Plan:
    def __init__(self, sites: Iterable[Site], partitions: Sequence[Placed]) -> None:
        self._racks = {site.broker_id: site.rack for site in sorted(sites)}
        self._before = partitions
        self._now = [list(each.replicas) for each in partitions]
        self._held: dict[BrokerId, set[int]] = {broker: set() for broker in self._racks}
        self._bytes: dict[BrokerId, int] = dict.fromkeys(self._racks, 0)
        for index, replicas in enumerate(self._now):
            for broker in replicas:
                self._hold(index, broker)

    def moves(self) -> list[Move]:
        return [
            Move(was.topic, was.partition, was.replicas, tuple(now), was.size_bytes)
            for was, now in zip(self._before, self._now, strict=True)
            if tuple(now) != was.replicas
        ]

    # Steps

    def replace_missing(self) -> list[int]:
        """Replace who is no site; return the partitions that had such a replica."""
        found = [
            index
            for index, replicas in enumerate(self._now)
            if any(broker not in self._racks for broker in replicas)
        ]
        # The largest first, while there is most choice.
        for index in sorted(found, key=lambda index: -self._before[index].size_bytes):
            for broker in list(self._now[index]):
                if broker not in self._racks:
                    self._replace(index, broker, self._candidate(index, broker))
        return found

    def spread_over_racks(self) -> bool:
        changed = False
        for index, replicas in enumerate(self._now):
            for broker in sorted(replicas, key=self._load, reverse=True):
                others = self._racks_of(index, without=broker)
                if self._racks[broker] not in others:
                    continue
                better = [
                    other
                    for other in self._racks
                    if other not in self._now[index] and self._racks[other] not in others
                ]
                if better:
                    self._replace(index, broker, min(better, key=self._load))
                    changed = True
        return changed

    def even_counts(self) -> bool:
        changed = False
        while self._move_one():
            changed = True
        return changed

    def _move_one(self) -> bool:
        """Move a replica from a broker with many to one that has at least two fewer."""
        by_load = sorted(self._racks, key=self._load)
        for source in reversed(by_load):
            for target in by_load:
                if len(self._held[source]) - len(self._held[target]) < 2:
                    break
                movable = [i for i in self._held[source] if self._may_move(i, source, target)]
                if movable:
                    # What makes bytes even; of those as good, what moves anyway.
                    wanted = (self._bytes[source] - self._bytes[target]) / 2
                    index = min(
                        movable,
                        key=lambda i: (
                            abs(self._before[i].size_bytes - wanted),
                            source in self._before[i].replicas,
                            i,
                        ),
                    )
                    self._replace(index, source, target)
                    return True
        return False

    def even_bytes(self) -> bool:
        changed = False
        while self._swap_one():
            changed = True
        return changed

    def _swap_one(self) -> bool:
        """Exchange a large replica for a small one, between the brokers that differ most."""
        if not self._racks:
            return False
        limit = TOLERANCE * sum(self._bytes.values()) / len(self._racks)
        by_bytes = sorted(self._racks, key=lambda broker: (self._bytes[broker], broker))
        for source in reversed(by_bytes):
            for target in by_bytes:
                gap = self._bytes[source] - self._bytes[target]
                if gap <= limit:
                    break
                pair = self._best_swap(source, target, gap)
                if pair is not None:
                    self._replace(pair[0], source, target)
                    self._replace(pair[1], target, source)
                    return True
        return False

    def _best_swap(self, source: BrokerId, target: BrokerId, gap: int) -> tuple[int, int] | None:
        """The exchange that comes next to halving the gap; None if none makes it smaller."""
        give = self._by_size(i for i in self._held[source] if self._may_move(i, source, target))
        take = self._by_size(i for i in self._held[target] if self._may_move(i, target, source))
        best: tuple[float, int, int] | None = None
        start = 0
        for index in give:
            size = self._before[index].size_bytes
            while start < len(take) and size - self._before[take[start]].size_bytes > gap / 2:
                start += 1
            for other in take[max(0, start - 1) : start + 1]:
                difference = size - self._before[other].size_bytes
                if 0 < difference < gap:
                    found = (abs(gap / 2 - difference), index, other)
                    best = found if best is None else min(best, found)
        return None if best is None else best[1:]

    def even_leaders(self, indexes: Iterable[int]) -> None:
        """Reorder these partitions' replicas so that no broker leads two more than another."""
        movable = set(indexes)
        leads = dict.fromkeys(self._racks, 0)
        for replicas in self._now:
            leads[replicas[0]] += 1
        while True:
            for source in sorted(leads, key=lambda broker: (-leads[broker], broker)):
                path = self._path(source, leads, movable)
                if path:
                    break
            else:
                return
            for index, target in path:
                replicas = self._now[index]
                leads[replicas[0]] -= 1
                leads[target] += 1
                replicas.remove(target)
                replicas.insert(0, target)

    def _path(
        self, source: BrokerId, leads: dict[BrokerId, int], movable: set[int]
    ) -> list[tuple[int, BrokerId]]:
        """Partitions and who is to lead each, from who leads many to who leads two fewer."""
        led: dict[BrokerId, list[int]] = {}
        for index in sorted(movable):
            led.setdefault(self._now[index][0], []).append(index)
        came: dict[BrokerId, tuple[int, BrokerId]] = {}
        queue = deque([source])
        while queue:
            broker = queue.popleft()
            if leads[source] - leads[broker] >= 2:
                path = []
                while broker != source:
                    index, previous = came[broker]
                    path.append((index, broker))
                    broker = previous
                return path
            for index in led.get(broker, ()):
                for other in self._now[index][1:]:
                    if other != source and other not in came:
                        came[other] = (index, broker)
                        queue.append(other)
        return []

    # Parts

    def _load(self, broker: BrokerId) -> tuple[int, int, BrokerId]:
        return len(self._held[broker]), self._bytes[broker], broker

    def _by_size(self, indexes: Iterable[int]) -> list[int]:
        return sorted(indexes, key=lambda index: (self._before[index].size_bytes, index))

    def _candidate(self, index: int, leaving: BrokerId) -> BrokerId:
        """Who takes a replica over: in a rack that has none, else whoever has least."""
        racks = self._racks_of(index, without=leaving)
        candidates = [broker for broker in self._racks if broker not in self._now[index]]
        if not candidates:
            was = self._before[index]
            raise NoRoomError(
                f"{was.topic}-{was.partition} has {len(was.replicas)} replicas, "
                f"and there would be {len(self._racks)} brokers"
            )
        return min(
            candidates, key=lambda broker: (self._racks[broker] in racks, self._load(broker))
        )

    def _racks_of(self, index: int, *, without: BrokerId) -> set[str | None]:
        return {
            self._racks[broker]
            for broker in self._now[index]
            if broker != without and broker in self._racks
        }

    def _may_move(self, index: int, source: BrokerId, target: BrokerId) -> bool:
        """Whether `target` may have the replica of `source`: its racks are as many then."""
        if target in self._now[index]:
            return False
        others = self._racks_of(index, without=source)
        return self._racks[target] not in others or self._racks[source] in others

    def _replace(self, index: int, source: BrokerId, target: BrokerId) -> None:
        replicas = self._now[index]
        replicas[replicas.index(source)] = target
        if source in self._held:
            self._held[source].discard(index)
            self._bytes[source] -= self._before[index].size_bytes
        self._hold(index, target)

    def _hold(self, index: int, broker: BrokerId) -> None:
        if broker in self._held:
            self._held[broker].add(index)
            self._bytes[broker] += self._before[index].size_bytes
