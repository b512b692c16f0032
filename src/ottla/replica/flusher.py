"""Group commit: one sync covers every append that waits on the file.

A partition asks for a flush; while its log is being synced, further askers wait
for the next round, which covers them all. Logs are synced in parallel: by the
kernel's threads where one file is all there is to do, which is nearly always,
else in the workers' own lane, so that cold reads and upkeep never stand before
an acknowledgement.

When a sync ends, those it covered are answered, and most of them come again at
once. On a slow disk the next sync waits for as many as that, or a quarter of
what the last one took: else it would begin for the first of them, and all the
others would wait through two.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ottla.model.clock import Clock, Timer
from ottla.model.errors import ApiError, StorageError
from ottla.model.workers import FileSyncs, Lane, Later, Workers
from ottla.replica.partition import Partition
from ottla.storage.flush import FlushJob
from ottla.storage.log import Log

SLOW_MS = 2
"""A sync that takes so long is worth a pause of a quarter of it, but at least 1 ms."""


@dataclass(slots=True)
class _Round:
    """A sync under way."""

    covers: int
    """Askers answered by it."""
    began_ms: int
    came: int = 0
    """Askers since it began."""


@dataclass(slots=True)
class _Gathering:
    """A pause before the next sync."""

    asked: int
    expected: int
    timer: Timer


class Flusher:
    def __init__(
        self,
        workers: Workers,
        clock: Clock,
        failed: Callable[[Partition, BaseException], None],
        file_syncs: FileSyncs | None = None,
    ) -> None:
        """`failed` hears of a partition whose sync failed: its directory is offline.

        `clock` is the transport clock. `file_syncs`, if any, does what is no more than one file.
        """
        self._workers = workers
        self._file_syncs = file_syncs
        self._clock = clock
        self._failed = failed
        self._running: dict[Partition, _Round] = {}
        self._gathering: dict[Partition, _Gathering] = {}
        self._idle: list[Callable[[], object]] = []

    def when_idle(self, callback: Callable[[], object]) -> None:
        """Call back once no flush runs or waits to; perhaps at once."""
        if self._running or self._gathering:
            self._idle.append(callback)
        else:
            callback()

    def request(self, partition: Partition) -> None:
        """Flush everything appended up to now, soon."""
        running = self._running.get(partition)
        if running is not None:
            running.came += 1
            return
        gathering = self._gathering.get(partition)
        if gathering is None:
            self._begin(partition, 1)
            return
        gathering.asked += 1
        if gathering.asked >= gathering.expected:
            gathering.timer.cancel()
            self._gathered(partition)

    def _begin(self, partition: Partition, askers: int) -> None:
        log = partition.log  # a move may put another in its place meanwhile
        try:
            job = log.flush_job()
        except (ApiError, StorageError) as error:
            self._failed(partition, error)
            return
        if job is None:
            partition.advance_high_watermark(0)
            return
        self._running[partition] = _Round(askers, self._clock.now_ms())
        fd = None if self._file_syncs is None else job.descriptor
        if fd is None:
            later = self._workers.submit(Lane.FSYNC, job.run)
            later.add_done_callback(partial(self._done, partition, log, job))
        else:
            assert self._file_syncs is not None
            self._file_syncs.sync(fd, partial(self._synced, partition, log, job))

    def _done(self, partition: Partition, log: Log, job: FlushJob, later: Later[None]) -> None:
        try:
            later.result()
        except (OSError, StorageError) as error:
            self._ended(partition, log, job, error)
        else:
            self._ended(partition, log, job, None)

    def _synced(self, partition: Partition, log: Log, job: FlushJob, error: OSError | None) -> None:
        self._ended(partition, log, job, None if error is None else job.failure(error))

    def _ended(
        self, partition: Partition, log: Log, job: FlushJob, error: OSError | StorageError | None
    ) -> None:
        ended = self._running.pop(partition)
        if error is not None:
            log.flush_failed(job, error)
            if not log.directory.is_online:
                self._failed(partition, error)
        else:
            log.flushed(job)
        if error is None or log is not partition.log:
            self._go_on(partition, ended)
            partition.advance_high_watermark(0)
        self._tell_idle()

    def _go_on(self, partition: Partition, ended: _Round) -> None:
        """Begin the next round, at once or when those just answered have come again."""
        now_ms = self._clock.now_ms()
        took_ms = now_ms - ended.began_ms
        expected = ended.covers + ended.came
        if expected > 1 and took_ms >= SLOW_MS:
            timer = self._clock.call_at(
                now_ms + max(1, took_ms // 4), partial(self._gathered, partition)
            )
            self._gathering[partition] = _Gathering(ended.came, expected, timer)
        elif ended.came:
            self._begin(partition, ended.came)

    def _gathered(self, partition: Partition) -> None:
        asked = self._gathering.pop(partition).asked
        if asked:
            self._begin(partition, asked)
        self._tell_idle()

    def _tell_idle(self) -> None:
        if not self._running and not self._gathering:
            callbacks, self._idle = self._idle, []
            for callback in callbacks:
                callback()
