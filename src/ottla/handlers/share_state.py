"""The state of share partitions as brokers ask each other for it: APIs 83 to 87."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ottla.coordinator.share.records import ShareKey
from ottla.coordinator.share.runs import StateBatch as Stretch
from ottla.handlers.context import Context
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import Uuid
from ottla.wire.generated import (
    delete_share_group_state,
    initialize_share_group_state,
    read_share_group_state,
    read_share_group_state_summary,
    write_share_group_state,
)
from ottla.wire.generated.delete_share_group_state import DeleteShareGroupStateResponse
from ottla.wire.generated.initialize_share_group_state import InitializeShareGroupStateResponse
from ottla.wire.generated.read_share_group_state import ReadShareGroupStateResponse
from ottla.wire.generated.read_share_group_state_summary import (
    ReadShareGroupStateSummaryResponse,
)
from ottla.wire.generated.write_share_group_state import WriteShareGroupStateResponse

IN_WORDS = {
    ErrorCode.FENCED_STATE_EPOCH: "The share coordinator rejected the request because the "
    "share-group state epoch did not match.",
    ErrorCode.FENCED_LEADER_EPOCH: "The leader epoch in the request is older than the epoch on "
    "the broker.",
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: "This server does not host this topic-partition.",
}
"""What Kafka's clients expect to be told with a code."""

SERVED_AT_ONCE = 500

Serve = Callable[[ShareKey, Any, Any], Coroutine[Any, Any, None]]


async def _each(
    context: Context,
    request: Any,
    response: Any,
    make_topic: Any,
    make_row: Any,
    serve: Serve,
    *,
    must_exist: bool = True,
) -> Any:
    """Serve every partition of `request`, each with an error of its own.

    What was initialized existed then, so reading and writing need not ask. What is written
    for several partitions is committed together.
    """
    allowed = context.authorize("CLUSTER_ACTION", "CLUSTER", "kafka-cluster")

    async def one(topic_id: Uuid, asked: Any, row: Any) -> None:
        try:
            if not allowed:
                raise ApiError(ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
            exists = context.broker.image.topic_by_id(topic_id)
            is_there = exists is not None and asked.partition < len(exists.partitions)
            if must_exist and not is_there:
                raise ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            await serve(ShareKey(request.group_id, topic_id, asked.partition), asked, row)
        except ApiError as error:
            row.error_code = error.code
            row.error_message = error.message or IN_WORDS.get(error.code)

    together = []
    for topic in request.topics:
        answered = make_topic(topic_id=topic.topic_id)
        response.results.append(answered)
        for asked in topic.partitions:
            row = make_row(partition=asked.partition)
            answered.partitions.append(row)
            together.append(one(topic.topic_id, asked, row))
            if len(together) == SERVED_AT_ONCE:
                await asyncio.gather(*together)
                together.clear()
    await asyncio.gather(*together)
    return response


async def initialize(
    context: Context, request: initialize_share_group_state.InitializeShareGroupStateRequest
) -> InitializeShareGroupStateResponse:
    async def serve(key: ShareKey, asked: Any, row: Any) -> None:
        await context.broker.shares.state.initialize(key, asked.state_epoch, asked.start_offset)

    module = initialize_share_group_state
    response: InitializeShareGroupStateResponse = await _each(
        context,
        request,
        InitializeShareGroupStateResponse(),
        module.InitializeStateResult,
        module.PartitionResult,
        serve,
    )
    return response


async def read(
    context: Context, request: read_share_group_state.ReadShareGroupStateRequest
) -> ReadShareGroupStateResponse:
    async def serve(key: ShareKey, asked: Any, row: Any) -> None:
        stored = await context.broker.shares.state.read(key, asked.leader_epoch)
        row.state_epoch, row.start_offset = stored.state_epoch, stored.start_offset
        row.state_batches = [
            read_share_group_state.StateBatch(**batch._asdict()) for batch in stored.batches
        ]

    module = read_share_group_state
    response: ReadShareGroupStateResponse = await _each(
        context,
        request,
        ReadShareGroupStateResponse(),
        module.ReadStateResult,
        module.PartitionResult,
        serve,
        must_exist=False,
    )
    return response


async def write(
    context: Context, request: write_share_group_state.WriteShareGroupStateRequest
) -> WriteShareGroupStateResponse:
    async def serve(key: ShareKey, asked: Any, row: Any) -> None:
        await context.broker.shares.state.write(
            key,
            asked.state_epoch,
            asked.leader_epoch,
            asked.start_offset,
            asked.delivery_complete_count,
            [
                Stretch(one.first_offset, one.last_offset, one.delivery_state, one.delivery_count)
                for one in asked.state_batches
            ],
        )

    module = write_share_group_state
    response: WriteShareGroupStateResponse = await _each(
        context,
        request,
        WriteShareGroupStateResponse(),
        module.WriteStateResult,
        module.PartitionResult,
        serve,
        must_exist=False,
    )
    return response


async def delete(
    context: Context, request: delete_share_group_state.DeleteShareGroupStateRequest
) -> DeleteShareGroupStateResponse:
    async def serve(key: ShareKey, asked: Any, row: Any) -> None:
        await context.broker.shares.state.delete(key)

    module = delete_share_group_state
    response: DeleteShareGroupStateResponse = await _each(
        context,
        request,
        DeleteShareGroupStateResponse(),
        module.DeleteStateResult,
        module.PartitionResult,
        serve,
    )
    return response


async def read_summary(
    context: Context, request: read_share_group_state_summary.ReadShareGroupStateSummaryRequest
) -> ReadShareGroupStateSummaryResponse:
    async def serve(key: ShareKey, asked: Any, row: Any) -> None:
        stored = await context.broker.shares.state.summary(key)
        if stored is None:
            row.start_offset = row.delivery_complete_count = -1
            return
        row.state_epoch, row.leader_epoch = stored.state_epoch, stored.leader_epoch
        row.start_offset, row.delivery_complete_count = stored.start_offset, stored.complete_count

    module = read_share_group_state_summary
    response: ReadShareGroupStateSummaryResponse = await _each(
        context,
        request,
        ReadShareGroupStateSummaryResponse(),
        module.ReadStateSummaryResult,
        module.PartitionResult,
        serve,
    )
    return response
