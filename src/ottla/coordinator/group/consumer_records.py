"""The records a consumer group is stored as, made (types 3 to 8, and 16)."""

from ottla.coordinator.group.assignors import Assignment
from ottla.coordinator.group.consumer_member import ConsumerMember
from ottla.coordinator.group.records import GroupRecord, record_of
from ottla.wire.generated.records.consumer_group_current_member_assignment_key import (
    ConsumerGroupCurrentMemberAssignmentKey,
)
from ottla.wire.generated.records.consumer_group_member_metadata_key import (
    ConsumerGroupMemberMetadataKey,
)
from ottla.wire.generated.records.consumer_group_metadata_key import ConsumerGroupMetadataKey
from ottla.wire.generated.records.consumer_group_metadata_value import ConsumerGroupMetadataValue
from ottla.wire.generated.records.consumer_group_partition_metadata_key import (
    ConsumerGroupPartitionMetadataKey,
)
from ottla.wire.generated.records.consumer_group_regular_expression_key import (
    ConsumerGroupRegularExpressionKey,
)
from ottla.wire.generated.records.consumer_group_regular_expression_value import (
    ConsumerGroupRegularExpressionValue,
)
from ottla.wire.generated.records.consumer_group_target_assignment_member_key import (
    ConsumerGroupTargetAssignmentMemberKey,
)
from ottla.wire.generated.records.consumer_group_target_assignment_member_value import (
    ConsumerGroupTargetAssignmentMemberValue,
    TopicPartition,
)
from ottla.wire.generated.records.consumer_group_target_assignment_metadata_key import (
    ConsumerGroupTargetAssignmentMetadataKey,
)
from ottla.wire.generated.records.consumer_group_target_assignment_metadata_value import (
    ConsumerGroupTargetAssignmentMetadataValue,
)


def epoch(group_id: str, number: int, metadata_hash: int) -> GroupRecord:
    """The group epoch is raised."""
    return record_of(
        ConsumerGroupMetadataKey(group_id=group_id),
        ConsumerGroupMetadataValue(epoch=number, metadata_hash=metadata_hash),
    )


def partition_metadata_tombstone(group_id: str) -> GroupRecord:
    """Kafka before 4.1 wrote partition counts down."""
    return record_of(ConsumerGroupPartitionMetadataKey(group_id=group_id), None)


def group_tombstone(group_id: str) -> GroupRecord:
    return record_of(ConsumerGroupMetadataKey(group_id=group_id), None)


def subscription(group_id: str, member: ConsumerMember) -> GroupRecord:
    key = ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member.member_id)
    return record_of(key, member.subscription_record())


def target(group_id: str, member_id: str, assignment: Assignment) -> GroupRecord:
    key = ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id)
    rows = [
        TopicPartition(topic_id=topic_id, partitions=list(partitions))
        for topic_id, partitions in assignment.items()
    ]
    return record_of(key, ConsumerGroupTargetAssignmentMemberValue(topic_partitions=rows))


def target_epoch(group_id: str, number: int, now_ms: int) -> GroupRecord:
    return record_of(
        ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id),
        ConsumerGroupTargetAssignmentMetadataValue(
            assignment_epoch=number, assignment_timestamp=now_ms
        ),
    )


def target_epoch_tombstone(group_id: str) -> GroupRecord:
    return record_of(ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id), None)


def assignment(group_id: str, member: ConsumerMember) -> GroupRecord:
    key = ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member.member_id)
    return record_of(key, member.assignment_record())


def regex(
    group_id: str, expression: str, topics: list[str], version: int, now_ms: int
) -> GroupRecord:
    key = ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=expression)
    value = ConsumerGroupRegularExpressionValue(topics=topics, version=version, timestamp=now_ms)
    return record_of(key, value)


def regex_tombstone(group_id: str, expression: str) -> GroupRecord:
    key = ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=expression)
    return record_of(key, None)


def member_tombstones(group_id: str, member_id: str) -> list[GroupRecord]:
    """In the order in which Kafka writes them."""
    return [
        record_of(
            ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member_id), None
        ),
        record_of(
            ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), None
        ),
        record_of(ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member_id), None),
    ]
