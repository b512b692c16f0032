"""Produce: validate, append, and answer when as much has happened as the client asked for.

The answer waits for a partition's high watermark where acks=all; it leaves with
the last of its partitions, or with REQUEST_TIMED_OUT for those not committed in
time (their records stay).
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, NamedTuple

from ottla.handlers.context import Context, Reply
from ottla.handlers.resolve import leader_of, topic_of
from ottla.model.clock import Timer
from ottla.model.errors import ApiError, ErrorCode, ProtocolError, StorageError
from ottla.model.isolation import Acks
from ottla.model.names import INTERNAL_TOPICS
from ottla.model.workers import Lane, Later
from ottla.record.batch import TRANSACTIONAL_FLAG
from ottla.record.validate import ProducedBatch, must_expand, validate_produced
from ottla.replica.partition import Partition
from ottla.wire.generated.produce import (
    BatchIndexAndErrorMessage,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)

FIRST_WITH_IDS = 13
ADMIN_CLIENT = "__admin_client"
"""The one client id Kafka lets write to internal topics."""

ON_LOOP_BYTES = 16 * 1024
"""A compressed batch up to this is expanded on the loop: that takes less than handing it over."""

# Plain integers: comparing an enumeration's members costs more than the look-ups around it.
ALL, NONE = int(Acks.ALL), int(Acks.NONE)
_KNOWN_ACKS = frozenset(int(acks) for acks in Acks)


def produce(
    context: Context, request: ProduceRequest
) -> ProduceResponse | Reply | Coroutine[Any, Any, ProduceResponse | None] | None:
    for topic in request.topic_data:
        for data in topic.partition_data:
            if data.records is not None and len(data.records) > ON_LOOP_BYTES:
                found = _replica(context, request, topic, data)
                if isinstance(found, Partition) and must_expand(data.records, found.rules):
                    context.connection.detach()
                    return _produce_off_loop(context, request)
    appended = _append_all(context, request, {})
    if request.acks == NONE:
        _check_unanswered(appended)
        return None
    if appended.waits:
        reply = context.later(blocking=False)
        Committing(context, request, appended, reply.respond)
        return reply
    return appended.response


async def _produce_off_loop(context: Context, request: ProduceRequest) -> ProduceResponse | None:
    """Large compressed batches are expanded by a worker; nothing is appended before all are."""
    validated: dict[int, Later[ProducedBatch | ApiError]] = {}
    now_ms = context.broker.clock.now_ms()
    for topic in request.topic_data:
        for data in topic.partition_data:
            found = _replica(context, request, topic, data)
            if isinstance(found, Partition):
                job = partial(_validate, context.api_version, found, data, now_ms)
                validated[id(data)] = context.broker.workers.submit(Lane.CODEC, job)
    outcomes = {key: await later for key, later in validated.items()}
    appended = _append_all(context, request, outcomes)
    if request.acks == NONE:
        _check_unanswered(appended)
        return None
    if appended.waits:
        answered: asyncio.Future[ProduceResponse] = asyncio.get_running_loop().create_future()
        Committing(context, request, appended, answered.set_result)
        return await answered
    return appended.response


def _check_unanswered(appended: "Appended") -> None:
    """There is nothing to put an error in: the producer learns by losing its connection."""
    if appended.failed:
        raise ProtocolError("a produce without acknowledgement failed")


class Appended(NamedTuple):
    response: ProduceResponse
    waits: list[tuple[Partition, int, PartitionProduceResponse]]
    """(partition, end offset whose commit is the acknowledgement, the row that waits for it)"""
    failed: bool


def _append_all(
    context: Context,
    request: ProduceRequest,
    validated: Mapping[int, ProducedBatch | ApiError],
) -> Appended:
    """Append every partition's batch, each by itself; `validated` has those that were looked at."""
    acks_all = request.acks == ALL
    response = ProduceResponse()
    waits: list[tuple[Partition, int, PartitionProduceResponse]] = []
    failed = False
    for topic in request.topic_data:
        rows = []
        for data in topic.partition_data:
            row = PartitionProduceResponse(index=data.index)
            rows.append(row)
            try:
                replica = _replica(context, request, topic, data)
                if not isinstance(replica, Partition):
                    raise replica
                end = _append(context, replica, data, row, validated.get(id(data)))
                if acks_all and end > replica.high_watermark:
                    waits.append((replica, end, row))
            except ApiError as error:
                failed = True
                _refuse(row, error)
            except StorageError as error:
                failed = True
                _refuse(row, ApiError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)))
        response.responses.append(
            TopicProduceResponse(name=topic.name, topic_id=topic.topic_id, partition_responses=rows)
        )
    return Appended(response, waits, failed)


def _replica(
    context: Context, request: ProduceRequest, topic: TopicProduceData, data: PartitionProduceData
) -> Partition | ApiError:
    """Where the batch goes, or why it may not."""
    if request.acks not in _KNOWN_ACKS:
        return ApiError(ErrorCode.INVALID_REQUIRED_ACKS)
    if request.transactional_id is not None:
        return ApiError(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    found = topic_of(
        context, "WRITE", topic.name, topic.topic_id, by_id=context.api_version >= FIRST_WITH_IDS
    )
    if isinstance(found, ErrorCode):
        return ApiError(found)
    if found.name in INTERNAL_TOPICS and context.client_id != ADMIN_CLIENT:
        return ApiError(
            ErrorCode.INVALID_TOPIC_EXCEPTION, f"Cannot append to internal topic {found.name}"
        )
    replica = leader_of(context, found, data.index)
    return ApiError(replica) if isinstance(replica, ErrorCode) else replica


def _validate(
    api_version: int, replica: Partition, data: PartitionProduceData, now_ms: int
) -> ProducedBatch | ApiError:
    """Look at one batch, on the loop or in a worker."""
    try:
        return validate_produced(
            data.records,
            replica.rules,
            partition=replica.name,
            api_version=api_version,
            now_ms=now_ms,
        )
    except ApiError as error:
        return error


def _append(
    context: Context,
    replica: Partition,
    data: PartitionProduceData,
    row: PartitionProduceResponse,
    produced: ProducedBatch | ApiError | None,
) -> int:
    """Append one partition's batch; return the end offset whose commit is its acknowledgement."""
    now_ms = context.broker.clock.now_ms()
    if produced is None:
        produced = _validate(context.api_version, replica, data, now_ms)
    if isinstance(produced, ApiError):
        raise produced
    if produced.attributes & TRANSACTIONAL_FLAG:
        raise ApiError(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    result = replica.append(produced.batch, produced, now_ms)
    row.base_offset = result.base_offset
    row.log_append_time_ms = result.log_append_time_ms
    row.log_start_offset = result.log_start_offset
    return result.last_offset + 1


def _refuse(row: PartitionProduceResponse, error: ApiError) -> None:
    row.error_code = error.code
    row.error_message = error.message
    row.base_offset = -1
    row.log_append_time_ms = -1
    row.log_start_offset = -1
    for index, message in getattr(error, "record_errors", ()):
        row.record_errors.append(
            BatchIndexAndErrorMessage(batch_index=index, batch_index_error_message=message)
        )


class Committing:
    """A produce whose records are appended and not all committed yet."""

    __slots__ = ("_open", "_respond", "_response", "_timer")

    def __init__(
        self,
        context: Context,
        request: ProduceRequest,
        appended: Appended,
        respond: Callable[[ProduceResponse], object],
    ) -> None:
        self._respond = respond
        self._response = appended.response
        self._open = {id(row): row for _, _, row in appended.waits}
        clock = context.broker.transport_clock
        self._timer: Timer | None = clock.call_at(
            clock.now_ms() + max(0, request.timeout_ms), self._timed_out
        )
        for replica, end, row in appended.waits:
            replica.when_committed(end, partial(self._committed, row))

    def _committed(self, row: PartitionProduceResponse, error: ApiError | None) -> None:
        if self._open.pop(id(row), None) is None:
            return
        if error is not None:
            _refuse(row, error)
        if not self._open:
            self._answer()

    def _timed_out(self) -> None:
        for row in self._open.values():
            _refuse(row, ApiError(ErrorCode.REQUEST_TIMED_OUT))
        self._open.clear()
        self._answer()

    def _answer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._respond(self._response)
