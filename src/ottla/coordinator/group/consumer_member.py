"""A member of a consumer group, and one step of it towards its target (KIP-848).

    STABLE                  it has what its target says, at the target's epoch
    UNREVOKED_PARTITIONS    it must say that it gave `revoking` up, and stays at its epoch
    UNRELEASED_PARTITIONS   it has what is free, and waits for others to give up the rest

Members are never changed once they are in a group: a step makes another.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ottla.coordinator.group.assignors import Assignment
from ottla.coordinator.group.modern import MemberState
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import PartitionId, Uuid
from ottla.wire.generated.records.consumer_group_current_member_assignment_value import (
    ConsumerGroupCurrentMemberAssignmentValue,
    TopicPartitions,
)
from ottla.wire.generated.records.consumer_group_member_metadata_value import (
    ClassicMemberMetadata,
    ConsumerGroupMemberMetadataValue,
)

Owned = Mapping[Uuid, Mapping[PartitionId, int]]
"""Topic id -> partition -> the epoch in which it was assigned."""

STABLE = MemberState.STABLE
UNREVOKED = MemberState.UNREVOKED_PARTITIONS
UNRELEASED = MemberState.UNRELEASED_PARTITIONS


@dataclass(slots=True, frozen=True)
class ConsumerMember:
    """What the log says of one member."""

    member_id: str
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    topics: tuple[str, ...] = ()
    """The names subscribed to, sorted."""
    regex: str = ""
    rebalance_timeout_ms: int = -1
    assignor: str | None = None
    classic: ClassicMemberMetadata | None = None
    """Of a member that still speaks the classic protocol."""
    epoch: int = 0
    previous_epoch: int = -1
    state: MemberState = STABLE
    assigned: Owned = field(default_factory=dict)
    revoking: Owned = field(default_factory=dict)

    def is_at(self, target_epoch: int) -> bool:
        return self.state is STABLE and self.epoch == target_epoch

    def owns(self, topic_id: Uuid, partition: PartitionId) -> int | None:
        """The epoch in which a partition was assigned, also one to be given up; None if not."""
        for owned in (self.assigned, self.revoking):
            if topic_id in owned and partition in owned[topic_id]:
                return owned[topic_id][partition]
        return None

    # Records

    def subscription_record(self) -> ConsumerGroupMemberMetadataValue:
        return ConsumerGroupMemberMetadataValue(
            instance_id=self.instance_id,
            rack_id=self.rack_id,
            client_id=self.client_id,
            client_host=self.client_host,
            subscribed_topic_names=list(self.topics),
            subscribed_topic_regex=self.regex,
            rebalance_timeout_ms=self.rebalance_timeout_ms,
            server_assignor=self.assignor,
            classic_member_metadata=self.classic,
        )

    def with_subscription(self, value: ConsumerGroupMemberMetadataValue) -> "ConsumerMember":
        """Replay a `ConsumerGroupMemberMetadata`."""
        return replace(
            self,
            instance_id=value.instance_id,
            rack_id=value.rack_id,
            client_id=value.client_id,
            client_host=value.client_host,
            topics=tuple(value.subscribed_topic_names),
            regex=value.subscribed_topic_regex or "",
            rebalance_timeout_ms=value.rebalance_timeout_ms,
            assignor=value.server_assignor,
            classic=value.classic_member_metadata,
        )

    def assignment_record(self) -> ConsumerGroupCurrentMemberAssignmentValue:
        return ConsumerGroupCurrentMemberAssignmentValue(
            member_epoch=self.epoch,
            previous_member_epoch=self.previous_epoch,
            state=int(self.state),
            assigned_partitions=_rows(self.assigned),
            partitions_pending_revocation=_rows(self.revoking),
        )

    def with_assignment(self, value: ConsumerGroupCurrentMemberAssignmentValue) -> "ConsumerMember":
        """Replay a `ConsumerGroupCurrentMemberAssignment`."""
        try:
            state = MemberState(value.state)
        except ValueError:
            state = MemberState.UNKNOWN
        return replace(
            self,
            epoch=value.member_epoch,
            previous_epoch=value.previous_member_epoch,
            state=state,
            assigned=_owned(value.assigned_partitions, value.member_epoch),
            revoking=_owned(value.partitions_pending_revocation, value.member_epoch),
        )

    def without_assignment(self) -> "ConsumerMember":
        """Replay the tombstone of its assignment: it left, for now or for good."""
        return replace(
            self, epoch=-1, previous_epoch=-1, state=STABLE, assigned=NOTHING, revoking=NOTHING
        )


NOTHING: Owned = {}


class Target:
    """Where a member is to go."""

    __slots__ = ("assignment", "epoch")

    def __init__(self, epoch: int, assignment: Assignment) -> None:
        self.epoch = epoch
        self.assignment = assignment


def next_step(
    member: ConsumerMember,
    target: Target,
    owned: Mapping[Uuid, Iterable[PartitionId]] | None,
    is_free: Callable[[Uuid, PartitionId], bool],
    subscribed: frozenset[Uuid],
    subscription_changed: bool,
) -> ConsumerMember:
    """Return what the member is after this heartbeat; itself, when nothing changes.

    `owned` is what it says it has, None when it says nothing. `is_free` says
    that no other member has a partition. `subscribed` are the topics it may have.
    """
    if member.state is STABLE:
        if member.epoch != target.epoch:
            return _advance(member, member.epoch, target, owned, is_free, subscribed)
        if subscription_changed:
            return _narrow(member, owned, subscribed)
        return member
    if member.state is UNREVOKED:
        if not _has_any(owned, member.revoking):
            return _advance(member, member.epoch, target, owned, is_free, subscribed)
        if subscription_changed:
            return _narrow(member, owned, subscribed)
        return member
    if member.state is UNRELEASED:
        return _advance(member, member.epoch, target, owned, is_free, subscribed)
    # A state of a Kafka newer than known: it must begin anew with nothing.
    if owned is None or any(True for partitions in owned.values() for _ in partitions):
        raise ApiError(
            ErrorCode.FENCED_MEMBER_EPOCH,
            "The consumer group member is in a unknown state. "
            "The member must abandon all its partitions and rejoin.",
        )
    return _advance(member, target.epoch, target, owned, is_free, subscribed)


def _advance(
    member: ConsumerMember,
    epoch: int,
    target: Target,
    owned: Mapping[Uuid, Iterable[PartitionId]] | None,
    is_free: Callable[[Uuid, PartitionId], bool],
    subscribed: frozenset[Uuid],
) -> ConsumerMember:
    """Revoke first; without anything to revoke, take what is free."""
    keep: dict[Uuid, dict[PartitionId, int]] = {}
    revoke: dict[Uuid, dict[PartitionId, int]] = {}
    take: dict[Uuid, list[PartitionId]] = {}
    waits = False
    for topic_id in dict.fromkeys([*target.assignment, *member.assigned]):
        wanted = target.assignment.get(topic_id, ()) if topic_id in subscribed else ()
        has = member.assigned.get(topic_id, {})
        wanted_set = set(wanted)
        kept = {partition: since for partition, since in has.items() if partition in wanted_set}
        given = {
            partition: since for partition, since in has.items() if partition not in wanted_set
        }
        new = [partition for partition in wanted if partition not in has]
        free = [partition for partition in new if is_free(topic_id, partition)]
        waits = waits or len(free) < len(new)
        if kept:
            keep[topic_id] = kept
        if given:
            revoke[topic_id] = given
        if free:
            take[topic_id] = free
    if revoke and _has_any(owned, revoke):
        return replace(
            member,
            state=UNREVOKED,
            epoch=epoch,
            previous_epoch=member.epoch,
            assigned=keep,
            revoking=revoke,
        )
    for topic_id, partitions in take.items():
        into = keep.setdefault(topic_id, {})
        for partition in partitions:
            into[partition] = target.epoch
    return replace(
        member,
        state=UNRELEASED if waits else STABLE,
        epoch=target.epoch,
        previous_epoch=member.epoch,
        assigned=keep,
        revoking=NOTHING,
    )


def _narrow(
    member: ConsumerMember,
    owned: Mapping[Uuid, Iterable[PartitionId]] | None,
    subscribed: frozenset[Uuid],
) -> ConsumerMember:
    """Its subscription changed, its target did not yet: it gives up what it may not have now."""
    keep = {topic: dict(parts) for topic, parts in member.assigned.items()}
    revoke = {topic: dict(parts) for topic, parts in member.revoking.items()}
    lost = [topic for topic in keep if topic not in subscribed]
    if not lost:
        return member
    for topic in lost:
        revoke.setdefault(topic, {}).update(keep.pop(topic))
    if _has_any(owned, revoke):
        return replace(
            member,
            state=UNREVOKED,
            previous_epoch=member.epoch,
            assigned=keep,
            revoking=revoke,
        )
    return replace(member, previous_epoch=member.epoch, assigned=keep)


def _has_any(owned: Mapping[Uuid, Iterable[PartitionId]] | None, partitions: Owned) -> bool:
    """Does it still have one of these? One that says nothing may."""
    if owned is None:
        return True
    return any(
        partition in partitions[topic]
        for topic, numbers in owned.items()
        if topic in partitions
        for partition in numbers
    )


def _rows(owned: Owned) -> list[TopicPartitions]:
    return [
        TopicPartitions(
            topic_id=topic_id,
            partitions=list(partitions),
            assignment_epochs=list(partitions.values()),
        )
        for topic_id, partitions in owned.items()
    ]


def _owned(rows: list[TopicPartitions], member_epoch: int) -> Owned:
    """Before Kafka 4.3 records had no epochs of assignment: the member's counts."""
    owned: dict[Uuid, dict[PartitionId, int]] = {}
    for row in rows:
        epochs = row.assignment_epochs or [member_epoch] * len(row.partitions)
        owned[row.topic_id] = dict(zip(row.partitions, epochs, strict=False))
    return owned
