"""ListOffsets, DeleteRecords, OffsetForLeaderEpoch: questions about a log's offsets."""

import asyncio
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any, TypeAlias

from ottla.handlers.context import Context
from ottla.handlers.resolve import leader_of, topic_by_name
from ottla.handlers.slices import Slices, answer
from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import NO_LEADER_EPOCH, Offset, PartitionId, TopicName
from ottla.model.isolation import IsolationLevel, ListOffsetsTimestamp
from ottla.model.names import INTERNAL_TOPICS
from ottla.model.steps import Steps
from ottla.replica.partition import Partition
from ottla.storage.timestamps import newest_record, offset_for_timestamp
from ottla.wire.generated.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
)
from ottla.wire.generated.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from ottla.wire.generated.offset_for_leader_epoch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
)

FIRST_WITH_EPOCHS = 4
FIRST_WITH_NOT_AVAILABLE = 5

FIRST_VERSION = {
    ListOffsetsTimestamp.MAX_TIMESTAMP: 7,
    ListOffsetsTimestamp.EARLIEST_LOCAL: 8,
    ListOffsetsTimestamp.LATEST_TIERED: 9,
    ListOffsetsTimestamp.EARLIEST_PENDING_UPLOAD: 11,
}
"""The version of ListOffsets in which a special timestamp appeared."""

_SPECIAL: Mapping[int, ListOffsetsTimestamp] = {
    int(timestamp): timestamp for timestamp in ListOffsetsTimestamp
}


def list_offsets(
    context: Context, request: ListOffsetsRequest
) -> ListOffsetsResponse | Coroutine[Any, Any, ListOffsetsResponse]:
    count = sum(len(topic.partitions) for topic in request.topics)
    return answer(context.broker.transport_clock, count, _list_offsets(context, request))


def _list_offsets(context: Context, request: ListOffsetsRequest) -> Steps[ListOffsetsResponse]:
    isolation = (
        IsolationLevel.READ_COMMITTED
        if request.isolation_level == 1
        else (IsolationLevel.READ_UNCOMMITTED)
    )
    asked: dict[TopicName, dict[PartitionId, ListOffsetsPartition]] = {}
    twice: set[tuple[TopicName, PartitionId]] = set()
    for topic in request.topics:
        rows = asked.setdefault(topic.name, {}) if topic.partitions else {}
        for partition in topic.partitions:
            if rows.setdefault(partition.partition_index, partition) is not partition:
                twice.add((topic.name, partition.partition_index))
    response = ListOffsetsResponse()
    for name, rows in asked.items():
        answered = ListOffsetsTopicResponse(name=name)
        response.topics.append(answered)
        for partition in rows.values():
            once = (name, partition.partition_index) not in twice
            answered.partitions.append(
                _list_partition(
                    context, name, partition, isolation, once=once, follower=request.replica_id >= 0
                )
            )
            yield
    return response


def _list_partition(
    context: Context,
    name: TopicName,
    asked: ListOffsetsPartition,
    isolation: IsolationLevel,
    *,
    once: bool,
    follower: bool,
) -> ListOffsetsPartitionResponse:
    """What there is to say of a partition; one that was not asked for only `once` is refused.

    To a `follower` the log ends where it does, committed or not.
    """
    row = ListOffsetsPartitionResponse(partition_index=asked.partition_index)
    found = topic_by_name(context, "DESCRIBE", name)
    if isinstance(found, ErrorCode):
        row.error_code = found
        return row
    if not once:
        row.error_code = ErrorCode.INVALID_REQUEST
        return row
    replica = leader_of(context, found, asked.partition_index, asked.current_leader_epoch)
    if isinstance(replica, ErrorCode):
        row.error_code = replica
        return row
    try:
        if follower and asked.timestamp == ListOffsetsTimestamp.LATEST:
            row.offset = replica.log.log_end_offset
            if context.api_version >= FIRST_WITH_EPOCHS:
                row.leader_epoch = replica.leader_epoch
        else:
            _list(context.api_version, replica, asked, isolation, row)
    except ApiError as error:
        row.error_code = error.code
    except StorageError:
        row.error_code = ErrorCode.KAFKA_STORAGE_ERROR
    return row


def _list(
    version: int,
    replica: Partition,
    asked: ListOffsetsPartition,
    isolation: IsolationLevel,
    row: ListOffsetsPartitionResponse,
) -> None:
    """Fill `row`.

    Raises:
        ApiError: UNSUPPORTED_VERSION; OFFSET_NOT_AVAILABLE (before version 5,
            LEADER_NOT_AVAILABLE), what is asked for may lie where a new leader
            does not know yet whether it is committed (KIP-207).
        StorageError: the log cannot be read.
    """
    timestamp = asked.timestamp
    if timestamp < 0 and (
        timestamp not in _SPECIAL or version < FIRST_VERSION.get(_SPECIAL[timestamp], 0)
    ):
        raise ApiError(ErrorCode.UNSUPPORTED_VERSION)
    log = replica.log
    limit = replica.readable_end(isolation)
    epoch = NO_LEADER_EPOCH
    if timestamp == ListOffsetsTimestamp.LATEST:
        _check_end(version, replica)
        row.offset, epoch = limit, replica.leader_epoch
    elif timestamp in (ListOffsetsTimestamp.EARLIEST, ListOffsetsTimestamp.EARLIEST_LOCAL):
        row.offset = log.log_start_offset
        if log.log_start_offset == log.log_end_offset:
            epoch = replica.leader_epoch  # of the record to come
        else:
            epoch = log.leader_epochs.epoch_of(log.log_start_offset)
    elif timestamp in (
        ListOffsetsTimestamp.LATEST_TIERED,
        ListOffsetsTimestamp.EARLIEST_PENDING_UPLOAD,
    ):
        # Nothing is tiered, nothing waits to be.
        return
    else:
        if timestamp == ListOffsetsTimestamp.MAX_TIMESTAMP:
            found = newest_record(log)
        else:
            found = offset_for_timestamp(log, timestamp)
        if found is not None and found.offset < limit:
            row.offset, row.timestamp = found.offset, found.timestamp
            epoch = found.leader_epoch
        else:
            _check_end(version, replica)
    if version >= FIRST_WITH_EPOCHS:
        row.leader_epoch = epoch


def _check_end(version: int, replica: Partition) -> None:
    if not replica.knows_its_end:
        raise ApiError(
            ErrorCode.OFFSET_NOT_AVAILABLE
            if version >= FIRST_WITH_NOT_AVAILABLE
            else ErrorCode.LEADER_NOT_AVAILABLE
        )


async def delete_records(context: Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse:
    asked: dict[TopicName, dict[PartitionId, DeleteRecordsPartition]] = {}
    for topic in request.topics:
        for partition in topic.partitions:
            asked.setdefault(topic.name, {})[partition.partition_index] = partition
    slices = Slices(context.broker.transport_clock)
    response = DeleteRecordsResponse()
    waits: list[Wait] = []
    for name, rows in asked.items():
        answered = DeleteRecordsTopicResult(name=name)
        response.topics.append(answered)
        for partition in rows.values():
            answered.partitions.append(_delete_of_partition(context, name, partition, waits))
            if slices.is_over():
                await slices.rest()
    if waits:
        await _followers_deleted(context, waits, request.timeout_ms)
    await slices.rest_before_answer()
    return response


Wait: TypeAlias = tuple[Partition, Offset, DeleteRecordsPartitionResult]
"""(partition, offset below which nobody may have records any more, the row that waits for it)"""


async def _followers_deleted(context: Context, waits: list[Wait], timeout_ms: int) -> None:
    """Fill the rows once every replica of a broker that lives has deleted its records, too."""
    alive = context.broker.image.brokers
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left = {id(row): row for _, _, row in waits}

    def done(replica: Partition, row: DeleteRecordsPartitionResult, error: ApiError | None) -> None:
        if left.pop(id(row), None) is None:
            return
        if error is not None:
            row.error_code = error.code
        else:
            row.low_watermark = replica.low_watermark(alive)
        if not left:
            end()

    def end() -> None:
        if not over.done():
            over.set_result(None)

    clock = context.broker.transport_clock
    timer = clock.call_at(clock.now_ms() + max(0, timeout_ms), end)
    callbacks = []
    for replica, offset, row in waits:
        callback = partial(done, replica, row)
        callbacks.append((replica, callback))
        replica.when_started(offset, alive, callback)
    try:
        await over
    finally:
        timer.cancel()
        for replica, callback in callbacks:
            replica.forget_start_wait(callback)
    for row in left.values():
        row.error_code = ErrorCode.REQUEST_TIMED_OUT


def _delete_of_partition(
    context: Context, name: TopicName, asked: DeleteRecordsPartition, waits: list[Wait]
) -> DeleteRecordsPartitionResult:
    """Delete the leader's records; `waits` gets what its followers have to do still."""
    row = DeleteRecordsPartitionResult(partition_index=asked.partition_index, low_watermark=-1)
    found = topic_by_name(context, "DELETE", name)
    if isinstance(found, ErrorCode):
        row.error_code = found
        return row
    if found.name in INTERNAL_TOPICS:
        row.error_code = ErrorCode.INVALID_TOPIC_EXCEPTION
        return row
    replica = leader_of(context, found, asked.partition_index)
    if isinstance(replica, ErrorCode):
        row.error_code = replica
        return row
    try:
        offset = _delete(replica, asked)
        low_watermark = replica.low_watermark(context.broker.image.brokers)
        if low_watermark >= offset:
            row.low_watermark = low_watermark
        else:
            waits.append((replica, offset, row))
    except ApiError as error:
        row.error_code = error.code
    except StorageError:
        row.error_code = ErrorCode.KAFKA_STORAGE_ERROR
    return row


def _delete(replica: Partition, asked: DeleteRecordsPartition) -> int:
    """Move the log's start, and return the offset below which there is to be nothing.

    Raises:
        ApiError: POLICY_VIOLATION, the topic is compacted only; OFFSET_OUT_OF_RANGE.
    """
    if "delete" not in replica.log.config.cleanup_policy:
        raise ApiError(ErrorCode.POLICY_VIOLATION)
    offset = replica.high_watermark if asked.offset == -1 else asked.offset
    replica.advance_log_start(offset)
    return offset


def offset_for_leader_epoch(
    context: Context, request: OffsetForLeaderEpochRequest
) -> OffsetForLeaderEpochResponse | Coroutine[Any, Any, OffsetForLeaderEpochResponse]:
    count = sum(len(topic.partitions) for topic in request.topics)
    return answer(context.broker.transport_clock, count, _epoch_ends(context, request))


def _epoch_ends(
    context: Context, request: OffsetForLeaderEpochRequest
) -> Steps[OffsetForLeaderEpochResponse]:
    response = OffsetForLeaderEpochResponse()
    for topic in request.topics:
        answered = OffsetForLeaderTopicResult(topic=topic.topic)
        response.topics.append(answered)
        for row in topic.partitions:
            found = topic_by_name(context, "DESCRIBE", topic.topic)
            if isinstance(found, ErrorCode):
                end = EpochEndOffset(partition=row.partition, error_code=found)
            else:
                replica = leader_of(context, found, row.partition, row.current_leader_epoch)
                end = _epoch_end(row, replica)
            answered.partitions.append(end)
            yield
    return response


def _epoch_end(asked: OffsetForLeaderPartition, replica: Partition | ErrorCode) -> EpochEndOffset:
    row = EpochEndOffset(partition=asked.partition)
    if isinstance(replica, ErrorCode):
        row.error_code = replica
    else:
        row.leader_epoch, row.end_offset = replica.end_of_epoch(asked.leader_epoch)
    return row
