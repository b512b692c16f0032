"""What followers have, and what that commits."""

from ottla.metadata.image import PartitionImage
from ottla.replica.leadership import Leadership


def state(
    isr: tuple[int, ...] = (1, 2, 3), *, epoch: int = 0, replicas: tuple[int, ...] = (1, 2, 3)
) -> PartitionImage:
    return PartitionImage(1, 0, epoch, replicas, isr)


def leadership(isr: tuple[int, ...] = (1, 2, 3), min_isr: int = 1) -> Leadership:
    return Leadership(state(isr), min_isr, now_ms=0)


def fetched(leads: Leadership, broker: int, end: int, *, at: int = 0, leader_end: int = 9) -> None:
    leads.followers[broker].fetched(end, 0, 7, leader_end, at)


def test_nothing_is_committed_before_every_member_has_fetched() -> None:
    leads = leadership()
    fetched(leads, 2, 5)
    assert leads.committed(9) == -1
    fetched(leads, 3, 4)
    assert leads.committed(9) == 4
    assert leads.committed(2) == 2


def test_who_is_not_in_the_isr_does_not_count() -> None:
    leads = leadership((1, 2))
    fetched(leads, 2, 5)
    assert leads.committed(9) == 5


def test_a_proposed_isr_counts_together_with_the_old_one() -> None:
    leads = leadership((1, 2))
    fetched(leads, 2, 5)
    fetched(leads, 3, 3)
    leads.propose((1, 3))
    assert leads.committed(9) == 3
    fetched(leads, 3, 8)
    assert leads.committed(9) == 5, "the old member, too"
    leads.propose(None)
    assert leads.committed(9) == 5


def test_a_shrinking_isr_counts_whole_until_it_has_shrunk() -> None:
    leads = leadership()
    fetched(leads, 2, 9)
    fetched(leads, 3, 4)
    leads.propose((1, 2))
    assert leads.committed(9) == 4
    assert leads.update(state((1, 2), epoch=1), 0)
    leads.propose(None)
    assert leads.committed(9) == 9


def test_with_too_few_in_sync_nothing_more_is_committed() -> None:
    leads = leadership((1, 2), min_isr=3)
    fetched(leads, 2, 9)
    assert (leads.committed(9), leads.is_under_min_isr) == (-1, True)
    leads.propose((1, 2, 3))
    fetched(leads, 3, 9)
    assert leads.committed(9) == -1, "what is proposed is not in sync yet"
    leads.update(state(epoch=1), 0)
    assert (leads.committed(9), leads.is_under_min_isr) == (9, False)


def test_no_more_in_sync_replicas_are_needed_than_there_are_replicas() -> None:
    leads = Leadership(state((1, 2), replicas=(1, 2)), min_isr=3, now_ms=0)
    assert not leads.is_under_min_isr


def test_an_older_state_is_not_taken_over() -> None:
    leads = leadership()
    assert leads.update(state((1,), epoch=4), 0)
    assert not leads.update(state((1, 2, 3), epoch=4), 0)
    assert not leads.update(state((1, 2, 3), epoch=3), 0)
    assert leads.state.isr == (1,)


def test_followers_come_and_go_with_the_replicas() -> None:
    leads = leadership()
    fetched(leads, 2, 5)
    leads.update(state((1, 2), epoch=1, replicas=(1, 2, 4)), 0)
    assert {broker: each.end_offset for broker, each in leads.followers.items()} == {2: 5, 4: -1}


def test_caught_up_is_who_has_what_there_was_at_its_last_fetch() -> None:
    leads = leadership()
    follower = leads.followers[2]
    fetched(leads, 2, 9, at=10, leader_end=9)
    assert follower.caught_up_ms == 10
    fetched(leads, 2, 12, at=20, leader_end=15)
    assert follower.caught_up_ms == 10, "it has all of 9, at the time of that fetch"
    fetched(leads, 2, 15, at=30, leader_end=18)
    assert follower.caught_up_ms == 20
    fetched(leads, 2, 16, at=40, leader_end=99)
    assert follower.caught_up_ms == 20, "18 were there before, and it has 16"


def test_the_bytes_that_become_readable_are_a_share_of_those_appended() -> None:
    leads = leadership()
    leads.appended_bytes = 100
    assert leads.take_appended(0, 3, 10) == 30
    assert leads.take_appended(3, 10, 10) == 70
    assert leads.appended_bytes == 0


def test_the_low_watermark_is_of_brokers_that_live() -> None:
    leads = leadership()
    leads.followers[2].fetched(9, 3, 7, 9, 0)
    leads.followers[3].fetched(9, 1, 7, 9, 0)
    assert leads.low_watermark(5, {1, 2, 3}) == 1
    assert leads.low_watermark(5, {1, 2}) == 3
    assert leads.low_watermark(5, {1}) == 5
