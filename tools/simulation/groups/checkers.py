"""What must hold of groups, one function each: G1 to G4 of the design.

Each yields a line for every violation, and is pure: the same history, the same lines.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import partial
from typing import TypeVar

from tools.simulation import checkers
from tools.simulation.groups.history import GroupHistory, Held, Kept
from tools.simulation.history import Outcome

Checker = Callable[[GroupHistory], Iterator[str]]
Times = list[tuple[float, float]]
"""(start, end) of questions that were answered well."""

FOR_EVER = float("inf")
Stay = TypeVar("Stay", bound=Hashable)


def two_owners(history: GroupHistory) -> Iterator[str]:
    """G1: in one generation, or epoch, a partition is given to one member."""
    if history.changes_kind:
        return
    owners: dict[tuple[int, int], Held] = {}
    for held in history.held:
        for partition in sorted(held.partitions):
            before = owners.setdefault((partition, held.epoch), held)
            if before.member_id != held.member_id and not _is_heir(before, held):
                yield (
                    f"partition {partition} in epoch {held.epoch} is {held.member_id}'s "
                    f"at {held.end:.3f} s, and {before.member_id}'s at {before.end:.3f} s"
                )


def _is_heir(one: Held, other: Held) -> bool:
    """A static member that came back has what it had."""
    return one.instance_id is not None and one.instance_id == other.instance_id


def overlaps(history: GroupHistory) -> Iterator[str]:
    """G1: nobody has a partition while another, who goes on, has it."""
    for partition in sorted({p for held in history.held for p in held.partitions}):
        stays: dict[Hashable, Times] = {}
        gaps: dict[Hashable, int] = {}
        for held in history.held:
            member = held.life, held.member_id, held.tenure
            stay = member, gaps.get(member, 0)
            if partition in held.partitions:
                stays.setdefault(stay, []).append((held.start, held.end))
                continue
            if partition in held.had and stay in stays:
                stays[stay].append((held.start, FOR_EVER))  # it had it until it asked
            gaps[member] = gaps.get(member, 0) + 1  # given again, it has it anew
        for one, other, at in _interleaved(stays):
            yield f"{one} has partition {partition} before and after {other} has it, at {at:.3f} s"


def static_members(history: GroupHistory) -> Iterator[str]:
    """G3: who comes with an instance id fences whoever had it: that one can do nothing more.

    Unless it comes again, when nobody is in its way any more.
    """
    entries = {
        (held.member_id, held.epoch): held.tenure if history.changes_kind else held.entry
        for held in history.held
    }
    seen: dict[str, dict[tuple[str, int], Times]] = {}
    for each in (*history.held, *history.kept):
        entry = entries.get((each.member_id, each.epoch))
        if each.instance_id is None or entry is None:
            continue  # in an epoch whose answer was lost
        if isinstance(each, Kept) and each.outcome is not Outcome.OK:
            continue
        times = seen.setdefault(each.instance_id, {}).setdefault((each.member_id, entry), [])
        times.append((each.start, each.end))
    for instance, members in seen.items():
        for one, other, at in _interleaved(members):
            if one[0] != other[0]:
                yield f"{instance} is {one[0]} before and after it is {other[0]}, at {at:.3f} s"


def old_generations(history: GroupHistory) -> Iterator[str]:
    """G4: no commit counts once another has the partition in a later generation.

    In the newer protocol a member stays in its epoch while it gives partitions up, and may
    commit anything in it, as in Kafka: it must be known to have gone on to a later one.
    """
    if history.changes_kind:
        return
    for kept in history.kept:
        if kept.outcome is not Outcome.OK:
            continue
        later = [h for h in history.held if h.epoch > kept.epoch and h.end < kept.start]
        is_newer = any(h.entry and h.member_id == kept.member_id for h in history.held)
        if is_newer and all(h.member_id != kept.member_id for h in later):
            continue
        for held in later:
            if kept.partition in held.partitions and held.member_id != kept.member_id:
                yield (
                    f"{kept.member_id} committed {kept.offset} on {kept.partition} in {kept.epoch} "
                    f"at {kept.start:.3f} s, {held.member_id} has it in {held.epoch} "
                    f"since {held.end:.3f} s"
                )
                break


def offsets_lost(history: GroupHistory) -> Iterator[str]:
    """G2: the committed offset is the last one committed, through every restart."""
    for told in history.told:
        mine = [k for k in history.kept if k.partition == told.partition]
        done = [k for k in mine if k.outcome is Outcome.OK and k.end < told.start]
        newest = max((k.start for k in done), default=-1.0)
        if told.offset < 0:
            if done:
                yield f"{told.who} finds nothing on {told.partition} at {told.end:.3f} s"
            continue
        writes = [k for k in mine if k.offset == told.offset and k.start < told.end]
        if not any(k.outcome is not Outcome.OK or k.end >= newest for k in writes):
            what = "overwritten" if writes else "never committed"
            yield (
                f"{told.who} finds {told.offset} on {told.partition} at {told.end:.3f} s, "
                f"which was {what}; newer: {sorted(k.offset for k in done)[-3:]}"
            )


def _interleaved(stays: Mapping[Stay, Times]) -> Iterator[tuple[Stay, Stay, float]]:
    """(one, other, when) where one is seen before and after the other, for certain."""
    for one, mine in stays.items():
        first_end, last_start = min(end for _, end in mine), max(start for start, _ in mine)
        for other, theirs in stays.items():
            if other != one:
                for start, end in theirs:
                    if first_end < start and end < last_start:
                        yield one, other, start
                        break


CHECKERS: dict[str, Checker] = {
    checker.__name__: checker
    for checker in (
        two_owners,
        overlaps,
        static_members,
        old_generations,
        offsets_lost,
        checkers.flushed,
        checkers.liveness,
        checkers.unexpected,
    )
}

violations = partial(checkers.violations, checkers=CHECKERS)
