"""ShareGroupHeartbeat, ShareGroupDescribe and the offsets of share groups (KIP-932)."""

from collections.abc import Iterable

from ottla.coordinator.share.records import ShareKey
from ottla.handlers.context import Context
from ottla.handlers.groups import DENIED, caller_of, operations
from ottla.handlers.membership import came_by
from ottla.handlers.share_state import IN_WORDS
from ottla.handlers.topics import ensure_internal_topic
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import (
    ZERO_UUID,
    Offset,
    PartitionId,
    TopicName,
    TopicPartition,
    Uuid,
)
from ottla.model.isolation import IsolationLevel
from ottla.model.names import SHARE_GROUP_STATE
from ottla.wire.generated.alter_share_group_offsets import (
    AlterShareGroupOffsetsRequest,
    AlterShareGroupOffsetsResponse,
    AlterShareGroupOffsetsResponsePartition,
    AlterShareGroupOffsetsResponseTopic,
)
from ottla.wire.generated.delete_share_group_offsets import (
    DeleteShareGroupOffsetsRequest,
    DeleteShareGroupOffsetsResponse,
    DeleteShareGroupOffsetsResponseTopic,
)
from ottla.wire.generated.describe_share_group_offsets import (
    DescribeShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsRequestGroup,
    DescribeShareGroupOffsetsResponse,
    DescribeShareGroupOffsetsResponseGroup,
    DescribeShareGroupOffsetsResponsePartition,
    DescribeShareGroupOffsetsResponseTopic,
)
from ottla.wire.generated.share_group_describe import (
    DescribedGroup,
    ShareGroupDescribeRequest,
    ShareGroupDescribeResponse,
)
from ottla.wire.generated.share_group_heartbeat import (
    ShareGroupHeartbeatRequest,
    ShareGroupHeartbeatResponse,
)


async def share_group_heartbeat(
    context: Context, request: ShareGroupHeartbeatRequest
) -> ShareGroupHeartbeatResponse:
    """A member is alive; it hears what it may fetch."""
    if not context.authorize("READ", "GROUP", request.group_id):
        return ShareGroupHeartbeatResponse(error_code=DENIED)
    shares = context.broker.shares
    await ensure_internal_topic(context.broker, SHARE_GROUP_STATE)
    response = await shares.groups.heartbeat(request, caller_of(context))
    came_by(context, request.group_id, response.member_id)
    return response


async def share_group_describe(
    context: Context, request: ShareGroupDescribeRequest
) -> ShareGroupDescribeResponse:
    """Denied groups first, as Kafka answers."""
    response = ShareGroupDescribeResponse()
    allowed = []
    for group_id in request.group_ids:
        if context.authorize("DESCRIBE", "GROUP", group_id):
            allowed.append(group_id)
        else:
            response.groups.append(DescribedGroup(group_id=group_id, error_code=DENIED))
    described = await context.broker.shares.groups.describe(allowed)
    if request.include_authorized_operations:
        for group in described:
            if not group.error_code:
                group.authorized_operations = operations(context, group.group_id)
    response.groups.extend(described)
    return response


async def describe_share_group_offsets(
    context: Context, request: DescribeShareGroupOffsetsRequest
) -> DescribeShareGroupOffsetsResponse:
    """Where groups are; without topics, everywhere they have state."""
    response = DescribeShareGroupOffsetsResponse()
    for asked in request.groups:
        if not context.authorize("DESCRIBE", "GROUP", asked.group_id):
            row = DescribeShareGroupOffsetsResponseGroup(group_id=asked.group_id, error_code=DENIED)
        else:
            try:
                row = await _described(context, asked)
            except ApiError as error:
                row = DescribeShareGroupOffsetsResponseGroup(
                    group_id=asked.group_id, error_code=error.code, error_message=error.message
                )
        response.groups.append(row)
    return response


async def _described(
    context: Context, asked: DescribeShareGroupOffsetsRequestGroup
) -> DescribeShareGroupOffsetsResponseGroup:
    group_id = asked.group_id
    image = context.broker.image
    try:
        known = await context.broker.shares.groups.topics_with_state(group_id)
    except ApiError as error:
        if error.code is not ErrorCode.GROUP_ID_NOT_FOUND:
            raise
        known = {}  # Kafka tells nobody that there is no such group
    wanted: list[tuple[TopicName, Uuid | None, list[PartitionId]]] = []
    if asked.topics is None:
        wanted = [
            (name, topic_id, list(numbers))
            for topic_id, (name, numbers) in known.items()
            if image.topic_by_id(topic_id) is not None
        ]
    else:
        for topic in asked.topics:
            found = image.topics.get(topic.topic_name)
            topic_id = None if found is None else found.topic_id
            wanted.append((topic.topic_name, topic_id, list(topic.partitions)))
    row = DescribeShareGroupOffsetsResponseGroup(group_id=group_id)
    elsewhere = await _ends_elsewhere(context, wanted)
    for name, wanted_id, numbers in wanted:
        answered = DescribeShareGroupOffsetsResponseTopic(topic_name=name)
        row.topics.append(answered)
        if wanted_id is None:
            answered.partitions = [
                DescribeShareGroupOffsetsResponsePartition(
                    partition_index=number, start_offset=-1, lag=-1
                )
                for number in numbers
            ]
            continue
        answered.topic_id = wanted_id
        for number in numbers:
            end = elsewhere.get(TopicPartition(name, number))
            key = ShareKey(group_id, wanted_id, number)
            answered.partitions.append(await _where(context, key, end))
    return row


async def _ends_elsewhere(
    context: Context, wanted: Iterable[tuple[TopicName, Uuid | None, list[PartitionId]]]
) -> dict[TopicPartition, Offset]:
    """Where the partitions end that other brokers lead."""
    broker = context.broker
    if broker.end_offsets is None:
        return {}
    led_elsewhere = []
    for name, topic_id, numbers in wanted:
        for number in numbers:
            replica = None if topic_id is None else broker.replicas.find(topic_id, number)
            if replica is None or not replica.is_leader:
                led_elsewhere.append(TopicPartition(name, number))
    return await broker.end_offsets.of(led_elsewhere)


async def _where(
    context: Context, key: ShareKey, end: Offset | None
) -> DescribeShareGroupOffsetsResponsePartition:
    """Start and lag of one share partition; -1 where nobody has fetched yet.

    `end` is where the partition ends if another broker leads it and said so.
    """
    row = DescribeShareGroupOffsetsResponsePartition(
        partition_index=key.partition, start_offset=-1, lag=-1
    )
    try:
        stored = await context.broker.shares.persister.summary(key)
    except ApiError as error:
        row.error_code, row.error_message = error.code, error.message
        return row
    if stored is None:
        return row
    row.start_offset, row.leader_epoch = stored.start_offset, stored.leader_epoch
    replica = context.broker.replicas.find(key.topic_id, key.partition)
    if end is None and replica is not None and replica.is_leader:
        end = replica.readable_end(IsolationLevel.READ_UNCOMMITTED)
    if end is not None and stored.start_offset >= 0 and stored.complete_count >= 0:
        row.lag = max(0, end - stored.start_offset - stored.complete_count)
    return row


async def alter_share_group_offsets(
    context: Context, request: AlterShareGroupOffsetsRequest
) -> AlterShareGroupOffsetsResponse:
    """Begin elsewhere, while nobody is a member. Raises ApiError for the whole request."""
    group_id = request.group_id
    if not context.authorize("READ", "GROUP", group_id):
        return AlterShareGroupOffsetsResponse(error_code=DENIED)
    shares = context.broker.shares
    await shares.groups.check_empty(group_id, must_exist=False)
    response = AlterShareGroupOffsetsResponse()
    offsets: list[tuple[Uuid, TopicName, PartitionId, Offset]] = []
    rows = []
    for topic in request.topics:
        found = context.broker.image.topics.get(topic.topic_name)
        answered = AlterShareGroupOffsetsResponseTopic(topic_name=topic.topic_name)
        response.responses.append(answered)
        answered.topic_id = ZERO_UUID if found is None else found.topic_id
        for partition in topic.partitions:
            row = AlterShareGroupOffsetsResponsePartition(partition_index=partition.partition_index)
            answered.partitions.append(row)
            if found is None or not 0 <= partition.partition_index < len(found.partitions):
                row.error_code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                row.error_message = IN_WORDS[row.error_code]
                continue
            offsets.append(
                (found.topic_id, found.name, partition.partition_index, partition.start_offset)
            )
            rows.append(row)
    if offsets:
        await ensure_internal_topic(context.broker, SHARE_GROUP_STATE)
    codes = await shares.groups.alter(group_id, offsets)
    # Not before it is sure that it is not refused: until then what is here is right.
    shares.partitions.forget(group_id, {topic_id for topic_id, _, _, _ in offsets})
    for row, code in zip(rows, codes, strict=True):
        row.error_code = code
    return response


async def delete_share_group_offsets(
    context: Context, request: DeleteShareGroupOffsetsRequest
) -> DeleteShareGroupOffsetsResponse:
    """Forget topics, while nobody is a member. Raises ApiError for the whole request."""
    group_id = request.group_id
    if not context.authorize("DELETE", "GROUP", group_id):
        return DeleteShareGroupOffsetsResponse(error_code=DENIED)
    shares = context.broker.shares
    await shares.groups.check_empty(group_id)
    response = DeleteShareGroupOffsetsResponse()
    topic_ids = []
    known = await shares.groups.topics_with_state(group_id)
    for topic in request.topics:
        found = context.broker.image.topics.get(topic.topic_name)
        row = DeleteShareGroupOffsetsResponseTopic(topic_name=topic.topic_name)
        response.responses.append(row)
        if found is None:
            row.error_code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            row.error_message = IN_WORDS[row.error_code]
        elif found.topic_id not in known:
            row.error_code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            row.error_message = "There is no offset information to delete."
        else:
            row.topic_id = found.topic_id
            topic_ids.append(found.topic_id)
    await shares.groups.delete_state(group_id, topic_ids)
    shares.partitions.forget(group_id, topic_ids)
    return response
