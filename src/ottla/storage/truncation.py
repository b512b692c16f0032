"""Cutting a log's end off.

The recovery point is lowered first and durably: what is written where something
else was durable must be checked after a power cut. The newest segments go first,
so that a death meanwhile leaves a beginning of the log, never an end or a hole.

While `ottla-cut.tmp` is there, the cut may not be durable: recovery after a death
of the process sees to that before anything is appended.
"""

from typing import TYPE_CHECKING

from ottla.model.errors import StorageError
from ottla.model.ids import Offset
from ottla.storage import names, scan
from ottla.storage.segment import Segment

if TYPE_CHECKING:
    from ottla.storage.log import Log


def truncate_to(log: "Log", offset: Offset, now_ms: int) -> bool:
    """Drop all records at `offset` and above; return whether any were there.

    A batch that spans `offset` goes as a whole.

    Raises:
        StorageError: the disk failed, the directory is offline.
    """
    segments = log.segments
    if offset >= log.log_end_offset:
        return False
    if offset <= segments.first.base_offset:
        truncate_fully_and_start_at(log, offset, now_ms)
        return True
    log.forget_reads()
    try:
        index = segments.index_of(offset)
        _lower_recovery_point(log, segments[index].base_offset)
        _begin_cut(log)
        _remove(log, segments.remove_from(index + 1) if index + 1 < len(segments) else [])
        active = segments.active
        log.activate(active)
        log.unsynced.forget([active])
        end = active.truncate_to(offset, now_ms)
        _sync_cut(log, active)
        log.log_end_offset = end
        log.flushed_end_offset = min(log.flushed_end_offset, end)
        log.high_watermark = min(log.high_watermark, end)
        log.log_start_offset = min(log.log_start_offset, end)
        log.leader_epochs.truncate_from_end(end)
        log.write_epochs()
        log.history.go_back(segments, log.log_start_offset, end)
    except (OSError, scan.NotABatch) as error:
        log.directory.go_offline(f"truncating {log.path} to {offset}: {error}")
        raise StorageError(f"truncating {log.path} to {offset}: {error}") from error
    return True


def truncate_fully_and_start_at(log: "Log", offset: Offset, now_ms: int) -> None:
    """Drop everything; the next record gets `offset`.

    Raises:
        StorageError: the disk failed, the directory is offline.
    """
    segments = log.segments
    log.forget_reads()
    try:
        removed = list(segments)
        _lower_recovery_point(log, min(offset, segments.first.base_offset))
        _begin_cut(log)
        _remove(log, removed)
        _forget_deleted(log, offset)
        # They say what producers sent that the new log knows nothing of: gone with the same sync.
        log.history.remove(lambda at: True)
        segment = log.new_segment(offset, now_ms)
        segment.ensure_file()
        segments.replace_all(segment)
        log.activate(segment)
        _sync_cut(log, segment)
        log.log_start_offset = log.log_end_offset = offset
        log.flushed_end_offset = log.high_watermark = offset
        log.leader_epochs.clear()
        log.write_epochs()
        log.producers.clear(offset)
    except OSError as error:
        log.directory.go_offline(f"truncating {log.path}: {error}")
        raise StorageError(f"truncating {log.path}: {error}") from error


def _lower_recovery_point(log: "Log", offset: Offset) -> None:
    if offset < log.flushed_end_offset:
        log.flushed_end_offset = offset
        if log.directory.on_truncation is not None:
            log.directory.on_truncation(log.directory)


def _forget_deleted(log: "Log", offset: Offset) -> None:
    """What retention took above `offset` must not tell recovery where the log had been."""
    disk = log.directory.disk
    for name in disk.list(log.path):
        if name.endswith(names.DELETED) and name[:20].isdigit() and int(name[:20]) >= offset:
            disk.remove(f"{log.path}/{name}")


def _begin_cut(log: "Log") -> None:
    log.directory.disk.create(f"{log.path}/{names.CUT}", b"")


def _sync_cut(log: "Log", segment: Segment) -> None:
    """What was cut must not come back, beyond newer records, after a power cut."""
    segment.handle.get(create=True).sync()
    log.directory.disk.sync_directory(log.path)
    log.directory.disk.remove(f"{log.path}/{names.CUT}")


def _remove(log: "Log", segments: list[Segment]) -> None:
    log.unsynced.forget(segments)
    disk = log.directory.disk
    for segment in reversed(segments):
        segment.handle.discard()
        for path in segment.paths():
            if disk.exists(path):
                disk.remove(path)
