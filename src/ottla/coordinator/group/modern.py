"""What consumer, share and streams groups have in common (KIP-848, 932, 1071).

The coordinator decides who does what, in three steps that each have an epoch:

    group epoch       raised when members, subscriptions or topics change
    target epoch      the assignment computed for that group epoch, by member
    member epoch      how far a member has come on the way to its target

A heartbeat moves its own member one step on and never waits. Everything here
is changed by `apply`; decisions only write records, set deadlines, and `note`
why. So an append that is refused leaves nothing to take back.

Deadlines: ("session", group, member) and, for kinds that take partitions away
from members, ("rebalance", group, member).
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable
from enum import IntEnum
from typing import ClassVar, Generic, Protocol, TypeVar

from ottla.coordinator.deadlines import Deadlines
from ottla.coordinator.group.history import Cause, History, Why
from ottla.coordinator.group.kinds import CommitCheck, Kind, Out
from ottla.coordinator.group.records import NO_TIMESTAMP, GroupRecord
from ottla.coordinator.group.surroundings import Surroundings
from ottla.coordinator.outcome import Waiter
from ottla.model.errors import ApiError, ErrorCode

log = logging.getLogger(__name__)

JOIN_EPOCH = 0
LEAVE_EPOCH = -1
STATIC_LEAVE_EPOCH = -2
"""Member epochs of a heartbeat that mean something else; -2 is a static member that will be back."""


class MemberState(IntEnum):
    """How a member stands to its target, as `CurrentMemberAssignment` records have it."""

    STABLE = 0
    UNREVOKED_PARTITIONS = 1
    """It must give partitions up first."""
    UNRELEASED_PARTITIONS = 2
    """It waits for partitions that others still hold."""
    UNKNOWN = 127


class ModernMember:
    """What every kind of member has. `previous_epoch` is of the heartbeat before the last step."""

    __slots__ = (
        "client_host",
        "client_id",
        "epoch",
        "instance_id",
        "member_id",
        "previous_epoch",
        "rack_id",
        "state",
    )

    def __init__(self, member_id: str) -> None:
        self.member_id = member_id
        self.instance_id: str | None = None
        self.rack_id: str | None = None
        self.client_id = ""
        self.client_host = ""
        self.epoch = 0
        self.previous_epoch = -1
        self.state = MemberState.STABLE


class AnyMember(Protocol):
    """What the table of members looks at; `ModernMember` is one way to have it."""

    @property
    def member_id(self) -> str: ...

    @property
    def instance_id(self) -> str | None: ...

    @property
    def client_id(self) -> str: ...


M = TypeVar("M", bound=AnyMember)


class ModernGroup(ABC, Generic[M]):
    """The table of members, the epochs, deadlines and history of one group.

    A kind adds what is assigned, and the parts of `kinds.Group` that are abstract here.
    """

    kind: ClassVar[Kind]
    is_simple = False

    def __init__(self, group_id: str, surroundings: Surroundings, deadlines: Deadlines) -> None:
        self.group_id = group_id
        self.history = History()
        self.surroundings = surroundings
        self.deadlines = deadlines
        self.epoch = 1  # as Kafka begins; the first member raises it
        self.metadata_hash = 0
        self.target_epoch = 0
        self.target_timestamp_ms = 0
        """When the target was computed; the next waits for the assignment interval."""
        self.members: dict[str, M] = {}
        self.static_ids: dict[str, str] = {}
        self.is_gone = False
        self.looks_at_topics = True
        """The next heartbeat compares the topics with `metadata_hash`."""
        self._causes: list[Cause] = []
        self._is_stable_then = False
        """The epoch about to begin finds every member at its target."""

    # The parts a kind adds

    @property
    @abstractmethod
    def state_name(self) -> str: ...

    @abstractmethod
    def apply(self, record: GroupRecord, /) -> None: ...

    @abstractmethod
    def wake(self, key: tuple[str, ...], now_ms: int, /) -> Out: ...

    @abstractmethod
    def tombstones(self) -> list[GroupRecord]: ...

    @abstractmethod
    def is_subscribed_to(self, topic: str, /) -> bool: ...

    # What is known of the group

    @property
    def protocol_type(self) -> str | None:
        return self.kind.value

    @property
    def is_empty(self) -> bool:
        return not self.members

    @property
    def is_deletable(self) -> bool:
        return self.is_empty

    @property
    def is_forgettable(self) -> bool:
        return not self.members

    def number(self, name: str) -> int:
        """A setting of this group: `number("session.timeout.ms")`."""
        return self.surroundings.group_number(self.group_id, f"{self.kind.value}.{name}")

    def may_assign(self, now_ms: int) -> bool:
        """Has the shortest time between two targets passed?"""
        interval_ms = self.number("assignment.interval.ms")
        since_ms = self.target_timestamp_ms
        return not interval_ms or not since_ms or now_ms >= since_ms + interval_ms

    def member(self, member_id: str) -> M:
        """Raises ApiError: UNKNOWN_MEMBER_ID."""
        found = self.members.get(member_id)
        if found is None:
            raise ApiError(
                ErrorCode.UNKNOWN_MEMBER_ID,
                f"Member {member_id} is not a member of group {self.group_id}.",
            )
        return found

    # Changed by apply

    def put_member(self, member: M) -> None:
        """Add a member, or put it in place of what it was."""
        self.members[member.member_id] = member
        if member.instance_id is not None:
            self.static_ids[member.instance_id] = member.member_id

    def drop_member(self, member_id: str) -> M | None:
        """Remove a member; another may hold its instance id by now."""
        member = self.members.pop(member_id, None)
        instance_id = None if member is None else member.instance_id
        if instance_id is not None and self.static_ids.get(instance_id) == member_id:
            del self.static_ids[instance_id]
        return member

    def begin_epoch(self, epoch: int, metadata_hash: int) -> None:
        """The group epoch was raised: what was noted is why."""
        from_epoch, self.epoch = self.epoch, epoch
        self.metadata_hash = metadata_hash
        causes, self._causes = self._causes, []
        if not causes:
            return  # replayed
        self.history.begin(from_epoch, causes[0])
        for cause in causes[1:]:
            self.history.add(cause)
        self.history.joined(epoch, len(self.members), causes[0].at_ms)
        if self._is_stable_then or not self.members:
            self.history.stable(causes[0].at_ms)
        log.info(
            "Group %s goes to epoch %d: %s %s%s",
            self.group_id,
            epoch,
            causes[0].member_id,
            causes[0].why.value,
            f" ({causes[0].reason})" if causes[0].reason else "",
        )

    # Why

    def note(
        self, why: Why, now_ms: int, member: AnyMember | None = None, reason: str | None = None
    ) -> None:
        """Remember what the decision in the making raises the group epoch for."""
        if member is None:
            self._causes.append(Cause(now_ms, why, "", reason=reason))
        else:
            self._causes.append(
                Cause(now_ms, why, member.member_id, member.instance_id, member.client_id, reason)
            )

    def decide(self) -> None:
        """A decision begins: what an earlier, refused one had noted is not why."""
        self._causes.clear()
        self._is_stable_then = False

    def stable(self, now_ms: int) -> None:
        """Every member has reached its target: the rebalance is over, or will be as it begins."""
        if self._causes:
            self._is_stable_then = True
        else:
            self.history.stable(now_ms)

    # Deadlines

    @abstractmethod
    def give_up_on(self, member: M, why: Why, now_ms: int) -> Out:
        """Remove a member that did not leave by itself."""

    def drop(self, member_id: str, now_ms: int) -> Out:
        member = self.members.get(member_id)
        if member is None or member.instance_id is not None:
            return Out()
        self.decide()
        return self.give_up_on(member, Why.DISCONNECTED, now_ms)

    def loaded(self, now_ms: int) -> Out:
        """Every session starts anew."""
        for member_id in self.members:
            self.expect_heartbeat(member_id, now_ms)
        return Out()

    def expect_heartbeat(self, member_id: str, now_ms: int) -> None:
        """Begin the session of a member anew."""
        key = ("session", self.group_id, member_id)
        self.deadlines.set(key, now_ms + self.number("session.timeout.ms"))

    def forget_deadlines(self, member_id: str) -> None:
        for what in ("session", "rebalance"):
            self.deadlines.cancel((what, self.group_id, member_id))

    def die(self) -> None:
        for member_id in self.members:
            self.forget_deadlines(member_id)

    def topics_changed(self, topics: frozenset[str]) -> None:
        if not self.looks_at_topics and any(map(self.is_subscribed_to, topics)):
            self.looks_at_topics = True

    def waiters(self) -> Iterable[Waiter]:
        """Heartbeats never wait."""
        return ()

    # Offsets

    def check_commit(
        self,
        member_id: str,
        instance_id: str | None,
        generation: int,
        now_ms: int,
        transactional: bool = False,
        api_version: int = 0,
    ) -> CommitCheck | None:
        """Only of an empty group, by an administrator."""
        if generation < 0 and not self.members:
            return None
        self.member(member_id)
        return None

    def check_fetch(self, member_id: str | None, epoch: int) -> None:
        """Anybody may."""

    def check_delete_offsets(self) -> None:
        """Topics that are subscribed to are refused one by one."""

    def offsets_expire_from(self) -> int | None:
        """Each by its own commit, of topics nobody is subscribed to."""
        return NO_TIMESTAMP
