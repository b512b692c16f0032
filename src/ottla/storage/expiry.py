"""Taking a log's oldest segments out, as `retention` says."""

from typing import TYPE_CHECKING

from ottla.storage import names
from ottla.storage.disk import is_passing
from ottla.storage.log_values import LogSummary
from ottla.storage.retention import SegmentSummary, expired_count
from ottla.storage.segment import Segment

if TYPE_CHECKING:
    from ottla.storage.log import Log


def apply_retention(log: "Log", now_ms: int, most: int | None) -> list[Segment]:
    """Take segments out that are too old, too many or below the log's start, `most` at most.

    Their files are renamed `.deleted`; the caller removes them when
    `file.delete.delay.ms` has passed.

    Raises:
        StorageError: the disk failed, the directory is offline.
    """
    segments = log.segments
    config = log.config
    count = expired_count(
        [_summarize(log, segment) for segment in segments],
        log_start_offset=log.log_start_offset,
        log_end_offset=log.log_end_offset,
        high_watermark=log.high_watermark,
        now_ms=now_ms,
        retention_ms=config.retention_ms if "delete" in config.cleanup_policy else -1,
        retention_bytes=config.retention_bytes if "delete" in config.cleanup_policy else -1,
    )
    if count == 0:
        return []
    if most is not None:
        count = min(count, most)
    if count == len(segments):
        log.roll(now_ms)
    return remove_oldest(log, count)


def may_expire(log: "Log", summary: LogSummary, now_ms: int) -> bool:
    """Say whether `apply_retention` may find something in a log that is not open."""
    config = log.config
    if summary.log_start_offset > summary.first_base_offset:
        return True
    if summary.size_bytes == 0 or "delete" not in config.cleanup_policy:
        return False
    return (
        config.retention_ms >= 0 and now_ms - summary.first_timestamp > config.retention_ms
    ) or (0 <= config.retention_bytes < summary.size_bytes)


def _summarize(log: "Log", segment: Segment) -> SegmentSummary:
    largest = segment.largest_timestamp
    if largest < 0 and segment.size:
        largest = log.directory.disk.modified_ms(segment.log_path)
    return SegmentSummary(segment.base_offset, segment.size, largest)


def remove_oldest(log: "Log", count: int) -> list[Segment]:
    """Take so many out, as `apply_retention` does; the active one must stay.

    Fewer are taken where the disk refuses a rename after the first; what it refused stays in the
    log for the next time, so that no segment is ever behind a hole.
    """
    removed: list[Segment] = []
    log.cursors.clear()
    try:
        for _ in range(count):
            _remove_first(log, removed)
        start = log.segments.first.base_offset
        log.history.remove(lambda at: at < start)
    except OSError as error:
        doing = f"deleting segments of {log.path}"
        if not removed or not is_passing(error):
            log.directory.refuse(error, doing)
        log.directory.found_wanting(error, doing)
    finally:
        log.unsynced.forget(removed)
    start = log.segments.first.base_offset
    if start > log.log_start_offset:
        log.log_start_offset = start
    log.leader_epochs.truncate_from_start(log.log_start_offset)
    return removed


def _remove_first(log: "Log", removed: list[Segment]) -> None:
    """Raises OSError: what is not in `removed` then is as it was."""
    disk = log.directory.disk
    segment = log.segments.first
    # Its records decide: an index beside none is nobody's, and is removed at the next start.
    if disk.exists(segment.log_path):
        disk.rename(segment.log_path, segment.log_path + names.DELETED)
    removed += log.segments.remove_first(1)
    segment.handle.discard()
    for path in segment.paths():
        if disk.exists(path):
            disk.rename(path, path + names.DELETED)
