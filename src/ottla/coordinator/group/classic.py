"""One classic group: join, sync, heartbeat, leave (KIP-62, 134, 345, 394, 800, 814).

    classic_state      the states, and which follow which
    classic_stored     what the log says of the group
    classic_rebalance  from one generation to the next; deadlines
    classic_join       JoinGroup

Two layers. What is stored changes in `apply` alone; the rest, a rebalance in
progress, lives in memory. Every method returns an `Outcome`.
"""

import logging

from ottla.coordinator.group.classic_join import Join
from ottla.coordinator.group.classic_rebalance import RebalancingGroup
from ottla.coordinator.group.classic_state import COMPLETING, EMPTY, PREPARING, STABLE
from ottla.coordinator.group.history import Cause, Why
from ottla.coordinator.group.kinds import Out
from ottla.coordinator.group.records import GroupStored
from ottla.coordinator.group.settings import Caller
from ottla.coordinator.outcome import Waiter
from ottla.model.errors import ApiError, ErrorCode
from ottla.wire.generated.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.wire.generated.join_group import JoinGroupRequest
from ottla.wire.generated.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
    MemberResponse,
)
from ottla.wire.generated.sync_group import SyncGroupRequest

log = logging.getLogger(__name__)


class ClassicGroup(RebalancingGroup):
    """The rules of one group."""

    __slots__ = ()

    def join(self, request: JoinGroupRequest, caller: Caller, waiter: Waiter, now_ms: int) -> Out:
        """Decide a JoinGroup; it is answered now, or parked until the generation begins."""
        return Join(self, request, caller, waiter, now_ms).decide()

    # SyncGroup

    def sync(self, request: SyncGroupRequest, waiter: Waiter, now_ms: int) -> Out:
        """Decide a SyncGroup; followers wait for the leader's.

        Raises:
            ApiError: not a member, another generation, another protocol, or
                the group rebalances.
        """
        member = self.members.find(request.member_id, request.group_instance_id)
        if request.generation_id != self.generation:
            raise ApiError(ErrorCode.ILLEGAL_GENERATION)
        if _differs(request.protocol_type, self.protocol_type) or _differs(
            request.protocol_name, self.protocol_name
        ):
            raise ApiError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if self.state is EMPTY:
            raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
        if self.state is PREPARING:
            raise ApiError(ErrorCode.REBALANCE_IN_PROGRESS)
        out = Out()
        self.members.unsynced.pop(member.member_id, None)
        if not self.members.unsynced:
            self.deadlines.cancel(("sync", self.group_id))
        if self.state is STABLE:
            out.answers.append((waiter, self.synced_answer(member)))
            return out
        if member.syncing is not None:
            self.answer_sync_error(member, ErrorCode.REBALANCE_IN_PROGRESS, out)
        member.syncing = waiter
        if member.member_id == self.members.leader_id:
            self._assign(request, now_ms, out)
        return out

    def _assign(self, request: SyncGroupRequest, now_ms: int, out: Out) -> None:
        """Take the leader's assignment: the one record of this generation."""
        assignments = {item.member_id: item.assignment for item in request.assignments}
        missing = 0
        for member in self.members:
            assignment = assignments.get(member.member_id)
            missing += assignment is None
            member.assignment = assignment or b""
        if missing:
            log.warning(
                "Group %s: %d members have no assignment in generation %d",
                self.group_id,
                missing,
                self.generation,
            )
        self.move(STABLE, now_ms)
        self.history.stable(now_ms)
        out.records.append(GroupStored(self.group_id, self.stored()))
        synced = []
        for member in self.members:
            if member.syncing is not None:
                synced.append((member, member.syncing))
                out.answers.append((member.syncing, self.synced_answer(member)))
                member.syncing = None
                self.expect_heartbeat(member, now_ms)

        def refused(code: ErrorCode) -> Out:
            instead = Out()
            self.state = COMPLETING
            for member, waiter in synced:
                member.syncing = waiter
            self.reset_assignments(code, instead)
            cause = Cause(now_ms, Why.ASSIGNMENT_NOT_STORED, "")
            self.prepare(cause, now_ms, instead)
            return instead

        out.refused = refused

    # Heartbeat, and commits, which count as one

    def heartbeat(self, request: HeartbeatRequest, now_ms: int) -> HeartbeatResponse:
        """Keep the session alive. Writes nothing.

        Raises:
            ApiError: not a member, or another generation.
        """
        member = self.members.find(request.member_id, request.group_instance_id)
        if request.generation_id != self.generation:
            raise ApiError(ErrorCode.ILLEGAL_GENERATION)
        self.expect_heartbeat(member, now_ms)
        if self.state is PREPARING:
            return HeartbeatResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS)
        return HeartbeatResponse()

    def check_commit(
        self,
        member_id: str,
        instance_id: str | None,
        generation: int,
        now_ms: int,
        transactional: bool = False,
        api_version: int = 0,
    ) -> None:
        """May these offsets be committed? A member's commit keeps its session alive.

        Raises:
            ApiError: not a member, another generation, or the members have
                joined and await their assignment.
        """
        if generation < 0 and self.state is EMPTY:
            return  # an administrator, or a consumer without membership
        member = None
        if generation >= 0 or member_id or instance_id is not None:
            member = self.members.find(member_id, instance_id)
            if generation != self.generation:
                raise ApiError(ErrorCode.ILLEGAL_GENERATION)
        elif not transactional and self.state is not EMPTY:
            raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
        if transactional:
            return
        if self.state is COMPLETING:
            raise ApiError(ErrorCode.REBALANCE_IN_PROGRESS)
        if member is not None:
            self.expect_heartbeat(member, now_ms)

    # LeaveGroup

    def leave(self, request: LeaveGroupRequest, waiter: Waiter, now_ms: int) -> Out:
        """Remove members, by member id or, for administrators, by instance id alone."""
        out = Out()
        causes: list[Cause] = []
        response = LeaveGroupResponse()
        for leaving in request.members:
            result = MemberResponse(
                member_id=leaving.member_id, group_instance_id=leaving.group_instance_id
            )
            response.members.append(result)
            try:
                causes.append(self._leave_one(leaving, now_ms, out))
            except ApiError as error:
                result.error_code = error.code
        if causes and self.state in (STABLE, COMPLETING):
            self.prepare(causes[0], now_ms, out, more=causes[1:])
        elif causes and self.state is PREPARING:
            for cause in causes:
                self.history.add(cause)
            self.complete_if_all_joined(now_ms, out)
        out.answers.append((waiter, response))
        return out

    def _leave_one(self, leaving: MemberIdentity, now_ms: int, out: Out) -> Cause:
        member_id = leaving.member_id
        if member_id and member_id in self.members.pending:
            self.members.remove(member_id)
            self.deadlines.cancel(("session", self.group_id, member_id))
            return Cause(now_ms, Why.LEFT, member_id, reason=leaving.reason)
        if not member_id:
            instance_id = leaving.group_instance_id
            member_id = "" if instance_id is None else self.members.static_id(instance_id) or ""
        member = self.members.find(member_id, leaving.group_instance_id)
        self.remove(member, out)
        return self.cause(Why.LEFT, member, now_ms, leaving.reason)


def _differs(asked: str | None, actual: str | None) -> bool:
    """A member that names no protocol agrees with any."""
    return asked is not None and actual is not None and asked != actual
