"""What the log says of a classic group, and what is known of it without deciding anything.

What survives a restart is the `GroupMetadataValue` last applied by the shard:
one record for each generation, written when the leader syncs, when the last
member is gone, and when a static member comes back under a new id.
"""

from ottla.coordinator.deadlines import Deadlines
from ottla.coordinator.group.classic_state import DEAD, EMPTY, MOVES, STABLE, GroupState
from ottla.coordinator.group.history import Cause, History, Why
from ottla.coordinator.group.kinds import Kind
from ottla.coordinator.group.members import Member, Members
from ottla.coordinator.group.records import NO_TIMESTAMP, GroupRecord, GroupStored
from ottla.coordinator.group.settings import GroupSettings
from ottla.coordinator.group.subscription import subscribed_topics
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.randomness import Randomness
from ottla.wire.generated.records.group_metadata_value import GroupMetadataValue, MemberMetadata

CONSUMER = "consumer"
"""The protocol type of consumers, whose metadata the coordinator may read."""


class StoredGroup:
    """One group as it is. `settings` and `deadlines` are shared with its shard."""

    kind = Kind.CLASSIC

    __slots__ = (
        "_initial_delay_ms",
        "_initial_remaining_ms",
        "_subscriptions",
        "_topics",
        "applied",
        "deadlines",
        "generation",
        "group_id",
        "history",
        "is_initial",
        "joined_while_waiting",
        "members",
        "protocol_name",
        "randomness",
        "settings",
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
        self.settings = settings
        self.deadlines = deadlines
        self.randomness = randomness
        self.state = EMPTY
        self.state_since_ms = now_ms
        self.generation = 0
        self.protocol_name: str | None = None
        self.members = Members()
        self.history = History()
        self.applied: GroupMetadataValue | None = None
        """What the log says of the group; None before anything, and of one that holds offsets."""
        # The first rebalance of an empty group waits for more members to come.
        self.is_initial = False
        self._initial_delay_ms = 0
        self._initial_remaining_ms = 0
        self.joined_while_waiting = False
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
    def is_deletable(self) -> bool:
        return self.is_empty

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

    # What is stored

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
        self.new_subscriptions()

    def topics_changed(self, topics: frozenset[str]) -> None:
        """The leader watches topics itself."""

    # Offsets

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

    # Small parts

    def die(self) -> None:
        """The group was deleted, or another took its place."""
        self.move(DEAD, self.state_since_ms)
        for key in ("join", "sync"):
            self.deadlines.cancel((key, self.group_id))
        for member_id in [*self.members.pending, *(member.member_id for member in self.members)]:
            self.deadlines.cancel(("session", self.group_id, member_id))

    def move(self, state: GroupState, now_ms: int) -> None:
        assert state in MOVES[self.state], f"{self.group_id}: {self.state} -> {state}"
        self.state = state
        self.state_since_ms = now_ms

    def expect_heartbeat(self, member: Member, now_ms: int) -> None:
        key = ("session", self.group_id, member.member_id)
        self.deadlines.set(key, now_ms + member.session_timeout_ms)

    def new_subscriptions(self) -> None:
        """Remember what the members of this generation are subscribed to, unread."""
        name = self.protocol_name or ""
        self._topics = None
        self._subscriptions = [
            member.protocols[name] for member in self.members if name in member.protocols
        ]

    def cause(self, why: Why, member: Member, now_ms: int, reason: str | None) -> Cause:
        return Cause(now_ms, why, member.member_id, member.instance_id, member.client_id, reason)
