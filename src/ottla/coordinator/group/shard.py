"""The groups of one partition of `__consumer_offsets`: applies records, wakes groups.

`groups` and `offsets` are all there is. What survives a restart is changed by
`apply` alone: the offsets, and of each group what its own `apply` keeps. What
requests do to groups is in modules of their own, as functions over the shard:

    classic_requests   JoinGroup, SyncGroup, Heartbeat, LeaveGroup
    commits            OffsetCommit, OffsetFetch, OffsetDelete
    administration     DescribeGroups, ListGroups, DeleteGroups
    consumer ...       the heartbeats and descriptions of newer kinds

A group of another kind takes an id over in one of two ways. A decision may put
the new group into `groups` at once (`replace`), with records that say the same;
then tombstones of the old group find no group of their kind, and are passed
over. Or it only writes records, tombstones first, and `apply` makes the group.
"""

from collections.abc import Callable, Iterator, Sequence

from ottla.coordinator.deadlines import Deadlines
from ottla.coordinator.group.classic import ClassicGroup
from ottla.coordinator.group.consumer import ConsumerGroup
from ottla.coordinator.group.kinds import Group, Kind, Out, kind_of
from ottla.coordinator.group.migration import downgrade
from ottla.coordinator.group.modern import ModernGroup
from ottla.coordinator.group.offsets import Offsets
from ottla.coordinator.group.records import (
    NO_TIMESTAMP,
    GroupRecord,
    GroupStored,
    OffsetStored,
    decode,
    encode,
)
from ottla.coordinator.group.streams.group import StreamsGroup
from ottla.coordinator.group.surroundings import Surroundings
from ottla.coordinator.outcome import Waiter
from ottla.coordinator.share.group import ShareGroup
from ottla.model.errors import ErrorCode
from ottla.model.ids import Offset, ProducerId, TopicName

GROUPS_PER_EXPIRY = 100
TOMBSTONES_PER_EXPIRY = 1_000
"""How much of a round of expiry is done at once."""

RETRY_MS = 500
"""So long after the records of a deadline were refused it is met again."""

_EXPIRY = ("expiry",)


_MAKERS: dict[Kind, Callable[[str, Surroundings, Deadlines], Group]] = {
    Kind.CLASSIC: lambda group_id, surroundings, deadlines: ClassicGroup(
        group_id, surroundings.settings, deadlines, surroundings.randomness, NO_TIMESTAMP
    ),
    Kind.CONSUMER: ConsumerGroup,
    Kind.SHARE: ShareGroup,
    Kind.STREAMS: StreamsGroup,
}
"""What makes a group when the first record of it is applied."""


class GroupShard:
    """Implements `outcome.Shard` for group records."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self.settings = surroundings.settings
        self.deadlines = Deadlines()
        self.groups: dict[str, Group] = {}
        self.offsets = Offsets()
        self._expiring: Iterator[str] | None = None

    # The replicated part

    def encode(self, record: GroupRecord) -> tuple[bytes, bytes | None]:
        return encode(record)

    def decode(self, key: bytes, value: bytes | None) -> GroupRecord | None:
        return decode(key, value)

    def apply(self, record: GroupRecord, offset: Offset, producer_id: ProducerId) -> None:
        """Replay one record, live or on loading."""
        group_id = record.group_id
        if isinstance(record, OffsetStored):
            self.offsets.apply(record, offset, producer_id)
            if record.committed is not None:
                self.hold_offsets(group_id)
            return
        kind = Kind.CLASSIC if isinstance(record, GroupStored) else kind_of(record.record_type)
        group = self.groups.get(group_id)
        if group is not None and group.kind is not kind:
            if record.value is None or not group.is_simple:
                return  # of a group whose place another has taken
            group = None
        if group is None:
            if record.value is None:
                return
            group = self.groups[group_id] = self.new_group(kind, group_id)
        group.apply(record)
        if group.is_gone:
            del self.groups[group_id]
            group.die()
            if kind is not Kind.CLASSIC and self.offsets.of_group(group_id):
                self.hold_offsets(group_id)

    def apply_marker(self, producer_id: ProducerId, committed: bool) -> None:
        """Replay the end of a transaction."""
        self.offsets.apply_marker(producer_id, committed)

    def hold_offsets(self, group_id: str) -> None:
        """Offsets without a group: a simple one holds them."""
        if group_id not in self.groups:
            self.groups[group_id] = self.new_group(Kind.CLASSIC, group_id)

    def new_group(self, kind: Kind, group_id: str) -> Group:
        """A group about which nothing was applied yet; it is not put into `groups`."""
        return _MAKERS[kind](group_id, self.surroundings, self.deadlines)

    def classic(self, group_id: str) -> ClassicGroup | None:
        """The classic group of this id, if there is one."""
        group = self.groups.get(group_id)
        return group if isinstance(group, ClassicGroup) else None

    def replace(self, group: Group) -> Callable[[], None]:
        """Put a group in place before its records are applied; return what takes it back."""
        group_id = group.group_id
        old = self.groups.get(group_id)
        self.groups[group_id] = group

        def back() -> None:
            group.die()
            if old is None:
                del self.groups[group_id]
            else:
                self.groups[group_id] = old

        return back

    # Loading, deadlines

    def loaded(self, now_ms: int) -> Out:
        """Make the working state from what is stored, and set deadlines."""
        together = Out()
        for group in list(self.groups.values()):
            outcome = group.loaded(now_ms)
            assert not outcome.answers
            together.records.extend(outcome.records)
        self.deadlines.set(_EXPIRY, now_ms + self.settings.offsets_retention_check_interval_ms)
        return together

    def unloaded(self) -> Sequence[Waiter]:
        return [waiter for group in self.groups.values() for waiter in group.waiters()]

    def next_deadline_ms(self) -> int | None:
        return self.deadlines.next_ms()

    def wake(self, now_ms: int) -> Out | None:
        """Decide the earliest deadline that has passed."""
        key = self.deadlines.pop_due(now_ms)
        if key is None:
            return None
        assert isinstance(key, tuple)
        if key == _EXPIRY:
            return self._expire(now_ms)
        group = self.groups.get(key[1])
        if key[0] == "downgrade" and isinstance(group, ConsumerGroup):
            return downgrade(self, group, now_ms)
        if group is None:
            return Out()
        out = group.wake(key, now_ms)
        if isinstance(group, ModernGroup) and out.records and out.refused is None:

            def refused(code: ErrorCode) -> Out:
                self.deadlines.set(key, now_ms + RETRY_MS)
                return Out()

            out.refused = refused
        return out

    def _expire(self, now_ms: int) -> Out:
        """Delete expired offsets, and empty groups that have none left: one slice of a round."""
        out = Out()
        retention_ms = self.settings.offsets_retention_minutes * 60_000
        if self._expiring is None:
            self._expiring = iter(list(self.groups))
        for _ in range(GROUPS_PER_EXPIRY):
            group_id = next(self._expiring, None)
            if group_id is None:
                self._expiring = None
                interval_ms = self.settings.offsets_retention_check_interval_ms
                self.deadlines.set(_EXPIRY, now_ms + interval_ms)
                return out
            group = self.groups.get(group_id)
            if group is None:
                continue
            tombstones, nothing_left = self.offsets.expired(group_id, group, now_ms, retention_ms)
            out.records.extend(tombstones)
            if nothing_left and group.is_forgettable:
                out.records.extend(group.tombstones())
            if len(out.records) >= TOMBSTONES_PER_EXPIRY:
                break
        self.deadlines.set(_EXPIRY, now_ms)
        return out

    def drop_member(self, group_id: str, member_id: str, now_ms: int) -> Out:
        """A member's connection closed, and it is not to be waited for."""
        group = self.groups.get(group_id)
        return Out() if group is None else group.drop(member_id, now_ms)

    # The cluster

    def delete_topics(self, topics: set[TopicName]) -> Out:
        """Topics were deleted: so are the offsets committed for them."""
        return Out(records=list(self.offsets.groups_with_topics(topics)))

    def topics_changed(self, topics: frozenset[TopicName]) -> Out:
        """Topics were made, deleted or got partitions; groups look at them when next asked."""
        for group in self.groups.values():
            group.topics_changed(topics)
        return Out()
