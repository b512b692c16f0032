"""How dirty a log is, and which of its segments become one."""

from typing import Any

import pytest

from ottla.storage.compaction.choice import Candidate, SegmentFacts, candidate, groups
from ottla.storage.compaction.plan import Limits, SourceSegment
from ottla.storage.log_config import INT64_MAX

#: Four closed segments of 100 bytes and 10 offsets, and an active one.
SEGMENTS = [SegmentFacts(base, 100, 1_000 + base) for base in range(0, 50, 10)]


def choose(**changed: Any) -> Candidate:
    given: dict[str, Any] = {
        "clean_offset": None,
        "log_start_offset": 0,
        "log_end_offset": 45,
        "stable_offset": 45,
        "now_ms": 1_000_000,
        "min_lag_ms": 0,
        "max_lag_ms": INT64_MAX,
        "first_timestamp": lambda index: SEGMENTS[index].largest_timestamp,
    }
    return candidate(SEGMENTS, **(given | changed))


def test_a_new_log_is_all_dirty_but_for_its_active_segment() -> None:
    assert choose() == Candidate(0, 40, 0, 400, False)


def test_what_is_clean_is_not_dirty() -> None:
    found = choose(clean_offset=30)
    assert (found.clean_bytes, found.dirty_bytes) == (300, 100)
    assert found.dirty_ratio == 0.25
    assert found.is_due(0.2)
    assert not found.is_due(0.25)


def test_a_log_with_one_segment_has_nothing_to_compact() -> None:
    found = candidate(
        SEGMENTS[:1],
        clean_offset=None,
        log_start_offset=0,
        log_end_offset=5,
        stable_offset=5,
        now_ms=1_000_000,
        min_lag_ms=0,
        max_lag_ms=1,
        first_timestamp=lambda index: 1,
    )
    assert found.dirty_bytes == 0
    assert not found.is_due(0.0)


@pytest.mark.parametrize("clean_offset", [5, 46])
def test_a_checkpoint_outside_the_log_is_not_believed(clean_offset: int) -> None:
    assert choose(clean_offset=clean_offset, log_start_offset=10).first_dirty_offset == 10


def test_nothing_is_touched_from_the_segment_with_the_first_unstable_offset_on() -> None:
    assert choose(stable_offset=25).end_offset == 20
    assert choose(stable_offset=30).end_offset == 30


def test_a_young_record_keeps_its_segment_and_all_after_it() -> None:
    assert choose(now_ms=1_120, min_lag_ms=100).end_offset == 30
    assert choose(now_ms=1_200, min_lag_ms=100).end_offset == 40


def test_a_young_record_in_the_clean_part_keeps_nothing() -> None:
    assert choose(clean_offset=30, now_ms=1_130, min_lag_ms=100).end_offset == 40


def test_an_old_record_makes_a_log_due_whatever_its_ratio() -> None:
    assert not choose(clean_offset=30, now_ms=2_030, max_lag_ms=1_000).is_due(0.9)
    assert choose(clean_offset=30, now_ms=2_031, max_lag_ms=1_000).is_due(0.9)


def test_an_old_record_that_may_not_be_touched_makes_nothing_due() -> None:
    assert not choose(stable_offset=5, now_ms=9_000, max_lag_ms=1_000).is_due(0.9)


LIMITS = Limits(300, 1_000, 4_096, 0, 1 << 20, 0.9, 4_096)


def sources(*sizes: int, step: int = 10, index: int = 0) -> list[SourceSegment]:
    return [
        SourceSegment(at * step, size, index, index, (at + 1) * step)
        for at, size in enumerate(sizes)
    ]


def grouped(segments: list[SourceSegment], end: int = 1 << 60) -> list[list[int]]:
    return [[segment.base_offset for segment in group] for group in groups(segments, end, LIMITS)]


def test_segments_become_one_while_they_fit() -> None:
    assert grouped(sources(100, 200, 1, 299, 300)) == [[0, 10], [20, 30], [40]]


def test_one_that_is_too_large_stays_alone() -> None:
    assert grouped(sources(500, 10, 10)) == [[0], [10, 20]]


def test_indexes_must_fit_too() -> None:
    assert grouped(sources(1, 1, 1, index=500)) == [[0, 10], [20]]


def test_offsets_must_fit_a_relative_one() -> None:
    assert grouped(sources(1, 1, 1, step=2**30)) == [[0, 2**30], [2**31]]


def test_what_begins_beyond_the_end_is_left() -> None:
    assert grouped(sources(1, 1, 1), end=11) == [[0, 10]]
