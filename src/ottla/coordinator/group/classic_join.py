"""One JoinGroup, from a member that is new, known, or back (KIP-62, 134, 345, 394, 800, 814)."""

from ottla.coordinator.group.classic_rebalance import RebalancingGroup, join_error
from ottla.coordinator.group.classic_state import COMPLETING, EMPTY, PREPARING, STABLE
from ottla.coordinator.group.history import Why
from ottla.coordinator.group.kinds import Out
from ottla.coordinator.group.members import Member, Protocols
from ottla.coordinator.group.records import GroupStored
from ottla.coordinator.group.settings import NEW_MEMBER_JOIN_TIMEOUT_MS, Caller
from ottla.coordinator.outcome import Waiter
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import Uuid
from ottla.wire.generated.join_group import JoinGroupRequest


class Join:
    """A JoinGroup on its way through the decisions."""

    def __init__(
        self,
        group: RebalancingGroup,
        request: JoinGroupRequest,
        caller: Caller,
        waiter: Waiter,
        now_ms: int,
    ) -> None:
        self.group = group
        self.members = group.members
        self.request = request
        self.caller = caller
        self.waiter = waiter
        self.now_ms = now_ms
        self.out = Out()
        self.protocols: Protocols = {}
        for protocol in request.protocols:
            self.protocols.setdefault(protocol.name, protocol.metadata)

    def decide(self) -> Out:
        """It is answered now, or parked until the generation begins."""
        request, member_id = self.request, self.request.member_id
        if not self._has_room_for(member_id):
            if self.members.remove(member_id) is not None:
                self.group.deadlines.cancel(("session", self.group.group_id, member_id))
                self.group.complete_if_all_joined(self.now_ms, self.out)
            answer = join_error(ErrorCode.GROUP_MAX_SIZE_REACHED, "")
            self.out.answers.append((self.waiter, answer))
        elif not self.members.supports(
            request.protocol_type, self.protocols, self.group.state is EMPTY
        ):
            answer = join_error(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, member_id)
            self.out.answers.append((self.waiter, answer))
        elif member_id == "":
            self._join_unknown()
        else:
            self._join_known()
        return self.out

    def _has_room_for(self, member_id: str) -> bool:
        if self.group.state is EMPTY:
            return True
        member = self.members.get(member_id)
        if self.group.state is PREPARING:
            # Those who wait are counted, not the members: so the last to
            # rejoin are turned away when the limit was lowered.
            waits = member is not None and member.joining is not None
            return waits or self.members.joining_count < self.group.settings.group_max_size
        return member is not None or len(self.members) < self.group.settings.group_max_size

    def _join_unknown(self) -> None:
        instance_id = self.request.group_instance_id
        prefix = self.caller.client_id if instance_id is None else instance_id
        new_id = f"{prefix}-{java_uuid(self.group.randomness.uuid())}"
        if instance_id is not None:
            if self.members.static_id(instance_id) is not None:
                self._rejoin_static(new_id)
            else:
                self._add(new_id)
        elif self.caller.api_version >= 4:
            # KIP-394: no member exists until the client proves it has its id.
            self.members.pending[new_id] = None
            timeout_ms = self.request.session_timeout_ms
            self.group.deadlines.set(
                ("session", self.group.group_id, new_id), self.now_ms + timeout_ms
            )
            self.out.answers.append((self.waiter, join_error(ErrorCode.MEMBER_ID_REQUIRED, new_id)))
        else:
            self._add(new_id)

    def _join_known(self) -> None:
        request = self.request
        member_id = request.member_id
        if member_id in self.members.pending and request.group_instance_id is None:
            self._add(member_id)
            return
        try:
            member = self.members.find(member_id, request.group_instance_id)
        except ApiError as error:
            answer = join_error(error.code, member_id, None)
            self.out.answers.append((self.waiter, answer))
            return
        if self.group.state is PREPARING:
            self._rejoin(member, None)
        elif self.group.state is COMPLETING:
            if member.same_protocols(self.protocols):
                # The answer to its first JoinGroup was lost.
                is_leader = self.members.leader_id == member_id
                roster = self.group.roster() if is_leader else []
                self.out.answers.append((self.waiter, self.group.joined_answer(member_id, roster)))
            else:
                self._rejoin(member, Why.CHANGED_METADATA)
        elif self.group.state is STABLE:
            if self.members.leader_id == member_id:
                # A leader asks for a rebalance when what it assigns has changed.
                self._rejoin(member, Why.REJOINED_AS_LEADER)
            elif not member.same_protocols(self.protocols):
                self._rejoin(member, Why.CHANGED_METADATA)
            else:
                self.out.answers.append((self.waiter, self.group.joined_answer(member_id, [])))
        else:
            answer = join_error(ErrorCode.UNKNOWN_MEMBER_ID, member_id)
            self.out.answers.append((self.waiter, answer))

    def _add(self, member_id: str) -> None:
        """Add a new member and rebalance."""
        request = self.request
        member = Member(
            member_id,
            request.group_instance_id,
            self.caller.client_id,
            self.caller.client_host,
            rebalance_timeout_of(request),
            request.session_timeout_ms,
            self.protocols,
        )
        member.is_new = True
        member.joining = self.waiter
        if self.group.state is PREPARING and self.group.is_initial:
            self.group.joined_while_waiting = True
        self.members.add(member, request.protocol_type)
        # It cannot heartbeat before it is answered, and a client that gave up
        # comes back as yet another member: so the wait has an end.
        self.group.deadlines.set(
            ("session", self.group.group_id, member_id), self.now_ms + NEW_MEMBER_JOIN_TIMEOUT_MS
        )
        cause = self.group.cause(Why.JOINED, member, self.now_ms, request.reason)
        self.group.prepare_or_complete(cause, self.now_ms, self.out)

    def _rejoin(self, member: Member, why: Why | None) -> None:
        """Park the JoinGroup of a member, with what it supports now, and rebalance."""
        request = self.request
        self.members.update(
            member, self.protocols, rebalance_timeout_of(request), request.session_timeout_ms
        )
        replaced = self.members.park_join(member, self.waiter)
        if replaced is not None:
            answer = join_error(ErrorCode.REBALANCE_IN_PROGRESS, member.member_id)
            self.out.answers.append((replaced, answer))
        if member.syncing is not None:
            self.group.answer_sync_error(member, ErrorCode.REBALANCE_IN_PROGRESS, self.out)
        cause = None if why is None else self.group.cause(why, member, self.now_ms, request.reason)
        self.group.prepare_or_complete(cause, self.now_ms, self.out)

    def _rejoin_static(self, new_id: str) -> None:
        """A static member came back without its member id: it gets a new one (KIP-345)."""
        request = self.request
        instance_id = request.group_instance_id
        assert instance_id is not None
        old_id = self.members.static_id(instance_id)
        assert old_id is not None
        old = self.members.find(old_id, instance_id)
        old_leader = self.members.leader_id
        self._fence(old)
        member = self.members.replace_static(instance_id, new_id)
        self.group.deadlines.cancel(("session", self.group.group_id, old_id))
        self.group.expect_heartbeat(member, self.now_ms)
        self.members.update(
            member, self.protocols, rebalance_timeout_of(request), request.session_timeout_ms
        )
        if (
            self.group.state is STABLE
            and self.members.select_protocol() == self.group.protocol_name
        ):
            self._store_static(member, old, old_leader)
            return
        self.members.park_join(member, self.waiter)
        cause = self.group.cause(Why.REPLACED_STATIC, member, self.now_ms, request.reason)
        if self.group.state in (STABLE, COMPLETING):
            # While completing, the leader may be assigning to the old id.
            self.group.prepare(cause, self.now_ms, self.out)
        else:
            self.group.prepare_or_complete(cause, self.now_ms, self.out)

    def _store_static(
        self,
        member: Member,
        old: Member,
        old_leader: str | None,
    ) -> None:
        """Nothing changes but the member's id: no rebalance, one record."""
        self.group.new_subscriptions()
        self.out.records.append(GroupStored(self.group.group_id, self.group.stored()))
        is_leader = self.members.leader_id == member.member_id
        if self.caller.api_version >= 9:
            # KIP-814: a leader that keeps its assignment may watch metadata again.
            answer = self.group.joined_answer(
                member.member_id, self.group.roster() if is_leader else []
            )
            answer.skip_assignment = is_leader
        else:
            answer = self.group.joined_answer(member.member_id, [])
            answer.leader = old_leader or ""
        self.out.answers.append((self.waiter, answer))
        fenced = self.out.answers[:-1]

        def refused(code: ErrorCode) -> Out:
            back = self.members.replace_static(member.instance_id or "", old.member_id)
            self.members.update(
                back, old.protocols, old.rebalance_timeout_ms, old.session_timeout_ms
            )
            self.group.deadlines.cancel(("session", self.group.group_id, member.member_id))
            self.group.expect_heartbeat(back, self.now_ms)
            self.group.new_subscriptions()
            return Out(answers=[*fenced, (self.waiter, join_error(code, ""))])

        self.out.refused = refused

    def _fence(self, old: Member) -> None:
        """Answer the parked requests of a static member that was replaced."""
        waiter = self.members.take_join(old)
        if waiter is not None:
            answer = join_error(ErrorCode.FENCED_INSTANCE_ID, old.member_id, None)
            self.out.answers.append((waiter, answer))
        if old.syncing is not None:
            self.group.answer_sync_error(old, ErrorCode.FENCED_INSTANCE_ID, self.out)


def rebalance_timeout_of(request: JoinGroupRequest) -> int:
    """Version 0 has none: its session timeout serves."""
    if request.rebalance_timeout_ms == -1:
        return request.session_timeout_ms
    return request.rebalance_timeout_ms


def java_uuid(uuid: Uuid) -> str:
    """The 36 characters of `java.util.UUID`, with which member ids end."""
    text = uuid.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
