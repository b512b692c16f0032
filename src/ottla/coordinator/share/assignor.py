"""Which members of a share group consume which partitions. Pure.

Every member gets at least one partition of its topics and every partition at
least one member, as even as that goes; who had a partition keeps it where it
can. Members with the same topics are served together.
"""

from collections.abc import Iterable, Mapping

from ottla.model.ids import PartitionId, Uuid

Assignment = dict[Uuid, tuple[PartitionId, ...]]
"""Partitions by topic, both in order."""

_Part = tuple[Uuid, PartitionId]


def assign(
    subscriptions: Mapping[str, frozenset[Uuid]],
    partitions: Mapping[Uuid, Iterable[PartitionId]],
    before: Mapping[str, Assignment],
) -> dict[str, Assignment]:
    """Return an assignment for each member of `subscriptions`.

    `partitions` are those that may be assigned now, `before` the last answer.
    """
    classes: dict[frozenset[Uuid], list[str]] = {}
    for member_id in sorted(subscriptions):
        classes.setdefault(subscriptions[member_id], []).append(member_id)
    result: dict[str, Assignment] = {}
    for topics, members in classes.items():
        parts = [
            (topic, number)
            for topic in sorted(topics)
            for number in sorted(partitions.get(topic, ()))
        ]
        for member_id, mine in _spread(members, parts, before).items():
            result[member_id] = _by_topic(mine)
    return result


def _spread(
    members: list[str], parts: list[_Part], before: Mapping[str, Assignment]
) -> dict[str, list[_Part]]:
    """Give each part to one member, or, with more members than parts, each member one part."""
    taken: dict[str, list[_Part]] = {member_id: [] for member_id in members}
    if not parts:
        return taken
    part_most = max(1, -(-len(members) // len(parts)))
    member_most = max(1, -(-len(parts) // len(members)))
    users = dict.fromkeys(parts, 0)
    for member_id in members:
        for part in _flat(before.get(member_id, {})):
            if part in users and users[part] < part_most and len(taken[member_id]) < member_most:
                taken[member_id].append(part)
                users[part] += 1
    # Too many at their most leave others with less than the least: they give one up.
    if len(parts) >= len(members):
        free = [part for part in parts if not users[part]]
        for member_id in sorted(members, key=lambda one: len(taken[one])):
            while free and len(taken[member_id]) < member_most:
                taken[member_id].append(free.pop(0))
        for member_id in members:
            while not taken[member_id]:
                richest = max(members, key=lambda one: len(taken[one]))
                taken[member_id].append(taken[richest].pop())
        return taken
    least = len(members) // len(parts)
    for part in parts:
        if users[part]:
            continue
        # Nobody kept it: the part with the most users gives one up, if everybody has one.
        if all(taken.values()):
            busiest = max(parts, key=lambda one: users[one])
            giver = next(one for one in reversed(members) if taken[one] == [busiest])
            taken[giver] = []
            users[busiest] -= 1
        receiver = next(one for one in members if not taken[one])
        taken[receiver] = [part]
        users[part] += 1
    for member_id in members:
        if not taken[member_id]:
            part = min(parts, key=lambda one: users[one])
            taken[member_id] = [part]
            users[part] += 1
    assert all(count >= min(1, least) for count in users.values())
    return taken


def _flat(assignment: Assignment) -> list[_Part]:
    return [(topic, number) for topic, numbers in assignment.items() for number in numbers]


def _by_topic(parts: list[_Part]) -> Assignment:
    by_topic: dict[Uuid, list[PartitionId]] = {}
    for topic, number in sorted(parts):
        by_topic.setdefault(topic, []).append(number)
    return {topic: tuple(numbers) for topic, numbers in by_topic.items()}
