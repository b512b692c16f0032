"""The members of one classic group: who they are, what they support, who waits.

What always holds: `joining` members are counted in `joining_count`; an
instance id maps to exactly one member; `supporters[p]` is the number of
members that named protocol `p`; the leader, when there is one, is a member.
Every question a heartbeat or a join asks is answered without looking at all
members; only a new generation does.
"""

from collections.abc import Iterable, Iterator

from ottla.coordinator.outcome import Waiter
from ottla.model.errors import ApiError, ErrorCode

Protocols = dict[str, bytes]
"""A member's protocols in its order of preference, with its metadata for each."""


class Member:
    """One member. `joining` and `syncing` are its parked requests."""

    __slots__ = (
        "assignment",
        "client_host",
        "client_id",
        "instance_id",
        "is_new",
        "joining",
        "member_id",
        "protocols",
        "rebalance_timeout_ms",
        "session_timeout_ms",
        "syncing",
    )

    def __init__(
        self,
        member_id: str,
        instance_id: str | None,
        client_id: str,
        client_host: str,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
        protocols: Protocols,
        assignment: bytes = b"",
    ) -> None:
        self.member_id = member_id
        self.instance_id = instance_id
        self.client_id = client_id
        self.client_host = client_host
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.session_timeout_ms = session_timeout_ms
        self.protocols = protocols
        self.assignment = assignment
        self.is_new = False
        self.joining: Waiter | None = None
        self.syncing: Waiter | None = None

    @property
    def waits(self) -> bool:
        """A member with a parked request needs no heartbeat, unless it is new."""
        return not self.is_new and (self.joining is not None or self.syncing is not None)

    def same_protocols(self, protocols: Protocols) -> bool:
        """Equal in names, order and metadata."""
        return list(self.protocols.items()) == list(protocols.items())


class Members:
    """The member table of one group."""

    __slots__ = (
        "_by_id",
        "_static_ids",
        "_supporters",
        "joining_count",
        "leader_id",
        "pending",
        "protocol_type",
        "unsynced",
    )

    def __init__(self) -> None:
        self._by_id: dict[str, Member] = {}
        self._static_ids: dict[str, str] = {}
        self._supporters: dict[str, int] = {}
        self.joining_count = 0
        self.leader_id: str | None = None
        self.protocol_type: str | None = None
        self.pending: dict[str, None] = {}
        """Ids handed out with MEMBER_ID_REQUIRED that have not joined yet."""
        self.unsynced: dict[str, None] = {}
        """Members of this generation that have not sent SyncGroup yet."""

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._by_id.values())

    def __contains__(self, member_id: str) -> bool:
        return member_id in self._by_id

    def get(self, member_id: str) -> Member | None:
        return self._by_id.get(member_id)

    def static_id(self, instance_id: str) -> str | None:
        """The member id that holds `instance_id` now."""
        return self._static_ids.get(instance_id)

    def find(self, member_id: str, instance_id: str | None) -> Member:
        """Return the member.

        Raises:
            ApiError: FENCED_INSTANCE_ID when another member id holds the
                instance id, UNKNOWN_MEMBER_ID when nobody does.
        """
        if instance_id is not None:
            holder = self._static_ids.get(instance_id)
            if holder is None:
                raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
            if holder != member_id:
                raise ApiError(ErrorCode.FENCED_INSTANCE_ID)
        member = self._by_id.get(member_id)
        if member is None:
            raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID)
        return member

    def add(self, member: Member, protocol_type: str) -> None:
        """Add a member; the first decides the protocol type and is the leader."""
        assert member.member_id not in self._by_id
        if member.instance_id is not None:
            assert member.instance_id not in self._static_ids
            self._static_ids[member.instance_id] = member.member_id
        if not self._by_id:
            self.protocol_type = protocol_type
        if self.leader_id is None:
            self.leader_id = member.member_id
        self._by_id[member.member_id] = member
        self._count(member.protocols, 1)
        if member.joining is not None:
            self.joining_count += 1
        self.pending.pop(member.member_id, None)

    def remove(self, member_id: str) -> Member | None:
        """Remove a member or a pending id. The next member in order leads after the leader."""
        member = self._by_id.pop(member_id, None)
        if member is not None:
            self._count(member.protocols, -1)
            if member.joining is not None:
                self.joining_count -= 1
            if member.instance_id is not None:
                del self._static_ids[member.instance_id]
        if self.leader_id == member_id:
            self.leader_id = next(iter(self._by_id), None)
        self.pending.pop(member_id, None)
        self.unsynced.pop(member_id, None)
        return member

    def replace_static(self, instance_id: str, new_id: str) -> Member:
        """Let `new_id` take the place of the member that holds `instance_id`.

        The new member has the old one's protocols and assignment, and leads
        if it led. Returns the new member; parked requests are not taken over.
        """
        old = self._by_id.pop(self._static_ids[instance_id])
        if old.joining is not None:
            self.joining_count -= 1
        new = Member(
            new_id,
            instance_id,
            old.client_id,
            old.client_host,
            old.rebalance_timeout_ms,
            old.session_timeout_ms,
            old.protocols,
            old.assignment,
        )
        self._by_id[new_id] = new
        self._static_ids[instance_id] = new_id
        if self.leader_id == old.member_id:
            self.leader_id = new_id
        if old.member_id in self.unsynced:
            del self.unsynced[old.member_id]
            self.unsynced[new_id] = None
        return new

    def update(
        self,
        member: Member,
        protocols: Protocols,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
    ) -> None:
        self._count(member.protocols, -1)
        member.protocols = protocols
        self._count(protocols, 1)
        member.rebalance_timeout_ms = rebalance_timeout_ms
        member.session_timeout_ms = session_timeout_ms

    def park_join(self, member: Member, waiter: Waiter) -> Waiter | None:
        """Park a JoinGroup; return the one it replaces."""
        replaced = member.joining
        if replaced is None:
            self.joining_count += 1
        member.joining = waiter
        return replaced

    def take_join(self, member: Member) -> Waiter | None:
        """Return the parked JoinGroup, which is to be answered now."""
        waiter = member.joining
        if waiter is not None:
            member.joining = None
            self.joining_count -= 1
        return waiter

    @property
    def all_joined(self) -> bool:
        return self.joining_count == len(self._by_id) and not self.pending

    def rebalance_timeout_ms(self) -> int:
        """The longest any member may take to rejoin."""
        return max((member.rebalance_timeout_ms for member in self), default=0)

    def supports(self, protocol_type: str, names: Iterable[str], group_is_empty: bool) -> bool:
        """May a member with these protocols join?

        Into an empty group anyone who names a type and a protocol; else the
        type must be the group's and one protocol be supported by all members.
        """
        if group_is_empty:
            return bool(protocol_type) and any(True for _ in names)
        if self.protocol_type is None or self.protocol_type != protocol_type:
            return False
        everyone = len(self._by_id)
        return any(self._supporters.get(name, 0) == everyone for name in names)

    def select_protocol(self) -> str:
        """The protocol with the most votes among those every member supports.

        Each member votes for the first of its list. Equal votes: the one voted for first.
        """
        everyone = len(self._by_id)
        candidates = {name for name, count in self._supporters.items() if count == everyone}
        votes: dict[str, int] = {}
        for member in self:
            for name in member.protocols:
                if name in candidates:
                    votes[name] = votes.get(name, 0) + 1
                    break
        assert votes, "members without a common protocol were let in"
        return max(votes, key=votes.__getitem__)

    def elect_joined_leader(self) -> bool:
        """Keep the leader if it rejoined, else let the first that did lead; False if none did."""
        if self.leader_id is None:
            return False
        if self._by_id[self.leader_id].joining is not None:
            return True
        for member in self:
            if member.joining is not None:
                self.leader_id = member.member_id
                return True
        return False

    def _count(self, protocols: Protocols, change: int) -> None:
        for name in protocols:
            count = self._supporters.get(name, 0) + change
            if count:
                self._supporters[name] = count
            else:
                del self._supporters[name]
