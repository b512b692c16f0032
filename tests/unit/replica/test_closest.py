"""Which replica a consumer is sent to."""

from ottla.metadata.image import PartitionImage
from ottla.replica.closest import nearest
from ottla.replica.leadership import Leadership

NOBODY = -1


def leadership(isr: tuple[int, ...] = (1, 2, 3)) -> Leadership:
    leads = Leadership(PartitionImage(1, 0, 0, (1, 2, 3), isr), 1, now_ms=0)
    leads.followers[2].fetched(8, 2, 7, 9, 10)
    leads.followers[3].fetched(6, 0, 7, 9, 10)
    return leads


def sent_to(near: set[int], offset: int = 4, isr: tuple[int, ...] = (1, 2, 3)) -> int:
    return nearest(leadership(isr), offset, near.__contains__)


def test_a_leader_that_is_near_is_read_from() -> None:
    assert sent_to({1, 2}) == NOBODY


def test_the_near_follower_is() -> None:
    assert sent_to({3}) == 3
    assert sent_to(set()) == NOBODY


def test_of_many_the_one_that_is_furthest() -> None:
    assert sent_to({2, 3}) == 2


def test_only_one_that_has_the_offset_and_is_in_sync() -> None:
    assert sent_to({2, 3}, offset=1) == 3
    assert sent_to({2, 3}, offset=9) == NOBODY
    assert sent_to({2, 3}, isr=(1, 3)) == 3
