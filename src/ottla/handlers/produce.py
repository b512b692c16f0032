"""Produce: validate, append, and answer when as much has happened as the client asked for.

The answer waits for a partition's high watermark where acks=all; it leaves with
the last of its partitions, or with REQUEST_TIMED_OUT for those not committed in
time (their records stay).
"""

from functools import partial

from ottla.handlers.context import Context, Reply
from ottla.handlers.resolve import leader_of, topic_of
from ottla.metadata.image import TopicImage
from ottla.model.clock import Timer
from ottla.model.errors import ApiError, ErrorCode, ProtocolError, StorageError
from ottla.model.isolation import Acks
from ottla.model.names import INTERNAL_TOPICS
from ottla.record.validate import validate_produced
from ottla.replica.partition import Partition
from ottla.wire.generated.produce import (
    BatchIndexAndErrorMessage,
    LeaderIdAndEpoch,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)

FIRST_WITH_IDS = 13
FIRST_WITH_LEADERS = 10
ADMIN_CLIENT = "__admin_client"
"""The one client id Kafka lets write to internal topics."""

# Plain integers: comparing an enumeration's members costs more than the look-ups around it.
ALL, NONE = int(Acks.ALL), int(Acks.NONE)
_KNOWN_ACKS = frozenset(int(acks) for acks in Acks)


def produce(context: Context, request: ProduceRequest) -> ProduceResponse | Reply | None:
    acks = request.acks
    by_id = context.api_version >= FIRST_WITH_IDS
    response = ProduceResponse()
    waits: list[tuple[Partition, int, PartitionProduceResponse]] = []
    failed = False
    for topic in request.topic_data:
        rows = []
        found: TopicImage | ErrorCode
        if acks not in _KNOWN_ACKS:
            found = ErrorCode.INVALID_REQUIRED_ACKS
        elif request.transactional_id is not None:
            found = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        else:
            found = topic_of(context, "WRITE", topic.name, topic.topic_id, by_id=by_id)
        for data in topic.partition_data:
            row = PartitionProduceResponse(index=data.index)
            rows.append(row)
            try:
                if isinstance(found, ErrorCode):
                    raise ApiError(found)
                if found.name in INTERNAL_TOPICS and context.client_id != ADMIN_CLIENT:
                    raise ApiError(
                        ErrorCode.INVALID_TOPIC_EXCEPTION,
                        f"Cannot append to internal topic {found.name}",
                    )
                replica = leader_of(context, found, data.index)
                if isinstance(replica, ErrorCode):
                    raise ApiError(replica)
                end = _append(context, replica, data, row)
                if acks == ALL and end > replica.high_watermark:
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
    if acks == NONE:
        if failed:
            # There is no answer to put the error in: the producer learns by losing its connection.
            raise ProtocolError("a produce without acknowledgement failed")
        return None
    if waits:
        return Committing(context, request, response, waits).reply
    return response


def _append(
    context: Context,
    replica: Partition,
    data: PartitionProduceData,
    row: PartitionProduceResponse,
) -> int:
    """Append one partition's batch; return the end offset whose commit is its acknowledgement."""
    now_ms = context.broker.clock.now_ms()
    produced = validate_produced(
        data.records,
        replica.rules,
        partition=replica.name,
        api_version=context.api_version,
        now_ms=now_ms,
    )
    if produced.is_transactional:
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


def name_leader(context: Context, topic: str, row: PartitionProduceResponse) -> None:
    """Tell a client that came to the wrong broker where the leader is (KIP-951)."""
    state = context.broker.image.partition(topic, row.index)
    if state is not None and context.api_version >= FIRST_WITH_LEADERS:
        row.current_leader = LeaderIdAndEpoch(
            leader_id=state.leader, leader_epoch=state.leader_epoch
        )


class Committing:
    """A produce whose records are appended and not all committed yet."""

    __slots__ = ("_open", "_response", "_timer", "reply")

    def __init__(
        self,
        context: Context,
        request: ProduceRequest,
        response: ProduceResponse,
        waits: list[tuple[Partition, int, PartitionProduceResponse]],
    ) -> None:
        self.reply = context.later(blocking=False)
        self._response = response
        self._open = {id(row): row for _, _, row in waits}
        clock = context.broker.transport_clock
        self._timer: Timer | None = clock.call_at(
            clock.now_ms() + max(0, request.timeout_ms), self._timed_out
        )
        for replica, end, row in waits:
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
            self.reply.respond(self._response)
