"""Fetch sessions: who watches what, and who is told."""

import pytest
from tests.unit.replica.parts import TOPIC_ID, append, make_partition

from ottla.handlers.fetch_sessions import EVICT_AFTER_MS, MAX_EPOCH, FetchSessions, FetchSet, Wanted
from ottla.model.errors import ErrorCode
from ottla.replica.partition import Partition
from ottla.testing.randomness import SeededRandomness


def sessions(slots: int = 10) -> FetchSessions:
    return FetchSessions(slots, SeededRandomness(1))


def begin(store: FetchSessions, partition: Partition, now_ms: int = 0) -> tuple[FetchSet, Wanted]:
    """A new session that watches the partition and has read all of it."""
    fetch = store.open(0, 0, by_id=True, now_ms=now_ms).fetch
    assert fetch is not None
    wanted = Wanted((TOPIC_ID, 0), "t", TOPIC_ID)
    fetch.add(wanted)
    fetch.watch(wanted, partition)
    fetch.dirty.clear()
    return fetch, wanted


def test_a_waiting_fetch_hears_of_every_append() -> None:
    partition = make_partition()
    fetch, wanted = begin(sessions(), partition)
    heard: list[int] = []
    fetch.on_news = heard.append
    for _ in range(3):
        append(partition)
    assert len(heard) == 3
    assert wanted in fetch.dirty
    assert fetch in partition.watchers


def test_a_session_that_nobody_polls_is_told_once() -> None:
    """Its client may be dead: appends must not go on paying for it."""
    partition = make_partition()
    fetch, wanted = begin(sessions(), partition)
    append(partition)
    assert wanted in fetch.dirty
    assert fetch not in partition.watchers
    append(partition)
    fetch.watch(wanted, partition)
    assert fetch in partition.watchers


def test_a_forgotten_session_watches_nothing() -> None:
    partition = make_partition()
    store = sessions()
    fetch, _ = begin(store, partition)
    store.forget(fetch.session_id)
    assert not partition.watchers
    assert len(store) == 0


def test_a_session_goes_on_by_its_epochs() -> None:
    store = sessions()
    fetch, _ = begin(store, make_partition())
    number = fetch.session_id
    assert (
        store.open(number, 2, by_id=True, now_ms=0).error == ErrorCode.INVALID_FETCH_SESSION_EPOCH
    )
    again = store.open(number, 1, by_id=True, now_ms=0)
    assert (again.fetch, again.full) == (fetch, False)
    other = store.open(number, 2, by_id=False, now_ms=0)
    assert other.error == ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR
    gone = store.open(number + 1, 1, by_id=True, now_ms=0)
    assert gone.error == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_only_a_session_unused_for_long_gives_its_place_away() -> None:
    store, partition = sessions(slots=1), make_partition()
    first, _ = begin(store, partition)
    second, _ = begin(store, partition, now_ms=EVICT_AFTER_MS)
    assert (first.session_id != 0, second.session_id) == (True, 0)
    third, _ = begin(store, partition, now_ms=EVICT_AFTER_MS + 1)
    assert third.session_id != 0
    assert first not in partition.watchers


def test_after_the_last_epoch_comes_the_first() -> None:
    store = sessions()
    fetch, _ = begin(store, make_partition())
    fetch.epoch = MAX_EPOCH
    assert store.open(fetch.session_id, MAX_EPOCH, by_id=True, now_ms=0).fetch is fetch
    assert store.open(fetch.session_id, 1, by_id=True, now_ms=0).fetch is fetch


@pytest.mark.parametrize("epoch", [0, -1])
def test_beginning_anew_and_ending_forget_the_old_session(epoch: int) -> None:
    store = sessions()
    begun, _ = begin(store, make_partition())
    after = store.open(begun.session_id, epoch, by_id=True, now_ms=0).fetch
    assert after is not None
    assert (after.session_id == 0) == (epoch == -1)
    gone = store.open(begun.session_id, 1, by_id=True, now_ms=0)
    assert gone.error is ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_no_slots_means_no_sessions() -> None:
    fetch, _ = begin(sessions(slots=0), make_partition())
    assert fetch.session_id == 0


def test_a_moved_start_is_news_that_wakes_nobody() -> None:
    partition = make_partition()
    fetch, wanted = begin(sessions(), partition)
    append(partition)
    fetch.watch(wanted, partition)
    fetch.dirty.clear()
    heard: list[int] = []
    fetch.on_news = heard.append
    partition.advance_log_start(1)
    assert (wanted in fetch.dirty, heard) == (True, [])
    fetch.dirty.clear()
    partition.tell_start()
    assert not fetch.dirty, "it was told already"
