"""DescribeGroups, ListGroups and DeleteGroups over the groups of a shard."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from ottla.coordinator.group.classic_state import STABLE
from ottla.coordinator.group.consumer import ConsumerGroup, default_assignor
from ottla.coordinator.group.consumer_member import ConsumerMember
from ottla.coordinator.group.history import Rebalance
from ottla.coordinator.group.kinds import Out
from ottla.coordinator.group.members import Member
from ottla.coordinator.group.records import OffsetStored
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.outcome import Waiter
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import PartitionId, Uuid
from ottla.wire.generated import consumer_group_describe
from ottla.wire.generated.delete_groups import DeletableGroupResult
from ottla.wire.generated.describe_groups import DescribedGroup, DescribedGroupMember
from ottla.wire.generated.list_groups import ListedGroup


def delete_groups(shard: GroupShard, group_ids: Sequence[str], waiter: Waiter) -> Out:
    """DeleteGroups: groups without members, with all their offsets."""
    out = Out()
    results = []
    for group_id in group_ids:
        result = DeletableGroupResult(group_id=group_id)
        results.append(result)
        group = shard.groups.get(group_id)
        if group is None:
            result.error_code = ErrorCode.GROUP_ID_NOT_FOUND
        elif not group.is_deletable:
            result.error_code = ErrorCode.NON_EMPTY_GROUP
        else:
            out.records.extend(
                OffsetStored(group_id, topic, partition, None)
                for topic, partition in shard.offsets.partitions(group_id)
            )
            out.records.extend(group.tombstones())
    out.answers.append((waiter, results))
    return out


def rebalances(shard: GroupShard, group_id: str) -> list[Rebalance]:
    """The last rebalances of a group of any kind, oldest first. Raises ApiError: no such group."""
    group = shard.groups.get(group_id)
    if group is None:
        raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} not found.")
    return list(group.history.rebalances)


def describe_group(shard: GroupShard, group_id: str, api_version: int) -> DescribedGroup:
    """DescribeGroups of one group; a classic group that does not exist is Dead."""
    group = shard.classic(group_id)
    if group is None:
        described = DescribedGroup(group_id=group_id, group_state="Dead")
        if api_version >= 6:
            what = "is not a classic group" if group_id in shard.groups else "not found"
            described.error_code = ErrorCode.GROUP_ID_NOT_FOUND
            described.error_message = f"Group {group_id} {what}."
        return described
    protocol = group.protocol_name if group.state is STABLE else None
    return DescribedGroup(
        group_id=group_id,
        group_state=group.state.value,
        protocol_type=group.protocol_type or "",
        protocol_data=protocol or "",
        members=[_described(member, protocol) for member in group.members],
    )


def describe_consumer_group(
    shard: GroupShard, group_id: str
) -> consumer_group_describe.DescribedGroup:
    """ConsumerGroupDescribe of one group. Raises ApiError: GROUP_ID_NOT_FOUND."""
    group = shard.groups.get(group_id)
    if not isinstance(group, ConsumerGroup):
        what = "not found." if group is None else "is not a consumer group."
        raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} {what}")
    return consumer_group_describe.DescribedGroup(
        group_id=group_id,
        group_state=group.state_name,
        group_epoch=group.epoch,
        assignment_epoch=group.target_epoch,
        assignor_name=group.assignor_name or default_assignor(shard.surroundings),
        members=[_described_consumer(group, member) for member in group.members.values()],
    )


def _described_consumer(
    group: ConsumerGroup, member: ConsumerMember
) -> consumer_group_describe.Member:
    target = group.targets.get(member.member_id, {})
    return consumer_group_describe.Member(
        member_id=member.member_id,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        member_epoch=member.epoch,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=list(member.topics),
        subscribed_topic_regex=member.regex,
        assignment=_described_assignment(group, member.assigned),
        target_assignment=_described_assignment(group, target),
        member_type=0 if member.classic is not None else 1,
    )


def _described_assignment(
    group: ConsumerGroup, assigned: Mapping[Uuid, Iterable[PartitionId]]
) -> consumer_group_describe.Assignment:
    """Topics that are gone are left out."""
    names = group.surroundings.image.topic_names
    return consumer_group_describe.Assignment(
        topic_partitions=[
            consumer_group_describe.TopicPartitions(
                topic_id=topic_id, topic_name=names[topic_id], partitions=sorted(partitions)
            )
            for topic_id, partitions in assigned.items()
            if topic_id in names
        ]
    )


def list_groups(shard: GroupShard, wanted: Callable[[str, str], bool]) -> list[ListedGroup]:
    """ListGroups: those for whose state and type `wanted` says so."""
    return [
        ListedGroup(
            group_id=group_id,
            protocol_type=group.protocol_type or "",
            group_state=group.state_name,
            group_type=group.kind.value,
        )
        for group_id, group in shard.groups.items()
        if wanted(group.state_name, group.kind.value)
    ]


def _described(member: Member, protocol: str | None) -> DescribedGroupMember:
    """Metadata is shown only of the protocol in use."""
    return DescribedGroupMember(
        member_id=member.member_id,
        group_instance_id=member.instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        member_metadata=b"" if protocol is None else member.protocols.get(protocol, b""),
        member_assignment=member.assignment,
    )
