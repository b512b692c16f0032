"""What of a log's files is not durable yet, apart from how far its batches are."""

from typing import TYPE_CHECKING

from ottla.model.ids import Offset
from ottla.storage import names
from ottla.storage.flush import FlushJob
from ottla.storage.segment import Segment

if TYPE_CHECKING:
    from ottla.storage.log import Log


class Unsynced:
    """Names, index files and the epoch file of one log."""

    __slots__ = ("epochs", "name_synced", "rolled", "synced_segment", "synced_size")

    def __init__(self, name_synced: bool) -> None:
        self.name_synced = name_synced
        """The name of the log's directory, and its `partition.metadata`."""
        self.epochs = False
        """The epoch file was written since."""
        self.rolled: list[Segment] = []
        """Closed segments whose index files are not synced yet, oldest first."""
        self.synced_segment: Segment | None = None
        """The segment that was active when a flush began last, and its size then."""
        self.synced_size = 0

    def bytes_of(self, active: Segment) -> int:
        """How much of the active segment was written since a flush began last."""
        return active.size - (self.synced_size if self.synced_segment is active else 0)

    def forget(self, segments: list[Segment]) -> None:
        """They are gone, or active again."""
        self.rolled = [segment for segment in self.rolled if segment not in segments]

    def all_synced(self) -> None:
        self.name_synced = True
        self.epochs = False
        self.rolled = []


def flush_job(log: "Log") -> FlushJob | None:
    """Return what makes all records so far durable, None if they are.

    Raises:
        ApiError, StorageError: a file cannot be opened.
    """
    end = log.log_end_offset
    if not log.is_open or log.is_discarded:
        return None
    unsynced = log.unsynced
    rolled = unsynced.rolled
    if log.flushed_end_offset >= end and not rolled:
        return None
    active = log.segments.active
    if (
        log.flushed_end_offset >= active.base_offset
        and active.name_synced
        and not unsynced.epochs
        and not rolled
        and active.size
    ):
        # Nearly always; what follows comes to the same.
        return _job(log, [active], [], [], end)
    there = list(log.segments.from_offset(log.flushed_end_offset))
    segments = [segment for segment in there if segment.size]
    paths = [path for segment in rolled for path in segment.paths()[1:]]
    directories = []
    # An empty one counts: its name may be all that says where retention left the log.
    if any(not segment.name_synced for segment in there):
        directories.append(log.path)
        if not unsynced.name_synced:
            paths.append(f"{log.path}/{names.PARTITION_METADATA}")
            directories.append(log.directory.path)
    if unsynced.epochs:
        paths.append(f"{log.path}/{names.LEADER_EPOCH_CHECKPOINT}")
        if log.path not in directories:
            directories.append(log.path)
    unsynced.epochs = False
    job = _job(log, segments, paths, directories, end)
    job.rolled = rolled[:]
    return job


def _job(
    log: "Log", segments: list[Segment], paths: list[str], directories: list[str], end: Offset
) -> FlushJob:
    try:
        job = FlushJob(
            log.directory.disk, log.path, segments, paths, directories, end, log.generation
        )
    except OSError as error:
        log.directory.refuse(error, f"flush of {log.path}")
    job.active_size = log.segments.active.size
    return job


def flushed(log: "Log", job: FlushJob) -> None:
    """A worker ran the job; on the loop."""
    job.release()
    if job.generation == log.generation:
        log.unsynced.name_synced = True
        log.unsynced.forget(job.rolled)
        for segment in job.segments:
            segment.name_synced = True
        if job.end_offset > log.flushed_end_offset:
            log.flushed_end_offset = job.end_offset
            if job.segments:
                log.unsynced.synced_segment = job.segments[-1]
                log.unsynced.synced_size = job.active_size
