"""ConsumerGroupHeartbeat and ConsumerGroupDescribe (KIP-848)."""

from ottla.handlers.context import Context
from ottla.handlers.groups import DENIED, caller_of, operations
from ottla.handlers.membership import came_by
from ottla.model.errors import ErrorCode
from ottla.wire.generated.consumer_group_describe import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    DescribedGroup,
)
from ottla.wire.generated.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)


async def consumer_group_heartbeat(
    context: Context, request: ConsumerGroupHeartbeatRequest
) -> ConsumerGroupHeartbeatResponse:
    """Topics that are subscribed to by name must be allowed, all of them."""
    if not context.authorize("READ", "GROUP", request.group_id):
        return ConsumerGroupHeartbeatResponse(error_code=DENIED)
    for name in request.subscribed_topic_names or ():
        if not context.authorize("DESCRIBE", "TOPIC", name):
            return ConsumerGroupHeartbeatResponse(error_code=ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    response = await context.broker.groups.consumer_group_heartbeat(request, caller_of(context))
    came_by(context, request.group_id, response.member_id)
    return response


async def consumer_group_describe(
    context: Context, request: ConsumerGroupDescribeRequest
) -> ConsumerGroupDescribeResponse:
    """Denied groups first; a group with a topic the client may not see is denied, too."""
    response = ConsumerGroupDescribeResponse()
    allowed = []
    for group_id in request.group_ids:
        if context.authorize("DESCRIBE", "GROUP", group_id):
            allowed.append(group_id)
        else:
            response.groups.append(DescribedGroup(group_id=group_id, error_code=DENIED))
    for group in await context.broker.groups.describe_consumer_groups(allowed):
        if not group.error_code:
            if not _may_see(context, group):
                group = DescribedGroup(
                    group_id=group.group_id,
                    error_code=ErrorCode.TOPIC_AUTHORIZATION_FAILED,
                    error_message="The described group uses topics that the client is not "
                    "authorized to describe.",
                )
            elif request.include_authorized_operations:
                group.authorized_operations = operations(context, group.group_id)
        response.groups.append(group)
    return response


def _may_see(context: Context, group: DescribedGroup) -> bool:
    names = {
        row.topic_name
        for member in group.members
        for assignment in (member.assignment, member.target_assignment)
        for row in assignment.topic_partitions
    }
    return all(context.authorize("DESCRIBE", "TOPIC", name) for name in sorted(names))
