"""Elections: whoever leads has all that was committed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.metadata.election import (
    came_back,
    change_isr,
    forget,
    needed,
    resigned,
    settle,
    went_offline,
)
from ottla.metadata.image import PartitionImage
from ottla.model.ids import NO_BROKER

A, B, C, D = 1, 2, 3, 4
ALL = (A, B, C)


def state(leader: int = A, isr: tuple[int, ...] = ALL, **rest: object) -> PartitionImage:
    fields = {"leader_epoch": 5, "partition_epoch": 7, "replicas": ALL, **rest}
    return PartitionImage(leader=leader, isr=isr, **fields)  # type: ignore[arg-type]


def test_nothing_changes_where_everybody_is_there() -> None:
    before = state()
    assert settle(before, {A, B, C}, 2) is before


def test_a_dead_leader_is_followed_by_the_next_in_sync() -> None:
    after = settle(state(), {B, C}, 2)
    assert after == state(B, (B, C), leader_epoch=6, partition_epoch=8)


def test_a_dead_follower_leaves_the_isr_and_the_leader_stays_in_its_epoch() -> None:
    assert settle(state(), {A, B}, 2) == state(A, (A, B), partition_epoch=8)


def test_who_leaves_an_isr_that_is_too_small_to_commit_is_eligible() -> None:
    after = settle(state(isr=(A, B)), {A}, 2)
    assert (after.leader, after.isr, after.elr) == (A, (A,), (B,))
    after = settle(after, set(), 2)
    assert (after.leader, after.isr, after.elr) == (NO_BROKER, (), (A, B))
    after = settle(after, {B, C}, 2)
    assert (after.leader, after.isr, after.elr, after.leader_epoch) == (B, (B,), (A,), 7)
    assert change_isr(after, (B, C), 2).elr == ()


def test_whose_log_directory_is_offline_is_eligible_and_not_elected_before_it_is_back() -> None:
    after = went_offline(state(isr=(A, B)), A, 2)
    assert (after.leader, after.isr, after.elr) == (NO_BROKER, (B,), (A,))
    assert (after.offline_replicas, after.leader_epoch) == ((A,), 6)
    assert went_offline(after, A, 2) is after
    after = settle(after, {A, B, C}, 2)
    assert (after.leader, after.isr, after.elr) == (B, (B,), (A,))
    after = forget(after, B, 2)
    assert (after.leader, after.isr, after.elr) == (NO_BROKER, (), (A,))
    assert settle(after, {A, B, C}, 2) is after
    after = settle(came_back(after, A), {A, B, C}, 2)
    assert (after.leader, after.isr, after.offline_replicas) == (A, (A,), ())


def test_who_is_back_with_a_mended_directory_leads_only_where_nobody_else_is_eligible() -> None:
    """Its disk may have lost the end of the log without a reboot."""
    failed = went_offline(state(isr=(A, B)), A, 2)
    back = came_back(failed, A)
    assert (back.elr, back.doubtful, back.offline_replicas) == ((A,), (A,), ())
    alone = settle(back, {A}, 2)
    assert (alone.leader, alone.isr, alone.elr) == (NO_BROKER, (), (A, B)), "B has it all"
    after = settle(alone, {A, B}, 2)
    assert (after.leader, after.isr, after.elr, after.doubtful) == (B, (B,), (A,), (A,))
    assert change_isr(after, (A, B), 2).doubtful == ()
    after = settle(forget(alone, B, 2), {A}, 2)
    assert (after.leader, after.isr, after.doubtful) == (A, (A,), ()), "nobody knows more"


def test_an_unclean_election_passes_over_who_is_offline() -> None:
    after = went_offline(state(isr=(A,)), A, 1)
    assert settle(after, ALL, 1).leader == NO_BROKER
    assert settle(after, ALL, 1, unclean=True).leader == B


def test_who_is_to_go_stays_until_enough_others_are_in_sync() -> None:
    """With A down, C gone and B alone, what B and C committed would be on one of them."""
    moving = state(leader=B, isr=(B, C), removing=(C,))
    assert settle(moving, {B, C}, 2) is moving
    after = settle(moving._replace(isr=ALL), ALL, 2)
    assert (after.replicas, after.isr, after.removing) == ((A, B), (A, B), ())
    after = settle(moving._replace(isr=(B,)), {B, C}, 2)
    assert (after.replicas, after.isr) == ((A, B), (B,)), "it makes up for nobody"
    eligible = moving._replace(isr=(B,), elr=(C,))
    assert settle(eligible, {B, C}, 2) is eligible
    after = settle(moving, {B, C}, 1)
    assert (after.replicas, after.isr) == ((A, B), (B,))


def test_who_was_removed_is_fenced_though_the_same_one_leads() -> None:
    """It may not hear of it before it is a replica again: its log goes when it does."""
    before = state(leader=B, isr=(B, C), removing=(A,))
    after = settle(before, ALL, 2)
    assert (after.leader, after.replicas, after.leader_epoch) == (B, (B, C), 6)


def test_a_reassignment_is_not_over_by_who_is_dead_and_still_in_the_isr() -> None:
    """A goes as C does: with A counted, C would drop the last other copy of what is committed."""
    moving = state(replicas=(A, B, D, C), isr=(A, D, C), adding=(D,), removing=(C,))
    after = settle(moving, {C, D}, 2)
    assert (after.replicas, after.isr, after.removing) == ((A, B, D, C), (D, C), (C,))
    after = settle(change_isr(after, (A, D, C), 2), (*ALL, D), 2)
    assert (after.replicas, after.isr, after.removing) == ((A, B, D), (A, D), ())


def test_an_unclean_election_prefers_who_may_lack_least() -> None:
    doubted = state(NO_BROKER, (), elr=(B, C), doubtful=(B,))
    assert settle(doubted, {A, B}, 2).leader == NO_BROKER
    assert settle(doubted, {A, B}, 2, unclean=True).leader == B
    last = state(NO_BROKER, (), last_known_leader=C)
    assert settle(last, {A, B}, 2, unclean=True).leader == A


def test_who_is_no_replica_any_more_is_not_offline() -> None:
    before = state(offline_replicas=(A,), leader=B, isr=(B, C), removing=(A,))
    after = settle(before, ALL, 2)
    assert (after.replicas, after.offline_replicas) == ((B, C), ())


def test_who_is_neither_in_sync_nor_eligible_leads_only_where_that_is_allowed() -> None:
    before = state(NO_BROKER, (), elr=(A,))
    assert settle(before, {B, C}, 1) is before
    after = settle(before, {B, C}, 1, unclean=True)
    assert (after.leader, after.isr, after.elr) == (B, (B,), ())


def test_the_last_one_whose_log_is_in_doubt_may_be_elected_and_nobody_else() -> None:
    after = state()
    for broker in (B, A, C):
        after = forget(after, broker, 2)
    assert (after.leader, after.isr, after.elr, after.last_known_leader) == (NO_BROKER, (), (), C)
    assert settle(after, {A, B}, 2) is after
    after = settle(after, {A, B, C}, 2)
    assert (after.leader, after.isr, after.last_known_leader) == (C, (C,), NO_BROKER)


def test_a_log_that_is_gone_is_not_led_where_another_may_be_left() -> None:
    before = state(isr=(A,))
    assert forget(before, A, 1, missing=True).last_known_leader == NO_BROKER
    alone = state(isr=(A,), replicas=(A,))
    assert forget(alone, A, 1, missing=True).last_known_leader == A


def test_a_new_incarnation_leads_in_no_old_epoch() -> None:
    after = resigned(state(), A)
    assert (after.leader, after.leader_epoch, after.isr) == (NO_BROKER, 6, ALL)
    assert settle(after, {A, B, C}, 2).leader_epoch == 7
    assert resigned(state(), B) == state()


def test_the_first_replica_leads_where_it_is_asked_for_and_in_sync() -> None:
    assert settle(state(B), {A, B, C}, 2, preferred=True).leader == A
    assert settle(state(B, (B, C)), {A, B, C}, 2, preferred=True) == state(B, (B, C))


def test_a_reassignment_ends_when_everybody_added_is_in_sync() -> None:
    moving = state(replicas=(B, C, D, A), isr=(A, B, C), adding=(D,), removing=(A,))
    assert settle(moving, {A, B, C, D}, 2) is moving
    after = settle(moving._replace(isr=(B, C, D, A)), {A, B, C, D}, 2)
    assert (after.leader, after.replicas, after.isr) == (B, (B, C, D), (B, C, D))
    assert (after.adding, after.removing) == ((), ())


def test_who_is_to_be_removed_leads_only_where_nobody_else_can() -> None:
    moving = state(B, replicas=(B, C, D, A), isr=(A, B), adding=(D,), removing=(A,))
    assert settle(moving, {A, C, D}, 1).leader == A
    assert settle(moving._replace(isr=(A, B, C)), {A, C, D}, 1).leader == C


steps = st.lists(
    st.one_of(
        st.tuples(st.just("die"), st.sampled_from(ALL)),
        st.tuples(st.just("live"), st.sampled_from(ALL)),
        st.tuples(st.just("power"), st.sampled_from(ALL)),
        st.tuples(st.just("catch up"), st.sampled_from(ALL)),
        st.tuples(st.just("lag"), st.sampled_from(ALL)),
        st.tuples(st.just("commit"), st.just(0)),
    ),
    max_size=40,
)


@given(steps, st.integers(1, 3))
def test_a_leader_has_all_that_was_committed_unless_every_log_was_in_doubt(
    happens: list[tuple[str, int]], min_isr: int
) -> None:
    """Logs as numbers of records: the longest of those who may be elected has all."""
    now = state()
    lives = set(ALL)
    logs = dict.fromkeys(ALL, 0)
    committed = 0
    for what, broker in happens:
        epoch = now.leader_epoch
        if what == "die":
            lives.discard(broker)
        elif what == "live":
            lives.add(broker)
        elif what == "power":
            lives.discard(broker)
            now = forget(now, broker, min_isr)
            logs[broker] = 0
            lives.add(broker)
        elif what == "catch up" and now.leader != NO_BROKER and broker in lives:
            logs[broker] = logs[now.leader]
            now = change_isr(now, {*now.isr, broker}, min_isr)
        elif what == "lag" and broker != now.leader and now.leader != NO_BROKER:
            now = change_isr(now, [b for b in now.isr if b != broker], min_isr)
        elif what == "commit" and now.leader in lives and len(now.isr) >= needed(now, min_isr):
            for member in now.isr:
                logs[member] = logs[now.leader] + (1 if member == now.leader else 0)
            for member in now.isr:
                logs[member] = logs[now.leader]
            committed = logs[now.leader]
        last = now.last_known_leader
        now = settle(now, lives, min_isr)
        assert now.leader_epoch >= epoch
        assert now.leader == NO_BROKER or now.leader in now.isr
        assert not set(now.isr) & set(now.elr)
        if last != NO_BROKER and now.leader == last:
            committed = logs[last]  # every log was in doubt
        if now.leader != NO_BROKER:
            assert logs[now.leader] >= committed
            for member in now.isr:
                assert logs[member] >= committed


@pytest.mark.parametrize(("min_isr", "replicas", "most"), [(2, 3, 2), (3, 2, 2), (1, 3, 1)])
def test_no_more_are_needed_than_there_are_replicas(min_isr: int, replicas: int, most: int) -> None:
    assert needed(state(replicas=ALL[:replicas]), min_isr) == most
