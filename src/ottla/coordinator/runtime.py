"""The shell around shards: load, decide, append, apply, answer; unload.

One `CoordinatorRuntime` serves all partitions of one internal topic that this
broker leads. It is the only file of this layer that knows asyncio.

A partition is *loading* (its log is applied in slices, one partition at a
time), *active* or *absent*. What goes wrong, and what follows:

    refused before appending     that request fails, the shard is untouched
    not committed in time        the answer fails, the state stays
    leadership lost              unload: everyone waiting gets NOT_COORDINATOR
    outcome of an append unknown unload, and load again from the log

Every answer, of reads too, waits until the high watermark covers the last
record applied when it was made. Where the append commits at once (one
replica, acknowledged from the page cache) the answer is there before the call
returns, so awaiting it costs no turn of the loop.

Each load makes a new *incarnation*; timers and completions hold the object of
theirs and find it closed when a newer one has taken its place.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from ottla.coordinator.outcome import Answer, Call, LogPort, Outcome, Shard, Waiter
from ottla.coordinator.replay import replay
from ottla.model.clock import Clock, Timer
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import (
    NO_PRODUCER_ID,
    LeaderEpoch,
    Offset,
    PartitionId,
    ProducerEpoch,
    ProducerId,
)
from ottla.model.isolation import CompressionType
from ottla.record.builder import build_batch
from ottla.record.records import Record

log = logging.getLogger(__name__)

WAKES_PER_TURN = 64
"""Deadlines decided in one turn of the loop."""

S = TypeVar("S", bound=Shard[Any])
T = TypeVar("T")


class _Pending(Waiter):
    """A request in the hands of a shard. The future is made only if it must wait."""

    __slots__ = ("error", "future", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self.error: Exception | None = None
        self.future: asyncio.Future[None] | None = None

    @property
    def is_answered(self) -> bool:
        return self.value is not None or self.error is not None

    def answer(self, value: Any) -> None:
        """The first answer counts: a late one finds the request gone."""
        if isinstance(value, ApiError):
            self.fail(value)
        elif not self.is_answered:
            self.value = value
            self._wake()

    def fail(self, error: Exception) -> None:
        if not self.is_answered:
            self.error = error
            self._wake()

    def _wake(self) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_result(None)

    async def result(self) -> Any:
        if not self.is_answered:
            self.future = asyncio.get_running_loop().create_future()
            await self.future
        if self.error is not None:
            raise self.error
        return self.value


class _Uncommitted:
    """Answers that wait for one offset to be committed."""

    __slots__ = ("answers", "is_late", "offset", "timer")

    def __init__(self, offset: Offset, timer: Timer) -> None:
        self.offset = offset
        self.timer = timer
        self.answers: list[Answer] = []
        self.is_late = False
        """Its time is over; whoever comes now gets time of their own."""


class _Gathering:
    """Who waits until nobody else comes."""

    __slots__ = ("ends_ms", "last_ms", "waiting")

    def __init__(self, now_ms: int, ends_ms: int) -> None:
        self.last_ms = now_ms
        self.ends_ms = ends_ms
        self.waiting: list[_Pending] = []


class _Incarnation(Generic[S]):
    """One shard from the start of its loading to its end."""

    __slots__ = (
        "applied_end",
        "epoch",
        "is_active",
        "is_closed",
        "number",
        "partition",
        "port",
        "progress",
        "shard",
        "timer",
        "timer_ms",
        "uncommitted",
    )

    def __init__(self, number: int, partition: PartitionId, shard: S, port: LogPort) -> None:
        self.number = number
        self.partition = partition
        self.shard = shard
        self.port = port
        self.epoch = port.leader_epoch
        self.applied_end = port.log_start_offset
        self.is_active = False
        self.is_closed = False
        self.progress: Iterator[Offset] | None = None
        self.timer: Timer | None = None
        self.timer_ms: int | None = None
        self.uncommitted: deque[_Uncommitted] = deque()


class CoordinatorRuntime(Generic[S]):
    """The shards of one internal topic, whose records are written with `compression`.

    `clock` rules the shards' deadlines, `transport_clock` how long an answer
    waits for its records to be committed.
    """

    def __init__(
        self,
        name: str,
        shard_factory: Callable[[PartitionId], S],
        clock: Clock,
        transport_clock: Clock,
        *,
        partition_count: int,
        commit_timeout_ms: int = 5_000,
        compression: CompressionType = CompressionType.NONE,
    ) -> None:
        self.name = name
        self.partition_count = partition_count
        self.commit_timeout_ms = commit_timeout_ms
        self.compression = compression
        self._shard_factory = shard_factory
        self._clock = clock
        self._transport_clock = transport_clock
        self._incarnations: dict[PartitionId, _Incarnation[S]] = {}
        self._to_load: deque[_Incarnation[S]] = deque()
        self._loading: asyncio.Handle | None = None
        self._numbers = 0
        self._gatherings: dict[str, _Gathering] = {}
        self._is_closed = False

    # Which partitions are served

    def load(self, partition: PartitionId, port: LogPort) -> None:
        """Begin to lead in `port.leader_epoch`: load the shard.

        A shard of an older epoch is unloaded first; one of this epoch or a
        newer one is left alone.
        """
        current = self._incarnations.get(partition)
        if self._is_closed or (current is not None and current.epoch >= port.leader_epoch):
            return
        self.unload(partition)
        self._start(partition, port)

    def _start(self, partition: PartitionId, port: LogPort) -> None:
        self._numbers += 1
        shard = self._shard_factory(partition)
        incarnation = _Incarnation(self._numbers, partition, shard, port)
        self._incarnations[partition] = incarnation
        incarnation.progress = replay(shard, port, f"{self.name}-{partition}")
        self._to_load.append(incarnation)
        self._load_soon()

    def unload(self, partition: PartitionId, leader_epoch: LeaderEpoch | None = None) -> None:
        """Stop leading: everyone who waits is sent to look for the coordinator again.

        With `leader_epoch`, the epoch in which somebody else leads, a shard of
        a newer epoch stays.
        """
        incarnation = self._incarnations.get(partition)
        if incarnation is None or (leader_epoch is not None and incarnation.epoch > leader_epoch):
            return
        self._give_up(incarnation)

    def close(self) -> None:
        """The broker stops."""
        self._is_closed = True
        for incarnation in list(self._incarnations.values()):
            self._close(incarnation, ErrorCode.COORDINATOR_NOT_AVAILABLE)
        self._incarnations.clear()
        self._to_load.clear()
        for key in list(self._gatherings):
            self._disperse(key)
        if self._loading is not None:
            self._loading.cancel()
            self._loading = None

    def partitions(self) -> list[PartitionId]:
        """The partitions served or being loaded here."""
        return list(self._incarnations)

    def is_active(self, partition: PartitionId) -> bool:
        incarnation = self._incarnations.get(partition)
        return incarnation is not None and incarnation.is_active

    # Requests

    async def write(
        self, partition: PartitionId, decide: Callable[[S, Waiter, int], Outcome[Any]]
    ) -> Any:
        """Let the shard decide and return the answer, once it is committed.

        Raises:
            ApiError: the shard's own, or why it could not be asked.
        """
        incarnation = self._active(partition)
        pending = _Pending()
        try:
            outcome = decide(incarnation.shard, pending, self._clock.now_ms())
        except ApiError as error:
            if incarnation.applied_end <= incarnation.port.high_watermark:
                raise
            outcome = Outcome(answers=[(pending, error)])
        self._carry_out(incarnation, outcome)
        self._set_timer(incarnation)
        return await pending.result()

    async def read(self, partition: PartitionId, look: Callable[[S], T]) -> T:
        """Return what the shard shows, once everything it is made of is committed.

        Raises:
            ApiError: as `write`.
        """
        incarnation = self._active(partition)
        value = look(incarnation.shard)
        if incarnation.applied_end <= incarnation.port.high_watermark:
            return value
        pending = _Pending()
        self._answer_when_committed(incarnation, [(pending, (value,))])
        return (await pending.result())[0]  # type: ignore[no-any-return]

    def tell(self, partition: PartitionId, decide: Callable[[S, int], Outcome[Any]]) -> None:
        """Let a shard, if it is active, decide something nobody waits for."""
        incarnation = self._incarnations.get(partition)
        if incarnation is not None and incarnation.is_active:
            self._carry_out(incarnation, decide(incarnation.shard, self._clock.now_ms()))
            self._set_timer(incarnation)

    def tell_all(self, decide: Callable[[S, int], Outcome[Any]]) -> None:
        """Let every active shard decide something nobody waits for."""
        for incarnation in list(self._incarnations.values()):
            if incarnation.is_active:
                outcome = decide(incarnation.shard, self._clock.now_ms())
                self._carry_out(incarnation, outcome)
                self._set_timer(incarnation)

    def marked(
        self, partition: PartitionId, producer_id: ProducerId, committed: bool, end: Offset
    ) -> None:
        """A marker was appended to the partition, which ends before `end` now.

        A shard that is loading finds it in the log.
        """
        incarnation = self._incarnations.get(partition)
        if incarnation is not None and incarnation.is_active:
            incarnation.shard.apply_marker(producer_id, committed)
            incarnation.applied_end = end

    def peek(self, partition: PartitionId) -> S | None:
        """The active shard, to look at without waiting for anything (console, tests)."""
        incarnation = self._incarnations.get(partition)
        return incarnation.shard if incarnation is not None and incarnation.is_active else None

    # Coming together

    async def gather(self, key: str, quiet_ms: int, at_most_ms: int) -> None:
        """Return once nobody has come to `key`, or stirred it, for `quiet_ms`.

        So requests that arrive one shortly after the other go on together.
        Nobody waits longer than `at_most_ms` after the first came.
        """
        now_ms = self._transport_clock.now_ms()
        gathering = self._gatherings.get(key)
        if gathering is None:
            gathering = self._gatherings[key] = _Gathering(now_ms, now_ms + at_most_ms)
            self._gather_on(key, gathering, quiet_ms)
        gathering.last_ms = now_ms
        pending = _Pending()
        gathering.waiting.append(pending)
        await pending.result()

    def stir(self, key: str) -> None:
        """Somebody may be on the way: let those who gather wait on."""
        gathering = self._gatherings.get(key)
        if gathering is not None:
            gathering.last_ms = self._transport_clock.now_ms()

    def _gather_on(self, key: str, gathering: _Gathering, quiet_ms: int) -> None:
        def look() -> None:
            when_ms = min(gathering.last_ms + quiet_ms, gathering.ends_ms)
            if self._transport_clock.now_ms() < when_ms:
                self._gather_on(key, gathering, quiet_ms)
            elif self._gatherings.get(key) is gathering:
                self._disperse(key)

        when_ms = min(gathering.last_ms + quiet_ms, gathering.ends_ms)
        self._transport_clock.call_at(when_ms, look)

    def _disperse(self, key: str) -> None:
        for pending in self._gatherings.pop(key).waiting:
            pending.answer(True)

    def _active(self, partition: PartitionId) -> _Incarnation[S]:
        incarnation = self._incarnations.get(partition)
        if incarnation is None:
            code = (
                ErrorCode.COORDINATOR_NOT_AVAILABLE
                if self._is_closed
                else ErrorCode.NOT_COORDINATOR
            )
            raise ApiError(code)
        if not incarnation.is_active:
            self._hurry(incarnation)
            raise ApiError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        return incarnation

    # Decide, append, apply, answer

    def _carry_out(self, incarnation: _Incarnation[S], outcome: Outcome[Any]) -> None:
        if outcome.records:
            try:
                batch = self._encode(incarnation.shard, outcome.records, outcome.producer)
            except AssertionError:
                raise  # the broker stops
            except Exception:
                log.exception("%s-%d: not to be written down", self.name, incarnation.partition)
                self._refuse(incarnation, outcome, ApiError(ErrorCode.UNKNOWN_SERVER_ERROR))
                return
            try:
                end = incarnation.port.append(batch)
            except ApiError as error:
                if error.code is ErrorCode.RECORD_LIST_TOO_LARGE and outcome.is_divisible:
                    middle = len(outcome.records) // 2
                    for records in (outcome.records[:middle], outcome.records[middle:]):
                        if not incarnation.is_closed:
                            self._carry_out(incarnation, Outcome(records))
                    return
                self._refuse(incarnation, outcome, error)
                return
            except AssertionError:
                raise
            except Exception:
                log.exception(
                    "%s-%d: it is not known whether an append took place; loading again",
                    self.name,
                    incarnation.partition,
                )
                for waiter, _ in outcome.answers:
                    _fail(waiter, ApiError(ErrorCode.NOT_COORDINATOR))
                self._reload(incarnation)
                return
            self._apply(incarnation, outcome.records, end, outcome.producer)
        if outcome.answers:
            self._answer_when_committed(incarnation, outcome.answers)

    def _encode(
        self, shard: S, records: list[Any], producer: tuple[ProducerId, ProducerEpoch] | None
    ) -> bytes:
        """The records as one batch, so that all of them are written or none."""
        now_ms = self._clock.now_ms()
        encoded = [shard.encode(record) for record in records]
        made = [Record(timestamp=now_ms, key=key, value=value) for key, value in encoded]
        if producer is None:
            return build_batch(made, compression=self.compression)
        return build_batch(
            made,
            compression=self.compression,
            producer_id=producer[0],
            producer_epoch=producer[1],
            transactional=True,
        )

    def _apply(
        self,
        incarnation: _Incarnation[S],
        records: list[Any],
        end: Offset,
        producer: tuple[ProducerId, ProducerEpoch] | None,
    ) -> None:
        offset = end - len(records)
        producer_id = NO_PRODUCER_ID if producer is None else producer[0]
        for record in records:
            incarnation.shard.apply(record, offset, producer_id)
            offset += 1
        incarnation.applied_end = end

    def _refuse(self, incarnation: _Incarnation[S], outcome: Outcome[Any], error: ApiError) -> None:
        log.warning(
            "%s-%d: %d records were refused: %s",
            self.name,
            incarnation.partition,
            len(outcome.records),
            error,
        )
        code = to_coordinator_error(error.code)
        if outcome.refused is not None:
            instead = outcome.refused(code)
            assert not instead.records
            self._answer_when_committed(incarnation, instead.answers)
        else:
            for waiter, _ in outcome.answers:
                _fail(waiter, ApiError(code, error.message))
        if error.code is ErrorCode.NOT_LEADER_OR_FOLLOWER:
            self._give_up(incarnation)

    def _answer_when_committed(self, incarnation: _Incarnation[S], answers: list[Answer]) -> None:
        """Answer now, or when the high watermark has reached what was applied so far."""
        offset = incarnation.applied_end
        if offset <= incarnation.port.high_watermark:
            for waiter, value in answers:
                _answer(waiter, value)
            return
        last = incarnation.uncommitted[-1] if incarnation.uncommitted else None
        if last is None or last.offset != offset or last.is_late:
            self._await_commit(incarnation, offset)
            if incarnation.is_closed or not incarnation.uncommitted:
                # The port called back at once.
                for waiter, value in answers:
                    if incarnation.is_closed:
                        _fail(waiter, ApiError(ErrorCode.NOT_COORDINATOR))
                    else:
                        _answer(waiter, value)
                return
        incarnation.uncommitted[-1].answers.extend(answers)

    def _await_commit(self, incarnation: _Incarnation[S], offset: Offset) -> None:
        def late() -> None:
            waiting.is_late = True
            answers, waiting.answers = waiting.answers, []
            for waiter, _ in answers:
                _fail(waiter, ApiError(to_coordinator_error(ErrorCode.REQUEST_TIMED_OUT)))

        def committed(error: ApiError | None) -> None:
            if incarnation.is_closed:
                return
            if error is not None:
                self._give_up(incarnation)
                return
            while incarnation.uncommitted and incarnation.uncommitted[0].offset <= offset:
                done = incarnation.uncommitted.popleft()
                done.timer.cancel()
                for waiter, value in done.answers:
                    _answer(waiter, value)

        deadline_ms = self._transport_clock.now_ms() + self.commit_timeout_ms
        waiting = _Uncommitted(offset, self._transport_clock.call_at(deadline_ms, late))
        incarnation.uncommitted.append(waiting)
        incarnation.port.when_committed(offset, committed)

    # Deadlines

    def _set_timer(self, incarnation: _Incarnation[S]) -> None:
        """Have the shard woken at its next deadline; an earlier timer is left to find nothing."""
        if not incarnation.is_active or incarnation.is_closed:
            return
        when_ms = incarnation.shard.next_deadline_ms()
        if when_ms is None:
            return
        if incarnation.timer is not None:
            assert incarnation.timer_ms is not None
            if incarnation.timer_ms <= when_ms:
                return
            incarnation.timer.cancel()
        incarnation.timer_ms = when_ms
        if when_ms <= self._clock.now_ms():
            # Due already: next turn, even where the clock is moved by hand.
            loop = asyncio.get_running_loop()
            incarnation.timer = loop.call_soon(self._wake, incarnation)
        else:
            incarnation.timer = self._clock.call_at(when_ms, lambda: self._wake(incarnation))

    def _wake(self, incarnation: _Incarnation[S]) -> None:
        incarnation.timer = None
        if incarnation.is_closed:
            return
        for _ in range(WAKES_PER_TURN):
            outcome = incarnation.shard.wake(self._clock.now_ms())
            if outcome is None:
                break
            self._carry_out(incarnation, outcome)
            if incarnation.is_closed:
                return
            if outcome.goes_on:
                break
        self._set_timer(incarnation)

    # Loading

    def _load_soon(self) -> None:
        if self._loading is None and self._to_load:
            self._loading = asyncio.get_running_loop().call_soon(self._load_slice)

    def _hurry(self, incarnation: _Incarnation[S]) -> None:
        """Somebody asked for this one: load it next."""
        if self._to_load and self._to_load[0] is not incarnation:
            self._to_load.remove(incarnation)
            self._to_load.appendleft(incarnation)

    def _load_slice(self) -> None:
        """Apply one slice of the first partition that waits to be loaded."""
        self._loading = None
        while self._to_load and self._to_load[0].is_closed:
            self._to_load.popleft()
        if not self._to_load:
            return
        incarnation = self._to_load[0]
        assert incarnation.progress is not None
        try:
            for applied_end in incarnation.progress:
                incarnation.applied_end = applied_end
                break
            else:
                self._to_load.remove(incarnation)
                self._activate(incarnation)
        except AssertionError:
            raise  # the broker stops
        except Exception:
            log.exception("%s-%d could not be loaded", self.name, incarnation.partition)
            if not incarnation.is_active:
                self._to_load.remove(incarnation)
            self._give_up(incarnation)
        self._load_soon()

    def _activate(self, incarnation: _Incarnation[S]) -> None:
        incarnation.progress = None
        incarnation.is_active = True
        self._carry_out(incarnation, incarnation.shard.loaded(self._clock.now_ms()))
        self._set_timer(incarnation)

    # Giving up a shard

    def _give_up(self, incarnation: _Incarnation[S]) -> None:
        """Somebody else coordinates this partition, or nobody can."""
        if self._incarnations.get(incarnation.partition) is incarnation:
            del self._incarnations[incarnation.partition]
        self._close(incarnation, ErrorCode.NOT_COORDINATOR)

    def _reload(self, incarnation: _Incarnation[S]) -> None:
        """What is in memory may differ from the log: the log decides."""
        if self._incarnations.get(incarnation.partition) is incarnation:
            self._give_up(incarnation)
            self._start(incarnation.partition, incarnation.port)

    def _close(self, incarnation: _Incarnation[S], code: ErrorCode) -> None:
        if incarnation.is_closed:
            return
        incarnation.is_closed = True
        incarnation.is_active = False
        if incarnation.timer is not None:
            incarnation.timer.cancel()
        for uncommitted in incarnation.uncommitted:
            uncommitted.timer.cancel()
            for waiter, _ in uncommitted.answers:
                _fail(waiter, ApiError(code))
        incarnation.uncommitted.clear()
        for waiter in incarnation.shard.unloaded():
            _fail(waiter, ApiError(code))


def to_coordinator_error(code: ErrorCode) -> ErrorCode:
    """What a client of a coordinator is told of an append that failed, as Kafka translates it."""
    return _COORDINATOR_ERRORS.get(code, code)


_COORDINATOR_ERRORS = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.REQUEST_TIMED_OUT: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_LEADER_OR_FOLLOWER: ErrorCode.NOT_COORDINATOR,
    ErrorCode.KAFKA_STORAGE_ERROR: ErrorCode.NOT_COORDINATOR,
    ErrorCode.MESSAGE_TOO_LARGE: ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.RECORD_LIST_TOO_LARGE: ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.INVALID_FETCH_SIZE: ErrorCode.UNKNOWN_SERVER_ERROR,
}


def _answer(waiter: Waiter, value: Any) -> None:
    if isinstance(waiter, Call):
        waiter.call()
        return
    assert isinstance(waiter, _Pending)
    waiter.answer(value)


def _fail(waiter: Waiter, error: Exception) -> None:
    if isinstance(waiter, Call):
        return
    assert isinstance(waiter, _Pending)
    waiter.fail(error)
