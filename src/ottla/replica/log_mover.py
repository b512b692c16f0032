"""Moving replicas between log directories while they serve (KIP-113).

A slice at a time is read from the log and appended to its copy, with other work in
between. Once the copy has everything it is made durable; what came meanwhile is small,
and is copied in the very turn of the loop in which the copy takes the log's place, so
that no append falls between the two.
"""

import logging
from collections.abc import Callable
from functools import partial

from ottla.model.clock import Clock, Timer
from ottla.model.errors import ApiError, StorageError
from ottla.model.ids import Offset
from ottla.model.workers import Lane, Later, Workers
from ottla.replica.partition import Partition
from ottla.storage import futures
from ottla.storage.disk import Buffer
from ottla.storage.flush import FlushJob
from ottla.storage.log import Log
from ottla.storage.logs import Logs

log = logging.getLogger("ottla.replica")

SLICE_BYTES = 1024 * 1024
PAUSE_MS = 1
"""Between two slices, so that others have their turn."""
RETRY_MS = 1_000
"""After a full disk."""


class LogMover:
    """The moves under way."""

    def __init__(
        self,
        logs: Logs,
        clock: Clock,
        workers: Workers,
        *,
        domain_clock: Clock,
        bytes_per_s: Callable[[], int],
        failed: Callable[[Partition, BaseException], None],
    ) -> None:
        """`failed` hears of a partition whose move met a directory that went offline."""
        self._logs = logs
        self._clock = clock
        self._workers = workers
        self._domain_clock = domain_clock
        self._bytes_per_s = bytes_per_s
        self._failed = failed
        self._timers: dict[Partition, Timer] = {}
        self._moving: dict[Partition, Log] = {}
        """Every move; one without a timer waits for a worker."""
        self._closed = False

    def move(self, partition: Partition, directory: str) -> None:
        """Begin to move a replica to a log directory, instead of where else it was moving.

        Raises:
            ApiError: LOG_DIR_NOT_FOUND, there is no such directory; KAFKA_STORAGE_ERROR, it
                is offline or full; INVALID_TOPIC_EXCEPTION, the name is too long for a copy.
            StorageError: it failed.
        """
        target = self._logs.directory_at(directory)
        target.check_online()
        future = self._moving.get(partition)
        if future is not None:
            if future.directory is target:
                return
            self.cancel(partition)
        partition.log.directory.check_online()
        if partition.log.directory is target:
            return
        self._begin(partition, self._logs.begin_future(partition.log, target, self._now_ms()))

    def resume(self, partition: Partition) -> None:
        """Go on with a move that an earlier process began, if there is one."""
        future = self._logs.futures.get(partition.name)
        if future is not None and partition not in self._moving:
            self._begin(partition, future)

    def _begin(self, partition: Partition, future: Log) -> None:
        log.info("moving %s to %s", partition.name, future.directory.path)
        self._moving[partition] = future
        self._later(partition, PAUSE_MS)

    def cancel(self, partition: Partition) -> None:
        """Give a move up: the replica goes, or goes elsewhere."""
        future = self._moving.pop(partition, None)
        if future is None:
            return
        timer = self._timers.pop(partition, None)
        if timer is not None:
            timer.cancel()
        self._logs.discard_future(future, self._now_ms())

    def cancel_of(self, dropped: Log) -> None:
        """Its log is being deleted."""
        for partition in [moving for moving in self._moving if moving.log is dropped]:
            self.cancel(partition)

    def close(self) -> None:
        """Stop copying; a later process goes on."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()

    def _now_ms(self) -> int:
        return self._domain_clock.now_ms()

    def _later(self, partition: Partition, delay_ms: int) -> None:
        if not self._closed:
            when_ms = self._clock.now_ms() + delay_ms
            self._timers[partition] = self._clock.call_at(when_ms, partial(self._step, partition))

    # One slice.

    def _step(self, partition: Partition) -> None:
        self._timers.pop(partition, None)
        future = self._moving[partition]
        try:
            size = self._copy(partition, future)
        except (ApiError, StorageError) as error:
            self._met(partition, future, error)
            return
        if size is None:
            return  # a worker reads
        if future.log_end_offset < partition.log.log_end_offset:
            bytes_per_s = max(1, self._bytes_per_s())
            self._later(partition, max(PAUSE_MS, 1000 * size // bytes_per_s))
        else:
            self._make_durable(partition, future)

    def _copy(self, partition: Partition, future: Log) -> int | None:
        """Copy a slice; return its bytes, None where a worker must read it first."""
        source = partition.log
        source.directory.check_online()
        future.config = source.config
        futures.follow_bounds(source, future, self._now_ms())
        result = source.read(future.log_end_offset, SLICE_BYTES)
        if result.cold is None:
            return self._append(future, result.records)
        cold = result.cold

        def read(later: "Later[tuple[Buffer, Offset]]") -> None:
            cold.release()
            if self._moving.get(partition) is not future or self._closed:
                return
            try:
                records, _ = later.result()
                if cold.is_current() and partition.log is source:
                    futures.follow_bounds(source, future, self._now_ms())
                    self._append(future, records)
            except (ApiError, StorageError) as error:
                if isinstance(error, StorageError):
                    source.read_failed(error)
                self._met(partition, future, error)
                return
            self._later(partition, PAUSE_MS)

        self._workers.submit(Lane.READ, cold.run).add_done_callback(read)
        return None

    def _append(self, future: Log, records: Buffer) -> int:
        if len(records):
            future.append_as_follower(records, self._now_ms())
        return len(records)

    def _met(self, partition: Partition, future: Log, error: ApiError | StorageError) -> None:
        """A full disk heals; a directory that failed ends the move."""
        if future.directory.is_online and partition.log.directory.is_online:
            log.warning("moving %s: %s", partition.name, error)
            self._later(partition, RETRY_MS)
            return
        log.error("%s is not moved: %s", partition.name, error)
        self._moving.pop(partition, None)
        self._logs.futures.pop(partition.name, None)
        self._failed(partition, error)

    # The end.

    def _make_durable(self, partition: Partition, future: Log) -> None:
        try:
            job = future.flush_job()
        except (ApiError, StorageError) as error:
            self._met(partition, future, error)
            return
        if job is None:
            self._swap(partition, future)
            return
        done = partial(self._durable, partition, future, job)
        self._workers.submit(Lane.UPKEEP, job.run).add_done_callback(done)

    def _durable(
        self, partition: Partition, future: Log, job: FlushJob, later: Later[None]
    ) -> None:
        if self._moving.get(partition) is not future or self._closed:
            job.release()
            return
        try:
            later.result()
        except (OSError, StorageError) as error:
            future.flush_failed(job, error)
            self._met(partition, future, StorageError(str(error)))
            return
        future.flushed(job)
        if partition.log.log_end_offset - future.log_end_offset > 0 and self._is_far(
            partition, future
        ):
            self._later(partition, PAUSE_MS)
        else:
            self._swap(partition, future)

    def _is_far(self, partition: Partition, future: Log) -> bool:
        """Whether more came meanwhile than is copied in one turn."""
        return partition.log.size_bytes - future.size_bytes > SLICE_BYTES

    def _swap(self, partition: Partition, future: Log) -> None:
        old = partition.log
        if old in self._logs.compacting:
            self._later(partition, RETRY_MS)  # it is about to put other files in its place
            return
        try:
            futures.follow_bounds(old, future, self._now_ms())
            while future.log_end_offset < old.log_end_offset:
                if self._copy(partition, future) is None:
                    return  # read by a worker after all; it comes back here
            partition.log = self._logs.swap(old, future, self._now_ms())
        except (ApiError, StorageError) as error:
            self._met(partition, future, error)
            return
        del self._moving[partition]
        log.info("%s is in %s now", partition.name, future.directory.path)
        partition.advance_high_watermark(0)
