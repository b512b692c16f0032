from hypothesis import given
from hypothesis import strategies as st

from ottla.storage.retention import SegmentSummary, expired_count

OFF = {"retention_ms": -1, "retention_bytes": -1, "now_ms": 0, "log_start_offset": 0}
FIVE = [SegmentSummary(10 * at, 100, 1000 * at) for at in range(5)]
END = {"log_end_offset": 50, "high_watermark": 50}


def count(**settings: int) -> int:
    return expired_count(FIVE, **{**OFF, **END, **settings})


def test_by_time_the_largest_timestamp_counts() -> None:
    assert count(retention_ms=1000, now_ms=2000) == 1
    assert count(retention_ms=1000, now_ms=2001) == 2
    assert count(retention_ms=0, now_ms=9999) == 5


def test_by_time_it_stops_at_the_first_that_is_young() -> None:
    segments = [FIVE[0], FIVE[4]._replace(base_offset=10), FIVE[1]._replace(base_offset=20)]
    assert expired_count(segments, **{**OFF, **END, "retention_ms": 500, "now_ms": 2000}) == 1


def test_by_size_what_remains_is_at_least_the_limit() -> None:
    assert [count(retention_bytes=n) for n in (500, 499, 400, 399, 101, 100, 0)] == [
        0, 0, 1, 1, 3, 4, 5,
    ]  # fmt: skip


def test_below_the_log_start_all_but_the_active_one_go() -> None:
    assert [count(log_start_offset=n) for n in (0, 9, 10, 19, 50)] == [0, 0, 1, 1, 4]


def test_nothing_goes_above_the_high_watermark() -> None:
    assert count(retention_bytes=0, high_watermark=29) == 2


def test_an_empty_active_segment_stays() -> None:
    segments = [*FIVE, SegmentSummary(50, 0, -1)]
    assert expired_count(segments, **{**OFF, **END, "retention_bytes": 0}) == 5
    assert expired_count([FIVE[0]._replace(size=0)], **{**OFF, **END, "retention_bytes": 0}) == 0


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6),
    st.integers(-1, 40),
    st.integers(-1, 12),
    st.integers(0, 60),
)
def test_what_goes_is_the_longest_run_any_rule_asks_for(
    shapes: list[tuple[int, int]], retention_bytes: int, retention_ms: int, start: int
) -> None:
    segments = [SegmentSummary(10 * at, size, time) for at, (size, time) in enumerate(shapes)]
    end = 10 * len(segments)
    sizes = [segment.size for segment in segments]

    def by_size() -> int:
        fits = [n for n in range(len(sizes) + 1) if sum(sizes[n:]) >= retention_bytes]
        return max(fits, default=0) if retention_bytes >= 0 else 0

    def by_time() -> int:
        young = [at for at, s in enumerate(segments) if 10 - s.largest_timestamp <= retention_ms]
        return min(young, default=len(segments)) if retention_ms >= 0 else 0

    def by_start() -> int:
        return min(start // 10, len(segments) - 1)

    expected = max(by_size(), by_time(), by_start())
    if sizes[-1] == 0:
        expected = min(expected, len(segments) - 1)
    assert expected == expired_count(
        segments,
        log_start_offset=start,
        log_end_offset=end,
        high_watermark=end,
        now_ms=10,
        retention_ms=retention_ms,
        retention_bytes=retention_bytes,
    )
