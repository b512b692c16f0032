"""A partition as a follower: appending, learning, cutting where histories part."""

import logging

import pytest
from tests.unit.replica.parts import FLUSHED, alone, append, follower_of, make_partition
from tests.unit.storage.parts import values

from ottla.model.errors import ApiError, ErrorCode
from ottla.replica import following
from ottla.replica.partition import Partition


def copied(leader: Partition, follower: Partition) -> None:
    """Append all the leader has, in one answer."""
    records = leader.log.read(follower.log.log_end_offset, 1 << 20).records
    following.append(follower, bytes(records), 0)


def test_a_follower_commits_what_its_leader_says_and_it_has() -> None:
    leader, follower = make_partition(), follower_of(0)
    append(leader, 3)
    following.learn(follower, 1, 0)
    assert follower.high_watermark == 0, "it has nothing"
    copied(leader, follower)
    following.learn(follower, 2, 0)
    assert follower.high_watermark == follower.log.high_watermark == 2
    assert values(follower.log) == values(leader.log)


def test_what_was_committed_once_still_is() -> None:
    leader, follower = make_partition(), follower_of(0)
    append(leader, 3)
    copied(leader, follower)
    following.learn(follower, 3, 0)
    follower.become_follower(alone(1)._replace(leader=3))
    following.learn(follower, 1, 0)
    assert follower.high_watermark == 3


def test_with_flushing_only_what_is_on_disk_counts() -> None:
    asked: list[Partition] = []
    leader, follower = make_partition(), follower_of(0, FLUSHED, request_flush=asked.append)
    append(leader, 3)
    copied(leader, follower)
    following.learn(follower, 3, 0)
    assert (follower.high_watermark, asked) == (0, [follower])
    follower.log.flush()
    follower.advance_high_watermark(0)
    assert follower.high_watermark == 3


def test_the_log_begins_where_the_leaders_does() -> None:
    leader, follower = make_partition(), follower_of(0)
    append(leader, 3)
    copied(leader, follower)
    following.learn(follower, 2, 3)
    assert follower.log.log_start_offset == 2, "not above what is known to be committed"
    following.learn(follower, 3, 3)
    assert follower.log.log_start_offset == 3


def with_epochs(*epochs: tuple[int, int]) -> Partition:
    """A follower that has so many records of each (epoch, count)."""
    partition = make_partition(leads=False)
    for epoch, count in epochs:
        partition.become_leader(alone(epoch))
        append(partition, count)
    last = epochs[-1][0]
    partition.become_follower(alone(last + 1)._replace(leader=2))
    return partition


@pytest.mark.parametrize(
    ("epoch", "end", "point"),
    [
        (3, 5, 5),  # the leader has less of what is newest here
        (3, 99, 7),
        (2, 4, 4),  # known to both: where it ended first
        (2, 9, 5),
        (1, 3, 2),  # not known here: where the largest below it ended, no further than there
        (1, 1, 1),
        (0, 1, 1),
        (4, 6, 6),  # above all that is here
    ],
)
def test_where_histories_part(epoch: int, end: int, point: int) -> None:
    follower = with_epochs((0, 2), (2, 3), (3, 2))
    assert following.truncation_point(follower, epoch, end) == point


def test_without_any_epoch_all_that_is_not_committed_goes() -> None:
    follower = with_epochs((0, 2), (2, 3))
    follower.high_watermark = 3
    assert following.truncation_point(follower, -1, -1) == 3


def test_a_cut_takes_the_epochs_with_it(caplog: pytest.LogCaptureFixture) -> None:
    follower = with_epochs((0, 2), (2, 3), (3, 2))
    follower.high_watermark = 5
    with caplog.at_level(logging.WARNING):
        assert following.truncate(follower, 5, 0)
    assert follower.log.log_end_offset == 5
    assert list(follower.log.leader_epochs) == [(0, 0), (2, 2)]
    assert not following.truncate(follower, 5, 0)
    assert caplog.messages == []


def test_with_flushing_a_cut_is_flushed() -> None:
    """What is left is said to the leader once it is on disk, again."""
    asked: list[Partition] = []
    leader, follower = make_partition(), follower_of(0, FLUSHED, request_flush=asked.append)
    append(leader, 3)
    append(leader, 3)
    copied(leader, follower)
    follower.log.flush()
    asked.clear()
    following.truncate(follower, 3, 0)
    assert (follower.log.log_end_offset, asked) == (3, [follower])
    follower.log.flush()
    assert follower.counted_end == 3


def test_a_cut_below_what_was_committed_is_said(caplog: pytest.LogCaptureFixture) -> None:
    follower = with_epochs((0, 2), (2, 3))
    with caplog.at_level(logging.WARNING):
        following.truncate(follower, 2, 0)
    assert follower.high_watermark == follower.log.high_watermark == 2
    assert "lost records that were committed: below 5, from 2 on" in caplog.text


def test_a_follower_too_far_behind_begins_anew() -> None:
    follower = with_epochs((0, 2))
    following.start_over(follower, 50, 0)
    log = follower.log
    assert (log.log_start_offset, log.log_end_offset, follower.high_watermark) == (50, 50, 50)


def test_what_is_appended_is_checked() -> None:
    leader, follower = make_partition(), follower_of(0)
    append(leader, 3)
    records = bytearray(leader.log.read(0, 1 << 20).records)
    records[-1] ^= 1
    with pytest.raises(ApiError) as error:
        following.append(follower, bytes(records), 0)
    assert error.value.code is ErrorCode.CORRUPT_MESSAGE


def test_a_leader_appends_nothing_of_others() -> None:
    with pytest.raises(AssertionError):
        following.append(make_partition(), b"", 0)
