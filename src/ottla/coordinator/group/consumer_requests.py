"""ConsumerGroupHeartbeat: one heartbeat moves the group and its own member one step on.

    1  the member: found, made, or put in place of a static one that left
    2  its subscription: a record when it changed
    3  the group epoch: raised when subscriptions or topics changed
    4  the target: computed for a new group epoch, not oftener than the interval
    5  the member's step towards its target: a record when it moves

Nothing is changed here but deadlines; the records are applied later. So what
a later step must see of an earlier one is handed on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ottla.coordinator.group import consumer_records as records
from ottla.coordinator.group.assignors import ASSIGNORS, Assignment, Subscriber
from ottla.coordinator.group.classic import ClassicGroup
from ottla.coordinator.group.consumer import (
    ConsumerGroup,
    default_assignor,
    preferred_assignor,
)
from ottla.coordinator.group.consumer_member import (
    NOTHING,
    UNREVOKED,
    ConsumerMember,
    Target,
    next_step,
)
from ottla.coordinator.group.history import Why
from ottla.coordinator.group.kinds import Kind, Out
from ottla.coordinator.group.migration import upgrade
from ottla.coordinator.group.modern import JOIN_EPOCH, LEAVE_EPOCH, STATIC_LEAVE_EPOCH
from ottla.coordinator.group.records import GroupRecord
from ottla.coordinator.group.regexes import check_regex
from ottla.coordinator.group.settings import Caller
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.group.topics_hash import topics_hash
from ottla.coordinator.outcome import Waiter
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import PartitionId, Uuid, uuid_text
from ottla.wire.generated.consumer_group_heartbeat import Assignment as AnsweredAssignment
from ottla.wire.generated.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    TopicPartitionsResponse,
)
from ottla.wire.generated.records.consumer_group_member_metadata_value import (
    ClassicMemberMetadata,
)


def _invalid(why: str) -> ApiError:
    return ApiError(ErrorCode.INVALID_REQUEST, why)


def check_request(
    request: ConsumerGroupHeartbeatRequest, api_version: int, assignors: Iterable[str]
) -> None:
    """What is wrong with a heartbeat by itself. Raises ApiError, in Kafka's words."""
    epoch = request.member_epoch
    if (api_version >= 1 or epoch > 0 or epoch == LEAVE_EPOCH) and not request.member_id.strip():
        raise _invalid("MemberId can't be empty.")
    for name, value in (
        ("GroupId", request.group_id),
        ("InstanceId", request.instance_id),
        ("RackId", request.rack_id),
    ):
        if value is not None and not value.strip():
            raise _invalid(f"{name} can't be empty.")
    if epoch == JOIN_EPOCH:
        if request.rebalance_timeout_ms == -1:
            raise _invalid("RebalanceTimeoutMs must be provided in first request.")
        if request.topic_partitions is None or request.topic_partitions:
            raise _invalid("TopicPartitions must be empty when (re-)joining.")
        if request.subscribed_topic_names is None and request.subscribed_topic_regex is None:
            raise _invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null "
                "when (re-)joining."
            )
    elif epoch == STATIC_LEAVE_EPOCH:
        if request.instance_id is None:
            raise _invalid("InstanceId can't be null.")
    elif epoch < STATIC_LEAVE_EPOCH:
        raise _invalid("MemberEpoch is invalid.")
    assignor = request.server_assignor
    if assignor is not None and assignor not in assignors:
        raise ApiError(
            ErrorCode.UNSUPPORTED_ASSIGNOR,
            f"ServerAssignor {assignor} is not supported. "
            f"Supported assignors: {', '.join(assignors)}.",
        )


def heartbeat(
    shard: GroupShard,
    request: ConsumerGroupHeartbeatRequest,
    caller: Caller,
    waiter: Waiter,
    now_ms: int,
) -> Out:
    """Decide a heartbeat that `check_request` found nothing wrong with. Raises ApiError."""
    if request.member_epoch in (LEAVE_EPOCH, STATIC_LEAVE_EPOCH):
        return _leave(shard, request, waiter, now_ms)
    made: list[GroupRecord] = []
    old = shard.classic(request.group_id)
    group = _group_for(shard, request, made)
    out = Heartbeat(shard, group, request, caller, made, now_ms).decide(waiter)
    return out if old is None or old.is_empty else _upgraded(shard, old, group, out, now_ms)


def _upgraded(
    shard: GroupShard, old: ClassicGroup, group: ConsumerGroup, out: Out, now_ms: int
) -> Out:
    """A classic group with members was replaced: they go on, and who waits is answered."""
    parked = old.give_up_waiters().answers
    out.answers += parked
    for what in ("join", "sync"):
        shard.deadlines.cancel((what, group.group_id))
    for member_id in group.members:
        group.expect_heartbeat(member_id, now_ms)
    back = out.refused
    assert back is not None

    def refused(code: ErrorCode) -> Out:
        instead = back(code)
        old.resume(now_ms)
        instead.answers += parked
        return instead

    out.refused = refused
    return out


def _group_for(
    shard: GroupShard, request: ConsumerGroupHeartbeatRequest, made: list[GroupRecord]
) -> ConsumerGroup:
    """The group; a new one for the first member, which may take the place of an empty one."""
    group_id = request.group_id
    group = shard.groups.get(group_id)
    if isinstance(group, ConsumerGroup):
        return group
    if request.member_epoch != JOIN_EPOCH:
        if group is None:
            why = f"Consumer group {group_id} not found."
        else:
            why = f"Group {group_id} is not a consumer group."
        raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, why)
    if group is not None:
        if isinstance(group, ClassicGroup) and not group.is_empty:
            return upgrade(shard, group, made)
        if group.kind is not Kind.CLASSIC or not group.is_forgettable:
            raise ApiError(
                ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} is not a consumer group."
            )
        if not group.is_simple:
            made += group.tombstones()
    return ConsumerGroup(group_id, shard.surroundings, shard.deadlines)


class Heartbeat:
    """One heartbeat on its way through the steps."""

    classic: ClassicMemberMetadata | None = None
    """Of a member that joins with the classic protocol."""

    def __init__(
        self,
        shard: GroupShard,
        group: ConsumerGroup,
        request: ConsumerGroupHeartbeatRequest,
        caller: Caller,
        made: list[GroupRecord],
        now_ms: int,
    ) -> None:
        self.shard = shard
        self.group = group
        self.request = request
        self.caller = caller
        self.records = made
        self.now_ms = now_ms
        self.image = shard.surroundings.image
        self.replaced: ConsumerMember | None = None
        self.comes_back = False
        """A classic member that says who it was: it is nobody's heir."""
        self.is_new = False
        self.looked = False
        self.interval_ms = 0

    def decide(self, waiter: Waiter) -> Out:
        group, now_ms = self.group, self.now_ms
        group.decide()
        before = self._find()
        member = self._update(before)
        names_changed, resolve_now, bump = self._subscription(before, member)
        epoch = self._group_epoch(before, member, bump)
        target = self._target(member, epoch)
        after = self._step(member, target, names_changed)
        self.interval_ms = self._interval_ms(after, epoch, target)
        response: Any = self._response(before, after)
        back = None
        if self.shard.groups.get(group.group_id) is not group:
            back = self.shard.replace(group)
        group.expect_heartbeat(after.member_id, now_ms)
        if after.classic is not None:
            group.look_for_classic(self._members(after).values(), now_ms)
        if resolve_now:
            self.shard.deadlines.set(("regex", group.group_id), now_ms)
        if after.is_at(target.epoch) and epoch == target.epoch and after is not before:
            others = group.members.values()
            if all(other.is_at(epoch) or other.member_id == after.member_id for other in others):
                group.stable(now_ms)
        out = Out(self.records, [(waiter, response)])

        def refused(code: ErrorCode) -> Out:
            group.looks_at_topics = group.looks_at_topics or self.looked
            if back is not None:
                back()
            return Out(answers=[(waiter, self._failed(code))])

        out.refused = refused
        return out

    # 1: the member

    def _find(self) -> ConsumerMember:
        group, request = self.group, self.request
        member_id = request.member_id
        most = self.shard.surroundings.number("group.consumer.max.size")
        if len(group.members) >= most and member_id not in group.members:
            raise ApiError(
                ErrorCode.GROUP_MAX_SIZE_REACHED,
                f"The consumer group has reached its maximum capacity of {most} members.",
            )
        if not member_id:
            member_id = uuid_text(self.shard.surroundings.randomness.uuid())
        if request.instance_id is not None:
            return self._find_static(member_id, request.instance_id)
        if request.member_epoch == JOIN_EPOCH:
            found = group.members.get(member_id)
            self.is_new = found is None
            return ConsumerMember(member_id) if found is None else found
        member = group.member(member_id)
        self._check_epoch(member)
        return member

    def _find_static(self, member_id: str, instance_id: str) -> ConsumerMember:
        group = self.group
        member = group.static_member(instance_id)
        if self.comes_back:
            return _static(group, member_id, instance_id)
        if self.request.member_epoch != JOIN_EPOCH:
            member = _static(group, member_id, instance_id)
            self._check_epoch(member)
            return member
        if member is None:
            found = group.members.get(member_id)
            self.is_new = found is None
            return ConsumerMember(member_id) if found is None else found
        speaks_newer = member.classic is None and self.classic is None
        if speaks_newer and member.epoch != STATIC_LEAVE_EPOCH:
            raise ApiError(
                ErrorCode.UNRELEASED_INSTANCE_ID,
                f"Static member {member_id} with instance id {instance_id} cannot join the group "
                f"because the instance id is owned by {member.member_id} member.",
            )
        self.replaced = member
        heir = replace(member, member_id=member_id, epoch=0, previous_epoch=0)
        self.records += records.member_tombstones(group.group_id, member.member_id)
        self.records.append(records.subscription(group.group_id, heir))
        target = group.targets.get(member.member_id, {})
        self.records.append(records.target(group.group_id, member_id, target))
        self.records.append(records.assignment(group.group_id, heir))
        return heir

    def _check_epoch(self, member: ConsumerMember) -> None:
        epoch = self.request.member_epoch
        if epoch == member.epoch:
            return
        if epoch > member.epoch:
            word = "greater"
        elif epoch == member.previous_epoch and _is_subset(self._owned(), member):
            return  # the answer to its last heartbeat was lost
        else:
            word = "smaller"
        raise ApiError(
            ErrorCode.FENCED_MEMBER_EPOCH,
            f"The consumer group member has a {word} member epoch ({epoch}) than the one known by "
            f"the group coordinator ({member.epoch}). The member must abandon all its partitions "
            "and rejoin.",
        )

    def _owned(self) -> Mapping[Uuid, list[PartitionId]] | None:
        """What the member says it has."""
        rows = self.request.topic_partitions
        return None if rows is None else {row.topic_id: row.partitions for row in rows}

    # 2: its subscription

    def _update(self, member: ConsumerMember) -> ConsumerMember:
        request = self.request
        names = request.subscribed_topic_names
        timeout_ms = request.rebalance_timeout_ms
        regex = request.subscribed_topic_regex
        return replace(
            member,
            instance_id=request.instance_id or member.instance_id,
            rack_id=request.rack_id or member.rack_id,
            rebalance_timeout_ms=member.rebalance_timeout_ms if timeout_ms == -1 else timeout_ms,
            assignor=request.server_assignor or member.assignor,
            topics=member.topics if names is None else tuple(sorted(set(names))),
            regex=member.regex if regex is None else regex,
            client_id=self.caller.client_id,
            client_host=self.caller.client_host,
            classic=self.classic,
        )

    def _subscription(
        self, before: ConsumerMember, member: ConsumerMember
    ) -> tuple[bool, bool, bool]:
        """(it may read other topics now, expressions are to be resolved, the epoch is raised)."""
        group = self.group
        if member != before or self.is_new:
            self.records.append(records.subscription(group.group_id, member))
        names_changed = member.topics != before.topics
        regex_changed = member.regex != before.regex
        bump = names_changed
        resolve_now = False
        if regex_changed:
            if before.regex and group.regex_count.get(before.regex) == 1:
                self.records.append(records.regex_tombstone(group.group_id, before.regex))
            if not member.regex or member.regex in group.regexes:
                bump = True
            elif not group.regex_count.get(member.regex):
                check_regex(member.regex)
                resolve_now = True
        if group.looks_at_regexes and (group.regex_count or member.regex):
            group.looks_at_regexes = False
            resolve_now = True
        return names_changed or regex_changed, resolve_now, bump

    # 3: the group epoch

    def _group_epoch(self, before: ConsumerMember, member: ConsumerMember, bump: bool) -> int:
        group = self.group
        if not bump and not group.looks_at_topics:
            return group.epoch
        names = group.all_topics(self._members(member))
        new_hash = topics_hash(self.image, names)
        self.looked, group.looks_at_topics = True, False
        if not bump and new_hash == group.metadata_hash:
            return group.epoch
        if self.is_new:
            group.note(Why.JOINED, self.now_ms, member)
        elif bump:
            group.note(Why.SUBSCRIBED, self.now_ms, member)
        if new_hash != group.metadata_hash and not bump:
            group.note(Why.TOPICS_CHANGED, self.now_ms)
        self.records += group.new_epoch(new_hash)
        return group.epoch + 1

    def _members(self, member: ConsumerMember) -> dict[str, ConsumerMember]:
        """All members as they will be."""
        members = dict(self.group.members)
        if self.replaced is not None:
            members.pop(self.replaced.member_id, None)
        members[member.member_id] = member
        return members

    # 4: the target

    def _target(self, member: ConsumerMember, epoch: int) -> Target:
        group = self.group
        old_id = member.member_id if self.replaced is None else self.replaced.member_id
        last = Target(group.target_epoch, group.targets.get(old_id, {}))
        if epoch <= group.target_epoch or not group.may_assign(self.now_ms):
            return last
        targets = dict(group.targets)
        if self.replaced is not None:
            targets[member.member_id] = targets.pop(old_id, {})
        members = self._members(member)
        computed = compute_target(group, members, targets)
        for member_id, assignment in computed.items():
            if targets.get(member_id) != assignment:
                self.records.append(records.target(group.group_id, member_id, assignment))
        self.records.append(records.target_epoch(group.group_id, epoch, self.now_ms))
        return Target(epoch, computed[member.member_id])

    # 5: the step

    def _step(self, member: ConsumerMember, target: Target, changed: bool) -> ConsumerMember:
        group = self.group
        if not changed and member.is_at(target.epoch):
            return member
        after = next_step(
            member,
            target,
            self._owned(),
            lambda topic_id, partition: group.holder(topic_id, partition) is None,
            _ids(group, group.names_of(member)),
            changed,
        )
        if after != member:
            self.records.append(records.assignment(group.group_id, after))
            if after.state is UNREVOKED and after.classic is None:
                group.expect_revocation(after, self.now_ms)
            else:
                self.shard.deadlines.cancel(("rebalance", group.group_id, after.member_id))
        return after

    # The answer

    def _interval_ms(self, member: ConsumerMember, epoch: int, target: Target) -> int:
        """When it shall come again: sooner while the group is on the way to a new assignment.

        A member learns from its own heartbeats alone what another gave up for it.
        """
        group = self.group
        interval_ms = group.number("heartbeat.interval.ms")
        if (
            member.is_at(target.epoch)
            and epoch == target.epoch == group.target_epoch
            and self.now_ms >= group.target_timestamp_ms + interval_ms
        ):
            return interval_ms
        surroundings = self.shard.surroundings
        return min(
            interval_ms, surroundings.number("group.consumer.settling.heartbeat.interval.ms")
        )

    def _failed(self, code: ErrorCode) -> Any:
        return ConsumerGroupHeartbeatResponse(error_code=code)

    def _response(self, before: ConsumerMember, after: ConsumerMember) -> Any:
        request = self.request
        response = ConsumerGroupHeartbeatResponse(
            member_id=after.member_id,
            member_epoch=after.epoch,
            heartbeat_interval_ms=self.interval_ms,
        )
        is_full = (
            request.rebalance_timeout_ms != -1
            and (
                request.subscribed_topic_names is not None
                or request.subscribed_topic_regex is not None
            )
            and request.topic_partitions is not None
        )
        if (
            request.member_epoch == JOIN_EPOCH
            or is_full
            or {topic: set(parts) for topic, parts in before.assigned.items()}
            != {topic: set(parts) for topic, parts in after.assigned.items()}
        ):
            response.assignment = AnsweredAssignment(
                topic_partitions=[
                    TopicPartitionsResponse(topic_id=topic_id, partitions=sorted(partitions))
                    for topic_id, partitions in after.assigned.items()
                ]
            )
        return response


def compute_target(
    group: ConsumerGroup,
    members: Mapping[str, ConsumerMember],
    targets: Mapping[str, Assignment],
) -> dict[str, Assignment]:
    """Ask the assignor most members want, or the broker's first."""
    assignor = preferred_assignor(members.values())
    if assignor not in ASSIGNORS:
        assignor = default_assignor(group.surroundings)
    image = group.surroundings.image
    ids = {member_id: _ids(group, group.names_of(member)) for member_id, member in members.items()}
    counts = {
        topic_id: len(topic.partitions)
        for topic_id in frozenset().union(*ids.values())
        if (topic := image.topic_by_id(topic_id)) is not None
    }
    subscribers = {
        member_id: Subscriber(ids[member_id], targets.get(member_id, {}), member.instance_id)
        for member_id, member in members.items()
    }
    return ASSIGNORS[assignor](subscribers, counts)


def _ids(group: ConsumerGroup, names: Iterable[str]) -> frozenset[Uuid]:
    topics = group.surroundings.image.topics
    return frozenset(topics[name].topic_id for name in names if name in topics)


def _is_subset(owned: Mapping[Uuid, list[PartitionId]] | None, member: ConsumerMember) -> bool:
    """Is all that it says it has assigned to it? One that says nothing is not believed."""
    if owned is None:
        return False
    return all(
        partition in member.assigned.get(topic_id, NOTHING)
        for topic_id, partitions in owned.items()
        for partition in partitions
    )


# Leaving


def _leave(
    shard: GroupShard, request: ConsumerGroupHeartbeatRequest, waiter: Waiter, now_ms: int
) -> Out:
    group = shard.groups.get(request.group_id)
    if not isinstance(group, ConsumerGroup):
        what = "not found." if group is None else "is not a consumer group."
        raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {request.group_id} {what}")
    group.decide()
    if request.instance_id is None:
        member = group.member(request.member_id)
    else:
        member = _static(group, request.member_id, request.instance_id)
    response = ConsumerGroupHeartbeatResponse(
        member_id=member.member_id, member_epoch=request.member_epoch
    )
    if request.member_epoch == STATIC_LEAVE_EPOCH and request.instance_id is not None:
        absent = replace(
            member,
            epoch=STATIC_LEAVE_EPOCH,
            revoking=NOTHING,
            assigned={
                topic_id: dict.fromkeys(partitions, 0)
                for topic_id, partitions in member.assigned.items()
            },
        )
        return Out([records.assignment(group.group_id, absent)], [(waiter, response)])
    group.note(Why.LEFT, now_ms, member)
    out = group.fence([member], now_ms)
    out.answers.append((waiter, response))
    return out


def _static(group: ConsumerGroup, member_id: str, instance_id: str) -> ConsumerMember:
    member = group.static_member(instance_id)
    if member is None:
        raise ApiError(ErrorCode.UNKNOWN_MEMBER_ID, f"Instance id {instance_id} is unknown.")
    if member.member_id != member_id:
        raise ApiError(
            ErrorCode.FENCED_INSTANCE_ID,
            f"Static member {member_id} with instance id {instance_id} was fenced by member "
            f"{member.member_id}.",
        )
    return member
