"""One step of a member towards its target."""

from typing import Any

import pytest

from ottla.coordinator.group.consumer_member import (
    STABLE,
    UNRELEASED,
    UNREVOKED,
    ConsumerMember,
    Target,
    next_step,
)
from ottla.coordinator.group.modern import MemberState
from ottla.model.errors import ApiError, ErrorCode

T, U = (bytes([number]) * 16 for number in (1, 2))


def member(**fields: Any) -> ConsumerMember:
    return ConsumerMember("A", **fields)


def step(
    before: ConsumerMember,
    target: Target,
    owned: dict[bytes, list[int]] | None = None,
    taken: set[int] | None = None,
    subscribed: frozenset[bytes] = frozenset({T, U}),
    changed: bool = False,
) -> ConsumerMember:
    is_free = lambda topic, number: number not in (taken or set())  # noqa: E731
    return next_step(before, target, owned, is_free, subscribed, changed)


def test_a_new_member_takes_what_is_free_at_the_targets_epoch() -> None:
    after = step(member(), Target(3, {T: (0, 1)}))
    assert (after.state, after.epoch, after.previous_epoch) == (STABLE, 3, 0)
    assert after.assigned == {T: {0: 3, 1: 3}}


def test_what_others_have_is_waited_for() -> None:
    after = step(member(), Target(3, {T: (0, 1)}), taken={1})
    assert (after.state, after.epoch, after.assigned) == (UNRELEASED, 3, {T: {0: 3}})
    later = step(after, Target(3, {T: (0, 1)}))
    assert (later.state, later.assigned) == (STABLE, {T: {0: 3, 1: 3}})


def test_nothing_is_taken_before_everything_is_given_up() -> None:
    before = member(epoch=2, assigned={T: {0: 1, 1: 2}})
    target = Target(3, {T: (0,), U: (5,)})
    asked = step(before, target)
    assert (asked.state, asked.epoch) == (UNREVOKED, 2)
    assert (asked.assigned, asked.revoking) == ({T: {0: 1}}, {T: {1: 2}})
    assert step(asked, target) is asked, "it said nothing of what it has"
    assert step(asked, target, {T: [0, 1]}) is asked
    after = step(asked, target, {T: [0]})
    assert (after.state, after.epoch) == (STABLE, 3)
    assert (after.assigned, after.revoking) == ({T: {0: 1}, U: {5: 3}}, {})


def test_a_member_at_its_target_stays() -> None:
    before = member(epoch=3, assigned={T: {0: 3}})
    assert step(before, Target(3, {T: (0,)})) is before


def test_a_topic_not_subscribed_to_any_more_goes_before_the_target_says_so() -> None:
    before = member(epoch=3, assigned={T: {0: 3}, U: {1: 3}})
    only_t = frozenset({T})
    target = Target(3, {T: (0,), U: (1,)})
    after = step(before, target, {T: [0], U: [1]}, subscribed=only_t, changed=True)
    assert (after.state, after.revoking) == (UNREVOKED, {U: {1: 3}})
    assert step(before, target, {T: [0]}, subscribed=only_t, changed=True).state is STABLE


def test_a_state_from_the_future_makes_it_begin_anew() -> None:
    before = member(epoch=3, state=MemberState.UNKNOWN, assigned={T: {0: 3}})
    with pytest.raises(ApiError) as raised:
        step(before, Target(4, {}), {T: [0]})
    assert raised.value.code is ErrorCode.FENCED_MEMBER_EPOCH
    assert step(before, Target(4, {}), {}).epoch == 4


def test_records_say_all_there_is() -> None:
    before = member(
        instance_id="I",
        rack_id="r",
        client_id="c",
        client_host="/h",
        topics=("t",),
        regex="x.*",
        rebalance_timeout_ms=5,
        assignor="range",
        epoch=4,
        previous_epoch=3,
        state=UNREVOKED,
        assigned={T: {0: 4}},
        revoking={U: {1: 2}},
    )
    again = member().with_subscription(before.subscription_record())
    assert again.with_assignment(before.assignment_record()) == before
    assert before.owns(T, 0) == 4
    assert before.owns(U, 1) == 2
    assert before.owns(U, 2) is None
