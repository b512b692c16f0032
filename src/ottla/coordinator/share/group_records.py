"""The records of share groups in `__consumer_offsets`, types 10 to 15: made, and read."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ottla.coordinator.group.records import GroupRecord, record_of
from ottla.coordinator.share.assignor import Assignment
from ottla.model.ids import PartitionId, TopicName, Uuid
from ottla.wire.generated.records import (
    share_group_current_member_assignment_value,
    share_group_target_assignment_member_value,
)
from ottla.wire.generated.records.share_group_current_member_assignment_key import (
    ShareGroupCurrentMemberAssignmentKey,
)
from ottla.wire.generated.records.share_group_current_member_assignment_value import (
    ShareGroupCurrentMemberAssignmentValue,
)
from ottla.wire.generated.records.share_group_member_metadata_key import (
    ShareGroupMemberMetadataKey,
)
from ottla.wire.generated.records.share_group_member_metadata_value import (
    ShareGroupMemberMetadataValue,
)
from ottla.wire.generated.records.share_group_metadata_key import ShareGroupMetadataKey
from ottla.wire.generated.records.share_group_metadata_value import ShareGroupMetadataValue
from ottla.wire.generated.records.share_group_state_partition_metadata_key import (
    ShareGroupStatePartitionMetadataKey,
)
from ottla.wire.generated.records.share_group_state_partition_metadata_value import (
    ShareGroupStatePartitionMetadataValue,
    TopicInfo,
    TopicPartitionsInfo,
)
from ottla.wire.generated.records.share_group_target_assignment_member_key import (
    ShareGroupTargetAssignmentMemberKey,
)
from ottla.wire.generated.records.share_group_target_assignment_member_value import (
    ShareGroupTargetAssignmentMemberValue,
)
from ottla.wire.generated.records.share_group_target_assignment_metadata_key import (
    ShareGroupTargetAssignmentMetadataKey,
)
from ottla.wire.generated.records.share_group_target_assignment_metadata_value import (
    ShareGroupTargetAssignmentMetadataValue,
)

if TYPE_CHECKING:
    from ottla.coordinator.share.group import ShareMember

MEMBER, EPOCH, TARGET_EPOCH, TARGET, CURRENT, STATE = 10, 11, 12, 13, 14, 15

Topics = dict[Uuid, tuple[TopicName, tuple[PartitionId, ...]]]
"""Partitions by topic id, with the topic's name."""


def epoch_key(group_id: str) -> ShareGroupMetadataKey:
    return ShareGroupMetadataKey(group_id=group_id)


def target_epoch_key(group_id: str) -> ShareGroupTargetAssignmentMetadataKey:
    return ShareGroupTargetAssignmentMetadataKey(group_id=group_id)


def state_key(group_id: str) -> ShareGroupStatePartitionMetadataKey:
    return ShareGroupStatePartitionMetadataKey(group_id=group_id)


def member(group_id: str, described: "ShareMember") -> GroupRecord:
    key = ShareGroupMemberMetadataKey(group_id=group_id, member_id=described.member_id)
    value = ShareGroupMemberMetadataValue(
        rack_id=described.rack_id,
        client_id=described.client_id,
        client_host=described.client_host,
        subscribed_topic_names=sorted(described.topics),
    )
    return record_of(key, value)


def epoch(group_id: str, number: int, metadata_hash: int) -> GroupRecord:
    value = ShareGroupMetadataValue(epoch=number, metadata_hash=metadata_hash)
    return record_of(epoch_key(group_id), value)


def target_epoch(group_id: str, number: int, now_ms: int) -> GroupRecord:
    value = ShareGroupTargetAssignmentMetadataValue(
        assignment_epoch=number, assignment_timestamp=now_ms
    )
    return record_of(target_epoch_key(group_id), value)


def target(group_id: str, member_id: str, assigned: Assignment) -> GroupRecord:
    key = ShareGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id)
    rows = share_group_target_assignment_member_value.TopicPartition
    value = ShareGroupTargetAssignmentMemberValue(
        topic_partitions=[
            rows(topic_id=topic_id, partitions=list(numbers))
            for topic_id, numbers in assigned.items()
        ]
    )
    return record_of(key, value)


def current(group_id: str, described: "ShareMember") -> GroupRecord:
    key = ShareGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=described.member_id)
    rows = share_group_current_member_assignment_value.TopicPartitions
    value = ShareGroupCurrentMemberAssignmentValue(
        member_epoch=described.epoch,
        previous_member_epoch=described.previous_epoch,
        state=described.state,
        assigned_partitions=[
            rows(topic_id=topic_id, partitions=list(numbers))
            for topic_id, numbers in described.assigned.items()
        ],
    )
    return record_of(key, value)


def member_gone(group_id: str, member_id: str) -> list[GroupRecord]:
    """Everything of a member deleted: what it has, its target, itself."""
    return [
        record_of(key(group_id=group_id, member_id=member_id), None)
        for key in (
            ShareGroupCurrentMemberAssignmentKey,
            ShareGroupTargetAssignmentMemberKey,
            ShareGroupMemberMetadataKey,
        )
    ]


def state(
    group_id: str, initializing: Topics, initialized: Topics, deleting: Mapping[Uuid, str]
) -> GroupRecord:
    """Which partitions have state, and which are about to get some."""

    def infos(topics: Topics) -> list[TopicPartitionsInfo]:
        return [
            TopicPartitionsInfo(topic_id=topic_id, topic_name=name, partitions=list(numbers))
            for topic_id, (name, numbers) in topics.items()
        ]

    value = ShareGroupStatePartitionMetadataValue(
        initializing_topics=infos(initializing),
        initialized_topics=infos(initialized),
        deleting_topics=[
            TopicInfo(topic_id=topic_id, topic_name=name) for topic_id, name in deleting.items()
        ],
    )
    return record_of(state_key(group_id), value)


def read_state(
    value: ShareGroupStatePartitionMetadataValue | None,
) -> tuple[Topics, Topics, dict[Uuid, str]]:
    """(initializing, initialized, deleting) of a record of type 15, or of its tombstone."""
    if value is None:
        return {}, {}, {}

    def topics(infos: list[TopicPartitionsInfo]) -> Topics:
        return {info.topic_id: (info.topic_name, tuple(info.partitions)) for info in infos}

    return (
        topics(value.initializing_topics),
        topics(value.initialized_topics),
        {info.topic_id: info.topic_name for info in value.deleting_topics},
    )


def assignment(rows: Iterable[Any]) -> Assignment:
    """An assignment from rows with a topic id and partitions."""
    return {row.topic_id: tuple(row.partitions) for row in rows}
