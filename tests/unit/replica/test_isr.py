"""Who leaves an ISR, and who joins."""

from ottla.metadata.image import PartitionImage
from ottla.replica.isr import has_caught_up, joiners, laggards
from ottla.replica.leadership import Leadership

LAG_MS = 100


def leadership(isr: tuple[int, ...] = (1, 2, 3)) -> Leadership:
    return Leadership(PartitionImage(1, 0, 0, (1, 2, 3), isr), 1, now_ms=0)


def out(leads: Leadership, now_ms: int, leader_end: int = 9) -> set[int]:
    return laggards(leads, leader_end=leader_end, now_ms=now_ms, lag_max_ms=LAG_MS)


def test_a_member_that_does_not_fetch_leaves_in_time() -> None:
    leads = leadership()
    assert out(leads, 100) == set()
    assert out(leads, 101) == {2, 3}


def test_who_has_everything_stays_though_it_need_not_fetch() -> None:
    leads = leadership((1, 2))
    leads.followers[2].fetched(9, 0, 7, 9, 0)
    assert out(leads, 10_000) == set()
    assert out(leads, 10_100, leader_end=10) == set(), "it lags since it was last looked at"
    assert out(leads, 10_101, leader_end=10) == {2}


def test_who_fetches_and_never_catches_up_leaves() -> None:
    leads = leadership((1, 2))
    for at in range(0, 200, 10):
        leads.followers[2].fetched(at // 10, 0, 7, 50, at)
    assert out(leads, 200, leader_end=51) == {2}


def test_who_was_taken_in_by_another_has_its_time() -> None:
    leads = leadership((1,))
    leads.update(PartitionImage(1, 0, 1, (1, 2, 3), (1, 3)), now_ms=500)
    assert out(leads, 600) == set()
    assert out(leads, 601) == {3}


def test_who_is_out_already_does_not_leave() -> None:
    assert out(leadership((1,)), 10_000) == set()


def test_to_join_it_takes_the_high_watermark_and_what_the_leader_began_with() -> None:
    leads = leadership((1, 2))
    follower = leads.followers[3]

    def joins(end: int) -> bool:
        follower.fetched(end, 0, 7, 9, 0)
        return has_caught_up(follower, high_watermark=5, epoch_start=6)

    assert [joins(end) for end in (4, 5, 6, 9)] == [False, False, True, True]


def test_all_who_have_caught_up_are_found() -> None:
    leads = leadership((1,))
    leads.followers[2].fetched(9, 0, 7, 9, 0)
    leads.followers[3].fetched(4, 0, 8, 9, 0)
    found = joiners(leads, high_watermark=5, epoch_start=0)
    assert [follower.broker_id for follower in found] == [2]


def test_members_do_not_join() -> None:
    leads = leadership()
    leads.followers[2].fetched(9, 0, 7, 9, 0)
    assert joiners(leads, high_watermark=0, epoch_start=0) == []
