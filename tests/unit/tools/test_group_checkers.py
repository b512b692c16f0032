"""Each checker of groups sees what it is for, in the smallest history that has it."""

import pytest
from tools.simulation.groups.checkers import (
    CHECKERS,
    offsets_lost,
    old_generations,
    overlaps,
    static_members,
    two_owners,
    violations,
)
from tools.simulation.groups.history import GroupHistory, Held, Kept, Told
from tools.simulation.history import Outcome


def held(member: str, epoch: int, at: float, *partitions: int, **fields: object) -> Held:
    """`member` is told at `at`; with `instance=` it is static, `had=` is what it had when it asked."""
    had = frozenset(fields.get("had", ()))  # type: ignore[call-overload]
    instance = fields.get("instance")
    assert instance is None or isinstance(instance, str)
    return Held(member, 1, member, instance, epoch, frozenset(partitions), at, at + 0.1, had)


def kept(member: str, epoch: int, offset: int, at: float, outcome: Outcome = Outcome.OK) -> Kept:
    return Kept(member, None, epoch, 0, offset, at, at + 0.1, outcome)


def fine() -> GroupHistory:
    """a has all, gives partition 1 to b, leaves, and b has all; each commits."""
    return GroupHistory(
        held=[
            held("a", 1, 1.0, 0, 1),
            held("a", 1, 2.0, 0, had=(0, 1)),
            held("a", 2, 2.5, 0, had=(0,)),
            held("b", 2, 3.0, 1),
            held("a", 2, 4.0, 0, had=(0,)),
            held("b", 3, 6.0, 0, 1, had=(1,)),
        ],
        kept=[kept("a", 1, 10, 1.5), kept("a", 2, 11, 4.5), kept("b", 3, 12, 7.0)],
        told=[
            Told("x", 0, -1, 1.0, 1.1),
            Told("x", 0, 10, 2.0, 2.1),
            Told("x", 0, 11, 6.5, 7.05),
            Told("x", 0, 12, 8.0, 8.1),
        ],
    )


def test_a_life_without_faults_is_fine() -> None:
    assert violations(fine()) == []


def test_a_partition_of_two_members_in_one_epoch_is_seen_but_an_heir_is_none() -> None:
    made = fine()
    made.held.append(held("c", 3, 9.0, 0))
    assert list(two_owners(made))
    made.held[-2] = made.held[-2]._replace(instance_id="i")
    made.held[-1] = made.held[-1]._replace(instance_id="i")
    assert not list(two_owners(made))


def test_two_who_have_it_at_the_same_time_are_seen() -> None:
    made = fine()
    made.held.append(held("a", 2, 6.5, 0, had=(0,)))
    assert list(overlaps(made))
    made.held[-1] = held("a", 2, 6.5, had=(0,))  # told to give it up: too late
    assert list(overlaps(made))
    made.held[-1] = held("a", 2, 6.05, 0, had=(0,))  # perhaps before b was told
    assert not list(overlaps(made))


@pytest.mark.parametrize("tenure", [1, 2])
def test_who_gave_it_up_or_joined_again_may_have_it_again(tenure: int) -> None:
    made = fine()
    made.held[-1] = made.held[-1]._replace(partitions=frozenset({0}), had=frozenset({1}))
    made.held.append(held("a", 4, 9.0, 1)._replace(tenure=tenure))
    assert not list(overlaps(made))


def test_a_static_member_that_goes_on_after_its_heir_came_is_seen() -> None:
    made = GroupHistory(held=[held("a", 1, 1.0, instance="i"), held("b", 1, 2.0, instance="i")])
    assert not list(static_members(made))
    made.held.append(held("a", 1, 3.0, instance="i"))
    assert list(static_members(made))
    made.held[-1] = held("a", 3, 3.0, instance="i")._replace(entry=1)  # it came again
    assert not list(static_members(made))
    made.held.pop()
    made.kept.append(kept("a", 1, 10, 3.0)._replace(instance_id="i"))
    assert list(static_members(made))
    made.kept[0] = made.kept[0]._replace(outcome=Outcome.UNKNOWN)
    assert not list(static_members(made))


def test_a_commit_of_an_old_generation_must_be_refused() -> None:
    made = fine()
    late = kept("a", 2, 13, 6.2)
    made.kept.append(late)
    assert list(old_generations(made))
    for at, each in enumerate(made.held):
        made.held[at] = each._replace(entry=1)  # members of the newer protocol
    assert not list(old_generations(made))
    made.held.append(held("a", 3, 6.15)._replace(entry=1))
    made.kept[-1] = late._replace(start=6.3)
    assert list(old_generations(made))
    for excused in (
        late._replace(start=6.05),  # perhaps before b was told
        late._replace(epoch=3),
        late._replace(member_id="b"),
        late._replace(outcome=Outcome.UNKNOWN),
    ):
        made.kept[-1] = excused
        assert not list(old_generations(made))


@pytest.mark.parametrize(
    ("offset", "start", "is_fine"),
    [(11, 8.0, False), (10, 8.0, False), (-1, 8.0, False), (99, 8.0, False), (11, 7.0, True)],
)
def test_the_offset_told_is_the_last_one_committed(
    offset: int, start: float, is_fine: bool
) -> None:
    made = fine()
    made.told.append(Told("x", 0, offset, start, start + 0.1))
    assert bool(list(offsets_lost(made))) is not is_fine


def test_what_may_have_been_committed_may_be_told_at_any_time_later() -> None:
    made = fine()
    made.kept.append(kept("a", 2, 13, 5.0, Outcome.UNKNOWN))
    made.told.append(Told("x", 0, 13, 9.0, 9.1))
    assert not list(offsets_lost(made))
    made.told[-1] = Told("x", 0, 13, 4.0, 4.1)
    assert list(offsets_lost(made))


def test_every_line_begins_with_its_checkers_name() -> None:
    made = fine()
    made.held.append(held("c", 3, 9.0, 0))
    names = {line.partition(":")[0] for line in violations(made)}
    assert names
    assert names <= CHECKERS.keys()
