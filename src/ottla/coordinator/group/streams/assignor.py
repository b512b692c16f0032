"""Who gets which task: Kafka's *sticky* assignor of streams groups, as a pure function.

Active tasks first: each goes where it was active, else to a member that had it
as a standby, while those have room; the rest go to the processes with the least
load for their members, and there to the member with the fewest tasks. Then the
standbys of tasks with state, in the same order of preference, never twice into
one process. A member has room while it has fewer tasks than its even share of
what was left when the last member had its share.

A process is an instance of the application; its members are threads. With equal
load the first by id is taken, so the order of members never matters.
"""

import heapq
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ottla.coordinator.group.streams.tasks import NOTHING_WANTED, Task, Tasks, Wanted, each
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import PartitionId


class Worker(NamedTuple):
    """A member as the assignor sees it."""

    process_id: str
    before: Wanted = NOTHING_WANTED
    """Its target until now."""


class Work(NamedTuple):
    """A subtopology as the assignor sees it."""

    task_count: int
    is_stateful: bool


def assign(
    workers: Mapping[str, Worker], topology: Mapping[str, Work], standby_count: int
) -> dict[str, Wanted]:
    """A target for every member. Raises ApiError: UNKNOWN_SERVER_ERROR without members."""
    active_count = sum(work.task_count for work in topology.values())
    stateful = [name for name, work in topology.items() if work.is_stateful]
    copies = standby_count * sum(topology[name].task_count for name in stateful)
    assignment = _Assignment(workers, active_count, active_count + copies)
    assignment.give_active(_tasks(topology, topology))
    if standby_count:
        assignment.give_standby(_tasks(topology, stateful), standby_count)
    return assignment.result()


def _tasks(topology: Mapping[str, Work], names: Iterable[str]) -> list[Task]:
    return [(name, number) for name in names for number in range(topology[name].task_count)]


class _Share:
    """How many tasks each member may have while those that are given out are."""

    __slots__ = ("_members", "_tasks", "each")

    def __init__(self, tasks: int, members: int) -> None:
        self._tasks = tasks
        self._members = members
        self._divide()

    def _divide(self) -> None:
        self.each = -(-self._tasks // self._members) if self._members else 0

    def took(self, count: int) -> None:
        """A member has `count` tasks now: with its share it is out of the division."""
        if count == self.each:
            self._members -= 1
            self._tasks -= count
            self._divide()


class _Process:
    """One instance of the application, and what its members got so far."""

    __slots__ = ("copies", "counts", "given", "process_id")

    def __init__(self, process_id: str) -> None:
        self.process_id = process_id
        self.counts: dict[str, int] = {}
        self.copies = 0
        self.given: set[Task] = set()

    @property
    def load(self) -> float:
        return self.copies / len(self.counts)

    def least(self) -> str:
        return min(self.counts, key=lambda member_id: (self.counts[member_id], member_id))


class _Assignment:
    def __init__(self, workers: Mapping[str, Worker], active: int, together: int) -> None:
        self._processes: dict[str, _Process] = {}
        self._process_of: dict[str, _Process] = {}
        self._was_active: dict[Task, str] = {}
        self._was_standby: dict[Task, list[str]] = {}
        self._active: dict[str, set[Task]] = {}
        self._standby: dict[str, set[Task]] = {}
        self._active_share = _Share(active, len(workers))
        self._share = _Share(together, len(workers))
        for member_id in sorted(workers):
            process_id, before = workers[member_id]
            process = self._processes.setdefault(process_id, _Process(process_id))
            process.counts[member_id] = 0
            self._process_of[member_id] = process
            self._active[member_id] = set()
            self._standby[member_id] = set()
            for task in each(before.active):
                self._was_active[task] = member_id
            for task in each(before.standby):
                self._was_standby.setdefault(task, []).append(member_id)

    def give_active(self, tasks: list[Task]) -> None:
        if tasks and not self._processes:
            raise ApiError(ErrorCode.UNKNOWN_SERVER_ERROR, "There is nobody to assign tasks to.")
        tasks.sort(key=lambda task: (task[1], task[0]))
        left = [task for task in tasks if not self._keep(task, self._was_active.get(task))]
        left = [task for task in left if not self._keep(task, self._least(task))]
        loads = self._by_load()
        for task in sorted(left):
            process = self._processes[heapq.heappop(loads)[1]]
            self._give_active(task, process.least())
            heapq.heappush(loads, (process.load, process.process_id))

    def _keep(self, task: Task, member_id: str | None) -> bool:
        if member_id is None:
            return False
        if self._process_of[member_id].counts[member_id] >= self._active_share.each:
            return False
        self._give_active(task, member_id)
        return True

    def _least(self, task: Task, *, without: bool = False) -> str | None:
        """The least loaded that had it as a standby; `without`: and whose process has it not."""
        best = None
        for member_id in self._was_standby.get(task, ()):
            process = self._process_of[member_id]
            if without and task in process.given:
                continue
            load = (process.load, process.counts[member_id], member_id)
            if best is None or load < best:
                best = load
        return None if best is None else best[2]

    def give_standby(self, tasks: list[Task], count: int) -> None:
        tasks.sort(key=lambda task: (task[1], task[0]), reverse=True)
        left: list[tuple[Task, int]] = []
        for task in tasks:
            for number in range(count):
                if not self._keep_standby(task):
                    left.append((task, count - number))
                    break
        loads = self._by_load()
        for task, copies in sorted(left, reverse=True):
            for _ in range(copies):
                if not self._give_anywhere(loads, task):
                    break

    def _keep_standby(self, task: Task) -> bool:
        before = self._was_active.get(task)
        for member_id in (before, self._least(task, without=True)):
            if member_id is None:
                continue
            process = self._process_of[member_id]
            if task not in process.given and process.counts[member_id] < self._share.each:
                self._give_standby(task, member_id)
                return True
        return False

    def _give_anywhere(self, loads: list[tuple[float, str]], task: Task) -> bool:
        """Into the least loaded process that has it not; False: every process has it."""
        passed = []
        found = False
        while loads and not found:
            entry = heapq.heappop(loads)
            process = self._processes[entry[1]]
            if task not in process.given:
                self._give_standby(task, process.least())
                entry = (process.load, process.process_id)
                found = True
            passed.append(entry)
        for entry in passed:
            heapq.heappush(loads, entry)
        return found

    def _give_active(self, task: Task, member_id: str) -> None:
        self._active[member_id].add(task)
        count = self._given(task, member_id)
        self._active_share.took(count)
        self._share.took(count)

    def _give_standby(self, task: Task, member_id: str) -> None:
        self._standby[member_id].add(task)
        self._share.took(self._given(task, member_id))

    def _given(self, task: Task, member_id: str) -> int:
        process = self._process_of[member_id]
        process.given.add(task)
        process.copies += 1
        process.counts[member_id] += 1
        return process.counts[member_id]

    def _by_load(self) -> list[tuple[float, str]]:
        loads = [(process.load, process.process_id) for process in self._processes.values()]
        heapq.heapify(loads)
        return loads

    def result(self) -> dict[str, Wanted]:
        return {
            member_id: Wanted(_together(self._active[member_id]), _together(standby))
            for member_id, standby in self._standby.items()
        }


def _together(tasks: set[Task]) -> Tasks:
    found: dict[str, set[PartitionId]] = {}
    for subtopology_id, partition in sorted(tasks):
        found.setdefault(subtopology_id, set()).add(partition)
    return {name: frozenset(partitions) for name, partitions in found.items()}
