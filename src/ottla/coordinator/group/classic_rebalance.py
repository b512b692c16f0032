"""How a classic group goes from one generation to the next.

    Empty -> PreparingRebalance -> CompletingRebalance -> Stable -> PreparingRebalance ...

*Preparing*: members join; over when all have joined or the longest rebalance
timeout is over. *Completing*: the leader computes the assignment and sends it
with its SyncGroup. A rebalance in progress (who joined, who waits, deadlines)
is not written down; after a restart the group is again in the generation of its
last record, and members that moved on learn so from UNKNOWN_MEMBER_ID or
ILLEGAL_GENERATION.

Deadlines go into the shard's `Deadlines` under ("session", group, member),
("join", group) and ("sync", group).
"""

import logging
from collections.abc import Iterable

from ottla.coordinator.group.classic_state import COMPLETING, EMPTY, PREPARING, STABLE
from ottla.coordinator.group.classic_stored import StoredGroup
from ottla.coordinator.group.history import Cause, Why
from ottla.coordinator.group.kinds import Out
from ottla.coordinator.group.members import Member
from ottla.coordinator.group.records import GroupStored
from ottla.coordinator.outcome import Waiter
from ottla.model.errors import ErrorCode
from ottla.wire.generated.join_group import (
    JoinGroupResponse,
    JoinGroupResponseMember,
)
from ottla.wire.generated.sync_group import SyncGroupResponse

log = logging.getLogger(__name__)


class RebalancingGroup(StoredGroup):
    """Begins rebalances and generations, by itself where a deadline passes."""

    __slots__ = ()

    def loaded(self, now_ms: int) -> Out:
        """Make the working state from what was applied, and set deadlines."""
        if self.applied is None:
            return Out()
        self.restore(self.applied)
        return self.resume(now_ms)

    def resume(self, now_ms: int) -> Out:
        """Begin to serve after loading: every session starts anew."""
        out = Out()
        for member in self.members:
            self.expect_heartbeat(member, now_ms)
        if len(self.members) > self.settings.group_max_size:
            self.prepare(Cause(now_ms, Why.OVER_CAPACITY, ""), now_ms, out)
        return out

    def converted(self, now_ms: int) -> Out:
        """It was a consumer group until now, whose members must all join again."""
        out = self.resume(now_ms)
        if self.state is STABLE:
            self.prepare(Cause(now_ms, Why.CONVERTED, ""), now_ms, out)
        return out

    def waiters(self) -> Iterable[Waiter]:
        """Everyone parked here."""
        for member in self.members:
            if member.joining is not None:
                yield member.joining
            if member.syncing is not None:
                yield member.syncing

    def give_up_waiters(self) -> Out:
        """It becomes a consumer group: whoever waits shall come again."""
        out = Out()
        for member in self.members:
            waiter = self.members.take_join(member)
            if waiter is not None:
                answer = join_error(ErrorCode.REBALANCE_IN_PROGRESS, member.member_id)
                out.answers.append((waiter, answer))
            if member.syncing is not None:
                self.answer_sync_error(member, ErrorCode.REBALANCE_IN_PROGRESS, out)
        return out

    # Rebalancing

    def prepare_or_complete(self, cause: Cause | None, now_ms: int, out: Out) -> None:
        if self.state is PREPARING:
            if cause is not None:
                self.history.add(cause)
            self.complete_if_all_joined(now_ms, out)
        else:
            assert cause is not None
            self.prepare(cause, now_ms, out)

    def prepare(self, cause: Cause, now_ms: int, out: Out, more: list[Cause] | None = None) -> None:
        """Begin a rebalance: everyone must join again."""
        if self.state is COMPLETING:
            self.reset_assignments(ErrorCode.REBALANCE_IN_PROGRESS, out)
        self.members.unsynced.clear()
        self.deadlines.cancel(("sync", self.group_id))
        self.is_initial = self.state is EMPTY
        self.move(PREPARING, now_ms)
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
        if self.is_initial:
            delay_ms = self.settings.group_initial_rebalance_delay_ms
            self._initial_delay_ms = delay_ms
            self._initial_remaining_ms = max(timeout_ms - delay_ms, 0)
            self.joined_while_waiting = False
            self.deadlines.set(("join", self.group_id), now_ms + delay_ms)
        elif self.members.all_joined:
            self.complete_join(now_ms, out)
        else:
            self.deadlines.set(("join", self.group_id), now_ms + timeout_ms)

    def complete_if_all_joined(self, now_ms: int, out: Out) -> None:
        """In a first rebalance the delay decides, not who has joined."""
        if self.state is PREPARING and not self.is_initial and self.members.all_joined:
            self.complete_join(now_ms, out)

    def complete_join(self, now_ms: int, out: Out) -> None:
        """Begin the next generation with those who joined, and absent static members."""
        self.deadlines.cancel(("join", self.group_id))
        if self.members.joining_count < len(self.members):
            for member in list(self.members):
                if member.joining is None and member.instance_id is None:
                    self.history.add(self.cause(Why.JOIN_EXPIRED, member, now_ms, None))
                    self.remove(member, out)
        if self.members and not self.members.elect_joined_leader():
            # Only static members, and none of them is back: until sessions end.
            timeout_ms = self.members.rebalance_timeout_ms()
            self.deadlines.set(("join", self.group_id), now_ms + timeout_ms)
            return
        self.generation += 1
        self.members.unsynced.clear()
        self.history.joined(self.generation, len(self.members), now_ms)
        if not self.members:
            self.protocol_name = None
            self.move(EMPTY, now_ms)
            self.new_subscriptions()
            self.history.stable(now_ms)
            out.records.append(GroupStored(self.group_id, self.stored()))
            log.info("Group %s is empty, generation %d", self.group_id, self.generation)
            return
        self.protocol_name = self.members.select_protocol()
        self.move(COMPLETING, now_ms)
        self.new_subscriptions()
        log.info(
            "Group %s: %d members in generation %d",
            self.group_id,
            len(self.members),
            self.generation,
        )
        for member in self.members:
            is_leader = member.member_id == self.members.leader_id
            answer = self.joined_answer(member.member_id, self.roster() if is_leader else [])
            waiter = self.members.take_join(member)
            if waiter is not None:
                out.answers.append((waiter, answer))
            member.is_new = False
            self.expect_heartbeat(member, now_ms)
            self.members.unsynced[member.member_id] = None
        timeout_ms = self.members.rebalance_timeout_ms()
        self.deadlines.set(("sync", self.group_id), now_ms + timeout_ms)

    def reset_assignments(self, code: ErrorCode, out: Out) -> None:
        """Whoever waits for an assignment of this generation will not get it."""
        for member in self.members:
            member.assignment = b""
            if member.syncing is not None:
                self.answer_sync_error(member, code, out)

    def remove(self, member: Member, out: Out) -> None:
        """Remove a member and answer what it has parked."""
        waiter = self.members.take_join(member)
        if waiter is not None:
            out.answers.append((waiter, join_error(ErrorCode.UNKNOWN_MEMBER_ID, "")))
        if member.syncing is not None:
            self.answer_sync_error(member, ErrorCode.UNKNOWN_MEMBER_ID, out)
        self.members.remove(member.member_id)
        self.deadlines.cancel(("session", self.group_id, member.member_id))

    # Deadlines

    def wake(self, key: tuple[str, ...], now_ms: int) -> Out:
        """A session, the time to join or the time to sync is over."""
        if key[0] == "session":
            return self.session_expired(key[2], now_ms)
        if key[0] == "join":
            return self.join_expired(now_ms)
        return self.sync_expired(now_ms) if key[0] == "sync" else Out()

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
                self.deadlines.cancel(("session", self.group_id, member_id))
                if self.state is PREPARING and self.members.all_joined:
                    self.complete_join(now_ms, out)
            return out
        cause = self.cause(why, member, now_ms, None)
        self.remove(member, out)
        if self.state in (STABLE, COMPLETING):
            self.prepare(cause, now_ms, out)
        elif self.state is PREPARING:
            self.history.add(cause)
            if self.members.all_joined:
                self.complete_join(now_ms, out)
        return out

    def join_expired(self, now_ms: int) -> Out:
        """The time to join is over; a first rebalance goes on while members keep coming."""
        out = Out()
        if self.state is not PREPARING:
            return out
        if self.is_initial and self.joined_while_waiting and self._initial_remaining_ms:
            self.joined_while_waiting = False
            delay_ms = min(
                self.settings.group_initial_rebalance_delay_ms, self._initial_remaining_ms
            )
            self._initial_remaining_ms = max(self._initial_remaining_ms - self._initial_delay_ms, 0)
            self._initial_delay_ms = delay_ms
            self.deadlines.set(("join", self.group_id), now_ms + delay_ms)
        else:
            self.complete_join(now_ms, out)
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
                causes.append(self.cause(Why.SYNC_EXPIRED, member, now_ms, None))
                self.remove(member, out)
        self.prepare(causes[0], now_ms, out, more=causes[1:])
        return out

    # Answers

    def roster(self) -> list[JoinGroupResponseMember]:
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

    def joined_answer(
        self, member_id: str, roster: list[JoinGroupResponseMember]
    ) -> JoinGroupResponse:
        return JoinGroupResponse(
            generation_id=self.generation,
            protocol_type=self.protocol_type,
            protocol_name=self.protocol_name,
            leader=self.members.leader_id or "",
            member_id=member_id,
            members=roster,
        )

    def synced_answer(self, member: Member) -> SyncGroupResponse:
        return SyncGroupResponse(
            protocol_type=self.protocol_type,
            protocol_name=self.protocol_name,
            assignment=member.assignment,
        )

    def answer_sync_error(self, member: Member, code: ErrorCode, out: Out) -> None:
        assert member.syncing is not None
        out.answers.append((member.syncing, SyncGroupResponse(error_code=code)))
        member.syncing = None


def join_error(
    code: ErrorCode, member_id: str, protocol_name: str | None = ""
) -> JoinGroupResponse:
    return JoinGroupResponse(error_code=code, member_id=member_id, protocol_name=protocol_name)
