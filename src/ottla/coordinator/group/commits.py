"""OffsetCommit, OffsetFetch and OffsetDelete over the groups of a shard.

Topics that arrive here are known to exist.
"""

from ottla.coordinator.group.kinds import CommitCheck, Out
from ottla.coordinator.group.records import NO_TIMESTAMP, CommittedOffset, OffsetStored
from ottla.coordinator.group.settings import Caller
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.outcome import Waiter
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import ZERO_UUID, ProducerEpoch, ProducerId, TopicName, Uuid
from ottla.wire.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from ottla.wire.generated.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)
from ottla.wire.generated.offset_fetch import (
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
)


def commit(
    shard: GroupShard,
    request: OffsetCommitRequest,
    caller: Caller,
    waiter: Waiter,
    now_ms: int,
    producer: tuple[ProducerId, ProducerEpoch] | None = None,
) -> Out:
    """OffsetCommit; with `producer`, in its transaction (TxnOffsetCommit). A group that does not exist is made, a simple one, unless the caller
    says it is a member. Raises ApiError.
    """
    check = _check_commit(shard, request, caller, now_ms, producer is not None)
    if check is not None:
        for topic in request.topics:
            for partition in topic.partitions:
                check(topic.name, topic.topic_id, partition.partition_index)
    out = Out(producer=producer)
    response = OffsetCommitResponse()
    retention_ms = request.retention_time_ms
    expires_ms = NO_TIMESTAMP if retention_ms == -1 else now_ms + retention_ms
    for topic in request.topics:
        answers: list[OffsetCommitResponsePartition] = []
        for partition in topic.partitions:
            index = partition.partition_index
            metadata = partition.committed_metadata or ""
            if len(metadata) > shard.settings.offset_metadata_max_bytes:
                code = ErrorCode.OFFSET_METADATA_TOO_LARGE
            else:
                code = ErrorCode.NONE
                committed = CommittedOffset(
                    partition.committed_offset,
                    partition.committed_leader_epoch,
                    metadata,
                    now_ms,
                    expires_ms,
                    topic.topic_id,
                )
                out.records.append(OffsetStored(request.group_id, topic.name, index, committed))
            answers.append(OffsetCommitResponsePartition(partition_index=index, error_code=code))
        response.topics.append(
            OffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id, partitions=answers)
        )
    out.answers.append((waiter, response))
    return out


def _check_commit(
    shard: GroupShard,
    request: OffsetCommitRequest,
    caller: Caller,
    now_ms: int,
    transactional: bool,
) -> CommitCheck | None:
    generation = request.generation_id_or_member_epoch
    group = shard.groups.get(request.group_id)
    if group is not None:
        return group.check_commit(
            request.member_id,
            request.group_instance_id,
            generation,
            now_ms,
            transactional,
            api_version=caller.api_version,
        )
    if generation >= 0:
        if caller.api_version >= 9:
            raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {request.group_id} not found.")
        raise ApiError(ErrorCode.ILLEGAL_GENERATION)
    return None


def fetch(
    shard: GroupShard, request: OffsetFetchRequestGroup, require_stable: bool
) -> OffsetFetchResponseGroup:
    """OffsetFetch of one group; without topics, of everything it committed."""
    group_id = request.group_id
    group = shard.groups.get(group_id)
    if group is not None:
        group.check_fetch(request.member_id, request.member_epoch)
    response = OffsetFetchResponseGroup(group_id=group_id)
    topics = request.topics
    for asked in committed_topics(shard, group_id) if topics is None else topics:
        response.topics.append(
            OffsetFetchResponseTopics(
                name=asked.name,
                topic_id=asked.topic_id,
                partitions=[
                    _fetched(shard, group_id, asked.name, index, asked.topic_id, require_stable)
                    for index in asked.partition_indexes
                ],
            )
        )
    return response


def committed_topics(shard: GroupShard, group_id: str) -> list[OffsetFetchRequestTopics]:
    """The topics and partitions a group has committed offsets for."""
    return [
        OffsetFetchRequestTopics(name=topic, partition_indexes=list(partitions))
        for topic, partitions in shard.offsets.of_group(group_id).items()
    ]


def _fetched(
    shard: GroupShard,
    group_id: str,
    topic: TopicName,
    index: int,
    topic_id: Uuid,
    require_stable: bool,
) -> OffsetFetchResponsePartitions:
    if require_stable and shard.offsets.is_pending(group_id, topic, index):
        return OffsetFetchResponsePartitions(
            partition_index=index,
            committed_offset=-1,
            metadata="",
            error_code=ErrorCode.UNSTABLE_OFFSET_COMMIT,
        )
    committed = shard.offsets.get(group_id, topic, index)
    if committed is None or _is_another_topic(committed.topic_id, topic_id):
        return OffsetFetchResponsePartitions(
            partition_index=index, committed_offset=-1, metadata=""
        )
    return OffsetFetchResponsePartitions(
        partition_index=index,
        committed_offset=committed.offset,
        committed_leader_epoch=committed.leader_epoch,
        metadata=committed.metadata,
    )


def delete_offsets(shard: GroupShard, request: OffsetDeleteRequest, waiter: Waiter) -> Out:
    """OffsetDelete (KIP-496): not for topics the group is subscribed to. Raises ApiError."""
    group_id = request.group_id
    group = shard.groups.get(group_id)
    if group is None:
        raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} not found.")
    group.check_delete_offsets()
    out = Out()
    response = OffsetDeleteResponse()
    for topic in request.topics:
        subscribed = group.is_subscribed_to(topic.name)
        answers: list[OffsetDeleteResponsePartition] = []
        for partition in topic.partitions:
            index = partition.partition_index
            code = ErrorCode.NONE
            if subscribed:
                code = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
            elif shard.offsets.exists(group_id, topic.name, index):
                out.records.append(OffsetStored(group_id, topic.name, index, None))
            answers.append(OffsetDeleteResponsePartition(partition_index=index, error_code=code))
        response.topics.append(OffsetDeleteResponseTopic(name=topic.name, partitions=answers))
    out.answers.append((waiter, response))
    return out


def _is_another_topic(committed: Uuid, asked: Uuid) -> bool:
    """The offset is of a deleted topic of the same name; unknown ids agree with any."""
    return committed not in (ZERO_UUID, asked) and asked != ZERO_UUID
