"""Which of the oldest segments may go (pure)."""

from collections.abc import Sequence
from typing import NamedTuple

from ottla.model.ids import Offset


class SegmentSummary(NamedTuple):
    base_offset: Offset
    size: int
    largest_timestamp: int
    """Where no record has one, when the file was last changed."""


def expired_count(
    segments: Sequence[SegmentSummary],
    *,
    log_start_offset: Offset,
    log_end_offset: Offset,
    high_watermark: Offset,
    now_ms: int,
    retention_ms: int,
    retention_bytes: int,
) -> int:
    """Return how many segments may go, oldest first.

    A segment goes when its largest timestamp is more than `retention_ms` ago,
    when the log without it is still at least `retention_bytes`, or when it ends
    at or below the log's start; never above the high watermark, and an empty
    active one never. -1 switches a rule off. If all may go, the active one
    counts too: the caller rolls first.
    """
    excess = sum(segment.size for segment in segments) - retention_bytes
    if retention_bytes < 0:
        excess = -1
    old = too_much = below = True
    for count, segment in enumerate(segments):
        last = count + 1 == len(segments)
        end = log_end_offset if last else segments[count + 1].base_offset
        if high_watermark < end or (last and segment.size == 0):
            return count
        # Each rule stops for good at the first segment that it would keep.
        old = old and retention_ms >= 0 and now_ms - segment.largest_timestamp > retention_ms
        too_much = too_much and excess - segment.size >= 0
        below = below and not last and end <= log_start_offset
        if not (old or too_much or below):
            return count
        excess -= segment.size
    return len(segments)
