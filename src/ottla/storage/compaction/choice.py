"""Which log to compact, up to where, and which segments become one (pure)."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ottla.model.ids import Offset
from ottla.storage.compaction.plan import Limits, SourceSegment
from ottla.storage.log_config import INT32_MAX


class SegmentFacts(NamedTuple):
    base_offset: Offset
    size: int
    largest_timestamp: int


class Candidate(NamedTuple):
    """How dirty a log is."""

    first_dirty_offset: Offset
    end_offset: Offset
    """Where the first segment begins that may not be compacted."""
    clean_bytes: int
    dirty_bytes: int
    is_overdue: bool
    """`max.compaction.lag.ms` has passed for some of it."""

    @property
    def dirty_ratio(self) -> float:
        total = self.clean_bytes + self.dirty_bytes
        return self.dirty_bytes / total if total else 0.0

    def is_due(self, min_cleanable_dirty_ratio: float) -> bool:
        if self.is_overdue and self.dirty_bytes > 0:
            return True
        return self.dirty_ratio > min_cleanable_dirty_ratio


def candidate(
    segments: Sequence[SegmentFacts],
    *,
    clean_offset: Offset | None,
    log_start_offset: Offset,
    log_end_offset: Offset,
    stable_offset: Offset,
    now_ms: int,
    min_lag_ms: int,
    max_lag_ms: int,
    first_timestamp: Callable[[int], int],
) -> Candidate:
    """Say how dirty a log is.

    Compacted is what lies below `stable_offset` (high watermark, open
    transactions, what is flushed), not in the active segment, and, from the first
    dirty segment on, before one with a record younger than `min_lag_ms`. A
    `clean_offset` outside the log is not believed: all of it is dirty.
    `first_timestamp` gives that of the first batch of a segment, by its index.
    """
    if clean_offset is None or not log_start_offset <= clean_offset <= log_end_offset:
        clean_offset = log_start_offset
    active = len(segments) - 1
    first_dirty = min(_holding(segments, clean_offset), active)
    bound = min(stable_offset, segments[active].base_offset)
    if min_lag_ms > 0:
        for segment in segments[first_dirty:active]:
            if segment.largest_timestamp > now_ms - min_lag_ms:
                bound = min(bound, segment.base_offset)
                break
    bound = max(clean_offset, bound)
    end = min(_holding(segments, bound), active)
    end_offset = segments[end].base_offset
    overdue = False
    if max_lag_ms < now_ms:
        oldest = [t for t in map(first_timestamp, range(first_dirty, active)) if t > 0]
        overdue = bool(oldest) and min(oldest) < now_ms - max_lag_ms
    # A segment that is clean in part counts as both, as in Kafka.
    clean = sum(segment.size for segment in segments if segment.base_offset < clean_offset)
    dirty_from = _holding(segments, min(clean_offset, end_offset))
    dirty = sum(segment.size for segment in segments[dirty_from:end])
    return Candidate(clean_offset, end_offset, clean, dirty, overdue)


def _holding(segments: Sequence[SegmentFacts], offset: Offset) -> int:
    """Return the index of the segment that holds `offset`; the first if none does."""
    found = 0
    for index, segment in enumerate(segments):
        if segment.base_offset > offset:
            break
        found = index
    return found


def groups(
    segments: Sequence[SourceSegment], end_offset: Offset, limits: Limits
) -> Iterator[tuple[SourceSegment, ...]]:
    """Yield runs of the segments that begin below `end_offset`, each to become one.

    Together they are no larger than a segment may be, nor are their indexes, and
    their offsets fit a relative one.
    """
    group: list[SourceSegment] = []
    size = index_bytes = time_index_bytes = 0
    for segment in segments:
        if segment.base_offset >= end_offset:
            break
        size += segment.size
        index_bytes += segment.index_bytes
        time_index_bytes += segment.time_index_bytes
        if group and (
            size > limits.segment_bytes
            or index_bytes > limits.segment_index_bytes
            or time_index_bytes > limits.segment_index_bytes
            or segment.end_offset - 1 - group[0].base_offset > INT32_MAX
        ):
            yield tuple(group)
            group = []
            size = segment.size
            index_bytes, time_index_bytes = segment.index_bytes, segment.time_index_bytes
        group.append(segment)
    if group:
        yield tuple(group)
