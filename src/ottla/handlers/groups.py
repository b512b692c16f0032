"""JoinGroup, SyncGroup, Heartbeat, LeaveGroup; describing, listing and deleting groups."""

from ottla.coordinator.group.settings import Caller
from ottla.handlers.context import Context
from ottla.handlers.membership import came_by
from ottla.model.errors import ErrorCode
from ottla.wire.generated.delete_groups import (
    DeletableGroupResult,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
)
from ottla.wire.generated.describe_groups import (
    DescribedGroup,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
)
from ottla.wire.generated.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.wire.generated.join_group import JoinGroupRequest, JoinGroupResponse
from ottla.wire.generated.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
)
from ottla.wire.generated.list_groups import ListGroupsRequest, ListGroupsResponse
from ottla.wire.generated.sync_group import SyncGroupRequest, SyncGroupResponse

DENIED = ErrorCode.GROUP_AUTHORIZATION_FAILED

GROUP_OPERATIONS = {
    "READ": 3,
    "DELETE": 6,
    "DESCRIBE": 8,
    "DESCRIBE_CONFIGS": 10,
    "ALTER_CONFIGS": 11,
}
"""What may be done to a group, and the bit of each in `authorized_operations`."""


def caller_of(context: Context) -> Caller:
    """Who sends the request; no client id is an empty one."""
    return Caller(context.client_id or "", f"/{context.client_host}", context.api_version)


async def join_group(context: Context, request: JoinGroupRequest) -> JoinGroupResponse:
    """Answered when the generation begins, so perhaps after the rebalance timeout."""
    if context.authorize("READ", "GROUP", request.group_id):
        came_by(context, request.group_id, request.member_id)
        response = await context.broker.groups.join_group(request, caller_of(context))
        if not response.error_code:
            came_by(context, request.group_id, response.member_id)
    else:
        response = JoinGroupResponse(error_code=DENIED)
    # No protocol is written "" before version 7, null from then on.
    response.protocol_name = response.protocol_name or ("" if context.api_version < 7 else None)
    return response


async def sync_group(context: Context, request: SyncGroupRequest) -> SyncGroupResponse:
    """Answered when the leader has sent the assignment."""
    if context.api_version >= 5 and (
        request.protocol_type is None or request.protocol_name is None
    ):
        return SyncGroupResponse(error_code=ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    if not context.authorize("READ", "GROUP", request.group_id):
        return SyncGroupResponse(error_code=DENIED)
    came_by(context, request.group_id, request.member_id)
    return await context.broker.groups.sync_group(request)


async def heartbeat(context: Context, request: HeartbeatRequest) -> HeartbeatResponse:
    if not context.authorize("READ", "GROUP", request.group_id):
        return HeartbeatResponse(error_code=DENIED)
    came_by(context, request.group_id, request.member_id)
    return await context.broker.groups.heartbeat(request)


async def leave_group(context: Context, request: LeaveGroupRequest) -> LeaveGroupResponse:
    """Before version 3 one member leaves, and its error is the answer's."""
    if not context.authorize("READ", "GROUP", request.group_id):
        return LeaveGroupResponse(error_code=DENIED)
    if context.api_version >= 3:
        return await context.broker.groups.leave_group(request)
    request.members = [MemberIdentity(member_id=request.member_id)]
    response = await context.broker.groups.leave_group(request)
    code = response.error_code
    if not code and response.members:
        code = response.members[0].error_code
    return LeaveGroupResponse(error_code=code)


async def describe_groups(
    context: Context, request: DescribeGroupsRequest
) -> DescribeGroupsResponse:
    """Denied groups first, as Kafka answers."""
    allowed = []
    response = DescribeGroupsResponse()
    for group_id in request.groups:
        if context.authorize("DESCRIBE", "GROUP", group_id):
            allowed.append(group_id)
        else:
            response.groups.append(DescribedGroup(group_id=group_id, error_code=DENIED))
    described = await context.broker.groups.describe_groups(allowed, context.api_version)
    if context.api_version >= 3 and request.include_authorized_operations:
        for group in described:
            if not group.error_code:
                group.authorized_operations = operations(context, group.group_id)
    response.groups.extend(described)
    return response


def operations(context: Context, group_id: str) -> int:
    """What the client may do to a group, as a bit set."""
    return sum(
        1 << bit
        for operation, bit in GROUP_OPERATIONS.items()
        if context.authorize(operation, "GROUP", group_id)
    )


async def list_groups(context: Context, request: ListGroupsRequest) -> ListGroupsResponse:
    """Everything to those who may describe the cluster, else the groups one may describe."""
    response = await context.broker.groups.list_groups(request.states_filter, request.types_filter)
    if not context.authorize("DESCRIBE", "CLUSTER", "kafka-cluster"):
        response.groups = [
            group
            for group in response.groups
            if context.authorize("DESCRIBE", "GROUP", group.group_id)
        ]
    return response


async def delete_groups(context: Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse:
    """Each group once, however often it was named; denied ones last."""
    allowed = []
    denied = []
    for group_id in dict.fromkeys(request.groups_names):
        if context.authorize("DELETE", "GROUP", group_id):
            allowed.append(group_id)
        else:
            denied.append(DeletableGroupResult(group_id=group_id, error_code=DENIED))
    results = await context.broker.groups.delete_groups(allowed)
    return DeleteGroupsResponse(results=[*results, *denied])
