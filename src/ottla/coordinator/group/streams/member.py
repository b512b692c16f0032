"""A member of a streams group, and one step of it towards its target (KIP-1071).

    STABLE             it has what its target says, at the target's epoch
    UNREVOKED_TASKS    it must say that it gave `revoking` up, and stays at its epoch
    UNRELEASED_TASKS   it has what is free, and waits for others to give up the rest

An active task is free when nobody has it active, and nobody of the member's own
process has a copy of it; a copy, when nobody of that process has the task at
all: the members of a process share one directory of state.

Members are never changed once they are in a group: a step makes another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from ottla.coordinator.group.streams.tasks import (
    NOTHING_HELD,
    NOTHING_WANTED,
    ActiveTasks,
    Held,
    Task,
    Tasks,
    Wanted,
)
from ottla.model.errors import ApiError, ErrorCode


class MemberState(IntEnum):
    """As `StreamsGroupCurrentMemberAssignment` records have it."""

    STABLE = 1
    UNREVOKED_TASKS = 2
    UNRELEASED_TASKS = 3
    UNKNOWN = 127


STABLE = MemberState.STABLE
UNREVOKED = MemberState.UNREVOKED_TASKS
UNRELEASED = MemberState.UNRELEASED_TASKS


@dataclass(slots=True, frozen=True)
class StreamsMember:
    """What the log says of one member."""

    member_id: str
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    rebalance_timeout_ms: int = -1
    topology_epoch: int = -1
    process_id: str = ""
    user_endpoint: tuple[str, int] | None = None
    """Where its application answers questions about its state: host and port."""
    client_tags: Mapping[str, str] = field(default_factory=dict)
    epoch: int = 0
    previous_epoch: int = 0
    state: MemberState = STABLE
    assigned: Held = NOTHING_HELD
    revoking: Held = NOTHING_HELD

    def is_at(self, target_epoch: int) -> bool:
        return self.state is STABLE and self.epoch == target_epoch

    def active_since(self, subtopology_id: str, partition: int) -> int | None:
        """The epoch in which an active task was assigned, also one to be given up."""
        for held in (self.assigned, self.revoking):
            since = held.active.get(subtopology_id, {}).get(partition)
            if since is not None:
                return since
        return None

    def without_assignment(self) -> "StreamsMember":
        """Replay the tombstone of its assignment: it left."""
        return replace(
            self, epoch=-1, previous_epoch=-1, assigned=NOTHING_HELD, revoking=NOTHING_HELD
        )


@dataclass(slots=True, frozen=True)
class Target:
    """Where a member is to go."""

    epoch: int
    tasks: Wanted = NOTHING_WANTED


@dataclass(slots=True, frozen=True)
class Free:
    """Which tasks a member may take now."""

    active: Callable[[Task], bool]
    copy: Callable[[Task], bool]


def next_step(
    member: StreamsMember, target: Target, owned: Wanted | None, free: Free
) -> StreamsMember:
    """Return what the member is after this heartbeat; itself, when nothing changes.

    `owned` is what it says it has, None when it says nothing.
    """
    if member.state is STABLE:
        if member.epoch == target.epoch:
            return member
        return _advance(member, member.epoch, target, owned, free)
    if member.state is UNREVOKED:
        if owned is None or member.revoking.has_any_of(owned):
            return member
        return _advance(member, member.epoch + 1, target, owned, free)
    if member.state is UNRELEASED:
        return _advance(member, member.epoch, target, owned, free)
    # A state of a Kafka newer than known: it must begin anew with nothing.
    if owned is None or any(owned):
        raise ApiError(
            ErrorCode.FENCED_MEMBER_EPOCH,
            "The streams group member is in a unknown state. "
            "The member must abandon all its tasks and rejoin.",
        )
    return _advance(member, target.epoch, target, owned, free)


def _advance(
    member: StreamsMember, epoch: int, target: Target, owned: Wanted | None, free: Free
) -> StreamsMember:
    """Give up first; without anything to give up, take what is free."""
    has, wants = member.assigned, target.tasks
    keep = Held(
        _kept_active(has.active, wants.active),
        _both(has.standby, wants.standby),
        _both(has.warmup, wants.warmup),
    )
    give = Held(
        _other_active(has.active, wants.active),
        _without(has.standby, wants.standby),
        _without(has.warmup, wants.warmup),
    )
    if any(give) and (owned is None or give.has_any_of(owned)):
        return replace(
            member,
            state=UNREVOKED,
            epoch=epoch,
            previous_epoch=member.epoch,
            assigned=keep,
            revoking=give,
        )
    active, waits_active = _taken(keep.active, wants.active, free.active)
    standby, waits_standby = _taken(keep.standby, wants.standby, free.copy)
    warmup, waits_warmup = _taken(keep.warmup, wants.warmup, free.copy)
    return replace(
        member,
        state=UNRELEASED if waits_active or waits_standby or waits_warmup else STABLE,
        epoch=target.epoch,
        previous_epoch=member.epoch,
        assigned=Held(
            _with_active(keep.active, active, target.epoch),
            _with(keep.standby, standby),
            _with(keep.warmup, warmup),
        ),
        revoking=NOTHING_HELD,
    )


def _taken(
    kept: Mapping[str, Mapping[int, int] | frozenset[int]],
    wanted: Tasks,
    is_free: Callable[[Task], bool],
) -> tuple[Tasks, bool]:
    """(what it takes now, does it wait for more)."""
    take: dict[str, frozenset[int]] = {}
    waits = False
    for name, partitions in wanted.items():
        new = partitions.difference(kept.get(name, ()))
        free = frozenset(partition for partition in new if is_free((name, partition)))
        waits = waits or len(free) < len(new)
        if free:
            take[name] = free
    return take, waits


def _both(has: Tasks, wanted: Tasks) -> Tasks:
    found = {name: has[name] & wanted.get(name, frozenset()) for name in has}
    return {name: partitions for name, partitions in found.items() if partitions}


def _without(has: Tasks, wanted: Tasks) -> Tasks:
    found = {name: has[name] - wanted.get(name, frozenset()) for name in has}
    return {name: partitions for name, partitions in found.items() if partitions}


def _with(kept: Tasks, more: Tasks) -> Tasks:
    none: frozenset[int] = frozenset()
    return {name: kept.get(name, none) | more.get(name, none) for name in {**kept, **more}}


def _kept_active(has: ActiveTasks, wanted: Tasks) -> ActiveTasks:
    return _those(has, lambda name, partition: partition in wanted.get(name, ()))


def _other_active(has: ActiveTasks, wanted: Tasks) -> ActiveTasks:
    return _those(has, lambda name, partition: partition not in wanted.get(name, ()))


def _those(has: ActiveTasks, which: Callable[[str, int], bool]) -> ActiveTasks:
    found = {
        name: {number: since for number, since in rows.items() if which(name, number)}
        for name, rows in has.items()
    }
    return {name: rows for name, rows in found.items() if rows}


def _with_active(kept: ActiveTasks, more: Tasks, epoch: int) -> ActiveTasks:
    return {
        name: {**kept.get(name, {}), **dict.fromkeys(sorted(more.get(name, ())), epoch)}
        for name in {**kept, **more}
    }
