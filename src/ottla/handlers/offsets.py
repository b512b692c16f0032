"""ListOffsets, DeleteRecords, OffsetForLeaderEpoch: questions about a log's offsets."""

from collections.abc import Collection

from ottla.handlers.context import Context
from ottla.handlers.resolve import leader_of, topic_by_name
from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import NO_LEADER_EPOCH, PartitionId, TopicName
from ottla.model.isolation import IsolationLevel, ListOffsetsTimestamp
from ottla.model.names import INTERNAL_TOPICS
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

FIRST_VERSION = {
    ListOffsetsTimestamp.MAX_TIMESTAMP: 7,
    ListOffsetsTimestamp.EARLIEST_LOCAL: 8,
    ListOffsetsTimestamp.LATEST_TIERED: 9,
    ListOffsetsTimestamp.EARLIEST_PENDING_UPLOAD: 11,
}
"""The version of ListOffsets in which a special timestamp appeared."""


def list_offsets(context: Context, request: ListOffsetsRequest) -> ListOffsetsResponse:
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
    return ListOffsetsResponse(
        topics=[
            ListOffsetsTopicResponse(
                name=name,
                partitions=_list_topic(context, name, list(rows.values()), isolation, twice),
            )
            for name, rows in asked.items()
        ]
    )


def _list_topic(
    context: Context,
    name: TopicName,
    asked: list[ListOffsetsPartition],
    isolation: IsolationLevel,
    twice: Collection[tuple[TopicName, PartitionId]],
) -> list[ListOffsetsPartitionResponse]:
    """What there is to say of a topic's partitions; those asked for `twice` are refused."""
    found = topic_by_name(context, "DESCRIBE", name)
    rows = []
    for partition in asked:
        row = ListOffsetsPartitionResponse(partition_index=partition.partition_index)
        rows.append(row)
        if isinstance(found, ErrorCode):
            row.error_code = found
            continue
        if (name, partition.partition_index) in twice:
            row.error_code = ErrorCode.INVALID_REQUEST
            continue
        replica = leader_of(
            context, found, partition.partition_index, partition.current_leader_epoch
        )
        if isinstance(replica, ErrorCode):
            row.error_code = replica
            continue
        try:
            _list(context.api_version, replica, partition, isolation, row)
        except ApiError as error:
            row.error_code = error.code
        except StorageError:
            row.error_code = ErrorCode.KAFKA_STORAGE_ERROR
    return rows


def _list(
    version: int,
    replica: Partition,
    asked: ListOffsetsPartition,
    isolation: IsolationLevel,
    row: ListOffsetsPartitionResponse,
) -> None:
    timestamp = asked.timestamp
    if timestamp < 0:
        known = timestamp in ListOffsetsTimestamp.__members__.values()
        if not known or version < FIRST_VERSION.get(ListOffsetsTimestamp(timestamp), 0):
            raise ApiError(ErrorCode.UNSUPPORTED_VERSION)
    log = replica.log
    limit = replica.readable_end(isolation)
    epoch = NO_LEADER_EPOCH
    if timestamp == ListOffsetsTimestamp.LATEST:
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
    if version >= FIRST_WITH_EPOCHS:
        row.leader_epoch = epoch


async def delete_records(context: Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse:
    asked: dict[TopicName, dict[PartitionId, DeleteRecordsPartition]] = {}
    for topic in request.topics:
        for partition in topic.partitions:
            asked.setdefault(topic.name, {})[partition.partition_index] = partition
    return DeleteRecordsResponse(
        topics=[
            DeleteRecordsTopicResult(
                name=name, partitions=_delete_of_topic(context, name, list(rows.values()))
            )
            for name, rows in asked.items()
        ]
    )


def _delete_of_topic(
    context: Context, name: TopicName, asked: list[DeleteRecordsPartition]
) -> list[DeleteRecordsPartitionResult]:
    found = topic_by_name(context, "DELETE", name)
    rows = []
    for partition in asked:
        row = DeleteRecordsPartitionResult(
            partition_index=partition.partition_index, low_watermark=-1
        )
        rows.append(row)
        if isinstance(found, ErrorCode):
            row.error_code = found
            continue
        if found.name in INTERNAL_TOPICS:
            row.error_code = ErrorCode.INVALID_TOPIC_EXCEPTION
            continue
        replica = leader_of(context, found, partition.partition_index)
        if isinstance(replica, ErrorCode):
            row.error_code = replica
            continue
        try:
            row.low_watermark = _delete(replica, partition)
        except ApiError as error:
            row.error_code = error.code
        except StorageError:
            row.error_code = ErrorCode.KAFKA_STORAGE_ERROR
    return rows


def _delete(replica: Partition, asked: DeleteRecordsPartition) -> int:
    """Move the log's start, and return it.

    Raises:
        ApiError: POLICY_VIOLATION, the topic is compacted only; OFFSET_OUT_OF_RANGE.
    """
    if "delete" not in replica.log.config.cleanup_policy:
        raise ApiError(ErrorCode.POLICY_VIOLATION)
    return replica.advance_log_start(replica.high_watermark if asked.offset == -1 else asked.offset)


def offset_for_leader_epoch(
    context: Context, request: OffsetForLeaderEpochRequest
) -> OffsetForLeaderEpochResponse:
    response = OffsetForLeaderEpochResponse()
    for topic in request.topics:
        found = topic_by_name(context, "DESCRIBE", topic.topic)
        response.topics.append(
            OffsetForLeaderTopicResult(
                topic=topic.topic,
                partitions=[
                    EpochEndOffset(partition=row.partition, error_code=found)
                    if isinstance(found, ErrorCode)
                    else _epoch_end(
                        row, leader_of(context, found, row.partition, row.current_leader_epoch)
                    )
                    for row in topic.partitions
                ],
            )
        )
    return response


def _epoch_end(asked: OffsetForLeaderPartition, replica: Partition | ErrorCode) -> EpochEndOffset:
    row = EpochEndOffset(partition=asked.partition)
    if isinstance(replica, ErrorCode):
        row.error_code = replica
    else:
        row.leader_epoch, row.end_offset = replica.end_of_epoch(asked.leader_epoch)
    return row
