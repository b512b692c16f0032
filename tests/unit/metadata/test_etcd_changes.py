"""The messages of a watch, joined and cut so that a revision is never in two `Changes`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.metadata.etcd_changes import WatchCanceledError, WholeRevisions
from ottla.metadata.etcd_messages import PROGRESS_KEY, Event, WatchAnswer
from ottla.metadata.store import Changes, CompactedError, Put


def put(revision: int, key: str, value: bytes = b"v") -> Event:
    return Event(revision, key, value, revision)


def delete(revision: int, key: str) -> Event:
    return Event(revision, key, None, 0)


def answer(
    *events: Event,
    revision: int = 0,
    fragment: bool = False,
    created: bool = False,
    canceled: bool = False,
    compacted: int = 0,
    reason: str = "",
) -> WatchAnswer:
    return WatchAnswer(revision, events, fragment, created, canceled, compacted, reason)


def test_each_revision_of_an_answer_is_one_changes() -> None:
    revisions = WholeRevisions(4)
    assert revisions.take(answer(put(5, "a"), delete(5, "b"), put(7, "a", b"w"), revision=9)) == [
        Changes(5, (Put("a", b"v", 5),), ("b",)),
        Changes(7, (Put("a", b"w", 7),), ()),
    ]
    assert revisions.seen == 7


def test_a_revision_cut_into_fragments_is_yielded_whole() -> None:
    revisions = WholeRevisions(0)
    assert revisions.take(answer(put(1, "a"), put(2, "b"), fragment=True)) == [
        Changes(1, (Put("a", b"v", 1),), ())
    ]
    assert revisions.take(answer(put(2, "c"), fragment=True)) == []
    assert revisions.seen == 1
    assert revisions.take(answer(put(2, "d"))) == [
        Changes(2, tuple(Put(key, b"v", 2) for key in "bcd"), ())
    ]


def test_what_a_lost_connection_left_unfinished_is_forgotten() -> None:
    revisions = WholeRevisions(0)
    revisions.take(answer(put(1, "a"), put(2, "b"), fragment=True))
    revisions.restart()
    assert revisions.seen == 1
    assert revisions.take(answer(put(2, "b"), put(2, "c"))) == [
        Changes(2, (Put("b", b"v", 2), Put("c", b"v", 2)), ())
    ]


def test_an_answer_without_events_tells_how_far_the_watch_is() -> None:
    revisions = WholeRevisions(3)
    assert revisions.take(answer(revision=9, created=True)) == []
    assert revisions.take(answer(revision=9)) == [Changes(9, (), ())]
    assert revisions.take(answer(revision=9)) == []
    assert revisions.take(answer(revision=8)) == []
    assert revisions.seen == 9


def test_the_header_of_an_answer_with_events_tells_nothing() -> None:
    revisions = WholeRevisions(3)
    revisions.take(answer(put(4, "a"), revision=100))
    assert revisions.seen == 4
    assert revisions.take(answer(put(5, "a"), revision=100))[0].revision == 5


def test_an_answer_between_the_fragments_of_another_completes_nothing() -> None:
    revisions = WholeRevisions(0)
    revisions.take(answer(put(1, "a"), fragment=True))
    assert revisions.take(answer(fragment=True, revision=5)) == []
    assert revisions.take(answer(put(1, "b"))) == [
        Changes(1, (Put("a", b"v", 1), Put("b", b"v", 1)), ())
    ]


def test_the_progress_key_is_seen_as_progress() -> None:
    revisions = WholeRevisions(0)
    assert revisions.take(answer(put(1, PROGRESS_KEY))) == [Changes(1, (), ())]


@pytest.mark.parametrize("late", [put(3, "a"), put(4, "a")])
def test_a_revision_that_was_complete_must_not_go_on(late: Event) -> None:
    revisions = WholeRevisions(2)
    revisions.take(answer(put(4, "b")))
    with pytest.raises(CompactedError, match="missing"):
        revisions.take(answer(late))


def test_revisions_must_not_go_back_within_an_answer() -> None:
    with pytest.raises(CompactedError, match="missing"):
        WholeRevisions(0).take(answer(put(2, "a"), put(1, "b")))


def test_a_compacted_watch_is_told_apart_from_a_canceled_one() -> None:
    with pytest.raises(CompactedError, match="up to revision 7"):
        WholeRevisions(2).take(answer(canceled=True, compacted=7))
    with pytest.raises(WatchCanceledError, match="no leader"):
        WholeRevisions(2).take(answer(canceled=True, reason="no leader"))


@given(st.data())
def test_however_it_is_cut_the_same_changes_come_out(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    events = [
        put(revision, f"{revision}/{n}")
        for revision, size in enumerate(sizes, 1)
        for n in range(size)
    ]
    whole = WholeRevisions(0).take(answer(*events))
    assert [changes.revision for changes in whole] == list(range(1, len(sizes) + 1))

    cuts = sorted(data.draw(st.sets(st.integers(1, len(events) - 1)))) if len(events) > 1 else []
    pieces = [events[i:j] for i, j in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    revisions, found = WholeRevisions(0), []
    for n, piece in enumerate(pieces, 1):
        found += revisions.take(answer(*piece, fragment=n < len(pieces)))
    assert found == whole
