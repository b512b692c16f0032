"""Group commit: one sync covers every append that waits on the file.

A partition asks for a flush; while its log is being synced, further askers wait
for the next round, which covers them all. Logs are synced in parallel, in the
workers' own lane, so that cold reads and upkeep never stand before an
acknowledgement.
"""

from collections.abc import Callable
from functools import partial

from ottla.model.errors import ApiError, StorageError
from ottla.model.workers import Lane, Later, Workers
from ottla.replica.partition import Partition
from ottla.storage.flush import FlushJob


class Flusher:
    def __init__(
        self, workers: Workers, failed: Callable[[Partition, BaseException], None]
    ) -> None:
        """`failed` hears of a partition whose sync failed: its directory is offline."""
        self._workers = workers
        self._failed = failed
        self._running: dict[Partition, None] = {}
        self._again: dict[Partition, None] = {}
        self._idle: list[Callable[[], object]] = []

    def when_idle(self, callback: Callable[[], object]) -> None:
        """Call back once no flush runs or waits to; perhaps at once."""
        if self._running:
            self._idle.append(callback)
        else:
            callback()

    def request(self, partition: Partition) -> None:
        """Flush everything appended up to now, soon."""
        if partition in self._running:
            self._again[partition] = None
            return
        try:
            job = partition.log.flush_job()
        except (ApiError, StorageError) as error:
            self._failed(partition, error)
            return
        if job is None:
            partition.advance_high_watermark(0)
            return
        self._running[partition] = None
        later = self._workers.submit(Lane.FSYNC, job.run)
        later.add_done_callback(partial(self._done, partition, job))

    def _done(self, partition: Partition, job: FlushJob, later: Later[None]) -> None:
        del self._running[partition]
        self._settle(partition, job, later)
        if not self._running:
            callbacks, self._idle = self._idle, []
            for callback in callbacks:
                callback()

    def _settle(self, partition: Partition, job: FlushJob, later: Later[None]) -> None:
        again = partition in self._again
        self._again.pop(partition, None)
        try:
            later.result()
        except (OSError, StorageError) as error:
            partition.log.flush_failed(job, error)
            if not partition.log.directory.is_online:
                self._failed(partition, error)
            return
        partition.log.flushed(job)
        partition.advance_high_watermark(0)
        if again:
            self.request(partition)
