"""JoinGroup, SyncGroup, Heartbeat and LeaveGroup over the groups of a shard."""

from ottla.coordinator.group import classic_members
from ottla.coordinator.group.classic import ClassicGroup
from ottla.coordinator.group.classic_rebalance import join_error
from ottla.coordinator.group.consumer import ConsumerGroup
from ottla.coordinator.group.kinds import Kind, Out
from ottla.coordinator.group.records import GroupStored
from ottla.coordinator.group.settings import Caller
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.outcome import Waiter
from ottla.model.errors import ApiError, ErrorCode
from ottla.wire.generated.heartbeat import HeartbeatRequest
from ottla.wire.generated.join_group import JoinGroupRequest
from ottla.wire.generated.leave_group import LeaveGroupRequest
from ottla.wire.generated.sync_group import SyncGroupRequest


def join(
    shard: GroupShard, request: JoinGroupRequest, caller: Caller, waiter: Waiter, now_ms: int
) -> Out:
    """JoinGroup. A member without an id creates the group."""
    group = shard.groups.get(request.group_id)
    if isinstance(group, ClassicGroup):
        return group.join(request, caller, waiter, now_ms)
    if isinstance(group, ConsumerGroup) and not group.is_empty:
        return classic_members.join(shard, group, request, caller, waiter, now_ms)
    if request.member_id:
        answer = join_error(ErrorCode.UNKNOWN_MEMBER_ID, request.member_id)
        return Out(answers=[(waiter, answer)])
    if group is not None and (group.kind is Kind.SHARE or not group.is_empty):
        answer = join_error(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, "")
        return Out(answers=[(waiter, answer)])
    return _join_first(shard, request, caller, waiter, now_ms)


def _join_first(
    shard: GroupShard, request: JoinGroupRequest, caller: Caller, waiter: Waiter, now_ms: int
) -> Out:
    """The first JoinGroup of a group: a record says that it exists now."""
    group_id = request.group_id
    old = shard.groups.get(group_id)
    group = ClassicGroup(
        group_id, shard.settings, shard.deadlines, shard.surroundings.randomness, now_ms
    )
    empty = GroupStored(group_id, group.stored())
    out = group.join(request, caller, waiter, now_ms)
    if not group.members and not group.members.pending:
        return out  # turned away: no group
    back = shard.replace(group)
    assert not out.records
    if old is not None:
        out.records.extend(old.tombstones())
    out.records.append(empty)

    def refused(code: ErrorCode) -> Out:
        back()
        return Out(answers=[(waiter, join_error(code, ""))])

    out.refused = refused
    return out


def sync(shard: GroupShard, request: SyncGroupRequest, waiter: Waiter, now_ms: int) -> Out:
    """SyncGroup. Raises ApiError."""
    group = shard.groups.get(request.group_id)
    if isinstance(group, ConsumerGroup):
        return classic_members.sync(group, request, waiter, now_ms)
    return _member_group(shard, request.group_id).sync(request, waiter, now_ms)


def heartbeat(shard: GroupShard, request: HeartbeatRequest, waiter: Waiter, now_ms: int) -> Out:
    """Heartbeat. Raises ApiError."""
    group = shard.groups.get(request.group_id)
    if isinstance(group, ConsumerGroup):
        response = classic_members.heartbeat(group, request, now_ms)
    else:
        response = _member_group(shard, request.group_id).heartbeat(request, now_ms)
    return Out(answers=[(waiter, response)])


def leave(shard: GroupShard, request: LeaveGroupRequest, waiter: Waiter, now_ms: int) -> Out:
    """LeaveGroup. Raises ApiError."""
    group = shard.groups.get(request.group_id)
    if isinstance(group, ConsumerGroup):
        return classic_members.leave(group, request, waiter, now_ms)
    return _member_group(shard, request.group_id).leave(request, waiter, now_ms)


def _member_group(shard: GroupShard, group_id: str) -> ClassicGroup:
    group = shard.classic(group_id)
    if group is None:
        raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID, f"Group {group_id} not found.")
    return group
