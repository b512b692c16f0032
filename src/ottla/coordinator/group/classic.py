"""One classic group: join, sync, heartbeat, leave (KIP-62, 134, 345, 394, 800, 814).

    Empty -> PreparingRebalance -> CompletingRebalance -> Stable -> PreparingRebalance ...

*Preparing*: members join; over when all have joined or the longest rebalance
timeout is over. *Completing*: the leader computes the assignment and sends it
with its SyncGroup; everyone else's SyncGroup waits for it. *Stable*: members
heartbeat.

Two layers. What survives a restart is the `GroupMetadataValue` last applied by
the shard: one record for each generation, written when the leader syncs, when
the last member is gone, and when a static member comes back under a new id. A
rebalance in progress (who joined, who waits, deadlines) is not written down;
after a restart the group is again in the generation of its last record, and
members that moved on learn so from UNKNOWN_MEMBER_ID or ILLEGAL_GENERATION.

Every method returns an `Outcome`; deadlines go into the shard's `Deadlines`
under ("session", group, member), ("join", group) and ("sync", group).
"""

import logging
from collections.abc import Iterable
from enum import Enum

from ottla.coordinator.deadlines import Deadlines
from ottla.coordinator.group.history import Cause, History, Why
from ottla.coordinator.group.kinds import Kind, Out
from ottla.coordinator.group.members import Member, Members, Protocols
from ottla.coordinator.group.records import NO_TIMESTAMP, GroupRecord, GroupStored
from ottla.coordinator.group.settings import NEW_MEMBER_JOIN_TIMEOUT_MS, Caller, GroupSettings
from ottla.coordinator.group.subscription import subscribed_topics
from ottla.coordinator.outcome import Waiter
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import Uuid
from ottla.model.randomness import Randomness
from ottla.wire.generated.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.wire.generated.join_group import (
    JoinGroupRequest,
    JoinGroupResponse,
    JoinGroupResponseMember,
)
from ottla.wire.generated.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
    MemberResponse,
)
from ottla.wire.generated.records.group_metadata_value import GroupMetadataValue, MemberMetadata
from ottla.wire.generated.sync_group import SyncGroupRequest, SyncGroupResponse

log = logging.getLogger(__name__)

CONSUMER = "consumer"
"""The protocol type of consumers, whose metadata the coordinator may read."""


class GroupState(Enum):
    """States, by the names Kafka prints."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


EMPTY = GroupState.EMPTY
PREPARING = GroupState.PREPARING_REBALANCE
COMPLETING = GroupState.COMPLETING_REBALANCE
STABLE = GroupState.STABLE
DEAD = GroupState.DEAD

MOVES = {
    EMPTY: {PREPARING, DEAD},
    PREPARING: {COMPLETING, EMPTY, DEAD},
    COMPLETING: {STABLE, PREPARING, DEAD},
    STABLE: {PREPARING, DEAD},
    DEAD: {DEAD},
}
"""From each state, the states a group may go to."""


class _Join:
    """A JoinGroup on its way through the decisions."""

    __slots__ = ("caller", "protocols", "request", "waiter")

    def __init__(self, request: JoinGroupRequest, caller: Caller, waiter: Waiter) -> None:
        self.request = request
        self.caller = caller
        self.waiter = waiter
        self.protocols: Protocols = {}
        for protocol in request.protocols:
            self.protocols.setdefault(protocol.name, protocol.metadata)


class ClassicGroup:
    """The rules of one group. `settings` and `deadlines` are shared with its shard."""

    kind = Kind.CLASSIC

    __slots__ = (
        "_deadlines",
        "_initial_delay_ms",
        "_initial_remaining_ms",
        "_is_initial",
        "_joined_while_waiting",
        "_randomness",
        "_settings",
        "_subscriptions",
        "_topics",
        "applied",
        "generation",
        "group_id",
        "history",
        "members",
        "protocol_name",
        "state",
        "state_since_ms",
    )

    def __init__(
        self,
        group_id: str,
        settings: GroupSettings,
        deadlines: Deadlines,
        randomness: Randomness,
        now_ms: int,
    ) -> None:
        self.group_id = group_id
        self._settings = settings
        self._deadlines = deadlines
        self._randomness = randomness
        self.state = EMPTY
        self.state_since_ms = now_ms
        self.generation = 0
        self.protocol_name: str | None = None
        self.members = Members()
        self.history = History()
        self.applied: GroupMetadataValue | None = None
        """What the log says of the group; None before anything, and of one that holds offsets."""
        # The first rebalance of an empty group waits for more members to come.
        self._is_initial = False
        self._initial_delay_ms = 0
        self._initial_remaining_ms = 0
        self._joined_while_waiting = False
        self._subscriptions: list[bytes] = []
        self._topics: frozenset[str] | None = None

    # What is known of the group

    @property
    def protocol_type(self) -> str | None:
        return self.members.protocol_type

    @property
    def is_simple(self) -> bool:
        """Made by a commit without membership; nothing but its offsets is stored."""
        return (
            self.applied is None
            and self.protocol_type is None
            and self.state is EMPTY
            and not self.members.pending
        )

    @property
    def state_name(self) -> str:
        return self.state.value

    @property
    def is_empty(self) -> bool:
        return self.state is EMPTY

    @property
    def is_forgettable(self) -> bool:
        return self.state is EMPTY and not self.members.pending

    @property
    def is_gone(self) -> bool:
        return self.state is DEAD

    @property
    def uses_consumer_protocol(self) -> bool:
        return self.protocol_type == CONSUMER

    def topics(self) -> frozenset[str] | None:
        """The topics this generation is subscribed to; None when they cannot be known."""
        if not self.uses_consumer_protocol:
            return None
        if self.protocol_name is None and self.members:
            return None
        if self._topics is None:
            self._topics = subscribed_topics(self._subscriptions)
        return self._topics

    def is_subscribed_to(self, topic: str) -> bool:
        """Consumers whose subscription cannot be read are taken to use every topic."""
        if not self.uses_consumer_protocol:
            return False
        topics = self.topics()
        return True if topics is None else topic in topics

    def stored(self) -> GroupMetadataValue:
        """What the log must say of this generation."""
        name = self.protocol_name
        return GroupMetadataValue(
            protocol_type=self.protocol_type or "",
            generation=self.generation,
            protocol=name,
            leader=self.members.leader_id,
            current_state_timestamp=self.state_since_ms,
            members=[
                MemberMetadata(
                    member_id=member.member_id,
                    group_instance_id=member.instance_id,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    rebalance_timeout=member.rebalance_timeout_ms,
                    session_timeout=member.session_timeout_ms,
                    subscription=member.protocols.get(name, b"") if name is not None else b"",
                    assignment=member.assignment,
                )
                for member in self.members
            ],
        )

    def apply(self, record: GroupRecord) -> None:
        """Keep the last record; without a value, the group is deleted."""
        assert isinstance(record, GroupStored)
        self.applied = record.value
        if record.value is None:
            self.die()

    def loaded(self, now_ms: int) -> Out:
        """Make the working state from what was applied, and set deadlines."""
        if self.applied is None:
            return Out()
        self.restore(self.applied)
        return self.resume(now_ms)

    def wake(self, key: tuple[str, ...], now_ms: int) -> Out:
        """A session, the time to join or the time to sync is over."""
        if key[0] == "session":
            return self.session_expired(key[2], now_ms)
        if key[0] == "join":
            return self.join_expired(now_ms)
        return self.sync_expired(now_ms) if key[0] == "sync" else Out()

    def topics_changed(self, topics: frozenset[str]) -> None:
        """The leader watches topics itself."""

    def tombstones(self) -> list[GroupRecord]:
        return [GroupStored(self.group_id, None)]

    def restore(self, value: GroupMetadataValue) -> None:
        """Take over what the log says; `resume` sets the deadlines."""
        self.generation = value.generation
        self.protocol_name = value.protocol
        self.state = STABLE if value.members else EMPTY
        self.state_since_ms = value.current_state_timestamp
        self.members = Members()
        self.members.protocol_type = value.protocol_type or None
        self.members.leader_id = value.leader
        for stored in value.members:
            member = Member(
                stored.member_id,
                stored.group_instance_id,
                stored.client_id,
                stored.client_host,
                stored.session_timeout
                if stored.rebalance_timeout == -1
                else stored.rebalance_timeout,
                stored.session_timeout,
                {value.protocol or "": stored.subscription},
                stored.assignment,
            )
            self.members.add(member, value.protocol_type)
        self._new_subscriptions()

    def resume(self, now_ms: int) -> Out:
        """Begin to serve after loading: every session starts anew."""
        out = Out()
        for member in self.members:
            self._expect_heartbeat(member, now_ms)
        if len(self.members) > self._settings.group_max_size:
            self._prepare(Cause(now_ms, Why.OVER_CAPACITY, ""), now_ms, out)
        return out

    def converted(self, now_ms: int) -> Out:
        """It was a consumer group until now, whose members must all join again."""
        out = self.resume(now_ms)
        if self.state is STABLE:
            self._prepare(Cause(now_ms, Why.CONVERTED, ""), now_ms, out)
        return out

    def give_up_waiters(self) -> Out:
        """It becomes a consumer group: whoever waits shall come again."""
        out = Out()
        for member in self.members:
            waiter = self.members.take_join(member)
            if waiter is not None:
                answer = join_error(ErrorCode.REBALANCE_IN_PROGRESS, member.member_id)
                out.answers.append((waiter, answer))
            if member.syncing is not None:
                self._answer_sync_error(member, ErrorCode.REBALANCE_IN_PROGRESS, out)
        return out

    def waiters(self) -> Iterable[Waiter]:
        """Everyone parked here."""
        for member in self.members:
            if member.joining is not None:
                yield member.joining
            if member.syncing is not None:
                yield member.syncing

    # JoinGroup

    def join(self, request: JoinGroupRequest, caller: Caller, waiter: Waiter, now_ms: int) -> Out:
        """Decide a JoinGroup; it is answered now, or parked until the generation begins."""
        out = Out()
        join = _Join(request, caller, waiter)
        member_id = request.member_id
        if not self._has_room_for(member_id):
            if self.members.remove(member_id) is not None:
                self._deadlines.cancel(("session", self.group_id, member_id))
                self._complete_join_if_all_joined(now_ms, out)
            answer = join_error(ErrorCode.GROUP_MAX_SIZE_REACHED, "")
            out.answers.append((waiter, answer))
        elif not self.members.supports(request.protocol_type, join.protocols, self.state is EMPTY):
            answer = join_error(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, member_id)
            out.answers.append((waiter, answer))
        elif member_id == "":
            self._join_unknown(join, now_ms, out)
        else:
            self._join_known(join, now_ms, out)
        return out

    def _has_room_for(self, member_id: str) -> bool:
        if self.state is EMPTY:
            return True
        member = self.members.get(member_id)
        if self.state is PREPARING:
            # Those who wait are counted, not the members: so the last to
            # rejoin are turned away when the limit was lowered.
            waits = member is not None and member.joining is not None
            return waits or self.members.joining_count < self._settings.group_max_size
        return member is not None or len(self.members) < self._settings.group_max_size

    def _join_unknown(self, join: _Join, now_ms: int, out: Out) -> None:
        instance_id = join.request.group_instance_id
        prefix = join.caller.client_id if instance_id is None else instance_id
        new_id = f"{prefix}-{java_uuid(self._randomness.uuid())}"
        if instance_id is not None:
            if self.members.static_id(instance_id) is not None:
                self._rejoin_static(join, new_id, now_ms, out)
            else:
                self._add(join, new_id, now_ms, out)
        elif join.caller.api_version >= 4:
            # KIP-394: no member exists until the client proves it has its id.
            self.members.pending[new_id] = None
            timeout_ms = join.request.session_timeout_ms
            self._deadlines.set(("session", self.group_id, new_id), now_ms + timeout_ms)
            out.answers.append((join.waiter, join_error(ErrorCode.MEMBER_ID_REQUIRED, new_id)))
        else:
            self._add(join, new_id, now_ms, out)

    def _join_known(self, join: _Join, now_ms: int, out: Out) -> None:
        request = join.request
        member_id = request.member_id
        if member_id in self.members.pending and request.group_instance_id is None:
            self._add(join, member_id, now_ms, out)
            return
        try:
            member = self.members.find(member_id, request.group_instance_id)
        except ApiError as error:
            answer = join_error(error.code, member_id, None)
            out.answers.append((join.waiter, answer))
            return
        if self.state is PREPARING:
            self._rejoin(join, member, None, now_ms, out)
        elif self.state is COMPLETING:
            if member.same_protocols(join.protocols):
                # The answer to its first JoinGroup was lost.
                is_leader = self.members.leader_id == member_id
                roster = self._roster() if is_leader else []
                out.answers.append((join.waiter, self._joined(member_id, roster)))
            else:
                self._rejoin(join, member, Why.CHANGED_METADATA, now_ms, out)
        elif self.state is STABLE:
            if self.members.leader_id == member_id:
                # A leader asks for a rebalance when what it assigns has changed.
                self._rejoin(join, member, Why.REJOINED_AS_LEADER, now_ms, out)
            elif not member.same_protocols(join.protocols):
                self._rejoin(join, member, Why.CHANGED_METADATA, now_ms, out)
            else:
                out.answers.append((join.waiter, self._joined(member_id, [])))
        else:
            answer = join_error(ErrorCode.UNKNOWN_MEMBER_ID, member_id)
            out.answers.append((join.waiter, answer))

    def _add(self, join: _Join, member_id: str, now_ms: int, out: Out) -> None:
        """Add a new member and rebalance."""
        request = join.request
        member = Member(
            member_id,
            request.group_instance_id,
            join.caller.client_id,
            join.caller.client_host,
            rebalance_timeout_of(request),
            request.session_timeout_ms,
            join.protocols,
        )
        member.is_new = True
        member.joining = join.waiter
        if self.state is PREPARING and self._is_initial:
            self._joined_while_waiting = True
        self.members.add(member, request.protocol_type)
        # It cannot heartbeat before it is answered, and a client that gave up
        # comes back as yet another member: so the wait has an end.
        self._deadlines.set(
            ("session", self.group_id, member_id), now_ms + NEW_MEMBER_JOIN_TIMEOUT_MS
        )
        cause = self._cause(Why.JOINED, member, now_ms, request.reason)
        self._prepare_or_complete(cause, now_ms, out)

    def _rejoin(self, join: _Join, member: Member, why: Why | None, now_ms: int, out: Out) -> None:
        """Park the JoinGroup of a member, with what it supports now, and rebalance."""
        request = join.request
        self.members.update(
            member, join.protocols, rebalance_timeout_of(request), request.session_timeout_ms
        )
        replaced = self.members.park_join(member, join.waiter)
        if replaced is not None:
            answer = join_error(ErrorCode.REBALANCE_IN_PROGRESS, member.member_id)
            out.answers.append((replaced, answer))
        if member.syncing is not None:
            self._answer_sync_error(member, ErrorCode.REBALANCE_IN_PROGRESS, out)
        cause = None if why is None else self._cause(why, member, now_ms, request.reason)
        self._prepare_or_complete(cause, now_ms, out)

    def _rejoin_static(self, join: _Join, new_id: str, now_ms: int, out: Out) -> None:
        """A static member came back without its member id: it gets a new one (KIP-345)."""
        request = join.request
        instance_id = request.group_instance_id
        assert instance_id is not None
        old_id = self.members.static_id(instance_id)
        assert old_id is not None
        old = self.members.find(old_id, instance_id)
        old_leader = self.members.leader_id
        self._fence(old, out)
        member = self.members.replace_static(instance_id, new_id)
        self._deadlines.cancel(("session", self.group_id, old_id))
        self._expect_heartbeat(member, now_ms)
        self.members.update(
            member, join.protocols, rebalance_timeout_of(request), request.session_timeout_ms
        )
        if self.state is STABLE and self.members.select_protocol() == self.protocol_name:
            self._store_static(join, member, old, old_leader, now_ms, out)
            return
        self.members.park_join(member, join.waiter)
        cause = self._cause(Why.REPLACED_STATIC, member, now_ms, request.reason)
        if self.state in (STABLE, COMPLETING):
            # While completing, the leader may be assigning to the old id.
            self._prepare(cause, now_ms, out)
        else:
            self._prepare_or_complete(cause, now_ms, out)

    def _store_static(
        self,
        join: _Join,
        member: Member,
        old: Member,
        old_leader: str | None,
        now_ms: int,
        out: Out,
    ) -> None:
        """Nothing changes but the member's id: no rebalance, one record."""
        self._new_subscriptions()
        out.records.append(GroupStored(self.group_id, self.stored()))
        is_leader = self.members.leader_id == member.member_id
        if join.caller.api_version >= 9:
            # KIP-814: a leader that keeps its assignment may watch metadata again.
            answer = self._joined(member.member_id, self._roster() if is_leader else [])
            answer.skip_assignment = is_leader
        else:
            answer = self._joined(member.member_id, [])
            answer.leader = old_leader or ""
        out.answers.append((join.waiter, answer))
        fenced = out.answers[:-1]

        def refused(code: ErrorCode) -> Out:
            back = self.members.replace_static(member.instance_id or "", old.member_id)
            self.members.update(
                back, old.protocols, old.rebalance_timeout_ms, old.session_timeout_ms
            )
            self._deadlines.cancel(("session", self.group_id, member.member_id))
            self._expect_heartbeat(back, now_ms)
            self._new_subscriptions()
            return Out(answers=[*fenced, (join.waiter, join_error(code, ""))])

        out.refused = refused

    def _fence(self, old: Member, out: Out) -> None:
        """Answer the parked requests of a static member that was replaced."""
        waiter = self.members.take_join(old)
        if waiter is not None:
            answer = join_error(ErrorCode.FENCED_INSTANCE_ID, old.member_id, None)
            out.answers.append((waiter, answer))
        if old.syncing is not None:
            self._answer_sync_error(old, ErrorCode.FENCED_INSTANCE_ID, out)

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
            self._deadlines.cancel(("sync", self.group_id))
        if self.state is STABLE:
            out.answers.append((waiter, self._synced(member)))
            return out
        if member.syncing is not None:
            self._answer_sync_error(member, ErrorCode.REBALANCE_IN_PROGRESS, out)
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
        self._move(STABLE, now_ms)
        self.history.stable(now_ms)
        out.records.append(GroupStored(self.group_id, self.stored()))
        synced = []
        for member in self.members:
            if member.syncing is not None:
                synced.append((member, member.syncing))
                out.answers.append((member.syncing, self._synced(member)))
                member.syncing = None
                self._expect_heartbeat(member, now_ms)

        def refused(code: ErrorCode) -> Out:
            instead = Out()
            self.state = COMPLETING
            for member, waiter in synced:
                member.syncing = waiter
            self._reset_assignments(code, instead)
            cause = Cause(now_ms, Why.ASSIGNMENT_NOT_STORED, "")
            self._prepare(cause, now_ms, instead)
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
        self._expect_heartbeat(member, now_ms)
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
            self._expect_heartbeat(member, now_ms)

    def check_fetch(self, member_id: str | None, epoch: int) -> None:
        """Anybody may; only newer kinds know who asks."""

    def check_delete_offsets(self) -> None:
        """Raises ApiError: there are members whose subscriptions are not known."""
        if self.state is not EMPTY and not self.uses_consumer_protocol:
            raise ApiError(ErrorCode.NON_EMPTY_GROUP)

    def offsets_expire_from(self) -> int | None:
        """When the retention of all offsets began; None: they do not expire now.

        -1: each by its own commit. An empty group's count from when it became
        empty, those of a simple group or of topics no consumer of a stable group
        subscribes to any more from their commit.
        """
        if self.protocol_type is None:
            return NO_TIMESTAMP
        if self.state is EMPTY:
            return self.state_since_ms
        if self.state is STABLE and self.topics() is not None:
            return NO_TIMESTAMP
        return None

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
            self._prepare(causes[0], now_ms, out, more=causes[1:])
        elif causes and self.state is PREPARING:
            for cause in causes:
                self.history.add(cause)
            self._complete_join_if_all_joined(now_ms, out)
        out.answers.append((waiter, response))
        return out

    def _leave_one(self, leaving: MemberIdentity, now_ms: int, out: Out) -> Cause:
        member_id = leaving.member_id
        if member_id and member_id in self.members.pending:
            self.members.remove(member_id)
            self._deadlines.cancel(("session", self.group_id, member_id))
            return Cause(now_ms, Why.LEFT, member_id, reason=leaving.reason)
        if not member_id:
            instance_id = leaving.group_instance_id
            member_id = "" if instance_id is None else self.members.static_id(instance_id) or ""
        member = self.members.find(member_id, leaving.group_instance_id)
        self._remove(member, out)
        return self._cause(Why.LEFT, member, now_ms, leaving.reason)

    # Deadlines

    def session_expired(self, member_id: str, now_ms: int) -> Out:
        """The member was not heard of, or a handed-out id was not used."""
        member = self.members.get(member_id)
        if member is not None and member.waits:
            return Out()
        return self._give_up_on(member_id, Why.SESSION_EXPIRED, now_ms)

    def drop(self, member_id: str, now_ms: int) -> Out:
        """See `kinds.Group`; one that waits in JoinGroup or SyncGroup is gone as well."""
        member = self.members.get(member_id)
        if member is not None and member.instance_id is not None:
            return Out()
        return self._give_up_on(member_id, Why.DISCONNECTED, now_ms)

    def _give_up_on(self, member_id: str, why: Why, now_ms: int) -> Out:
        """Remove a member that did not leave by itself, or an id that was handed out."""
        out = Out()
        member = self.members.get(member_id)
        if member is None:
            if member_id in self.members.pending:
                self.members.remove(member_id)
                self._deadlines.cancel(("session", self.group_id, member_id))
                if self.state is PREPARING and self.members.all_joined:
                    self._complete_join(now_ms, out)
            return out
        cause = self._cause(why, member, now_ms, None)
        self._remove(member, out)
        if self.state in (STABLE, COMPLETING):
            self._prepare(cause, now_ms, out)
        elif self.state is PREPARING:
            self.history.add(cause)
            if self.members.all_joined:
                self._complete_join(now_ms, out)
        return out

    def join_expired(self, now_ms: int) -> Out:
        """The time to join is over; a first rebalance goes on while members keep coming."""
        out = Out()
        if self.state is not PREPARING:
            return out
        if self._is_initial and self._joined_while_waiting and self._initial_remaining_ms:
            self._joined_while_waiting = False
            delay_ms = min(
                self._settings.group_initial_rebalance_delay_ms, self._initial_remaining_ms
            )
            self._initial_remaining_ms = max(self._initial_remaining_ms - self._initial_delay_ms, 0)
            self._initial_delay_ms = delay_ms
            self._deadlines.set(("join", self.group_id), now_ms + delay_ms)
        else:
            self._complete_join(now_ms, out)
        return out

    def sync_expired(self, now_ms: int) -> Out:
        """Remove the members of this generation that never sent SyncGroup."""
        out = Out()
        if self.state not in (STABLE, COMPLETING) or not self.members.unsynced:
            return out
        causes = []
        for member_id in list(self.members.unsynced):
            member = self.members.get(member_id)
            if member is not None:
                causes.append(self._cause(Why.SYNC_EXPIRED, member, now_ms, None))
                self._remove(member, out)
        self._prepare(causes[0], now_ms, out, more=causes[1:])
        return out

    # Rebalancing

    def _prepare_or_complete(self, cause: Cause | None, now_ms: int, out: Out) -> None:
        if self.state is PREPARING:
            if cause is not None:
                self.history.add(cause)
            self._complete_join_if_all_joined(now_ms, out)
        else:
            assert cause is not None
            self._prepare(cause, now_ms, out)

    def _prepare(
        self, cause: Cause, now_ms: int, out: Out, more: list[Cause] | None = None
    ) -> None:
        """Begin a rebalance: everyone must join again."""
        if self.state is COMPLETING:
            self._reset_assignments(ErrorCode.REBALANCE_IN_PROGRESS, out)
        self.members.unsynced.clear()
        self._deadlines.cancel(("sync", self.group_id))
        self._is_initial = self.state is EMPTY
        self._move(PREPARING, now_ms)
        self.history.begin(self.generation, cause)
        for further in more or ():
            self.history.add(further)
        log.info(
            "Group %s rebalances from generation %d: %s %s%s",
            self.group_id,
            self.generation,
            cause.member_id,
            cause.why.value,
            f" ({cause.reason})" if cause.reason else "",
        )
        timeout_ms = self.members.rebalance_timeout_ms()
        if self._is_initial:
            delay_ms = self._settings.group_initial_rebalance_delay_ms
            self._initial_delay_ms = delay_ms
            self._initial_remaining_ms = max(timeout_ms - delay_ms, 0)
            self._joined_while_waiting = False
            self._deadlines.set(("join", self.group_id), now_ms + delay_ms)
        elif self.members.all_joined:
            self._complete_join(now_ms, out)
        else:
            self._deadlines.set(("join", self.group_id), now_ms + timeout_ms)

    def _complete_join_if_all_joined(self, now_ms: int, out: Out) -> None:
        """In a first rebalance the delay decides, not who has joined."""
        if self.state is PREPARING and not self._is_initial and self.members.all_joined:
            self._complete_join(now_ms, out)

    def _complete_join(self, now_ms: int, out: Out) -> None:
        """Begin the next generation with those who joined, and absent static members."""
        self._deadlines.cancel(("join", self.group_id))
        if self.members.joining_count < len(self.members):
            for member in list(self.members):
                if member.joining is None and member.instance_id is None:
                    self.history.add(self._cause(Why.JOIN_EXPIRED, member, now_ms, None))
                    self._remove(member, out)
        if self.members and not self.members.elect_joined_leader():
            # Only static members, and none of them is back: until sessions end.
            timeout_ms = self.members.rebalance_timeout_ms()
            self._deadlines.set(("join", self.group_id), now_ms + timeout_ms)
            return
        self.generation += 1
        self.members.unsynced.clear()
        self.history.joined(self.generation, len(self.members), now_ms)
        if not self.members:
            self.protocol_name = None
            self._move(EMPTY, now_ms)
            self._new_subscriptions()
            self.history.stable(now_ms)
            out.records.append(GroupStored(self.group_id, self.stored()))
            log.info("Group %s is empty, generation %d", self.group_id, self.generation)
            return
        self.protocol_name = self.members.select_protocol()
        self._move(COMPLETING, now_ms)
        self._new_subscriptions()
        log.info(
            "Group %s: %d members in generation %d",
            self.group_id,
            len(self.members),
            self.generation,
        )
        for member in self.members:
            is_leader = member.member_id == self.members.leader_id
            answer = self._joined(member.member_id, self._roster() if is_leader else [])
            waiter = self.members.take_join(member)
            if waiter is not None:
                out.answers.append((waiter, answer))
            member.is_new = False
            self._expect_heartbeat(member, now_ms)
            self.members.unsynced[member.member_id] = None
        timeout_ms = self.members.rebalance_timeout_ms()
        self._deadlines.set(("sync", self.group_id), now_ms + timeout_ms)

    def _reset_assignments(self, code: ErrorCode, out: Out) -> None:
        """Whoever waits for an assignment of this generation will not get it."""
        for member in self.members:
            member.assignment = b""
            if member.syncing is not None:
                self._answer_sync_error(member, code, out)

    def _remove(self, member: Member, out: Out) -> None:
        """Remove a member and answer what it has parked."""
        waiter = self.members.take_join(member)
        if waiter is not None:
            out.answers.append((waiter, join_error(ErrorCode.UNKNOWN_MEMBER_ID, "")))
        if member.syncing is not None:
            self._answer_sync_error(member, ErrorCode.UNKNOWN_MEMBER_ID, out)
        self.members.remove(member.member_id)
        self._deadlines.cancel(("session", self.group_id, member.member_id))

    # Small parts

    def die(self) -> None:
        """The group was deleted, or another took its place."""
        self._move(DEAD, self.state_since_ms)
        for key in ("join", "sync"):
            self._deadlines.cancel((key, self.group_id))
        for member_id in [*self.members.pending, *(member.member_id for member in self.members)]:
            self._deadlines.cancel(("session", self.group_id, member_id))

    def _move(self, state: GroupState, now_ms: int) -> None:
        assert state in MOVES[self.state], f"{self.group_id}: {self.state} -> {state}"
        self.state = state
        self.state_since_ms = now_ms

    def _expect_heartbeat(self, member: Member, now_ms: int) -> None:
        key = ("session", self.group_id, member.member_id)
        self._deadlines.set(key, now_ms + member.session_timeout_ms)

    def _new_subscriptions(self) -> None:
        """Remember what the members of this generation are subscribed to, unread."""
        name = self.protocol_name or ""
        self._topics = None
        self._subscriptions = [
            member.protocols[name] for member in self.members if name in member.protocols
        ]

    def _roster(self) -> list[JoinGroupResponseMember]:
        """What the leader assigns from."""
        name = self.protocol_name or ""
        return [
            JoinGroupResponseMember(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                metadata=member.protocols[name],
            )
            for member in self.members
        ]

    def _joined(self, member_id: str, roster: list[JoinGroupResponseMember]) -> JoinGroupResponse:
        return JoinGroupResponse(
            generation_id=self.generation,
            protocol_type=self.protocol_type,
            protocol_name=self.protocol_name,
            leader=self.members.leader_id or "",
            member_id=member_id,
            members=roster,
        )

    def _synced(self, member: Member) -> SyncGroupResponse:
        return SyncGroupResponse(
            protocol_type=self.protocol_type,
            protocol_name=self.protocol_name,
            assignment=member.assignment,
        )

    def _answer_sync_error(self, member: Member, code: ErrorCode, out: Out) -> None:
        assert member.syncing is not None
        out.answers.append((member.syncing, SyncGroupResponse(error_code=code)))
        member.syncing = None

    def _cause(self, why: Why, member: Member, now_ms: int, reason: str | None) -> Cause:
        return Cause(now_ms, why, member.member_id, member.instance_id, member.client_id, reason)


def join_error(
    code: ErrorCode, member_id: str, protocol_name: str | None = ""
) -> JoinGroupResponse:
    return JoinGroupResponse(error_code=code, member_id=member_id, protocol_name=protocol_name)


def rebalance_timeout_of(request: JoinGroupRequest) -> int:
    """Version 0 has none: its session timeout serves."""
    if request.rebalance_timeout_ms == -1:
        return request.session_timeout_ms
    return request.rebalance_timeout_ms


def java_uuid(uuid: Uuid) -> str:
    """The 36 characters of `java.util.UUID`, with which member ids end."""
    text = uuid.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _differs(asked: str | None, actual: str | None) -> bool:
    """A member that names no protocol agrees with any."""
    return asked is not None and actual is not None and asked != actual
