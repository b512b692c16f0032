"""WriteTxnMarkers, and DescribeProducers: what partitions here know of producers."""

import asyncio
from typing import TypeAlias

from ottla.handlers.context import Context
from ottla.handlers.resolve import leader_of, topic_by_name
from ottla.handlers.slices import Slices
from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import PartitionId, TopicName, TopicPartition
from ottla.record.control import EndTxnMarker
from ottla.wire.generated.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    PartitionResponse,
    ProducerState,
    TopicResponse,
)
from ottla.wire.generated.write_txn_markers import (
    WritableTxnMarker,
    WritableTxnMarkerPartitionResult,
    WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
)


async def write_txn_markers(
    context: Context, request: WriteTxnMarkersRequest
) -> WriteTxnMarkersResponse:
    """End transactions in partitions led here, for a coordinator or an administrator."""
    if not (
        context.authorize("ALTER", "CLUSTER", "kafka-cluster")
        or context.authorize("CLUSTER_ACTION", "CLUSTER", "kafka-cluster")
    ):
        raise ApiError(ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    response = WriteTxnMarkersResponse()
    slices = Slices(context.broker.transport_clock)
    waits: list[Wait] = []
    for asked in request.markers:
        result = WritableTxnMarkerResult(producer_id=asked.producer_id)
        response.markers.append(result)
        for topic in asked.topics:
            rows = WritableTxnMarkerTopicResult(name=topic.name)
            result.topics.append(rows)
            for number in topic.partition_indexes:
                row = WritableTxnMarkerPartitionResult(partition_index=number)
                rows.partitions.append(row)
                wait = _write(context, asked, topic.name, row)
                if wait is not None:
                    waits.append((row, wait))
                if slices.is_over():
                    await slices.rest()
    for row, committed in waits:
        error = await committed
        if error is not None:
            row.error_code = error.code
    await slices.rest_before_answer()
    return response


Wait: TypeAlias = tuple[WritableTxnMarkerPartitionResult, "asyncio.Future[ApiError | None]"]
"""A row, and what says whether its marker is committed."""


def _write(
    context: Context,
    asked: WritableTxnMarker,
    topic: TopicName,
    row: WritableTxnMarkerPartitionResult,
) -> "asyncio.Future[ApiError | None] | None":
    """Append a marker; what its commit is awaited with, or None: `row` says what became of it."""
    number = row.partition_index
    image = context.broker.image.topics.get(topic)
    if image is None or not 0 <= number < len(image.partitions):
        row.error_code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return None
    committed: asyncio.Future[ApiError | None] = asyncio.get_running_loop().create_future()

    def answer(error: ApiError | None) -> None:
        if not committed.done():
            committed.set_result(error)

    try:
        context.broker.transactions.write_marker(
            TopicPartition(topic, number),
            asked.producer_id,
            asked.producer_epoch,
            EndTxnMarker(asked.transaction_result, asked.coordinator_epoch),
            asked.transaction_version,
            answer,
        )
    except ApiError as refused:
        row.error_code = refused.code
        return None
    except StorageError:
        row.error_code = ErrorCode.KAFKA_STORAGE_ERROR
        return None
    return committed


async def describe_producers(
    context: Context, request: DescribeProducersRequest
) -> DescribeProducersResponse:
    response = DescribeProducersResponse()
    slices = Slices(context.broker.transport_clock)
    for topic in request.topics:
        rows = TopicResponse(name=topic.name)
        response.topics.append(rows)
        for number in topic.partition_indexes:
            rows.partitions.append(_describe(context, topic.name, number))
            if slices.is_over():
                await slices.rest()
    await slices.rest_before_answer()
    return response


def _describe(context: Context, name: TopicName, number: PartitionId) -> PartitionResponse:
    row = PartitionResponse(partition_index=number)
    topic = topic_by_name(context, "READ", name)
    if isinstance(topic, ErrorCode):
        row.error_code = topic
        if topic is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            row.error_message = "This server does not host this topic-partition."
        return row
    replica = leader_of(context, topic, number)
    if isinstance(replica, ErrorCode):
        row.error_code = replica
        return row
    try:
        row.active_producers = [
            ProducerState(
                producer_id=producer.producer_id,
                producer_epoch=producer.producer_epoch,
                last_sequence=producer.last_sequence,
                last_timestamp=producer.timestamp,
                coordinator_epoch=producer.coordinator_epoch,
                current_txn_start_offset=producer.transaction_first_offset,
            )
            for producer in replica.log.producers
        ]
    except StorageError:
        row.error_code = ErrorCode.KAFKA_STORAGE_ERROR
    return row
