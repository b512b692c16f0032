"""Classic members of a consumer group: their requests, translated.

A JoinGroup is a heartbeat that joins and says what it has; its generation is
the member epoch. SyncGroup brings what is assigned, a Heartbeat says
REBALANCE_IN_PROGRESS when there is a step to make, which the next JoinGroup
makes. Nobody waits.
"""

from typing import Any

from ottla.coordinator.group.classic_join import rebalance_timeout_of
from ottla.coordinator.group.classic_rebalance import join_error
from ottla.coordinator.group.consumer import ConsumerGroup
from ottla.coordinator.group.consumer_member import UNREVOKED, ConsumerMember
from ottla.coordinator.group.consumer_requests import Heartbeat
from ottla.coordinator.group.history import Why
from ottla.coordinator.group.kinds import Out
from ottla.coordinator.group.migration import classic_assignment, subscription_of
from ottla.coordinator.group.settings import Caller
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.outcome import Waiter
from ottla.model.errors import ApiError, ErrorCode, ProtocolError
from ottla.model.ids import uuid_text
from ottla.wire.generated.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    TopicPartitionsRequest,
)
from ottla.wire.generated.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.wire.generated.join_group import JoinGroupRequest, JoinGroupResponse
from ottla.wire.generated.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberResponse
from ottla.wire.generated.records.consumer_group_member_metadata_value import (
    ClassicMemberMetadata,
    ClassicProtocol,
)
from ottla.wire.generated.sync_group import SyncGroupRequest, SyncGroupResponse


class _Join(Heartbeat):
    """A heartbeat that is answered as a JoinGroup."""

    def _failed(self, code: ErrorCode) -> Any:
        return join_error(code, "")

    def _response(self, before: ConsumerMember, after: ConsumerMember) -> Any:
        assert after.classic is not None
        return JoinGroupResponse(
            member_id=after.member_id,
            generation_id=after.epoch,
            protocol_type="consumer",
            protocol_name=after.classic.supported_protocols[0].name,
        )


def join(
    shard: GroupShard,
    group: ConsumerGroup,
    request: JoinGroupRequest,
    caller: Caller,
    waiter: Waiter,
    now_ms: int,
) -> Out:
    """JoinGroup. Raises ApiError."""
    policy = str(shard.surroundings.config.values["group.consumer.migration.policy"]).lower()
    if policy == "disabled":
        raise ApiError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    if request.protocol_type != "consumer" or not _is_supported(group, request):
        raise ApiError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    member_id = request.member_id
    if not member_id:
        member_id = uuid_text(shard.surroundings.randomness.uuid())
        if request.group_instance_id is None and caller.api_version >= 4:
            answer = join_error(ErrorCode.MEMBER_ID_REQUIRED, member_id)
            return Out(answers=[(waiter, answer)])
    try:
        subscription = subscription_of(request.protocols[0].metadata)
    except ProtocolError as error:
        raise ApiError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL) from error
    topics = shard.surroundings.image.topics
    translated = ConsumerGroupHeartbeatRequest(
        group_id=request.group_id,
        member_id=member_id,
        instance_id=request.group_instance_id,
        rack_id=subscription.rack_id,
        rebalance_timeout_ms=rebalance_timeout_of(request),
        subscribed_topic_names=list(subscription.topics),
        subscribed_topic_regex="",
        topic_partitions=[
            TopicPartitionsRequest(topic_id=topics[row.topic].topic_id, partitions=row.partitions)
            for row in subscription.owned_partitions
            if row.topic in topics
        ],
    )
    heartbeat = _Join(shard, group, translated, caller, [], now_ms)
    heartbeat.comes_back = bool(request.member_id)
    heartbeat.classic = ClassicMemberMetadata(
        session_timeout_ms=request.session_timeout_ms,
        supported_protocols=[
            ClassicProtocol(name=one.name, metadata=bytes(one.metadata))
            for one in request.protocols
        ],
    )
    out = heartbeat.decide(waiter)
    shard.deadlines.cancel(("rebalance", group.group_id, member_id))
    key = ("session", group.group_id, member_id)
    shard.deadlines.set(key, now_ms + request.session_timeout_ms)
    return out


def _is_supported(group: ConsumerGroup, request: JoinGroupRequest) -> bool:
    """Is there a protocol that this and all other classic members know?"""
    names = {protocol.name for protocol in request.protocols}
    for member in group.members.values():
        if member.classic is not None and member.member_id != request.member_id:
            names &= {protocol.name for protocol in member.classic.supported_protocols}
    return bool(names)


def _member(
    group: ConsumerGroup, member_id: str, instance_id: str | None, generation: int
) -> ConsumerMember:
    if instance_id is None:
        member = group.member(member_id)
    else:
        found = group.static_member(instance_id)
        if found is None:
            raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
        if found.member_id != member_id:
            raise ApiError(ErrorCode.FENCED_INSTANCE_ID)
        member = found
    if member.classic is None:
        raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
    if generation != member.epoch:
        raise ApiError(ErrorCode.ILLEGAL_GENERATION)
    return member


def sync(group: ConsumerGroup, request: SyncGroupRequest, waiter: Waiter, now_ms: int) -> Out:
    """SyncGroup: what the member has now. Raises ApiError."""
    member = _member(group, request.member_id, request.group_instance_id, request.generation_id)
    assert member.classic is not None
    name = member.classic.supported_protocols[0].name
    if request.protocol_type not in (None, "consumer") or request.protocol_name not in (None, name):
        raise ApiError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    if member.epoch < group.target_epoch and member.state is not UNREVOKED:
        _must_join(group, member, now_ms)
        raise ApiError(ErrorCode.REBALANCE_IN_PROGRESS)
    group.expect_heartbeat(member.member_id, now_ms)
    answer = SyncGroupResponse(
        protocol_type="consumer",
        protocol_name=name,
        assignment=classic_assignment(group, member),
    )
    return Out(answers=[(waiter, answer)])


def heartbeat(group: ConsumerGroup, request: HeartbeatRequest, now_ms: int) -> HeartbeatResponse:
    """Heartbeat. Raises ApiError."""
    member = _member(group, request.member_id, request.group_instance_id, request.generation_id)
    group.expect_heartbeat(member.member_id, now_ms)
    if not group.is_behind(member):
        return HeartbeatResponse()
    _must_join(group, member, now_ms)
    return HeartbeatResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS)


def _must_join(group: ConsumerGroup, member: ConsumerMember, now_ms: int) -> None:
    """From when it was first told, it has its rebalance timeout to join again."""
    key = ("rebalance", group.group_id, member.member_id)
    if group.deadlines.get(key) is None:
        group.expect_revocation(member, now_ms)


def leave(group: ConsumerGroup, request: LeaveGroupRequest, waiter: Waiter, now_ms: int) -> Out:
    """LeaveGroup, of members of either protocol."""
    group.decide()
    gone: dict[str, ConsumerMember] = {}
    response = LeaveGroupResponse()
    for leaving in request.members:
        row = MemberResponse(
            member_id=leaving.member_id, group_instance_id=leaving.group_instance_id
        )
        response.members.append(row)
        found = (
            group.members.get(leaving.member_id)
            if leaving.group_instance_id is None
            else group.static_member(leaving.group_instance_id)
        )
        if found is None:
            row.error_code = ErrorCode.UNKNOWN_MEMBER_ID
        elif leaving.group_instance_id is not None and leaving.member_id not in (
            "",
            found.member_id,
        ):
            row.error_code = ErrorCode.FENCED_INSTANCE_ID
        else:
            gone[found.member_id] = found
            group.note(Why.LEFT, now_ms, found, leaving.reason)
    out = group.fence(gone.values(), now_ms) if gone else Out()
    out.answers.append((waiter, response))
    return out
