"""Tasks: partitions of subtopologies, in three roles.

    active    processes; one member has it, together with the epoch it got it in
    standby   keeps a copy of the state; not in the process of the active one
    warmup    builds a copy in order to become active

Subtopologies without tasks are left out, so equal sets of tasks are equal values.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from ottla.model.ids import PartitionId

Tasks = Mapping[str, frozenset[PartitionId]]
"""Subtopology id -> partitions."""

ActiveTasks = Mapping[str, Mapping[PartitionId, int]]
"""Subtopology id -> partition -> the epoch in which it was assigned."""

Task = tuple[str, PartitionId]

NO_TASKS: Tasks = {}
NO_ACTIVE: ActiveTasks = {}


class Row(Protocol):
    """What requests, answers and records all have: partitions of one subtopology."""

    subtopology_id: str
    partitions: list[PartitionId]


class Wanted(NamedTuple):
    """What a member is to have, or says that it has."""

    active: Tasks = NO_TASKS
    standby: Tasks = NO_TASKS
    warmup: Tasks = NO_TASKS


NOTHING_WANTED = Wanted()


class Held(NamedTuple):
    """What a member has, or has yet to give up."""

    active: ActiveTasks = NO_ACTIVE
    standby: Tasks = NO_TASKS
    warmup: Tasks = NO_TASKS

    def has_any_of(self, said: Wanted) -> bool:
        """Is one of the tasks a member says it has among these, in the same role?"""
        return any(
            not partitions.isdisjoint(mine.get(subtopology_id, ()))
            for mine, theirs in zip(self, said, strict=True)
            for subtopology_id, partitions in theirs.items()
        )

    def has_all_of(self, said: Wanted) -> bool:
        """Are all the tasks a member says it has among these, in the same role?"""
        return all(
            subtopology_id in mine and partitions <= set(mine[subtopology_id])
            for mine, theirs in zip(self, said, strict=True)
            for subtopology_id, partitions in theirs.items()
        )


NOTHING_HELD = Held()


def each(tasks: Mapping[str, Iterable[PartitionId]]) -> Iterator[Task]:
    for subtopology_id, partitions in tasks.items():
        for partition in partitions:
            yield subtopology_id, partition


def read(rows: Iterable[Row]) -> Tasks:
    """Rows of a request or a record; one subtopology may have several."""
    found: dict[str, set[PartitionId]] = {}
    for row in rows:
        if row.partitions:
            found.setdefault(row.subtopology_id, set()).update(row.partitions)
    return {name: frozenset(partitions) for name, partitions in found.items()}


def in_order(
    tasks: Mapping[str, Iterable[PartitionId]],
) -> Iterator[tuple[str, list[PartitionId]]]:
    """(subtopology id, ascending partitions), by subtopology id."""
    for subtopology_id in sorted(tasks):
        yield subtopology_id, sorted(tasks[subtopology_id])
