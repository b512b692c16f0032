"""Fetch: read whole batches from many partitions at once, waiting for news where there is none.

A fetch is answered when the bytes it may have reach `min_bytes`, when any of its
partitions has something to say other than records, or when `max_wait_ms` is over.
It takes its bytes when its answer may leave, not while it stands behind others.

A consumer reads what is committed, from the leader or from a follower; where it says in which
rack it is, the leader may send it to a replica there (KIP-392). A follower reads all there is,
from the leader alone, and its offsets say what it has; not so where its history is another
than the leader's, which it is told instead (`replica/following.py`).
"""

from functools import partial
from typing import Any, NamedTuple, cast

from ottla.handlers.context import Context, Reply
from ottla.handlers.fetch_sessions import NO_SESSION, FetchSet, Wanted
from ottla.handlers.resolve import follower_of, leader_of, topic_of
from ottla.metadata.image import TopicImage
from ottla.model.clock import Timer
from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import NO_BROKER, ZERO_UUID, BrokerId, Offset
from ottla.model.isolation import IsolationLevel
from ottla.model.parts import Buffer
from ottla.model.workers import Lane, Later
from ottla.replica.closest import nearest
from ottla.replica.partition import Partition
from ottla.replica.throttles import ReplicationThrottles
from ottla.storage.cold import ColdRead
from ottla.storage.log import Log
from ottla.wire.generated.fetch import (
    AbortedTransaction,
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionData,
)
from ottla.wire.generated.fetch import EpochEndOffset as DivergingEpoch

CLUSTER_NAME = "kafka-cluster"
FIRST_FROM_FOLLOWERS = 11
FIRST_WITH_IDS = 13
FIRST_WITH_LEADERS = 16
NOT_SAID = 2**63 - 1
"""Instead of the high watermark that a follower knows (KIP-1166)."""

RACK_AWARE = "RackAwareReplicaSelector"
MAX_BYTES = 2**31 - 1
MAX_PARTITIONS = 100_000
"""More in one fetch than any client has; a bound on what a request may cost."""

UNRESOLVED = (
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.UNKNOWN_TOPIC_ID,
    ErrorCode.TOPIC_AUTHORIZATION_FAILED,
)
"""Errors found before a log is asked; Kafka answers them last, with no aborted transactions, not null."""

MOVED = ErrorCode.NOT_LEADER_OR_FOLLOWER
MISPLACED = (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH)
"""Errors at which a client is told who leads (KIP-951)."""


def fetch(context: Context, request: FetchRequest) -> FetchResponse | Reply:
    broker = context.broker
    replica_id = request.replica_id
    if request.replica_state is not None:
        replica_id = request.replica_state.replica_id
    by_id = context.api_version >= FIRST_WITH_IDS
    opened = broker.fetch_sessions.open(
        request.session_id,
        request.session_epoch,
        by_id=by_id,
        now_ms=broker.transport_clock.now_ms(),
        follower=replica_id if replica_id >= 0 else NO_BROKER,
    )
    if opened.fetch is None:
        return FetchResponse(error_code=opened.error)
    fetch_set = opened.fetch
    wanted = len(fetch_set.wanted)
    try:
        _update(context, fetch_set, request)
    except ApiError:
        broker.fetch_sessions.forget(fetch_set.session_id)
        raise
    if len(fetch_set.wanted) > wanted and not broker.fetch_sessions.keep(fetch_set):
        if not opened.full:
            fetch_set.close()
            return FetchResponse(error_code=ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
    elif not opened.full:
        broker.fetch_sessions.forget_empty(fetch_set)
    waiting = Fetch(context, request, fetch_set, full=opened.full)
    if replica_id >= 0:
        waiting.note_positions()
    return waiting.start()


def _update(context: Context, fetch_set: FetchSet, request: FetchRequest) -> None:
    """Take over what the request adds and changes, then what it forgets."""
    by_id = fetch_set.by_id
    topics = context.broker.image
    for asked in request.topics:
        name = topics.topic_names.get(asked.topic_id, "") if by_id else asked.topic
        for row in asked.partitions:
            key = (asked.topic_id if by_id else name, row.partition)
            wanted = fetch_set.wanted.get(key)
            if wanted is None:
                if len(fetch_set.wanted) >= MAX_PARTITIONS:
                    raise ApiError(ErrorCode.INVALID_REQUEST)
                wanted = Wanted(key, name, asked.topic_id if by_id else ZERO_UUID)
                fetch_set.add(wanted)
            _take_over(wanted, row)
            fetch_set.dirty[wanted] = None
    for topic in request.forgotten_topics_data:
        for partition in topic.partitions:
            fetch_set.remove((topic.topic_id if by_id else topic.topic, partition))


def _take_over(wanted: Wanted, row: FetchPartition) -> None:
    wanted.offset = row.fetch_offset
    wanted.max_bytes = max(0, row.partition_max_bytes)
    wanted.current_leader_epoch = row.current_leader_epoch
    wanted.last_fetched_epoch = row.last_fetched_epoch


class Follower(NamedTuple):
    """Another broker, which fetches for its replicas."""

    broker_id: BrokerId
    epoch: int
    is_registered: bool
    """Whether it is who is registered, as far as this broker knows.

    Not one of the past; one of the future is, or will be, and asks again in a moment. Kafka takes
    whoever says no epoch, or a future one, at its word; nobody but a follower knows it here.
    """

    def may_follow(self, replica: Partition) -> bool:
        """Whether it has a replica, and is who it was when it got it."""
        leadership = replica.leadership
        return (
            self.is_registered and leadership is not None and self.broker_id in leadership.followers
        )


class Fetch:
    """One fetch request on its way to an answer."""

    __slots__ = (
        "_cold",
        "_context",
        "_fetch_set",
        "_follower",
        "_full",
        "_gathered",
        "_isolation",
        "_max_bytes",
        "_rack",
        "_reply",
        "_request",
        "_throttles",
        "_timer",
        "_woken",
    )

    def __init__(
        self,
        context: Context,
        request: FetchRequest,
        fetch_set: FetchSet,
        *,
        full: bool,
    ) -> None:
        self._context = context
        self._request = request
        self._fetch_set = fetch_set
        self._full = full
        self._follower: Follower | None = None
        self._rack = request.rack_id
        self._throttles: ReplicationThrottles | None = None
        if fetch_set.follower != NO_BROKER:
            self._begin_as_follower()
        elif self._rack and not _is_rack_aware(context):
            self._rack = ""
        self._isolation = (
            IsolationLevel.READ_COMMITTED
            if request.isolation_level == 1
            else IsolationLevel.READ_UNCOMMITTED
        )
        self._max_bytes = max(0, min(request.max_bytes, context.broker.config.fetch_max_bytes))
        self._gathered = 0
        self._reply: Reply | None = None
        self._timer: Timer | None = None
        self._woken = False
        self._cold: list[tuple[PartitionData, Partition, ColdRead]] = []

    # Followers

    def _begin_as_follower(self) -> None:
        """Note who it is: a broker, in this incarnation, whose positions may count."""
        context, state = self._context, self._request.replica_state
        broker_id = self._fetch_set.follower
        epoch = -1 if state is None else state.replica_epoch
        broker = context.broker.image.brokers.get(broker_id)
        is_registered = broker is not None and epoch == broker.epoch
        self._follower = Follower(broker_id, epoch, is_registered)
        self._rack = ""
        throttles = context.broker.throttles
        if throttles is not None and throttles.limits_leaders:
            self._throttles = throttles
        self._fetch_set.hears_of_commits = _is_rack_aware(context)

    def note_positions(self) -> None:
        """Take over how far the follower is, in every partition of which the request says so.

        An offset beyond which the follower's history is not the leader's says nothing.
        """
        fetch_set, follower = self._fetch_set, self._follower
        assert follower is not None
        now_ms = self._context.broker.transport_clock.now_ms()
        for asked in self._request.topics:
            for row in asked.partitions:
                topic = asked.topic_id if fetch_set.by_id else asked.topic
                wanted = fetch_set.wanted.get((topic, row.partition))
                replica = None if wanted is None else self._resolve(wanted)
                if replica is None or wanted is None:
                    continue
                log = replica.log
                if row.high_watermark != NOT_SAID:
                    # It may not have used what it was told last.
                    wanted.seen_high_watermark = row.high_watermark
                if row.log_start_offset < log.log_start_offset:
                    wanted.seen_start = -1
                if not log.log_start_offset <= wanted.offset <= log.log_end_offset:
                    continue
                if wanted.last_fetched_epoch >= 0 and self._divergence(wanted, replica):
                    continue
                replica.follower_fetched(
                    follower.broker_id, wanted.offset, row.log_start_offset, follower.epoch, now_ms
                )
        for wanted in fetch_set.reshaped:
            # The request need not say anew where it is, and who is put out has to be seen again.
            replica = self._resolve(wanted)
            if replica is not None:
                replica.follower_goes_on(follower.broker_id, follower.epoch)
        fetch_set.reshaped.clear()

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
        isolation, is_consumer = self._isolation, self._follower is None
        for wanted in self._fetch_set.dirty:
            replica = self._resolve(wanted)
            if replica is None:
                ready = True
                continue
            log = replica.log
            end = replica.readable_end(isolation) if is_consumer else self._end_of(wanted, replica)
            if self._rack and self._preferred(wanted, replica) != NO_BROKER:
                return True
            if wanted.last_fetched_epoch >= 0 and self._divergence(wanted, replica) is not None:
                return True
            if wanted.offset >= end:
                if wanted.offset > log.log_end_offset:
                    ready = True
                elif not self._full:
                    if not self._has_news(wanted):
                        quiet.append(wanted)
                    elif self._fetch_set.hears_of_commits:
                        ready = True
                continue
            if wanted.offset < log.log_start_offset or minimum == 1:
                return True
            available += _available(wanted, log, end)
            if available >= minimum:
                return True
        for wanted in quiet:
            if self._throttles is None or _is_at_end(wanted):
                del self._fetch_set.dirty[wanted]
        self._gathered = available
        return ready

    def _end_of(self, wanted: Wanted, replica: Partition) -> Offset:
        """Where what a follower may have now ends: where it is, if its copying is throttled."""
        throttles, follower = self._throttles, self._follower
        assert follower is not None
        if throttles is not None and throttles.holds_back(replica, follower.broker_id):
            return min(wanted.offset, replica.log.log_end_offset)
        return replica.log.log_end_offset

    def _has_news(self, wanted: Wanted) -> bool:
        """Whether there is something to tell that is not records."""
        replica = wanted.replica
        assert replica is not None
        return (
            wanted.seen_high_watermark != replica.high_watermark
            or wanted.seen_start != replica.log.log_start_offset
        )

    def _resolve(self, wanted: Wanted) -> Partition | None:
        """The replica to read a wanted partition from, watched; None with `wanted.error` set."""
        replica = self._leader(wanted)
        if self._follower is None or replica is None or self._follower.may_follow(replica):
            return replica
        wanted.error = ErrorCode.NOT_LEADER_OR_FOLLOWER
        return None

    def _may_read_from_a_follower(self) -> bool:
        return self._follower is None and self._context.api_version >= FIRST_FROM_FOLLOWERS

    def _leader(self, wanted: Wanted) -> Partition | None:
        context = self._context
        replica = wanted.replica
        if replica is not None:
            code = replica.check_leader(wanted.current_leader_epoch)
            if code is MOVED and self._may_read_from_a_follower():
                code = replica.check_follower(wanted.current_leader_epoch)
            if code is None:
                return replica
            wanted.error = code
            return None
        topic: TopicImage | ErrorCode
        if self._follower is not None and not context.authorize(
            "CLUSTER_ACTION", "CLUSTER", CLUSTER_NAME
        ):
            topic = ErrorCode.TOPIC_AUTHORIZATION_FAILED
        else:
            topic = topic_of(
                context, "READ", wanted.topic, wanted.topic_id, by_id=self._fetch_set.by_id
            )
        if isinstance(topic, ErrorCode):
            if topic is ErrorCode.UNKNOWN_TOPIC_ID and wanted.topic:
                # The session knew the topic of this id, and another has its name now, or none.
                exists = wanted.topic in context.broker.image.topics
                topic = (
                    ErrorCode.INCONSISTENT_TOPIC_ID
                    if exists
                    else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                )
            wanted.error = topic
            return None
        wanted.topic = topic.name
        found = leader_of(context, topic, wanted.partition, wanted.current_leader_epoch)
        if found is MOVED and self._may_read_from_a_follower():
            found = follower_of(context, topic, wanted.partition, wanted.current_leader_epoch)
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
        """Read, and say what is new: first what was read, then what is not there to be read."""
        fetch_set = self._fetch_set
        response = FetchResponse(session_id=fetch_set.session_id)
        # Where many do not take what they asked for, each gets less: one batch at least.
        self._max_bytes = min(self._max_bytes, self._context.broker.answers.left)
        left = self._max_bytes
        rows: list[tuple[Wanted, PartitionData]] = []
        missing: list[tuple[Wanted, PartitionData]] = []
        for wanted in list(fetch_set.wanted.values()) if self._full else fetch_set.in_turn():
            # Kafka never sends null records, and librdkafka does not take them.
            row = PartitionData(
                partition_index=wanted.partition, aborted_transactions=None, records=b""
            )
            replica = self._resolve(wanted)
            if replica is None:
                row.error_code, row.high_watermark = wanted.error, -1
                wanted.seen_high_watermark = -1
                if wanted.error in UNRESOLVED:
                    row.aborted_transactions = []
                    missing.append((wanted, row))
                else:
                    self._name_leader(wanted, row, response)
                    rows.append((wanted, row))
                continue
            taken, news = self._read(wanted, replica, row, left)
            left -= taken
            if news or self._full:
                rows.append((wanted, row))
            if taken and not self._full:
                fetch_set.queue_last(wanted)
        if missing:
            missing.sort(key=_known_by_name)
            rows += missing
        key = None
        for wanted, row in rows:
            if wanted.key[0] != key:
                key = wanted.key[0]
                topic = FetchableTopicResponse(
                    topic=wanted.topic if not fetch_set.by_id else "", topic_id=wanted.topic_id
                )
                response.responses.append(topic)
            topic.partitions.append(row)
            if self._full:
                fetch_set.queue_last(wanted)
        self._end()
        return response

    def _read(
        self, wanted: Wanted, replica: Partition, row: PartitionData, left: int
    ) -> tuple[int, bool]:
        """Fill `row`; return the bytes taken and whether there is something to tell."""
        log = replica.log
        fetch_set = self._fetch_set
        is_consumer = self._follower is None
        end = (
            replica.readable_end(self._isolation) if is_consumer else self._end_of(wanted, replica)
        )
        row.high_watermark = replica.high_watermark
        row.last_stable_offset = log.last_stable_offset
        row.log_start_offset = log.log_start_offset
        if self._isolation is IsolationLevel.READ_COMMITTED:
            row.aborted_transactions = []
        if self._rack:
            preferred = self._preferred(wanted, replica)
            if preferred != NO_BROKER:
                row.preferred_read_replica = preferred
                wanted.seen_high_watermark = -1
                return 0, True
        size = 0
        divergence = self._divergence(wanted, replica) if wanted.last_fetched_epoch >= 0 else None
        try:
            if divergence is not None:
                if divergence.epoch < 0:
                    raise _out_of_range(replica)
                row.diverging_epoch = divergence
            elif not log.log_start_offset <= wanted.offset <= log.log_end_offset:
                raise _out_of_range(replica)
            elif wanted.offset < end:
                untouched = left == self._max_bytes
                room = min(wanted.max_bytes, left)
                if room > 0 or untouched:
                    result = log.read_to_send(wanted.offset, room, below=end, min_one=untouched)
                    # The codec asks of records nothing but their length.
                    row.records = cast(Buffer, result.records)
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
        except (ApiError, StorageError) as error:
            row.error_code = (
                error.code if isinstance(error, ApiError) else ErrorCode.KAFKA_STORAGE_ERROR
            )
            row.high_watermark = row.last_stable_offset = row.log_start_offset = -1
            row.aborted_transactions = None
            wanted.seen_high_watermark = -1
            return 0, True
        if size and not is_consumer:
            self._note_served(replica)
            if self._throttles is not None:
                self._throttles.sent(replica, size)
        news = size > 0 or divergence is not None or self._has_news(wanted)
        wanted.seen_high_watermark = replica.high_watermark
        wanted.seen_start = log.log_start_offset
        is_over = wanted.offset >= end and divergence is None
        if is_over and (self._throttles is None or _is_at_end(wanted)):
            # Else it was served, had no room or was throttled: it is looked at again.
            fetch_set.dirty.pop(wanted, None)
        return size, news

    def _note_served(self, replica: Partition) -> None:
        leadership, follower = replica.leadership, self._follower
        assert leadership is not None
        assert follower is not None
        leadership.followers[follower.broker_id].served(
            replica.log.log_end_offset, self._context.broker.transport_clock.now_ms()
        )

    def _preferred(self, wanted: Wanted, replica: Partition) -> BrokerId:
        """The follower that the consumer should read from rather than from this leader, or none."""
        leadership = replica.leadership
        if leadership is None:
            return NO_BROKER
        brokers = self._context.broker.image.brokers
        return nearest(
            leadership,
            wanted.offset,
            lambda broker: brokers[broker].rack == self._rack if broker in brokers else False,
        )

    @staticmethod
    def _divergence(wanted: Wanted, replica: Partition) -> DivergingEpoch | None:
        """Where the client's history parts from this log's (KIP-595); epoch -1: nobody knows."""
        epoch, end = replica.end_of_epoch(wanted.last_fetched_epoch)
        if epoch < wanted.last_fetched_epoch or end < wanted.offset:
            return DivergingEpoch(epoch=epoch, end_offset=end)
        return None

    def _name_leader(self, wanted: Wanted, row: PartitionData, response: FetchResponse) -> None:
        """Say who leads, so that the client need not ask (KIP-951)."""
        context = self._context
        if wanted.error not in MISPLACED or context.api_version < FIRST_WITH_LEADERS:
            return
        state = context.broker.image.partition(wanted.topic, wanted.partition)
        if state is None:
            return
        row.current_leader = LeaderIdAndEpoch(
            leader_id=state.leader, leader_epoch=state.leader_epoch
        )
        named = any(node.node_id == state.leader for node in response.node_endpoints)
        if not named and self._follower is None:
            host, port = context.address_of(state.leader)
            broker = context.broker.image.brokers.get(state.leader)
            rack = None if broker is None else broker.rack
            response.node_endpoints.append(
                NodeEndpoint(node_id=state.leader, host=host, port=port, rack=rack)
            )


def _out_of_range(replica: Partition) -> ApiError:
    """A client that hears it may begin anew elsewhere: who may be deposed must not say so."""
    return ApiError(
        ErrorCode.NOT_LEADER_OR_FOLLOWER
        if replica.may_be_deposed
        else ErrorCode.OFFSET_OUT_OF_RANGE
    )


def _is_rack_aware(context: Context) -> bool:
    """Whether consumers are sent to replicas in their rack; no other selector is known."""
    selector = context.broker.config.replica_selector_class
    return selector is not None and selector.rpartition(".")[2] == RACK_AWARE


def _known_by_name(row: tuple[Wanted, PartitionData]) -> bool:
    return row[0].error is not ErrorCode.UNKNOWN_TOPIC_ID


def _is_at_end(wanted: Wanted) -> bool:
    """Whether there is nothing that it lacks."""
    replica = wanted.replica
    return replica is None or wanted.offset >= replica.log.log_end_offset


def _available(wanted: Wanted, log: Log, end: Offset) -> int:
    """How many bytes the partition could give now; a cold read counts as plenty."""
    try:
        result = log.read_to_send(wanted.offset, wanted.max_bytes, below=end)
    except (ApiError, StorageError):
        return MAX_BYTES
    if result.cold is not None:
        result.cold.release()
        return MAX_BYTES
    return len(result.records)
