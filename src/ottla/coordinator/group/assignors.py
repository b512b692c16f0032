"""Who reads which partition: the assignors of consumer groups, as pure functions.

*range* gives each member a run of neighbouring partitions of every topic, so
partitions with one number go to one member where topics have equally many.
*uniform* gives everybody as many partitions as anybody else, give or take one,
and moves as few as it can. Among members with different subscriptions nobody
has two more than somebody who could take one of them.

An assignment maps topic ids to ascending partition numbers. The order of
members never matters: those with an instance id come first, sorted by it, the
others behind them by their member ids.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ottla.model.ids import PartitionId, Uuid

Assignment = Mapping[Uuid, tuple[PartitionId, ...]]


class Subscriber(NamedTuple):
    """A member as an assignor sees it."""

    topics: frozenset[Uuid]
    target: Assignment
    """What it was assigned before."""
    instance_id: str | None = None


Members = Mapping[str, Subscriber]
Counts = Mapping[Uuid, int]
"""The partition counts of all topics somebody subscribes to; other topics do not exist."""

Assignor = Callable[[Members, Counts], dict[str, Assignment]]
_Partition = tuple[Uuid, PartitionId]


def range_assign(members: Members, counts: Counts) -> dict[str, Assignment]:
    """Neighbouring partitions of each topic; the first members get one more."""
    assigned: dict[str, dict[Uuid, tuple[PartitionId, ...]]] = {name: {} for name in members}
    ordered = _ordered(members)
    for topic in sorted(counts):
        readers = [name for name in ordered if topic in members[name].topics]
        if not readers:
            continue
        each, more = divmod(counts[topic], len(readers))
        start = 0
        for number, name in enumerate(readers):
            end = start + each + (number < more)
            if end > start:
                assigned[name][topic] = tuple(range(start, end))
            start = end
    return dict(assigned)


def uniform_assign(members: Members, counts: Counts) -> dict[str, Assignment]:
    """Equal numbers of partitions, moving few."""
    subscriptions = {member.topics for member in members.values()}
    ordered = _ordered(members)
    owned = _kept(members, ordered, counts)
    if len(subscriptions) <= 1:
        _level(owned, ordered, members, counts)
    else:
        _balance(owned, ordered, members, counts)
    return {name: _grouped(partitions) for name, partitions in owned.items()}


ASSIGNORS: dict[str, Assignor] = {"uniform": uniform_assign, "range": range_assign}


def _ordered(members: Members) -> list[str]:
    def place(name: str) -> tuple[bool, str, str]:
        instance_id = members[name].instance_id
        return instance_id is None, instance_id or name, name

    return sorted(members, key=place)


def _kept(members: Members, ordered: list[str], counts: Counts) -> dict[str, list[_Partition]]:
    """What each member may keep: it subscribes to it, it exists, and nobody has it already."""
    taken: set[_Partition] = set()
    owned: dict[str, list[_Partition]] = {}
    for name in ordered:
        member = members[name]
        kept = owned[name] = []
        for topic in sorted(member.target):
            if topic not in member.topics:
                continue
            for partition in member.target[topic]:
                if partition < counts.get(topic, 0) and (topic, partition) not in taken:
                    taken.add((topic, partition))
                    kept.append((topic, partition))
    return owned


def _free(
    owned: dict[str, list[_Partition]], topics: frozenset[Uuid], counts: Counts
) -> list[_Partition]:
    taken = {partition for partitions in owned.values() for partition in partitions}
    return [
        (topic, partition)
        for topic in sorted(topics)
        for partition in range(counts.get(topic, 0))
        if (topic, partition) not in taken
    ]


def _level(
    owned: dict[str, list[_Partition]], ordered: list[str], members: Members, counts: Counts
) -> None:
    """Everybody may read everything: `least` each, and one more for those who keep it."""
    if not ordered:
        return
    topics = members[ordered[0]].topics
    total = sum(counts.get(topic, 0) for topic in topics)
    least, more = divmod(total, len(ordered))
    for name in ordered:
        quota = least
        if more and len(owned[name]) > least:
            quota, more = least + 1, more - 1
        del owned[name][quota:]
    free = iter(_free(owned, topics, counts))
    for name in ordered:
        while len(owned[name]) < least:
            owned[name].append(next(free))
    poor = (name for name in ordered if len(owned[name]) == least)
    for partition in free:
        owned[next(poor)].append(partition)


def _balance(
    owned: dict[str, list[_Partition]], ordered: list[str], members: Members, counts: Counts
) -> None:
    """Give what is free to whoever has least, the most wanted last; then even out."""
    everything = frozenset(topic for member in members.values() for topic in member.topics)
    readers = {
        topic: [name for name in ordered if topic in members[name].topics] for topic in everything
    }
    free = _free(owned, everything, counts)
    free.sort(key=lambda partition: len(readers[partition[0]]))
    for partition in free:
        name = min(readers[partition[0]], key=lambda name: len(owned[name]))
        owned[name].append(partition)
    # Each move makes the sum of squares smaller, so this ends.
    moved = True
    while moved:
        moved = False
        for name in sorted(ordered, key=lambda name: -len(owned[name])):
            for partition in list(owned[name]):
                poorest = min(readers[partition[0]], key=lambda other: len(owned[other]))
                if len(owned[name]) > len(owned[poorest]) + 1:
                    owned[name].remove(partition)
                    owned[poorest].append(partition)
                    moved = True


def _grouped(partitions: list[_Partition]) -> Assignment:
    grouped: dict[Uuid, list[PartitionId]] = {}
    for topic, partition in sorted(partitions):
        grouped.setdefault(topic, []).append(partition)
    return {topic: tuple(numbers) for topic, numbers in grouped.items()}
