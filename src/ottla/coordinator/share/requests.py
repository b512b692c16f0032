"""ShareGroupHeartbeat, ShareGroupDescribe and what they need, over the groups of a shard."""

from collections.abc import Mapping

from ottla.coordinator.group.history import Why
from ottla.coordinator.group.kinds import Kind, Out
from ottla.coordinator.group.modern import JOIN_EPOCH, LEAVE_EPOCH
from ottla.coordinator.group.settings import Caller
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.outcome import Waiter
from ottla.coordinator.share.group import Beat, ShareGroup, ShareMember
from ottla.coordinator.share.group_records import Topics
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicName, Uuid
from ottla.wire.generated.share_group_describe import (
    Assignment as DescribedAssignment,
)
from ottla.wire.generated.share_group_describe import (
    DescribedGroup,
    Member,
)
from ottla.wire.generated.share_group_describe import (
    TopicPartitions as DescribedPartitions,
)
from ottla.wire.generated.share_group_heartbeat import (
    Assignment,
    ShareGroupHeartbeatRequest,
    ShareGroupHeartbeatResponse,
    TopicPartitions,
)


def check_heartbeat(request: ShareGroupHeartbeatRequest) -> None:
    """Raise INVALID_REQUEST, in Kafka's words, for a heartbeat no member sends."""
    problem = None
    if not request.group_id.strip():
        problem = "GroupId can't be empty."
    elif not request.member_id.strip():
        raise ApiError(ErrorCode.INVALID_REQUEST)
    elif request.rack_id is not None and not request.rack_id.strip():
        problem = "RackId can't be empty."
    elif request.member_epoch == JOIN_EPOCH and not request.subscribed_topic_names:
        problem = "SubscribedTopicNames must be set in first request."
    elif request.member_epoch < LEAVE_EPOCH:
        problem = "MemberEpoch is invalid."
    if problem is not None:
        raise ApiError(ErrorCode.INVALID_REQUEST, problem)


def share_group(shard: GroupShard, group_id: str) -> ShareGroup:
    """The share group of this id. Raises ApiError: GROUP_ID_NOT_FOUND."""
    group = shard.groups.get(group_id)
    if group is None:
        raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} not found.")
    if not isinstance(group, ShareGroup):
        raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} is not a share group.")
    return group


def heartbeat(
    shard: GroupShard,
    request: ShareGroupHeartbeatRequest,
    caller: Caller,
    waiter: Waiter,
    now_ms: int,
) -> Out:
    """One heartbeat; the answer comes with the partitions that need state first.

    Raises:
        ApiError: the group, the member or its epoch are not what they should be.
    """
    group_id, member_id = request.group_id, request.member_id
    if request.member_epoch == LEAVE_EPOCH:
        group = share_group(shard, group_id)
        group.member(member_id)
        records = group.leave(member_id, Why.LEFT, now_ms)
        response = ShareGroupHeartbeatResponse(member_id=member_id, member_epoch=LEAVE_EPOCH)
        return Out(records, [(waiter, response)])
    undo = None
    if group_id not in shard.groups and request.member_epoch == JOIN_EPOCH:
        made = shard.new_group(Kind.SHARE, group_id)
        assert isinstance(made, ShareGroup)
        group, undo = made, shard.replace(made)
    elif group_id not in shard.groups:
        raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"Share group {group_id} not found.")
    else:
        group = share_group(shard, group_id)
    try:
        beat = group.heartbeat(request, caller, now_ms)
    except ApiError:
        if undo is not None:
            undo()
        raise
    out = Out(beat.records, [(waiter, _response(beat))])
    if undo is not None:
        take_back = undo

        def refused(code: ErrorCode) -> Out:
            take_back()
            return Out(answers=[(waiter, ApiError(code))])

        out.refused = refused
    return out


def _response(beat: Beat) -> ShareGroupHeartbeatResponse:
    assignment = None
    if beat.has_news:
        assignment = Assignment(
            topic_partitions=[
                TopicPartitions(topic_id=topic_id, partitions=list(numbers))
                for topic_id, numbers in beat.member.assigned.items()
            ]
        )
    return ShareGroupHeartbeatResponse(
        member_id=beat.member.member_id,
        member_epoch=beat.member.epoch,
        heartbeat_interval_ms=beat.interval_ms,
        assignment=assignment,
    )


def begin_initializing(shard: GroupShard, group_id: str, waiter: Waiter) -> Out:
    """Note durably which partitions get state now; the answer is (group epoch, those)."""
    group = share_group(shard, group_id)
    return Out(group.begin_initializing(), [(waiter, (group.epoch, group.without_state()))])


def begin_altering(shard: GroupShard, group_id: str, topics: Topics, waiter: Waiter) -> Out:
    """These partitions are about to begin anew; the answer is the group's epoch.

    A group that is not there is made: it has nothing but its offsets. Raises
    ApiError: NON_EMPTY_GROUP.
    """
    if group_id in shard.groups:
        group = share_group(shard, group_id)
        if not group.is_empty:  # since the first look a member joined
            raise ApiError(ErrorCode.NON_EMPTY_GROUP, "The group is not empty.")
    else:
        made = shard.new_group(Kind.SHARE, group_id)
        assert isinstance(made, ShareGroup)
        group = made
    return Out(group.begin_altering(topics), [(waiter, group.epoch)])


def state_initialized(shard: GroupShard, group_id: str, done: Topics, waiter: Waiter) -> Out:
    """These partitions have state and may be assigned."""
    return Out(share_group(shard, group_id).state_initialized(done), [(waiter, True)])


def begin_deleting(shard: GroupShard, group_id: str, topics: set[Uuid], waiter: Waiter) -> Out:
    """The state of these topics is about to go."""
    return Out(share_group(shard, group_id).begin_deleting(topics), [(waiter, True)])


def state_deleted(shard: GroupShard, group_id: str, topics: set[Uuid], waiter: Waiter) -> Out:
    """The state of these topics is gone."""
    return Out(share_group(shard, group_id).state_deleted(topics), [(waiter, True)])


def describe(shard: GroupShard, group_id: str) -> DescribedGroup:
    """ShareGroupDescribe of one group; an error is in the answer."""
    try:
        group = share_group(shard, group_id)
    except ApiError as error:
        return DescribedGroup(group_id=group_id, error_code=error.code, error_message=error.message)
    names = shard.surroundings.image.topic_names
    return DescribedGroup(
        group_id=group_id,
        group_state=group.state_name,
        group_epoch=group.epoch,
        assignment_epoch=group.target_epoch,
        assignor_name="simple",
        members=[_described(member, names) for member in group.members.values()],
    )


def _described(member: ShareMember, names: Mapping[Uuid, TopicName]) -> Member:
    return Member(
        member_id=member.member_id,
        rack_id=member.rack_id,
        member_epoch=member.epoch,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=sorted(member.topics),
        assignment=DescribedAssignment(
            topic_partitions=[
                DescribedPartitions(
                    topic_id=topic_id, topic_name=names[topic_id], partitions=list(numbers)
                )
                for topic_id, numbers in member.assigned.items()
                if topic_id in names
            ]
        ),
    )
