"""Produce: validate, append, and answer when as much has happened as the client asked for.

The answer waits for a partition's high watermark where acks=all, and with acks=1
for the disk here where every acknowledgement is of flushed records
(`flush.messages=1`). With acks=all nothing is appended while too few are in sync. It
leaves with the last of its partitions, or with REQUEST_TIMED_OUT for those not
committed in time (their records stay).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias

from ottla.handlers.admission import Admission
from ottla.handlers.context import Context, Reply
from ottla.handlers.resolve import leader_of, topic_of
from ottla.model.errors import ApiError, ErrorCode, ProtocolError, StorageError
from ottla.model.ids import Offset, PartitionId, TopicPartition
from ottla.model.isolation import Acks
from ottla.model.names import INTERNAL_TOPICS
from ottla.model.workers import Lane, Later
from ottla.record.batch import HEADER_SIZE, TRANSACTIONAL_FLAG, read_header
from ottla.record.checksum import Buffer
from ottla.record.validate import ProducedBatch, RejectedBatchError, takes_long, validate_produced
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
FIRST_WITH_ABORTABLE = 11
FIRST_IMPLICIT = 12
ADMIN_CLIENT = "__admin_client"
"""The one client id Kafka lets write to internal topics."""

MAX_KEPT_LEADERS = 10_000

MAX_RECORD_ERRORS = 10_000
"""So many records are named in one answer; the batches beyond are refused without saying which."""

AHEAD = 4
"""Batches of one request that workers have at once: others' need not wait for all of them."""

# Plain integers: comparing an enumeration's members costs more than the look-ups around it.
ALL, NONE, LEADER = int(Acks.ALL), int(Acks.NONE), int(Acks.LEADER)
KNOWN_ACKS = frozenset(int(acks) for acks in Acks)


def produce(
    context: Context, request: ProduceRequest
) -> ProduceResponse | Reply | Coroutine[Any, Any, ProduceResponse | None] | None:
    response = ProduceResponse()
    if request.transactional_id is not None:
        return produce_in_transaction(context, request, response)
    batches, expand = _resolve(context, request, response)
    if expand:
        context.connection.detach()
        return _produce_off_loop(context, request, response, batches)
    waits = _append_all(context, request, batches)
    if request.acks == NONE:
        _check_unanswered(batches)
        return None
    if waits:
        reply = context.later(blocking=False)
        Committing(context, request, response, waits, reply.respond)
        return reply
    return response


async def _produce_off_loop(
    context: Context,
    request: ProduceRequest,
    response: ProduceResponse,
    batches: "list[Batch]",
    guard: "Guard | None" = None,
) -> ProduceResponse | None:
    """Workers look at the batches, a few ahead of the one that is appended.

    What a batch became lives no longer than its turn, so that however much the
    batches of a request expand to, it is never in memory together.
    """
    now_ms = context.broker.clock.now_ms()
    naming = Naming()
    waits: list[Wait] = []
    ahead: deque[tuple[Batch, Later[ProducedBatch | ApiError]]] = deque()

    async def append_next() -> None:
        batch, later = ahead.popleft()
        waits.extend(_append_all(context, request, [batch], await later, naming, guard))

    for batch in batches:
        _, data, replica = batch
        if replica is None:
            continue
        job = partial(_validated, context.api_version, replica, data, now_ms)
        ahead.append((batch, context.broker.workers.submit(Lane.CODEC, job)))
        if len(ahead) == AHEAD:
            await append_next()
    while ahead:
        await append_next()
    if request.acks == NONE:
        _check_unanswered(batches)
        return None
    if waits:
        answered: asyncio.Future[ProduceResponse] = asyncio.get_running_loop().create_future()
        Committing(context, request, response, waits, answered.set_result)
        return await answered
    return response


Batch: TypeAlias = tuple[PartitionProduceResponse, PartitionProduceData, Partition | None]
"""What is produced to one partition: the row of its answer, its bytes, and, unless the row
says why not, where it goes."""

Wait: TypeAlias = tuple[Partition, Offset, PartitionProduceResponse]
"""(partition, end offset whose commit is the acknowledgement, the row that waits for it)"""


def _resolve(
    context: Context, request: ProduceRequest, response: ProduceResponse
) -> tuple[list[Batch], bool]:
    """Find each batch's partition; say whether one of them is better left to a worker."""
    revision = context.broker.image.revision
    leaders = context.client.leaders
    now_ms = context.broker.clock.now_ms()
    batches: list[Batch] = []
    expand = False
    for topic in request.topic_data:
        rows: list[PartitionProduceResponse] = []
        name, topic_id = topic.name, topic.topic_id
        for data in topic.partition_data:
            row = PartitionProduceResponse(index=data.index)
            rows.append(row)
            replica: Partition | None
            # What was found under this image stands as long as the image does.
            kept = leaders.get((name, topic_id, data.index))
            if kept is not None and kept[0] == revision and kept[1].is_leader:
                replica = kept[1]
            else:
                found = find(context, topic, data.index, data.records)
                if isinstance(found, ApiError):
                    refuse(row, found)
                    replica = None
                else:
                    replica = found
                    if len(leaders) >= MAX_KEPT_LEADERS:
                        leaders.clear()
                    leaders[name, topic_id, data.index] = revision, replica
            records = data.records
            if replica is not None and records is not None and not expand:
                expand = takes_long(records, replica.rules, now_ms)
            batches.append((row, data, replica))
        if rows:
            response.responses.append(
                TopicProduceResponse(name=name, topic_id=topic_id, partition_responses=rows)
            )
    if request.acks not in KNOWN_ACKS:
        error = ApiError(ErrorCode.INVALID_REQUIRED_ACKS)
        for row, _, _ in batches:
            refuse(row, error)
        return [(row, data, None) for row, data, _ in batches], False
    return batches, expand


def find(
    context: Context, topic: TopicProduceData, index: PartitionId, records: Buffer | None = None
) -> Partition | ApiError:
    """Where a batch goes, or why it may not."""
    by_id = context.api_version >= FIRST_WITH_IDS
    found = topic_of(context, "WRITE", topic.name, topic.topic_id, by_id=by_id)
    if isinstance(found, ErrorCode):
        return ApiError(found)
    if found.name in INTERNAL_TOPICS and context.client_id != ADMIN_CLIENT:
        return ApiError(
            ErrorCode.INVALID_TOPIC_EXCEPTION, f"Cannot append to internal topic {found.name}"
        )
    replica = leader_of(context, found, index)
    if not isinstance(replica, ErrorCode):
        return replica
    ours = context.broker.replicas.find(found.topic_id, index)
    if ours is not None:
        _let_wait(ours, records, replica)
    return ApiError(replica)


def _check_unanswered(batches: list[Batch]) -> None:
    """There is nothing to put an error in: the producer learns by losing its connection."""
    if any(row.error_code for row, _, _ in batches):
        raise ProtocolError("a produce without acknowledgement failed")


def _append_all(
    context: Context,
    request: ProduceRequest,
    batches: list[Batch],
    validated: ProducedBatch | ApiError | None = None,
    naming: "Naming | None" = None,
    guard: "Guard | None" = None,
) -> list[Wait]:
    """Append every batch, each by itself; `validated` is what a worker says of the only one.

    Transactional ones need a `guard`.

    Returns who must wait for a commit before the answer may leave.
    """
    acks_all = request.acks == ALL
    now_ms = context.broker.clock.now_ms()
    waits: list[Wait] = []
    for row, data, replica in batches:
        if replica is None:
            continue
        if isinstance(validated, ApiError):
            refuse(row, validated, naming)
            continue
        try:
            if replica.is_limited:
                _check_acks(replica, acks_all, data.records)
            produced = validated or validate_produced(
                data.records,
                replica.rules,
                partition=replica.name,
                api_version=context.api_version,
                now_ms=now_ms,
            )
            if produced.attributes & TRANSACTIONAL_FLAG:
                if guard is None:
                    raise ApiError(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
                guard.check(replica, produced)
            result = replica.append(produced.batch, produced, now_ms)
        except ApiError as error:
            naming = naming or Naming()
            refuse(row, error, naming)
            continue
        except StorageError as error:
            refuse(row, ApiError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)))
            continue
        row.base_offset = result.base_offset
        row.log_append_time_ms = result.log_append_time_ms
        row.log_start_offset = result.log_start_offset
        if acks_all:
            waits_for = replica.high_watermark
        elif replica.flushes_each:
            waits_for = replica.counted_end
        else:
            continue
        if result.last_offset >= waits_for:
            waits.append((replica, result.last_offset + 1, row))
    return waits


def _check_acks(replica: Partition, acks_all: bool, records: Buffer | None) -> None:
    """As `Partition.check_acks`; what a producer sent behind a batch refused so waits for it."""
    try:
        replica.check_acks(acks_all)
    except ApiError as error:
        _let_wait(replica, records, error.code)
        raise


def _let_wait(replica: Partition, records: Buffer | None, code: ErrorCode) -> None:
    """A batch is refused for now: what its producer sent behind it is, too, when it comes."""
    log = replica.log
    if records is not None and len(records) >= HEADER_SIZE and log.is_open:
        header = read_header(records)
        if header.producer_id >= 0:
            log.producers.refused(
                header.producer_id, header.producer_epoch, header.base_sequence, code
            )


async def produce_in_transaction(
    context: Context, request: ProduceRequest, response: ProduceResponse
) -> ProduceResponse | None:
    """A producer with a transactional id: its batches belong to its open transaction.

    From version 12 on that takes their partitions into it, before that they must be in it
    already (KIP-890).
    """
    guard = Guard(context, request.transactional_id or "")
    batches, expand = _resolve(context, request, response)
    if not context.authorize("WRITE", "TRANSACTIONAL_ID", guard.transactional_id):
        for row, _, _ in batches:
            refuse(row, ApiError(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED))
        return response
    try:
        await guard.admit(batches)
        if expand:
            return await _produce_off_loop(context, request, response, batches, guard)
        waits = _append_all(context, request, batches, guard=guard)
    finally:
        guard.close()
    if request.acks == NONE:
        _check_unanswered(batches)
        return None
    if waits:
        answered: asyncio.Future[ProduceResponse] = asyncio.get_running_loop().create_future()
        Committing(context, request, response, waits, answered.set_result)
        return await answered
    return response


class Guard:
    """Lets in what belongs to an open transaction, and nothing that came after its end."""

    def __init__(self, context: Context, transactional_id: str) -> None:
        self.transactional_id = transactional_id
        self._takes_in = context.api_version >= FIRST_IMPLICIT
        self._knows_abortable = context.api_version >= FIRST_WITH_ABORTABLE
        settings = context.broker.transactions.settings
        self._is_on = self._takes_in or settings.transaction_partition_verification_enable
        self._admission = Admission(context, transactional_id, takes_in=self._takes_in)
        self._refused: dict[tuple[TopicPartition, int], ApiError] = {}

    async def admit(self, batches: list[Batch]) -> None:
        """Have the coordinator take the batches' partitions in, or say that they are."""
        if not self._is_on:
            return
        by_producer: dict[tuple[int, int], list[Partition]] = {}
        for _, data, replica in batches:
            records = data.records
            if replica is None or records is None or len(records) < HEADER_SIZE:
                continue
            header = read_header(records)
            if header.is_transactional:
                producer = (header.producer_id, header.producer_epoch)
                by_producer.setdefault(producer, []).append(replica)
        for producer, replicas in by_producer.items():
            for name, error in (await self._admission.ask(producer, replicas)).items():
                self._refused[name, producer[0]] = self._told(error)

    def check(self, replica: Partition, produced: ProducedBatch) -> None:
        """May this batch be appended now? Raises ApiError."""
        if not self._is_on:
            return
        refused = self._refused.get((replica.name, produced.producer_id))
        if refused is not None:
            log = replica.log
            if refused.code in _FOR_NOW and log.is_open:
                # What is sent behind it waits for it.
                log.producers.refused(
                    produced.producer_id,
                    produced.producer_epoch,
                    produced.base_sequence,
                    refused.code,
                )
            raise refused
        producer = (produced.producer_id, produced.producer_epoch)
        try:
            self._admission.check(replica, producer)
        except ApiError as error:
            raise self._told(error) from None

    def close(self) -> None:
        """Everything is appended, or refused."""
        self._admission.close()

    def _told(self, error: ApiError) -> ApiError:
        """As producers are told, in the versions they know."""
        code = error.code
        if code is ErrorCode.PRODUCER_FENCED:
            code = ErrorCode.INVALID_PRODUCER_EPOCH
        elif code is ErrorCode.TRANSACTION_ABORTABLE and not self._knows_abortable:
            code = ErrorCode.INVALID_TXN_STATE
        elif code in _TRY_AGAIN or (
            code is ErrorCode.CONCURRENT_TRANSACTIONS and not self._takes_in
        ):
            message = (
                f"Unable to verify the partition has been added to the transaction. ({code.name})"
            )
            return ApiError(ErrorCode.NOT_ENOUGH_REPLICAS, message)
        return ApiError(code, error.message)


_FOR_NOW = (ErrorCode.NOT_ENOUGH_REPLICAS, ErrorCode.CONCURRENT_TRANSACTIONS)

_TRY_AGAIN = (
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.NETWORK_EXCEPTION,
)


def _validated(
    api_version: int, replica: Partition, data: PartitionProduceData, now_ms: int
) -> ProducedBatch | ApiError:
    """For a worker: what is wrong comes back as a value."""
    try:
        return validate_produced(
            data.records,
            replica.rules,
            partition=replica.name,
            api_version=api_version,
            now_ms=now_ms,
        )
    except ApiError as error:
        # Its traceback, and that of what led to it, would keep what the batch expanded to.
        error.__context__ = None
        return error.with_traceback(None)


class Naming:
    """How many more refused records one answer may name."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_RECORD_ERRORS


def refuse(row: PartitionProduceResponse, error: ApiError, naming: Naming | None = None) -> None:
    row.error_code = error.code
    row.error_message = error.message
    row.base_offset = -1
    row.log_append_time_ms = -1
    row.log_start_offset = -1
    if naming is not None and isinstance(error, RejectedBatchError):
        for index, message in error.record_errors[: naming.left]:
            naming.left -= 1
            row.record_errors.append(
                BatchIndexAndErrorMessage(batch_index=index, batch_index_error_message=message)
            )


class Committing:
    """A produce whose records are appended and not all committed yet."""

    __slots__ = ("_is_answered", "_open", "_respond", "_response", "_timeout_ms", "_timeouts")

    def __init__(
        self,
        context: Context,
        request: ProduceRequest,
        response: ProduceResponse,
        waits: list[Wait],
        respond: Callable[[ProduceResponse], object],
    ) -> None:
        self._respond = respond
        self._response = response
        self._open = {id(row): row for _, _, row in waits}
        self._timeouts = context.broker.produce_timeouts
        self._timeout_ms = max(0, request.timeout_ms)
        self._is_answered = False
        self._timeouts.add(self._timeout_ms, self._timed_out)
        for replica, end, row in waits:
            when = replica.when_committed if request.acks == ALL else replica.when_flushed
            when(end, partial(self._committed, row))

    def _committed(self, row: PartitionProduceResponse, error: ApiError | None) -> None:
        if self._open.pop(id(row), None) is None:
            return
        if error is not None:
            refuse(row, error)
        if not self._open:
            self._answer()

    def _timed_out(self) -> None:
        for row in self._open.values():
            refuse(row, ApiError(ErrorCode.REQUEST_TIMED_OUT))
        self._open.clear()
        self._answer()

    def _answer(self) -> None:
        if not self._is_answered:
            self._is_answered = True
            self._timeouts.remove(self._timeout_ms, self._timed_out)
            self._respond(self._response)
