"""The shell around one share partition: load its state, store its changes, watch its locks.

The leader of a partition has one for each share group that fetches from it.
It ends when leadership does, when its state is stored anew by another
(offsets altered, group deleted), or when a write finds it fenced.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ottla.coordinator.share.persister import Persister
from ottla.coordinator.share.records import ShareKey
from ottla.coordinator.share.runs import Transition
from ottla.coordinator.share.shard import UNINITIALIZED
from ottla.coordinator.share.state import Acknowledgement, ShareLimits, ShareState
from ottla.model.clock import Clock, Timer
from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import Offset
from ottla.replica.partition import Partition

log = logging.getLogger(__name__)

_SEEN_BY_CLIENTS = {
    ErrorCode.NOT_COORDINATOR: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.COORDINATOR_NOT_AVAILABLE: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.GROUP_ID_NOT_FOUND: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.NOT_LEADER_OR_FOLLOWER: ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.FENCED_LEADER_EPOCH: ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.FENCED_STATE_EPOCH: ErrorCode.NOT_LEADER_OR_FOLLOWER,
}
"""What a consumer is told when the state cannot be read or written."""

_FENCED = (ErrorCode.FENCED_LEADER_EPOCH, ErrorCode.FENCED_STATE_EPOCH, ErrorCode.INVALID_REQUEST)


class SharePartition:
    """See the module. `state` may be used between `load` and `end`."""

    def __init__(
        self,
        key: ShareKey,
        replica: Partition,
        persister: Persister,
        clock: Clock,
        limits: Callable[[str], ShareLimits],
        first_offset: Callable[[str, Partition], Offset],
        ended: Callable[["SharePartition"], object],
    ) -> None:
        """`first_offset` says where a group without a start begins on a partition."""
        self.key = key
        self.replica = replica
        self.is_over = False
        self._persister = persister
        self._clock = clock
        self._limits = limits
        self._first_offset = first_offset
        self._ended = ended
        self._leader_epoch = replica.leader_epoch
        self._state_epoch = 0
        # Where what is stored begins: from the highest start that was stored to the highest that
        # was sent. A write may be done though its answer was lost, or begin before another has
        # moved the start, which it then does not move back.
        self._stored_start: Offset = UNINITIALIZED
        self._sent_start: Offset = UNINITIALIZED
        self._state: ShareState | None = None
        self._loading: asyncio.Future[None] | None = None
        self._timer: Timer | None = None
        self._timer_ms = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.waiting: dict[Callable[[], object], None] = {}
        """Called when there may be something to acquire."""

    @property
    def state(self) -> ShareState:
        assert self._state is not None
        return self._state

    @property
    def is_loaded(self) -> bool:
        return self._state is not None

    # Life

    def load_soon(self) -> None:
        """Begin to load, unless that was done; nobody waits for it."""
        if self._state is None and self._loading is None:
            self._spawn(self.load)

    async def load(self) -> None:
        """Read what is stored, unless that was done. Raises ApiError, as for a client."""
        if self._state is not None:
            return
        if self._loading is not None:
            await asyncio.shield(self._loading)
            return
        self._loading = asyncio.get_running_loop().create_future()
        try:
            await self._load()
        except Exception as error:
            if isinstance(error, StorageError):
                self.replica.log.read_failed(error)
            failed = _failed(error)
            self._loading.set_exception(failed)
            self._loading.exception()  # others may or may not wait for it
            self.end()
            raise failed from error
        self._loading.set_result(None)

    async def _load(self) -> None:
        stored = await self._persister.read(self.key, self._leader_epoch)
        replica = self.replica
        if self.is_over or not replica.is_leader or replica.leader_epoch != self._leader_epoch:
            raise ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        start = stored.start_offset
        if start == UNINITIALIZED:
            start = self._first_offset(self.key.group_id, self.replica)
        self._state_epoch = stored.state_epoch
        self._stored_start = self._sent_start = stored.start_offset
        self._state = ShareState(self._limits(self.key.group_id), start, stored.batches)
        self._state.log_start_moved(self.replica.log.log_start_offset)
        self.replica.watchers[self] = None

    async def look_again(self) -> None:
        """End if what is stored is not what this goes on from. Raises ApiError."""
        if self._state is None:
            return
        stored = await self._persister.summary(self.key)
        if (
            stored is None
            or stored.state_epoch != self._state_epoch
            or not self._stored_start <= stored.start_offset <= self._sent_start
        ):
            self.end()

    def end(self) -> None:
        """Nothing is acquired or acknowledged here any more."""
        if self.is_over:
            return
        self.is_over = True
        self.replica.watchers.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        self._ended(self)
        self.wake()

    # Watching the partition

    def advanced(self, partition: Partition, size: int) -> None:
        self.wake()

    def start_moved(self, partition: Partition) -> None:
        self.state.log_start_moved(partition.log.log_start_offset)

    def changed(self, partition: Partition) -> None:
        if not partition.is_leader or partition.leader_epoch != self._leader_epoch:
            self.end()

    def wake(self) -> None:
        """Whoever waits looks again."""
        for callback in list(self.waiting):
            callback()

    # Records in flight

    def acquire(
        self,
        member_id: str,
        batches: Sequence[tuple[Offset, Offset]],
        fetch_offset: Offset,
        *,
        max_records: int,
        batch_size: int,
        exactly: bool,
    ) -> list[tuple[Offset, Offset, int]]:
        """As `ShareState.acquire`, with the group's limits of now and the locks watched."""
        state = self.state
        state.limits = self._limits(self.key.group_id)
        acquired = state.acquire(
            member_id,
            batches,
            fetch_offset,
            self._clock.now_ms(),
            max_records=max_records,
            batch_size=batch_size,
            exactly=exactly,
        )
        if acquired:
            self._watch_locks()
        return list(acquired)

    async def acknowledge(
        self, member_id: str, acknowledgements: Sequence[Acknowledgement]
    ) -> None:
        """Take a member's word, durably. Raises ApiError."""
        self._check()
        state = self.state
        state.limits = self._limits(self.key.group_id)
        await self._store(state.acknowledge(member_id, acknowledgements, self._clock.now_ms()))

    def release_soon(self, member_id: str) -> None:
        """A member's session is over: what it holds now is free once that is stored.

        What it acquires from now on, in another session, stays its own.
        """
        if self._state is not None and not self.is_over:
            transition = self._state.release(member_id)
            if transition.batches:
                self._spawn(lambda: self._store(transition))

    def _check(self) -> None:
        if self.is_over or self._state is None:
            raise ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER)

    async def _store(self, transition: Transition) -> None:
        state = self.state
        if transition.batches:
            start, complete = state.after(transition)
            self._sent_start = max(self._sent_start, start)
            try:
                await self._persister.write(
                    self.key,
                    self._state_epoch,
                    self._leader_epoch,
                    start,
                    complete,
                    transition.batches,
                )
            except ApiError as error:
                state.refused(transition, self._clock.now_ms())
                if error.code in _FENCED:
                    self.end()
                self._watch_locks()
                raise _for_client(error) from error
            self._stored_start = max(self._stored_start, start)
        state.stored(transition)
        self.wake()

    # Locks

    def _watch_locks(self) -> None:
        """See to it that the earliest lock is looked at when it is over."""
        if self.is_over:
            return
        deadline_ms = self.state.next_deadline_ms()
        if deadline_ms is None or (self._timer is not None and self._timer_ms <= deadline_ms):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms = deadline_ms
        self._timer = self._clock.call_at(deadline_ms, self._locks_over)

    def _locks_over(self) -> None:
        self._timer = None
        if self.is_over:
            return
        transition = self.state.expire(self._clock.now_ms())
        if transition.batches:
            self._spawn(lambda: self._store(transition))
        self._watch_locks()

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def quietly() -> None:
            try:
                await work()
            except ApiError as error:
                log.info("%s: not stored: %s", self.key.text, error)

        task = asyncio.get_running_loop().create_task(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _failed(error: Exception) -> ApiError:
    """What made it impossible to load, as a client is told."""
    if isinstance(error, ApiError):
        return _for_client(error)
    if isinstance(error, StorageError):
        return ApiError(ErrorCode.KAFKA_STORAGE_ERROR, str(error))
    return ApiError(ErrorCode.UNKNOWN_SERVER_ERROR, str(error))


def _for_client(error: ApiError) -> ApiError:
    """What was not initialized too is UNKNOWN_SERVER_ERROR; which words it had is for the log."""
    code = _SEEN_BY_CLIENTS.get(error.code)
    if code is None:
        log.info("answered UNKNOWN_SERVER_ERROR: %s", error)
        return ApiError(ErrorCode.UNKNOWN_SERVER_ERROR)
    return ApiError(code, error.message)
