"""What the logs of this broker need again and again: retention, removals, flushes, checkpoints."""

from collections.abc import Callable, Iterable, Sequence

from ottla.broker.files_jobs import FilesJobs
from ottla.config.broker_config import BrokerConfig
from ottla.model.clock import Clock
from ottla.replica.crowding import Crowding
from ottla.replica.flusher import Flusher
from ottla.replica.partition import Partition
from ottla.replica.replicas import Replicas
from ottla.storage.logs import Logs

RETAIN_PER_TURN = 500
"""Logs looked at in one turn: a few milliseconds."""


class LogTending:
    def __init__(
        self,
        logs: Logs,
        replicas: Replicas,
        flusher: Flusher,
        files_jobs: FilesJobs,
        clock: Clock,
        config: Callable[[], BrokerConfig],
        *,
        crowded: Callable[[Iterable[Partition]], None],
        offline: Callable[[], None],
    ) -> None:
        """`clock` is the domain clock; `config` returns the settings as they are now.

        `crowded` hears of the partitions there has been no room for, `offline` that a directory
        is; both again and again while it is so.
        """
        self._logs = logs
        self._replicas = replicas
        self._flusher = flusher
        self._files_jobs = files_jobs
        self._clock = clock
        self._config = config
        self._crowded = crowded
        self._offline = offline
        self._crowding = Crowding()
        self._retaining = False

    def tend(self) -> None:
        """A share of a round of retention; removals and flushes that are due; failed disks."""
        now_ms = self._clock.now_ms()
        self._keep_within_limit()
        if self._retaining:
            self._logs.retention_turn(now_ms, RETAIN_PER_TURN)
            self._retaining = not self._logs.retention_is_over
        for job in self._logs.removal_jobs(now_ms):
            self._files_jobs.run(job)
        for partition in list(self._replicas):
            if partition.flush_is_due(now_ms):
                self._flusher.request(partition)
            partition.tell_start()  # retention may have moved it
        for directory in self._logs.directories:
            directory.look_back()
        crowded = self._crowding.look(self._replicas)
        if crowded:
            self._crowded(crowded)
        if self._logs.some_are_offline:
            self._offline()

    def begin_retention(self) -> None:
        """A round over all logs, a share at a time."""
        self._retaining = True

    def make_room(self) -> None:
        """There is little left of the limit: do not wait for the next second."""
        self._keep_within_limit()
        for job in self._logs.removal_jobs(self._clock.now_ms()):
            self._files_jobs.run(job, self._keep_within_limit)

    def _keep_within_limit(self) -> None:
        self._logs.keep_within(self._config().log_dir_max_bytes, self._clock.now_ms())

    def checkpoint(self, names: Sequence[str]) -> None:
        for job in self._logs.checkpoint_jobs(names):
            self._files_jobs.run(job)

    def expire_producers(self) -> None:
        now_ms, limit_ms = self._clock.now_ms(), self._config().producer_id_expiration_ms
        for partition in list(self._replicas):
            if partition.log.is_open:
                partition.log.producers.expire(now_ms, limit_ms)
