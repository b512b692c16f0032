"""Transcripts of a share partition: who does what, and what is in whose hands then."""

import pytest

from ottla.coordinator.share.runs import StateBatch
from ottla.coordinator.share.state import (
    Acknowledgement,
    AcknowledgeType,
    Acquired,
    ShareLimits,
    ShareState,
)
from ottla.model.errors import ApiError, ErrorCode

GAP, ACCEPT, RELEASE, REJECT, RENEW = AcknowledgeType


def acquire(
    state: ShareState,
    member: str,
    last: int,
    now_ms: int = 0,
    *,
    max_records: int = 500,
    batch_size: int = 500,
    exactly: bool = False,
) -> list[tuple[int, int, int]]:
    """Read a log of batches of ten up to `last`."""
    fetch_offset = state.next_fetch_offset()
    base = fetch_offset - fetch_offset % 10
    batches = [(at, min(at + 9, last)) for at in range(base, last + 1, 10)]
    got = state.acquire(
        member,
        batches,
        fetch_offset,
        now_ms,
        max_records=max_records,
        batch_size=batch_size,
        exactly=exactly,
    )
    return [tuple(one) for one in got]


def acknowledge(state: ShareState, member: str, *acks: tuple[int, int, int]) -> list[StateBatch]:
    change = state.acknowledge(member, [Acknowledgement(a, b, [kind]) for a, b, kind in acks], 0)
    state.stored(change)
    return change.batches


def rows(state: ShareState) -> list[str]:
    return [repr(run).strip() for run in state.runs]


def test_accepted_records_move_the_start() -> None:
    state = ShareState(ShareLimits(), 0)
    assert acquire(state, "a", 9) == [(0, 9, 1)]
    assert acknowledge(state, "a", (5, 9, ACCEPT)) == [StateBatch(5, 9, 2, 1)]
    assert (state.start_offset, state.runs.complete_count) == (0, 5)
    assert acknowledge(state, "a", (0, 4, ACCEPT)) == [StateBatch(0, 4, 2, 1)]
    assert (state.start_offset, state.next_offset, rows(state)) == (10, 10, [])


def test_two_members_never_hold_the_same_record() -> None:
    state = ShareState(ShareLimits(), 0)
    assert acquire(state, "a", 29, max_records=5) == [(0, 9, 1)]  # the batch whole
    assert acquire(state, "b", 29, max_records=20) == [(10, 29, 1)]
    assert acquire(state, "c", 29) == []


def test_a_limit_of_records_may_be_meant_exactly() -> None:
    state = ShareState(ShareLimits(), 0)
    assert acquire(state, "a", 29, max_records=5, exactly=True) == [(0, 4, 1)]
    assert acquire(state, "b", 29, max_records=7, exactly=True) == [(5, 11, 1)]


def test_new_records_come_in_batches_of_the_size_asked_for() -> None:
    state = ShareState(ShareLimits(), 0)
    assert acquire(state, "a", 49, batch_size=15) == [(0, 19, 1), (20, 39, 1), (40, 49, 1)]


def test_released_records_are_delivered_again_and_at_last_given_up() -> None:
    state = ShareState(ShareLimits(delivery_count_limit=2), 0)
    for count in (1, 2):
        assert acquire(state, "a", 0) == [(0, 0, count)]
        acknowledge(state, "a", (0, 0, RELEASE))
    assert (state.start_offset, rows(state)) == (1, [])


def test_records_delivered_often_come_with_fewer_others_and_at_last_alone() -> None:
    state = ShareState(ShareLimits(delivery_count_limit=5), 0)
    sizes = []
    for _ in range(5):
        got = acquire(state, "a", 9)
        sizes.append(sum(last - first + 1 for first, last, _ in got))
        state.stored(state.release("a"))
    # 10, 10, 10, then half of the batch, then one by one.
    assert sizes == [10, 10, 10, 5, 1]


def test_a_rejected_record_is_not_delivered_again() -> None:
    state = ShareState(ShareLimits(), 0)
    acquire(state, "a", 9)
    acknowledge(state, "a", (0, 2, RELEASE), (3, 3, REJECT), (4, 4, GAP), (5, 9, ACCEPT))
    assert acquire(state, "b", 9) == [(0, 2, 2)]
    acknowledge(state, "b", (0, 2, ACCEPT))
    assert state.start_offset == 10


def test_a_lock_is_over_in_time_and_a_renewed_one_later() -> None:
    state = ShareState(ShareLimits(lock_duration_ms=100), 0)
    acquire(state, "a", 9, now_ms=0)
    assert state.next_deadline_ms() == 100
    renewed = state.acknowledge("a", [Acknowledgement(0, 4, [RENEW])], 60)
    assert renewed.batches == []
    change = state.expire(100)
    state.stored(change)
    assert change.batches == [StateBatch(5, 9, 0, 1)]
    assert state.next_deadline_ms() == 160
    with pytest.raises(ApiError) as late:
        acknowledge(state, "a", (5, 9, ACCEPT))
    assert late.value.code is ErrorCode.INVALID_RECORD_STATE
    acknowledge(state, "a", (0, 4, ACCEPT))


def test_renewing_may_be_forbidden() -> None:
    state = ShareState(ShareLimits(renewing_is_allowed=False), 0)
    acquire(state, "a", 9)
    with pytest.raises(ApiError) as refused:
        acknowledge(state, "a", (0, 9, RENEW))
    assert refused.value.code is ErrorCode.INVALID_RECORD_STATE


@pytest.mark.parametrize(
    ("member", "ack", "code"),
    [
        ("b", (0, 9, ACCEPT), ErrorCode.INVALID_RECORD_STATE),
        ("a", (5, 12, ACCEPT), ErrorCode.INVALID_REQUEST),
        ("a", (10, 12, ACCEPT), ErrorCode.INVALID_REQUEST),
        ("a", (5, 4, ACCEPT), ErrorCode.INVALID_REQUEST),
        ("a", (0, 9, 5), ErrorCode.INVALID_REQUEST),
        ("a", (0, 9, -1), ErrorCode.INVALID_REQUEST),
    ],
)
def test_a_bad_acknowledgement_changes_nothing(
    member: str, ack: tuple[int, int, int], code: ErrorCode
) -> None:
    state = ShareState(ShareLimits(), 0)
    acquire(state, "a", 9)
    with pytest.raises(ApiError) as refused:
        acknowledge(state, member, ack)
    assert refused.value.code is code
    assert acknowledge(state, "a", (0, 9, ACCEPT)) == [StateBatch(0, 9, 2, 1)]


def test_one_bad_acknowledgement_undoes_its_whole_request() -> None:
    state = ShareState(ShareLimits(), 0)
    acquire(state, "a", 9)
    acquire(state, "b", 19)
    with pytest.raises(ApiError):
        acknowledge(state, "a", (0, 9, ACCEPT), (10, 19, ACCEPT))
    assert rows(state) == ["0-9 ACQUIRED 1 a", "10-19 ACQUIRED 1 b"]


def test_acknowledgements_may_not_overlap() -> None:
    state = ShareState(ShareLimits(), 0)
    acquire(state, "a", 9)
    with pytest.raises(ApiError) as refused:
        acknowledge(state, "a", (0, 9, ACCEPT), (5, 6, RELEASE))
    assert refused.value.code is ErrorCode.INVALID_REQUEST
    assert rows(state) == ["0-9 ACQUIRED 1 a"]


def test_acknowledging_what_is_below_the_start_is_in_vain() -> None:
    state = ShareState(ShareLimits(), 0)
    acquire(state, "a", 9)
    state.log_start_moved(5)
    assert acknowledge(state, "a", (0, 3, ACCEPT)) == []
    assert acknowledge(state, "a", (0, 9, ACCEPT)) == [StateBatch(5, 9, 2, 1)]


def test_while_a_change_is_stored_its_records_are_nobodys() -> None:
    state = ShareState(ShareLimits(), 0)
    acquire(state, "a", 9)
    change = state.acknowledge("a", [Acknowledgement(0, 9, [RELEASE])], 0)
    assert acquire(state, "b", 9) == []
    with pytest.raises(ApiError):
        state.acknowledge("a", [Acknowledgement(0, 9, [ACCEPT])], 0)
    assert state.expire(10**9).batches == []
    state.stored(change)
    assert acquire(state, "b", 9) == [(0, 9, 2)]


def test_a_change_that_is_not_stored_is_taken_back() -> None:
    state = ShareState(ShareLimits(), 0)
    acquire(state, "a", 9)
    change = state.acknowledge("a", [Acknowledgement(0, 9, [ACCEPT])], 0)
    state.refused(change, 5)
    assert rows(state) == ["0-9 ACQUIRED 1 a"]
    assert state.start_offset == 0


def test_no_more_than_the_limit_is_in_flight_but_what_is_free_can_be_had() -> None:
    state = ShareState(ShareLimits(max_record_locks=20), 0)
    assert acquire(state, "a", 99) == [(0, 19, 1)]
    assert not state.can_acquire()
    assert acquire(state, "b", 99) == []
    acknowledge(state, "a", (10, 14, RELEASE))
    assert state.can_acquire()
    assert acquire(state, "b", 99) == [(10, 14, 2)]
    acknowledge(state, "a", (0, 9, ACCEPT))
    assert acquire(state, "b", 99) == [(20, 29, 1)]


def test_what_was_stored_comes_back_and_gaps_were_never_delivered() -> None:
    stored = [StateBatch(2, 3, 2, 1), StateBatch(6, 7, 0, 3), StateBatch(8, 8, 4, 5)]
    state = ShareState(ShareLimits(), 0, stored)
    assert (state.start_offset, state.next_offset) == (0, 9)
    assert acquire(state, "a", 8) == [(0, 1, 1), (4, 5, 1)]
    assert acquire(state, "a", 8) == [Acquired(6, 6, 4)]  # half of two, delivered often


def test_what_compaction_removed_is_not_waited_for() -> None:
    state = ShareState(ShareLimits(), 0)
    assert state.acquire("a", [(5, 9)], 0, 0, max_records=100, batch_size=100) == [
        Acquired(5, 9, 1)
    ]
    acknowledge(state, "a", (5, 9, ACCEPT))
    assert state.start_offset == 10


@pytest.mark.parametrize(
    "stored",
    [
        [StateBatch(5, 4, 0, 1)],
        [StateBatch(0, 4, 0, 1), StateBatch(4, 5, 0, 1)],
        [StateBatch(0, 0, 7, 1)],
    ],
)
def test_stored_nonsense_is_not_taken_over(stored: list[StateBatch]) -> None:
    with pytest.raises(ApiError):
        ShareState(ShareLimits(), 0, stored)
