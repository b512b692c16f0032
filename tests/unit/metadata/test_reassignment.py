"""Reassignments and elections on demand: what they make of a partition's state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.metadata.election import change_isr, settle
from ottla.metadata.image import BrokerImage, Image, PartitionImage
from ottla.metadata.reassignment import (
    Election,
    cancel,
    check_target,
    elect,
    is_imbalanced,
    reassign,
)
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import NO_BROKER

A, B, C, D, E = 1, 2, 3, 4, 5
ALL = Election(frozenset({A, B, C, D, E}), 1)


def state(
    leader: int = A, replicas: tuple[int, ...] = (A, B), isr: tuple[int, ...] | None = None
) -> PartitionImage:
    return PartitionImage(leader, 5, 7, replicas, replicas if isr is None else isr)


def joined(before: PartitionImage, *brokers: int) -> PartitionImage:
    """The state once these are in sync, too, and the controller looked."""
    isr = [broker for broker in before.replicas if broker in (*before.isr, *brokers)]
    return settle(change_isr(before, isr, 1), ALL.usable, 1)


def code(error: pytest.ExceptionInfo[ApiError]) -> ErrorCode:
    return error.value.code


def test_nothing_changes_where_the_replicas_are_those_already() -> None:
    before = state()
    assert reassign(before, [A, B], ALL) is before


def test_who_is_added_comes_before_who_goes_until_it_is_in_sync() -> None:
    after = reassign(state(), [C, B], ALL)
    assert (after.replicas, after.adding, after.removing) == ((C, B, A), (C,), (A,))
    assert (after.leader, after.isr, after.leader_epoch, after.partition_epoch) == (A, (A, B), 5, 8)
    done = joined(after, C)
    assert (done.replicas, done.adding, done.removing, done.isr) == ((C, B), (), (), (C, B))
    assert (done.leader, done.leader_epoch) == (C, 6)


def test_fewer_replicas_need_nobody_to_catch_up() -> None:
    after = reassign(state(replicas=(A, B, C)), [B, C], ALL)
    assert (after.replicas, after.adding, after.removing) == ((B, C), (), ())
    assert (after.leader, after.leader_epoch, after.isr, after.partition_epoch) == (B, 6, (B, C), 8)


def test_another_order_changes_who_is_preferred_and_not_who_leads() -> None:
    after = reassign(state(), [B, A], ALL)
    assert (after.replicas, after.leader, after.leader_epoch) == ((B, A), A, 5)


def test_a_second_reassignment_forgets_who_was_to_be_added_and_is_not_in_sync() -> None:
    first = reassign(state(), [C, D], ALL)
    after = reassign(first, [D, E], ALL)
    assert (after.replicas, after.adding, after.removing) == ((D, E, A, B), (D, E), (A, B))


def test_a_second_reassignment_removes_who_was_added_and_is_in_sync() -> None:
    first = joined(reassign(state(), [C, D], ALL), C)
    after = reassign(first, [A, B], ALL)
    assert (after.replicas, after.adding, after.removing) == ((A, B), (), ())
    assert (after.leader, after.isr) == (A, (A, B))


def test_the_way_back_is_the_replicas_of_before() -> None:
    first = reassign(state(), [C, D], ALL)
    after = cancel("t", 0, first, ALL, unclean=False)
    assert after == state()._replace(partition_epoch=9, leader_epoch=state().leader_epoch + 1)


def test_who_was_added_stays_for_those_of_before_that_are_not_in_sync() -> None:
    two = Election(ALL.usable, 2)
    moving = joined(reassign(state(isr=(A,)), [C, D], two), C)
    after = cancel("t", 0, moving, two, unclean=False)
    assert (after.replicas, set(after.isr), after.removing) == ((A, B, C), {A, C}, (C,))
    after = settle(after._replace(isr=(A, B, C)), two.usable, two.min_isr)
    assert (after.replicas, after.isr, after.removing) == ((A, B), (A, B), ())


def test_nothing_to_cancel_is_said() -> None:
    with pytest.raises(ApiError) as error:
        cancel("t", 0, state(), ALL, unclean=False)
    assert code(error) is ErrorCode.NO_REASSIGNMENT_IN_PROGRESS


def test_there_is_no_way_back_to_nobody_in_sync_unless_unclean_elections_are_allowed() -> None:
    moving = reassign(state(), [C, D], ALL)._replace(leader=C, isr=(C,))
    with pytest.raises(ApiError) as error:
        cancel("t", 0, moving, ALL, unclean=False)
    assert code(error) is ErrorCode.INVALID_REPLICA_ASSIGNMENT
    after = cancel("t", 0, moving, ALL, unclean=True)
    assert (after.leader, after.isr, after.replicas) == (A, (A,), (A, B))


def test_the_number_of_replicas_stays_where_that_is_wanted() -> None:
    reassign(state(), [C, D], ALL, may_change_factor=False)
    moving = reassign(state(), [C, D], ALL)
    reassign(moving, [A, E], ALL, may_change_factor=False)
    for target in [A], [A, B, C]:
        with pytest.raises(ApiError) as error:
            reassign(moving, target, ALL, may_change_factor=False)
        assert code(error) is ErrorCode.INVALID_REPLICATION_FACTOR


def test_targets_that_cannot_be() -> None:
    image = Image(brokers={A: BrokerImage(A, 1, None, ())})
    check_target(image, [A])
    for target in [], [A, A], [A, B], [-1]:
        with pytest.raises(ApiError) as error:
            check_target(image, target)
        assert code(error) is ErrorCode.INVALID_REPLICA_ASSIGNMENT


replica_lists = st.permutations((A, B, C, D, E)).flatmap(
    lambda brokers: st.integers(1, 4).map(lambda count: tuple(brokers[:count]))
)


@given(replica_lists, st.lists(replica_lists, max_size=4), st.data())
def test_whatever_is_asked_the_leader_is_in_sync_and_the_last_wish_is_reached(
    replicas: tuple[int, ...], wishes: list[tuple[int, ...]], data: st.DataObject
) -> None:
    now = state(replicas[0], replicas)
    for wish in wishes:
        before, now = now, reassign(now, wish, ALL)
        assert now.leader in now.isr
        assert set(now.isr) <= set(now.replicas)
        assert set(now.isr) & set(before.isr)
        assert len(set(now.replicas)) == len(now.replicas)
        assert set(now.adding) | set(now.removing) <= set(now.replicas)
        if now.adding and data.draw(st.booleans()):
            now = joined(now, data.draw(st.sampled_from(now.adding)))
    if now.adding and data.draw(st.booleans()):
        now = cancel("t", 0, now, ALL, unclean=False)
        assert not now.adding
        return
    now = joined(now, *now.adding)
    assert now.replicas == (wishes[-1] if wishes else replicas)
    assert not now.adding
    assert not now.removing


# Elections


def test_the_preferred_replica_leads_if_it_is_in_sync() -> None:
    after, error = elect(state(B), ALL, preferred=True)
    assert error is None
    assert (after.leader, after.leader_epoch, after.partition_epoch) == (A, 6, 8)
    before = state(B, isr=(B,))
    after, error = elect(before, ALL, preferred=True)
    assert after is before
    assert error is not None
    assert error.code is ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE


def test_no_election_is_needed_where_somebody_leads_already() -> None:
    for before, preferred in (state(A), True), (state(A), False), (state(B), False):
        after, error = elect(before, ALL, preferred=preferred)
        assert after is before
        assert error is not None
        assert error.code is ErrorCode.ELECTION_NOT_NEEDED


def test_an_unclean_election_takes_whoever_lives() -> None:
    before = state(NO_BROKER, isr=(A,))
    after, error = elect(before, Election(frozenset({B}), 1), preferred=False)
    assert error is None
    assert (after.leader, after.isr) == (B, (B,))
    after, error = elect(before, Election(frozenset({C}), 1), preferred=False)
    assert after is before
    assert error is not None
    assert error.code is ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE


def test_only_who_could_lead_in_anothers_place_makes_an_imbalance() -> None:
    assert is_imbalanced(state(B), {A, B})
    assert not is_imbalanced(state(A), {A, B})
    assert not is_imbalanced(state(B), {B})
    assert not is_imbalanced(state(B, isr=(B,)), {A, B})


def test_the_only_one_that_is_eligible_is_not_dropped() -> None:
    """D was added, and has all that is committed; A, B and C forgot what they had."""
    moving = PartitionImage(
        NO_BROKER, 5, 7, (D, E, A, B, C), (), elr=(D,), adding=(D, E), removing=(B, C)
    )
    living = Election(frozenset({A, B, C, E}), 2)
    with pytest.raises(ApiError) as error:
        cancel("t", 0, moving, living, unclean=False)
    assert code(error) is ErrorCode.INVALID_REPLICA_ASSIGNMENT
    assert A in cancel("t", 0, moving, living, unclean=True).isr
    after = reassign(moving, [A, B, E], living)
    assert (after.leader, after.elr, D in after.removing) == (NO_BROKER, (D,), True)
    led = moving._replace(elr=(), last_known_leader=D)
    with pytest.raises(ApiError):
        cancel("t", 0, led, living, unclean=False)
    assert D in reassign(led, [A, B, E], living).removing


def test_who_is_sure_is_not_dropped_for_who_is_in_doubt() -> None:
    moving = PartitionImage(
        NO_BROKER, 5, 7, (D, A, B, C), (), elr=(C, D), doubtful=(C,), adding=(D,), removing=(C,)
    )
    with pytest.raises(ApiError):
        cancel("t", 0, moving, Election(frozenset({A, B, C}), 2), unclean=False)
