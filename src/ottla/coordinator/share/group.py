"""One share group: its members, what is assigned to them, which partitions have state (KIP-932).

A member reaches its target with its next heartbeat: nothing is taken away
first, since partitions may be shared. A new target is computed for each group
epoch, no oftener than the assignment interval. A partition is assigned once its
state was initialized; `initializing` names those for which that is under way,
and the first target with new ones does not wait for the interval.

Records, by type: 10 member, 11 group epoch, 12 target epoch, 13 target of a
member, 14 what a member has, 15 which partitions have state.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ottla.coordinator.deadlines import Deadlines
from ottla.coordinator.group.history import Why
from ottla.coordinator.group.kinds import Kind, Out
from ottla.coordinator.group.modern import JOIN_EPOCH, ModernGroup, ModernMember
from ottla.coordinator.group.records import GroupRecord, ModernStored, record_of
from ottla.coordinator.group.surroundings import Surroundings
from ottla.coordinator.group.topics_hash import topics_hash
from ottla.coordinator.outcome import Call
from ottla.coordinator.share import group_records as rows
from ottla.coordinator.share.assignor import Assignment, assign
from ottla.coordinator.share.group_records import Topics
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import Uuid
from ottla.wire.generated.records.share_group_current_member_assignment_value import (
    ShareGroupCurrentMemberAssignmentValue,
)
from ottla.wire.generated.records.share_group_member_metadata_value import (
    ShareGroupMemberMetadataValue,
)

if TYPE_CHECKING:
    from ottla.coordinator.group.settings import Caller
    from ottla.wire.generated.share_group_heartbeat import ShareGroupHeartbeatRequest


class ShareMember(ModernMember):
    """A member, its topics by name, and what it has."""

    __slots__ = ("assigned", "topics")

    def __init__(self, member_id: str) -> None:
        super().__init__(member_id)
        self.topics: tuple[str, ...] = ()
        self.assigned: Assignment = {}


class Beat(NamedTuple):
    """What a heartbeat comes to."""

    records: list[GroupRecord]
    member: ShareMember
    """As it will be."""
    has_news: bool
    """It must be told what it has."""
    interval_ms: int
    """When it shall come again."""


class ShareGroup(ModernGroup[ShareMember]):
    kind = Kind.SHARE

    target: dict[str, Assignment]
    initializing: Topics
    initialized: Topics
    deleting: dict[Uuid, str]

    def __init__(self, group_id: str, surroundings: Surroundings, deadlines: Deadlines) -> None:
        super().__init__(group_id, surroundings, deadlines)
        self.epoch = 1
        self.target = {}
        self.initializing = {}
        self.initialized = {}
        self.deleting = {}
        self._has_new_state = False
        """Partitions got their state after the target was computed."""

    @property
    def state_name(self) -> str:
        return "Stable" if self.members else "Empty"

    @property
    def is_deletable(self) -> bool:
        """Not while it has state: that is deleted first, unless there were members then."""
        return self.is_empty and not self.initialized and not self.initializing

    @property
    def is_forgettable(self) -> bool:
        """Its state stays until an administrator deletes the group."""
        return False

    # Changed by records

    def apply(self, record: GroupRecord) -> None:
        assert isinstance(record, ModernStored)
        key, value = record.key, record.value
        kind = record.record_type
        member_id: str = getattr(key, "member_id", "")
        if kind == rows.MEMBER:
            if value is None:
                self.drop_member(member_id)
                self.forget_deadlines(member_id)
            else:
                self._apply_member(member_id, value)  # type: ignore[arg-type]
        elif kind == rows.EPOCH:
            if value is None:
                self.is_gone = True
            else:
                self.begin_epoch(value.epoch, value.metadata_hash)  # type: ignore[attr-defined]
        elif kind == rows.TARGET_EPOCH:
            self.target_epoch = 0 if value is None else value.assignment_epoch  # type: ignore[attr-defined]
            self.target_timestamp_ms = 0 if value is None else value.assignment_timestamp  # type: ignore[attr-defined]
            self._has_new_state = False
        elif kind == rows.TARGET:
            if value is None:
                self.target.pop(member_id, None)
            else:
                self.target[member_id] = rows.assignment(value.topic_partitions)  # type: ignore[attr-defined]
        elif kind == rows.CURRENT:
            self._apply_current(member_id, value)  # type: ignore[arg-type]
        elif kind == rows.STATE:
            before = self.initialized
            self.initializing, self.initialized, self.deleting = rows.read_state(value)  # type: ignore[arg-type]
            self._has_new_state = self._has_new_state or self.initialized != before
            self.looks_at_topics = True

    def _apply_member(self, member_id: str, value: ShareGroupMemberMetadataValue) -> None:
        member = self.members.get(member_id) or ShareMember(member_id)
        member.rack_id = value.rack_id
        member.client_id = value.client_id
        member.client_host = value.client_host
        member.topics = tuple(value.subscribed_topic_names)
        self.put_member(member)

    def _apply_current(
        self, member_id: str, value: ShareGroupCurrentMemberAssignmentValue | None
    ) -> None:
        member = self.members.get(member_id)
        if member is None:
            return
        if value is None:
            member.epoch, member.previous_epoch, member.assigned = 0, -1, {}
        else:
            member.epoch = value.member_epoch
            member.previous_epoch = value.previous_member_epoch
            member.assigned = rows.assignment(value.assigned_partitions)

    def tombstones(self) -> list[GroupRecord]:
        found: list[GroupRecord] = []
        for member_id in self.members:
            found.extend(rows.member_gone(self.group_id, member_id))
        found.append(record_of(rows.target_epoch_key(self.group_id), None))
        found.append(record_of(rows.state_key(self.group_id), None))
        found.append(record_of(rows.epoch_key(self.group_id), None))
        return found

    # Members

    def heartbeat(
        self, request: "ShareGroupHeartbeatRequest", caller: "Caller", now_ms: int
    ) -> Beat:
        """Decide one heartbeat.

        Raises:
            ApiError: the group is full, or the member's epoch is not one it can have.
        """
        self.decide()
        member_id = request.member_id
        known = self.members.get(member_id)
        joins = request.member_epoch == JOIN_EPOCH
        if known is None:
            if not joins:
                self.member(member_id)
            if len(self.members) >= self.surroundings.number("group.share.max.size"):
                raise ApiError(
                    ErrorCode.GROUP_MAX_SIZE_REACHED,
                    "The share group has reached its maximum capacity of "
                    f"{self.surroundings.number('group.share.max.size')} members.",
                )
        elif not joins:
            _check_epoch(known, request.member_epoch)
        records: list[GroupRecord] = []
        member = _updated(known, request, caller)
        if known is None or _differs(known, member):
            records.append(rows.member(self.group_id, member))
        subscribes = known is None or set(known.topics) != set(member.topics)
        if subscribes:
            self.note(Why.JOINED if known is None else Why.SUBSCRIBED, now_ms, member)
        everybody = {**self.members, member_id: member}
        epoch = self._next_epoch(everybody, subscribes, now_ms, records)
        target_epoch, target = self._assign(everybody, member_id, epoch, now_ms, records)
        before = (member.epoch, member.assigned)
        if member.epoch != target_epoch or subscribes:
            member.assigned = self._of_topics(target, member.topics)
        if member.epoch != target_epoch:
            member.previous_epoch, member.epoch = member.epoch, target_epoch
        if (member.epoch, member.assigned) != before:
            records.append(rows.current(self.group_id, member))
            if all(each.epoch == epoch for each in everybody.values()):
                self.stable(now_ms)
        news = joins or known is None or known.assigned != member.assigned
        self.expect_heartbeat(member_id, now_ms)
        is_new_target = target_epoch != self.target_epoch
        settles = epoch != target_epoch or is_new_target
        return Beat(records, member, news, self._interval_ms(settles, now_ms))

    def _of_topics(self, target: Assignment, topics: tuple[str, ...]) -> Assignment:
        """What there is of a target, and only of topics the member wants by now."""
        images = self.surroundings.image.topics
        wanted = {images[name].topic_id for name in topics if name in images}
        return {topic_id: numbers for topic_id, numbers in target.items() if topic_id in wanted}

    def _interval_ms(self, settles: bool, now_ms: int) -> int:
        """Sooner while the group goes to a new target, and for a usual interval behind it."""
        usual_ms = self.number("heartbeat.interval.ms")
        if not settles and now_ms >= self.target_timestamp_ms + usual_ms:
            return usual_ms
        soon_ms = self.surroundings.number("group.share.settling.heartbeat.interval.ms")
        return min(usual_ms, soon_ms)

    def leave(self, member_id: str, why: Why, now_ms: int) -> list[GroupRecord]:
        """A member goes: the others take over with their next heartbeats."""
        self.decide()
        member = self.members[member_id]
        self.note(why, now_ms, member)
        left = {
            name for other in self.members.values() if other is not member for name in other.topics
        }
        found = topics_hash(self.surroundings.image, left)
        return [
            *rows.member_gone(self.group_id, member_id),
            rows.epoch(self.group_id, self.epoch + 1, found),
        ]

    def wake(self, key: tuple[str, ...], now_ms: int) -> Out:
        """A session is over; other deadlines are of a group whose place this one took."""
        if key[0] != "session" or key[2] not in self.members:
            return Out()
        return self.give_up_on(self.members[key[2]], Why.SESSION_EXPIRED, now_ms)

    def give_up_on(self, member: ShareMember, why: Why, now_ms: int) -> Out:
        member_id = member.member_id
        told = Call(partial(self.surroundings.share_member_expired, self.group_id, member_id))
        return Out(self.leave(member_id, why, now_ms), [(told, None)])

    def _next_epoch(
        self,
        members: Mapping[str, ShareMember],
        bump: bool,
        now_ms: int,
        records: list[GroupRecord],
    ) -> int:
        """Raise the group epoch if the members or their topics are not what they were."""
        if not bump and not self.looks_at_topics:
            return self.epoch
        names = {name for member in members.values() for name in member.topics}
        found = topics_hash(self.surroundings.image, names)
        is_assigned = self.epoch <= self.target_epoch  # else what comes has all there is
        if not bump and (
            found != self.metadata_hash or (is_assigned and self._has_unassigned(names))
        ):
            self.note(Why.TOPICS_CHANGED, now_ms)
            bump = True
        if not bump:
            self.looks_at_topics = False
            return self.epoch
        records.append(rows.epoch(self.group_id, self.epoch + 1, found))
        return self.epoch + 1

    def _assign(
        self,
        members: Mapping[str, ShareMember],
        member_id: str,
        epoch: int,
        now_ms: int,
        records: list[GroupRecord],
    ) -> tuple[int, Assignment]:
        """A member's target and its epoch; a new one, unless it is too early for that."""
        if self.target_epoch >= epoch or not (self._has_new_state or self.may_assign(now_ms)):
            return self.target_epoch, self.target.get(member_id, {})
        image = self.surroundings.image
        subscriptions = {
            each: frozenset(
                image.topics[name].topic_id for name in member.topics if name in image.topics
            )
            for each, member in members.items()
        }
        assignable = {
            topic_id: numbers
            for topic_id, (name, numbers) in self.initialized.items()
            if image.topic_by_id(topic_id) is not None
        }
        target = assign(subscriptions, assignable, self.target)
        for each, mine in target.items():
            if self.target.get(each) != mine:
                records.append(rows.target(self.group_id, each, mine))
        records.append(rows.target_epoch(self.group_id, epoch, now_ms))
        return epoch, target.get(member_id, {})

    # Which partitions have state

    def _has_unassigned(self, names: set[str]) -> bool:
        """Whether partitions of these topics got their state after the target was computed."""
        assigned = {
            (topic_id, number)
            for mine in self.target.values()
            for topic_id, numbers in mine.items()
            for number in numbers
        }
        topics = self.surroundings.image.topics
        wanted = {topics[name].topic_id for name in names if name in topics}
        return any(
            (topic_id, number) not in assigned
            for topic_id, (_, numbers) in self.initialized.items()
            if topic_id in wanted
            for number in numbers
        )

    def is_subscribed_to(self, topic: str) -> bool:
        return any(topic in member.topics for member in self.members.values())

    def _subscribed(self, members: Mapping[str, ShareMember]) -> dict[str, tuple[Uuid, int]]:
        """The topics of all members that exist: name -> id and how many partitions."""
        image = self.surroundings.image
        names = {name for member in members.values() for name in member.topics}
        return {
            name: (image.topics[name].topic_id, len(image.topics[name].partitions))
            for name in sorted(names)
            if name in image.topics
        }

    def without_state(self) -> dict[Uuid, tuple[str, tuple[int, ...]]]:
        """Partitions of subscribed topics that were not initialized, those under way too."""
        found = {}
        for name, (topic_id, count) in self._subscribed(self.members).items():
            _, known = self.initialized.get(topic_id, (name, ()))
            missing = tuple(sorted(set(range(count)).difference(known)))
            if missing:
                found[topic_id] = (name, missing)
        return found

    def begin_initializing(self) -> list[GroupRecord]:
        """Say durably which partitions are about to get state."""
        missing = self.without_state()
        if not missing or missing == self.initializing:
            return []
        return [rows.state(self.group_id, missing, self._living(), self.deleting)]

    def begin_altering(self, topics: Topics) -> list[GroupRecord]:
        """Say durably which partitions are about to begin anew; others may be about to as well."""
        initializing = dict(self.initializing)
        for topic_id, (name, numbers) in topics.items():
            _, before = initializing.get(topic_id, (name, ()))
            initializing[topic_id] = (name, tuple(sorted({*before, *numbers})))
        return [rows.state(self.group_id, initializing, self._living(), self.deleting)]

    def state_initialized(self, done: Topics) -> list[GroupRecord]:
        """These partitions have state now, and may be assigned."""
        initialized = self._living()
        initializing = dict(self.initializing)
        for topic_id, (name, numbers) in done.items():
            _, before = initialized.get(topic_id, (name, ()))
            initialized[topic_id] = (name, tuple(sorted({*before, *numbers})))
            _, waiting = initializing.pop(topic_id, (name, ()))
            left = tuple(sorted(set(waiting).difference(numbers)))
            if left:
                initializing[topic_id] = (name, left)
        return [rows.state(self.group_id, initializing, initialized, self.deleting)]

    def begin_deleting(self, topic_ids: set[Uuid]) -> list[GroupRecord]:
        """Say durably that these topics may have state, or not any more.

        Who comes when that was not finished begins with them anew.
        """
        initializing, initialized = dict(self.initializing), dict(self.initialized)
        for topic_id in topic_ids & initialized.keys():
            name, numbers = initialized.pop(topic_id)
            _, before = initializing.get(topic_id, (name, ()))
            initializing[topic_id] = (name, tuple(sorted({*before, *numbers})))
        return [rows.state(self.group_id, initializing, initialized, self.deleting)]

    def state_deleted(self, topic_ids: set[Uuid]) -> list[GroupRecord]:
        """The state of these topics is gone, with their offsets."""

        def others(topics: Topics) -> Topics:
            return {key: value for key, value in topics.items() if key not in topic_ids}

        return [
            rows.state(
                self.group_id, others(self.initializing), others(self.initialized), self.deleting
            )
        ]

    def _living(self) -> Topics:
        """`initialized` without topics that were deleted."""
        image = self.surroundings.image
        return {
            topic_id: known
            for topic_id, known in self.initialized.items()
            if image.topic_by_id(topic_id) is not None
        }

    # Offsets

    def check_commit(
        self,
        member_id: str,
        instance_id: str | None,
        generation: int,
        now_ms: int,
        transactional: bool = False,
        api_version: int = 0,
    ) -> None:
        """A share group has no committed offsets."""
        raise ApiError(
            ErrorCode.GROUP_ID_NOT_FOUND, f"Group {self.group_id} is not a consumer group."
        )


def _check_epoch(member: ShareMember, epoch: int) -> None:
    if epoch > member.epoch:
        raise ApiError(
            ErrorCode.FENCED_MEMBER_EPOCH,
            f"The share group member has a greater member epoch ({epoch}) than the one known by "
            f"the group coordinator ({member.epoch}). The member must abandon all its partitions "
            "and rejoin.",
        )
    if epoch < member.epoch and epoch != member.previous_epoch:
        raise ApiError(
            ErrorCode.FENCED_MEMBER_EPOCH,
            f"The share group member has a smaller member epoch ({epoch}) than the one known by "
            f"the group coordinator ({member.epoch}), and it does not match the previous member "
            f"epoch ({member.previous_epoch}). The member must abandon all its partitions and "
            "rejoin.",
        )


def _updated(
    known: ShareMember | None, request: "ShareGroupHeartbeatRequest", caller: "Caller"
) -> ShareMember:
    """The member as this heartbeat describes it; what is null is as before."""
    member = ShareMember(request.member_id)
    if known is not None:
        member.epoch, member.previous_epoch = known.epoch, known.previous_epoch
        member.assigned = known.assigned
        member.rack_id, member.topics = known.rack_id, known.topics
    if request.rack_id is not None:
        member.rack_id = request.rack_id
    if request.subscribed_topic_names is not None:
        member.topics = tuple(request.subscribed_topic_names)
    member.client_id, member.client_host = caller.client_id, caller.client_host
    return member


def _differs(known: ShareMember, member: ShareMember) -> bool:
    return (known.rack_id, known.topics, known.client_id, known.client_host) != (
        member.rack_id,
        member.topics,
        member.client_id,
        member.client_host,
    )
