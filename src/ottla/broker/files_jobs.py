"""Files written and removed by a worker, and again later where there is no room now."""

from collections.abc import Callable

from ottla.model.clock import Clock
from ottla.model.errors import StorageError
from ottla.model.workers import Lane, Later, Workers
from ottla.storage.removals import FilesJob, NotNowError

RETRY_MS = 5_000
"""When a file could not be written for want of room."""


def _nothing() -> None:
    pass


class FilesJobs:
    def __init__(self, workers: Workers, clock: Clock, went_offline: Callable[[], None]) -> None:
        """`clock` is the transport clock; `went_offline` hears that a job took its directory so."""
        self._workers = workers
        self._clock = clock
        self._went_offline = went_offline
        self._stopped = False
        self._later: dict[tuple[str, ...], FilesJob] = {}

    @property
    def for_later(self) -> int:
        """How many wait for room, those without files of their own apart."""
        return len(self._later)

    def run(self, job: FilesJob, then: Callable[[], None] = _nothing) -> None:
        """Have a worker do it, and again later if there is no room; `then` when it is done."""

        def done(later: Later[None]) -> None:
            try:
                later.result()
                job.done()
                then()
            except NotNowError:
                self._run_later(job, then)
            except StorageError as error:
                job.directory.go_offline(str(error))
                self._went_offline()

        if self._stopped or not job.directory.is_online:
            return
        self._workers.submit(Lane.UPKEEP, job.run).add_done_callback(done)

    def _run_later(self, job: FilesJob, then: Callable[[], None]) -> None:
        """Of those that would write the same files, the newest says all that is to be said."""
        waiting, key = self._later, job.rewrites
        if key and key in waiting:
            waiting[key] = max(job, waiting[key], key=lambda each: each.number)
            return
        if key:
            waiting[key] = job

        def again() -> None:
            self.run(waiting.pop(key, job), then)

        self._clock.call_at(self._clock.now_ms() + RETRY_MS, again)

    def stop(self) -> None:
        """Begin none any more."""
        self._stopped = True
