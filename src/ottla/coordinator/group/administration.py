"""DescribeGroups, ListGroups and DeleteGroups over the groups of a shard."""

from collections.abc import Callable, Sequence

from ottla.coordinator.group.classic import STABLE
from ottla.coordinator.group.kinds import Out
from ottla.coordinator.group.members import Member
from ottla.coordinator.group.records import OffsetStored
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.outcome import Waiter
from ottla.model.errors import ErrorCode
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
        elif not group.is_empty:
            result.error_code = ErrorCode.NON_EMPTY_GROUP
        else:
            out.records.extend(
                OffsetStored(group_id, topic, partition, None)
                for topic, partition in shard.offsets.partitions(group_id)
            )
            out.records.extend(group.tombstones())
    out.answers.append((waiter, results))
    return out


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
