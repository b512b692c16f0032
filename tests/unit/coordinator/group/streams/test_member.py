"""One step of a member towards its target."""

import pytest

from ottla.coordinator.group.streams.member import (
    UNRELEASED,
    UNREVOKED,
    Free,
    MemberState,
    StreamsMember,
    Target,
    next_step,
)
from ottla.coordinator.group.streams.tasks import NOTHING_HELD, Held, Task, Tasks, Wanted
from ottla.model.errors import ApiError, ErrorCode

ALL = Free(active=lambda task: True, copy=lambda task: True)
NONE = Free(active=lambda task: False, copy=lambda task: False)


def some(*numbers: int, name: str = "0") -> Tasks:
    return {name: frozenset(numbers)} if numbers else {}


def has(*active: int, standby: tuple[int, ...] = (), epoch: int = 2) -> StreamsMember:
    held = Held({"0": dict.fromkeys(active, epoch)} if active else {}, some(*standby))
    return StreamsMember("m", epoch=epoch, previous_epoch=1, assigned=held)


def test_a_member_at_its_target_stays_what_it_is() -> None:
    member = has(0, 1)
    assert next_step(member, Target(2, Wanted(some(0, 1))), None, ALL) is member


def test_what_is_free_is_taken_at_once_in_the_new_epoch() -> None:
    after = next_step(has(0), Target(3, Wanted(some(0, 1), some(2))), None, ALL)
    assert after.is_at(3)
    assert after.previous_epoch == 2
    assert after.assigned == Held({"0": {0: 2, 1: 3}}, some(2))


def test_what_is_not_free_is_waited_for() -> None:
    target = Target(3, Wanted(some(0, 1)))
    after = next_step(has(0), target, None, NONE)
    assert (after.state, after.epoch, after.assigned.active) == (UNRELEASED, 3, {"0": {0: 2}})
    after = next_step(after, target, None, NONE)
    assert after.state is UNRELEASED
    assert next_step(after, target, None, ALL).is_at(3)


def test_a_task_is_given_up_before_the_epoch_is_reached() -> None:
    member, target = has(0, 1, standby=(2,)), Target(3, Wanted(some(0)))
    after = next_step(member, target, None, ALL)
    assert (after.state, after.epoch) == (UNREVOKED, 2)
    assert after.revoking == Held({"0": {1: 2}}, some(2))
    assert after.active_since("0", 1) == 2
    assert next_step(after, target, None, ALL) is after, "it says nothing"
    assert next_step(after, target, Wanted(some(0, 1)), ALL) is after
    assert next_step(after, target, Wanted(some(0), some(2)), ALL) is after
    done = next_step(after, target, Wanted(some(0)), ALL)
    assert done.is_at(3)
    assert done.revoking == NOTHING_HELD


def test_what_it_has_given_up_already_is_not_waited_for() -> None:
    after = next_step(has(0, 1), Target(3, Wanted(some(0))), Wanted(some(0)), ALL)
    assert after.is_at(3)


def test_an_active_task_that_becomes_a_copy_is_given_up_first() -> None:
    target = Target(3, Wanted({}, some(0)))
    after = next_step(has(0), target, Wanted(some(0)), ALL)
    assert after.state is UNREVOKED
    after = next_step(after, target, Wanted(), NONE)
    assert after.state is UNRELEASED
    assert next_step(after, target, Wanted(), ALL).assigned == Held({}, some(0))


def test_each_task_is_asked_for_by_its_role() -> None:
    asked: list[tuple[str, Task]] = []

    def active(task: Task) -> bool:
        asked.append(("active", task))
        return True

    def copy(task: Task) -> bool:
        asked.append(("copy", task))
        return True

    next_step(has(), Target(3, Wanted(some(0), some(1), some(2))), None, Free(active, copy))
    assert asked == [("active", ("0", 0)), ("copy", ("0", 1)), ("copy", ("0", 2))]


def test_an_unknown_state_must_begin_with_nothing() -> None:
    member = StreamsMember("m", epoch=2, state=MemberState.UNKNOWN)
    for owned in (None, Wanted(some(0))):
        with pytest.raises(ApiError) as raised:
            next_step(member, Target(3, Wanted(some(0))), owned, ALL)
        assert raised.value.code is ErrorCode.FENCED_MEMBER_EPOCH
    assert next_step(member, Target(3, Wanted(some(0))), Wanted(), ALL).is_at(3)
