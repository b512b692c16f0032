"""Produce with one batch for one partition, read and answered by hand: the commonest request.

What stands before the records is the same in every such request of a client: no
transactional id, acks, time-out, one topic, one partition. So those bytes are a
key, and behind it is a `Route`, all that follows from them: the partition, and the
answer but for its numbers. They are read and written by the generated codec once,
when the route is made.

Where the answer has to wait for a commit (`flush.messages=1`), it is made at once and
kept until then; only if that fails it is made anew.

Only what simply succeeds is served here. For anything else, whatever it is,
`produce_one` returns None before it did anything, and `handlers/produce.py` serves
the request from the beginning.
"""

from struct import Struct
from struct import error as too_short
from typing import NamedTuple

from ottla.handlers.context import BrokerViews, Client, Context
from ottla.handlers.produce import ALL, FIRST_WITH_IDS, KNOWN_ACKS, LEADER, NONE, find, refuse
from ottla.handlers.registry import Api
from ottla.model.errors import ApiError, ErrorCode, ProtocolError, StorageError
from ottla.model.ids import NO_LEADER_EPOCH
from ottla.model.parts import Parts
from ottla.net.connection import Connection, Pending
from ottla.record.batch import (
    ATTRIBUTES_POSITION,
    COMPRESSION_MASK,
    HEADER_SIZE,
    TRANSACTIONAL_FLAG,
    stamp,
)
from ottla.record.validate import takes_long, validate_produced
from ottla.replica.partition import Partition
from ottla.wire.codec import decode
from ottla.wire.generated.produce import (
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)

MAX_BYTES = (1 << 14) - 2
"""Of records: what a compact length of two bytes can say. Above, they cost more than their request."""

MAX_ROUTES = 1_000

FIRST_FLEXIBLE = 9
FIRST_WITH_START_OFFSET = 5

OLD_BYTES = 22
"""Before version 9: transactional id's length, acks, time-out, count of topics, name's length;
name; count of partitions, index."""

FLEXIBLE_BYTES = 13
"""From version 9 on, all in one byte each but for acks, time-out, name or id, and index."""

ID_BYTES = 16

_NO_TAGS = bytes(3)
"""Behind the records: of the partition, the topic and the request."""

_NO_RECORDS = {False: b"\xff\xff\xff\xff", True: b"\0" + _NO_TAGS}

_INT32 = Struct(">i")
_RESULT = Struct(">qqq")
_OLD_RESULT = Struct(">qq")
_MARK = -0x0102030405060708
"""Stands where the result will be; no legal name of a topic has these bytes."""


class Route(NamedTuple):
    """What follows from the bytes before the records."""

    version: int
    revision: int
    """Of the image in which the partition was found."""
    partition: Partition
    acks: int
    answer: bytes
    """The whole frame, with marks where correlation id and result go."""
    result_at: int
    request: ProduceRequest
    """Without its records."""


def produce_one(
    views: BrokerViews,
    client: Client,
    connection: Connection,
    api: Api,
    correlation_id: int,
    client_id: str | None,
    frame: memoryview,
    position: int,
) -> Parts | Pending | None:
    """Serve the request whose body begins at `position`, or return None, with nothing done."""
    version = api.version
    try:
        if version < FIRST_FLEXIBLE:
            start = position + OLD_BYTES + frame[position + 13]
            records_at = start + 4
            (size,) = _INT32.unpack_from(frame, start)
            end = records_at + size
        else:
            if version < FIRST_WITH_IDS:
                start = position + FLEXIBLE_BYTES + frame[position + 8]
            else:
                start = position + FLEXIBLE_BYTES + ID_BYTES
            size = frame[start]
            records_at = start + 1
            if size > 127:
                size += (frame[records_at] << 7) - 128
                records_at += 1
            end = records_at + size - 1
            if frame[end : end + 3] != _NO_TAGS:
                return None
    except (IndexError, ValueError, too_short):
        return None
    if not records_at < end <= len(frame) or end - records_at > MAX_BYTES:
        return None
    shape = bytes(frame[position:start])
    route = client.routes.get(shape)
    if route is None or route.revision != views.image.revision or route.version != version:
        context = Context(views, client, connection, api, correlation_id, client_id)
        route = _route(context, shape)
        if route is None:
            return None
        if len(client.routes) >= MAX_ROUTES:
            client.routes.clear()
        client.routes[shape] = route
    partition = route.partition
    records = frame[records_at:end]
    now_ms = views.clock.now_ms()
    if partition.is_limited:
        return None
    rules = partition.rules
    # Little that may stand for much is a worker's.
    if (
        len(records) > HEADER_SIZE
        and records[ATTRIBUTES_POSITION + 1] & COMPRESSION_MASK
        and takes_long(records, rules, now_ms)
    ):
        return None
    try:
        produced = validate_produced(
            records, rules, partition=partition.name, api_version=version, now_ms=now_ms
        )
        if produced.attributes & TRANSACTIONAL_FLAG:
            return None
    except ApiError:
        return None  # the same error comes again, where there is an answer for it
    try:
        result = partition.append(produced.batch, produced, now_ms)
    except (ApiError, StorageError):
        # Nothing was appended, but the batch may be stamped: for another try it is as it came.
        stamp(records, 0, 0, NO_LEADER_EPOCH)
        return None
    if route.acks == NONE:
        return []
    answer = bytearray(route.answer)
    _INT32.pack_into(answer, 4, correlation_id)
    if version >= FIRST_WITH_START_OFFSET:
        _RESULT.pack_into(
            answer,
            route.result_at,
            result.base_offset,
            result.log_append_time_ms,
            result.log_start_offset,
        )
    else:
        _OLD_RESULT.pack_into(
            answer, route.result_at, result.base_offset, result.log_append_time_ms
        )
    end_offset = result.last_offset + 1
    if end_offset <= partition.high_watermark or (
        route.acks == LEADER and (not partition.flushes_each or end_offset <= partition.counted_end)
    ):
        return [answer]
    waiting = Waiting(views, connection, api, correlation_id, route, answer)
    if route.acks == ALL:
        partition.when_committed(end_offset, waiting.committed)
    else:
        partition.when_flushed(end_offset, waiting.committed)
    return waiting.pending


class Waiting:
    """A request whose records are appended and not committed yet, and its answer."""

    __slots__ = (
        "_answer",
        "_api",
        "_connection",
        "_correlation_id",
        "_is_answered",
        "_route",
        "_views",
        "pending",
    )

    def __init__(
        self,
        views: BrokerViews,
        connection: Connection,
        api: Api,
        correlation_id: int,
        route: Route,
        answer: bytearray,
    ) -> None:
        self.pending = Pending(connection, blocking=False)
        self._views = views
        self._connection = connection
        self._api = api
        self._correlation_id = correlation_id
        self._route = route
        self._answer = answer
        self._is_answered = False
        views.produce_timeouts.add(max(0, route.request.timeout_ms), self._timed_out)

    def committed(self, error: ApiError | None) -> None:
        """The records are committed, or will not be."""
        if self._is_answered:
            return
        self._is_answered = True
        timeout_ms = max(0, self._route.request.timeout_ms)
        self._views.produce_timeouts.remove(timeout_ms, self._timed_out)
        if error is None:
            self.pending.answer([self._answer])
        elif not self.pending.abandoned:
            (topic,) = self._route.request.topic_data
            row = PartitionProduceResponse(index=topic.partition_data[0].index)
            refuse(row, error)
            response = _response(topic, row)
            connection = self._connection
            context = Context(
                self._views, connection.owner, connection, self._api, self._correlation_id, None
            )
            self.pending.answer(context.frame(response))

    def _timed_out(self) -> None:
        self.committed(ApiError(ErrorCode.REQUEST_TIMED_OUT))


def _route(context: Context, shape: bytes) -> Route | None:
    """Read `shape` as a request without records; None if it is of another kind, or refused."""
    version = context.api_version
    body = shape + _NO_RECORDS[version >= FIRST_FLEXIBLE]
    try:
        request, _ = decode(ProduceRequest, version, body)
    except ProtocolError:
        return None
    if request.transactional_id is not None or request.acks not in KNOWN_ACKS:
        return None
    if len(request.topic_data) != 1 or len(request.topic_data[0].partition_data) != 1:
        return None
    (topic,) = request.topic_data
    (data,) = topic.partition_data
    partition = find(context, topic, data.index)
    if isinstance(partition, ApiError):
        return None
    row = PartitionProduceResponse(
        index=data.index, base_offset=_MARK, log_append_time_ms=_MARK, log_start_offset=_MARK
    )
    response = _response(topic, row)
    answer = b"".join(context.frame(response))  # type: ignore[arg-type]
    return Route(
        version=version,
        revision=context.broker.image.revision,
        partition=partition,
        acks=request.acks,
        answer=answer,
        result_at=answer.index(_OLD_RESULT.pack(_MARK, _MARK)),
        request=request,
    )


def _response(topic: TopicProduceData, row: PartitionProduceResponse) -> ProduceResponse:
    answered = TopicProduceResponse(
        name=topic.name, topic_id=topic.topic_id, partition_responses=[row]
    )
    return ProduceResponse(responses=[answered])
