"""Fetch: read whole batches from many partitions at once, waiting for news where there is none.

A fetch is answered when the bytes it may have reach `min_bytes`, when any of its
partitions has something to say other than records, or when `max_wait_ms` is over.
It takes its bytes when its answer may leave, not while it stands behind others.
"""

from functools import partial
from typing import Any

from ottla.handlers.context import Context, Reply
from ottla.handlers.fetch_sessions import NO_SESSION, FetchSet, Wanted
from ottla.handlers.resolve import leader_of, topic_of
from ottla.model.clock import Timer
from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import ZERO_UUID, Offset
from ottla.model.isolation import IsolationLevel
from ottla.model.workers import Lane, Later
from ottla.replica.partition import Partition
from ottla.storage.log import ColdRead, Log
from ottla.wire.generated.fetch import (
    AbortedTransaction,
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    LeaderIdAndEpoch,
    PartitionData,
)
from ottla.wire.generated.fetch import EpochEndOffset as DivergingEpoch

FIRST_WITH_IDS = 13
FIRST_WITH_LEADERS = 12
MAX_BYTES = 2**31 - 1
MAX_PARTITIONS = 100_000
"""More in one fetch than any client has; a bound on what a request may cost."""

UNRESOLVED = (
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.UNKNOWN_TOPIC_ID,
    ErrorCode.TOPIC_AUTHORIZATION_FAILED,
)
"""Errors found before a log is asked; Kafka answers them with no aborted transactions, not null."""


def fetch(context: Context, request: FetchRequest) -> FetchResponse | Reply:
    broker = context.broker
    replica_id = request.replica_id
    if request.replica_state is not None:
        replica_id = request.replica_state.replica_id
    if replica_id >= 0:
        # Nobody follows a broker without a cluster: a forged follower moves nothing.
        return FetchResponse(error_code=ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    by_id = context.api_version >= FIRST_WITH_IDS
    opened = broker.fetch_sessions.open(
        request.session_id,
        request.session_epoch,
        by_id=by_id,
        now_ms=broker.transport_clock.now_ms(),
    )
    if opened.fetch is None:
        return FetchResponse(error_code=opened.error)
    fetch_set = opened.fetch
    _update(context, fetch_set, request)
    if not opened.full:
        broker.fetch_sessions.forget_empty(fetch_set)
    waiting = Fetch(context, request, fetch_set, full=opened.full)
    return waiting.start()


def _update(context: Context, fetch_set: FetchSet, request: FetchRequest) -> None:
    """Take over what the request adds, changes and forgets."""
    by_id = fetch_set.by_id
    topics = context.broker.image
    for topic in request.forgotten_topics_data:
        for partition in topic.partitions:
            fetch_set.remove((topic.topic_id if by_id else topic.topic, partition))
    for asked in request.topics:
        name = topics.topic_names.get(asked.topic_id, "") if by_id else asked.topic
        for row in asked.partitions:
            key = (asked.topic_id if by_id else name, row.partition)
            wanted = fetch_set.wanted.get(key)
            if wanted is None:
                if len(fetch_set.wanted) >= MAX_PARTITIONS:
                    raise ApiError(ErrorCode.INVALID_REQUEST)
                wanted = Wanted(key, name, asked.topic_id if by_id else ZERO_UUID)
                fetch_set.wanted[key] = wanted
            _take_over(wanted, row)
            fetch_set.dirty[wanted] = None


def _take_over(wanted: Wanted, row: FetchPartition) -> None:
    wanted.offset = row.fetch_offset
    wanted.max_bytes = row.partition_max_bytes
    wanted.current_leader_epoch = row.current_leader_epoch
    wanted.last_fetched_epoch = row.last_fetched_epoch


class Fetch:
    """One fetch request on its way to an answer."""

    __slots__ = (
        "_cold",
        "_context",
        "_fetch_set",
        "_full",
        "_gathered",
        "_isolation",
        "_max_bytes",
        "_reply",
        "_request",
        "_timer",
        "_woken",
    )

    def __init__(
        self, context: Context, request: FetchRequest, fetch_set: FetchSet, *, full: bool
    ) -> None:
        self._context = context
        self._request = request
        self._fetch_set = fetch_set
        self._full = full
        self._isolation = (
            IsolationLevel.READ_COMMITTED
            if request.isolation_level == 1
            else IsolationLevel.READ_UNCOMMITTED
        )
        self._max_bytes = min(request.max_bytes, context.broker.config.fetch_max_bytes)
        self._gathered = 0
        self._reply: Reply | None = None
        self._timer: Timer | None = None
        self._woken = False
        self._cold: list[tuple[PartitionData, Partition, ColdRead]] = []

    def start(self) -> FetchResponse | Reply:
        ready = self._look()
        if ready and self._context.nothing_before:
            response = self._build()
            if not self._cold:
                return response
            reply = self._context.later(blocking=False)
            self._read_cold(reply, response)
            return reply
        reply = self._reply = self._context.later(blocking=False)
        if ready:
            self._finish()
        else:
            clock = self._context.broker.transport_clock
            self._fetch_set.on_news = self._news
            self._timer = clock.call_at(clock.now_ms() + self._request.max_wait_ms, self._finish)
        return reply

    def _look(self) -> bool:
        """Look at the dirty partitions: may the answer leave already?"""
        request = self._request
        if request.max_wait_ms <= 0 or not self._fetch_set.wanted:
            return True
        minimum = request.min_bytes
        if minimum <= 0:
            return True
        available = 0
        ready = False
        quiet = []
        for wanted in self._fetch_set.dirty:
            replica = self._resolve(wanted)
            if replica is None:
                ready = True
                continue
            end = replica.readable_end(self._isolation)
            log = replica.log
            if wanted.offset >= end:
                if wanted.offset > log.log_end_offset:
                    ready = True
                elif not self._full and not self._has_news(wanted):
                    quiet.append(wanted)
                continue
            if wanted.offset < log.log_start_offset or minimum == 1:
                return True
            available += _available(wanted, log, end)
            if available >= minimum:
                return True
        for wanted in quiet:
            del self._fetch_set.dirty[wanted]
        self._gathered = available
        return ready

    def _has_news(self, wanted: Wanted) -> bool:
        """Whether there is something to tell that is not records."""
        replica = wanted.replica
        assert replica is not None
        return (
            wanted.seen_high_watermark != replica.high_watermark
            or wanted.seen_start != replica.log.log_start_offset
        )

    def _resolve(self, wanted: Wanted) -> Partition | None:
        """The leader replica of a wanted partition, watched; None with `wanted.error` set."""
        context = self._context
        replica = wanted.replica
        if replica is not None:
            code = replica.check_leader(wanted.current_leader_epoch)
            if code is None:
                return replica
            wanted.error = code
            return None
        topic = topic_of(
            context, "READ", wanted.topic, wanted.topic_id, by_id=self._fetch_set.by_id
        )
        if isinstance(topic, ErrorCode):
            wanted.error = topic
            return None
        wanted.topic = topic.name
        found = leader_of(context, topic, wanted.partition, wanted.current_leader_epoch)
        if isinstance(found, ErrorCode):
            wanted.error = found
            return None
        wanted.error = ErrorCode.NONE
        self._fetch_set.watch(wanted, found)
        return found

    # Waiting

    def _news(self, size: int) -> None:
        """Something was appended: answer in the next turn, when it is enough."""
        self._gathered += size if size > 0 else self._request.min_bytes
        if self._gathered >= self._request.min_bytes and not self._woken:
            self._woken = True
            self._context.broker.soon(self._finish)

    def _finish(self) -> None:
        reply = self._reply
        if reply is None:
            return
        self._reply = None
        self._fetch_set.on_news = None
        if self._timer is not None:
            self._timer.cancel()
        if reply.abandoned:
            self._end()
        else:
            reply.begin_at_head(partial(self._begin, reply))

    def _end(self) -> None:
        if self._fetch_set.session_id == NO_SESSION:
            self._fetch_set.close()

    # Answering

    def _begin(self, reply: Reply) -> None:
        """Every earlier answer has left: take the bytes and go."""
        response = self._build()
        if self._cold:
            self._read_cold(reply, response)
        else:
            reply.respond(response)

    def _read_cold(self, reply: Reply, response: FetchResponse) -> None:
        """Have workers read what is not in memory, and answer with the last of it."""
        waiting = len(self._cold)

        def done(row: PartitionData, replica: Partition, cold: ColdRead, later: Later[Any]) -> None:
            nonlocal waiting
            cold.release()
            try:
                records, _ = later.result()
                # After a truncation the bytes may be of another history: the client asks again.
                row.records = records if cold.is_current() else b""
            except StorageError as error:
                replica.log.read_failed(error)
                row.error_code = ErrorCode.KAFKA_STORAGE_ERROR
            except ApiError as error:
                row.error_code = error.code
            waiting -= 1
            if waiting == 0:
                reply.respond(response)

        for row, replica, cold in self._cold:
            later = self._context.broker.workers.submit(Lane.READ, cold.run)
            later.add_done_callback(partial(done, row, replica, cold))

    def _build(self) -> FetchResponse:
        """Read, and say what is new."""
        fetch_set = self._fetch_set
        response = FetchResponse(session_id=fetch_set.session_id)
        topics: dict[object, FetchableTopicResponse] = {}
        # Where many do not take what they asked for, each gets less: one batch at least.
        self._max_bytes = min(self._max_bytes, self._context.broker.answers.left)
        left = self._max_bytes
        looked_at = list(fetch_set.wanted.values()) if self._full else list(fetch_set.dirty)
        for wanted in looked_at:
            # Kafka never sends null records, and librdkafka does not take them.
            row = PartitionData(
                partition_index=wanted.partition, aborted_transactions=None, records=b""
            )
            replica = self._resolve(wanted)
            if replica is None:
                row.error_code, row.high_watermark, news = wanted.error, -1, True
                if wanted.error in UNRESOLVED:
                    row.aborted_transactions = []
                if wanted.error is ErrorCode.NOT_LEADER_OR_FOLLOWER:
                    self._name_leader(wanted, row)
            else:
                taken, news = self._read(wanted, replica, row, left)
                left -= taken
            if news or self._full:
                topic = topics.get(wanted.key[0])
                if topic is None:
                    topic = FetchableTopicResponse(
                        topic=wanted.topic if not fetch_set.by_id else "",
                        topic_id=wanted.topic_id,
                    )
                    topics[wanted.key[0]] = topic
                    response.responses.append(topic)
                topic.partitions.append(row)
        self._end()
        return response

    def _read(
        self, wanted: Wanted, replica: Partition, row: PartitionData, left: int
    ) -> tuple[int, bool]:
        """Fill `row`; return the bytes taken and whether there is something to tell."""
        log = replica.log
        fetch_set = self._fetch_set
        end = replica.readable_end(self._isolation)
        row.high_watermark = replica.high_watermark
        row.last_stable_offset = log.last_stable_offset
        row.log_start_offset = log.log_start_offset
        if self._isolation is IsolationLevel.READ_COMMITTED:
            row.aborted_transactions = []
        size = 0
        diverging = wanted.last_fetched_epoch >= 0 and self._diverges(wanted, replica, row)
        try:
            if diverging:
                pass
            elif wanted.offset < end or wanted.offset > log.log_end_offset:
                untouched = left == self._max_bytes
                room = min(wanted.max_bytes, left)
                if room > 0 or untouched:
                    result = log.read(wanted.offset, room, below=end, min_one=untouched)
                    row.records = result.records
                    size = len(result.records)
                    if result.cold is not None:
                        self._cold.append((row, replica, result.cold))
                        size = room
                if self._isolation is IsolationLevel.READ_COMMITTED:
                    row.aborted_transactions = [
                        AbortedTransaction(
                            producer_id=aborted.producer_id, first_offset=aborted.first_offset
                        )
                        for aborted in log.aborted_transactions(wanted.offset, end)
                    ]
            elif wanted.offset < log.log_start_offset:
                raise ApiError(ErrorCode.OFFSET_OUT_OF_RANGE)
        except (ApiError, StorageError) as error:
            row.error_code = (
                error.code if isinstance(error, ApiError) else ErrorCode.KAFKA_STORAGE_ERROR
            )
            row.high_watermark = row.last_stable_offset = row.log_start_offset = -1
            row.aborted_transactions = None
            return 0, True
        news = size > 0 or diverging or self._has_news(wanted)
        wanted.seen_high_watermark = replica.high_watermark
        wanted.seen_start = log.log_start_offset
        fetch_set.dirty.pop(wanted, None)
        if wanted.offset < end:
            # It was served, or had no room: its turn comes again, after the others.
            fetch_set.dirty[wanted] = None
        return size, news

    def _diverges(self, wanted: Wanted, replica: Partition, row: PartitionData) -> bool:
        """Whether the client followed a history that this log does not have (KIP-595)."""
        epoch, end = replica.end_of_epoch(wanted.last_fetched_epoch)
        if epoch < wanted.last_fetched_epoch or end < wanted.offset:
            row.diverging_epoch = DivergingEpoch(epoch=epoch, end_offset=end)
            return True
        return False

    def _name_leader(self, wanted: Wanted, row: PartitionData) -> None:
        state = self._context.broker.image.partition(wanted.topic, wanted.partition)
        if state is not None and self._context.api_version >= FIRST_WITH_LEADERS:
            row.current_leader = LeaderIdAndEpoch(
                leader_id=state.leader, leader_epoch=state.leader_epoch
            )


def _available(wanted: Wanted, log: Log, end: Offset) -> int:
    """How many bytes the partition could give now; a cold read counts as plenty."""
    try:
        result = log.read(wanted.offset, wanted.max_bytes, below=end)
    except (ApiError, StorageError):
        return MAX_BYTES
    if result.cold is not None:
        result.cold.release()
        return MAX_BYTES
    return len(result.records)
