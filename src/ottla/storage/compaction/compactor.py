"""Which log is compacted next, and how far each has been: the state of compaction.

`cleaner-offset-checkpoint` of each directory says where the dirty part of its
logs begins. It is a hint: without it a log is compacted anew. A log is in it before
its first compaction changes anything: who finds holes must know whence they are.
"""

import logging
from collections.abc import Iterator
from typing import NamedTuple

from ottla.model.errors import ApiError, StorageError
from ottla.model.ids import Offset
from ottla.storage import checkpoints
from ottla.storage.compaction.choice import Candidate
from ottla.storage.compaction.survey import survey
from ottla.storage.directory import LogDirectory
from ottla.storage.log import Log
from ottla.storage.logs import Logs
from ottla.storage.removals import FilesJob

logger = logging.getLogger(__name__)


class _CleanUpTo(NamedTuple):
    offset: Offset
    generation: int
    """Of the log then: once truncated, it is not known any more."""


class Compactor:
    """The compaction of all logs; owned by the loop, like they."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._clean: dict[Log, _CleanUpTo] = {}
        self._uncleanable: dict[Log, str] = {}
        """What is damaged; it stays so until the broker starts anew."""

    def load(self) -> None:
        """To be called when the logs are loaded, before any of them changes."""
        for log, offset in self._logs.clean_offsets.items():
            self._clean[log] = _CleanUpTo(offset, log.generation)
        self._logs.clean_offsets.clear()

    # Choosing.

    def candidates(self, now_ms: int) -> Iterator[tuple[Log, Candidate]]:
        """Yield each log that may be compacted, with how dirty it is.

        A log is opened only if it may have something; None of it raises.
        """
        for log in list(self._logs):
            if "compact" not in log.config.cleanup_policy or log in self._uncleanable:
                continue
            if not log.directory.is_online or self._logs.get(log.partition) is not log:
                continue
            clean = self._clean_offset(log)
            if not log.is_open:
                summary = log.summary()
                if (clean or 0) >= summary.active_base_offset:
                    continue
            try:
                yield log, survey(log, clean, now_ms)
            except (ApiError, StorageError, OSError) as error:
                logger.warning("compaction of %s: %s", log.path, error)

    def _clean_offset(self, log: Log) -> Offset | None:
        known = self._clean.get(log)
        if known is None or known.generation != log.generation:
            return None
        return known.offset

    def begun(self, log: Log) -> FilesJob | None:
        """Return what must be on disk before `log` is changed, None if it is."""
        if log in self._clean:
            return None
        self._clean[log] = _CleanUpTo(0, log.generation)
        return self.checkpoint(log.directory)

    # What came of it.

    def done(self, log: Log, end_offset: Offset) -> FilesJob:
        """`log` is clean below `end_offset`; return the writing of the checkpoint."""
        self._clean[log] = _CleanUpTo(end_offset, log.generation)
        return self.checkpoint(log.directory)

    def damaged(self, log: Log, why: str) -> None:
        """Compact it no more."""
        self._uncleanable[log] = why
        logger.error("%s is not compacted any more: %s", log.path, why)

    def forget_deleted(self) -> list[FilesJob]:
        """Forget logs that are there no more; return what is to be written."""
        gone = [log for log in self._clean if self._logs.get(log.partition) is not log]
        directories = {log.directory: None for log in gone}
        for log in gone:
            del self._clean[log]
            self._uncleanable.pop(log, None)
        return [self.checkpoint(directory) for directory in directories if directory.is_online]

    def checkpoint(self, directory: LogDirectory) -> FilesJob:
        # A truncated one stays: below it there may be holes, which recovery must know.
        there = {
            log: min(clean.offset, log.log_end_offset)
            for log, clean in self._clean.items()
            if log.directory is directory and self._logs.get(log.partition) is log
        }
        offsets = {log.partition: offset for log, offset in there.items()}
        ids = {log.partition: log.topic_id for log in there}
        job = FilesJob(directory)
        path = f"{directory.path}/{checkpoints.CLEANER}"
        job.writes.append((path, checkpoints.offsets_text(offsets)))
        ids_path = f"{directory.path}/{checkpoints.IDS_OF}{checkpoints.CLEANER}"
        job.writes.append((ids_path, checkpoints.topic_ids_text(ids)))
        return job
