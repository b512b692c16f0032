"""StreamsGroupHeartbeat: one heartbeat moves the group and its own member one step on.

    1  the member: found or made, a record when what is known of it changed
    2  the topology: the first member brings it; put over the topics there are
    3  the group epoch: raised when a member, the topics or settings changed
    4  the target: computed for a new group epoch, unless it is too early for that
    5  the member's step towards its target: a record when it moves

What a record says is changed when it is applied. What is not in the log is
changed here, and put back where the append is refused.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ottla.coordinator.group.history import Why
from ottla.coordinator.group.kinds import Kind, Out
from ottla.coordinator.group.modern import JOIN_EPOCH, LEAVE_EPOCH, STATIC_LEAVE_EPOCH
from ottla.coordinator.group.records import GroupRecord
from ottla.coordinator.group.settings import Caller
from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.group.streams import records, topology
from ottla.coordinator.group.streams.configured import (
    ASSIGNMENT_DELAYED,
    SHUTDOWN_APPLICATION,
    STALE_TOPOLOGY,
    Configured,
    InternalTopic,
    configure,
)
from ottla.coordinator.group.streams.endpoints import endpoints
from ottla.coordinator.group.streams.group import StreamsGroup
from ottla.coordinator.group.streams.member import (
    UNREVOKED,
    StreamsMember,
    Target,
    next_step,
)
from ottla.coordinator.group.streams.tasks import Wanted, in_order, read
from ottla.coordinator.group.streams.topology import Topology
from ottla.coordinator.group.topics_hash import topics_hash
from ottla.coordinator.outcome import Waiter
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import PartitionId
from ottla.wire.generated.streams_group_heartbeat import (
    Status,
    StreamsGroupHeartbeatRequest,
    StreamsGroupHeartbeatResponse,
    TaskIdsRequest,
    TaskIdsResponse,
)

Request = StreamsGroupHeartbeatRequest
Response = StreamsGroupHeartbeatResponse


PATIENCE_MS = 2_500
"""The shortest interval for members whose topics are missing."""


def check_request(request: Request) -> None:
    """What is wrong with a heartbeat by itself. Raises ApiError, in Kafka's words."""
    if request.instance_id is not None:
        raise _invalid("Static membership is not yet supported.")
    if request.task_offsets is not None:
        raise _invalid("TaskOffsets are not supported yet.")
    if request.task_end_offsets is not None:
        raise _invalid("TaskEndOffsets are not supported yet.")
    if request.warmup_tasks:
        raise _invalid("WarmupTasks are not supported yet.")
    sent = request.topology
    if sent is not None and any(row.source_topic_regex for row in sent.subtopologies):
        raise _invalid("Regular expressions for source topics are not supported yet.")
    for name, value in (
        ("MemberId", request.member_id),
        ("GroupId", request.group_id),
        ("RackId", request.rack_id),
    ):
        if value is not None and not value.strip():
            raise _invalid(f"{name} can't be empty.")
    owned = (
        ("ActiveTasks", request.active_tasks),
        ("StandbyTasks", request.standby_tasks),
        ("WarmupTasks", request.warmup_tasks),
    )
    if request.member_epoch == JOIN_EPOCH:
        _check_joining(request, owned)
    elif request.member_epoch == STATIC_LEAVE_EPOCH:
        raise _invalid("InstanceId can't be null.")
    elif request.member_epoch < STATIC_LEAVE_EPOCH:
        raise _invalid(
            f"MemberEpoch is {request.member_epoch}, but must be greater than or equal to -2."
        )
    given = [rows is not None for _, rows in owned]
    if any(given) and not all(given):
        raise _invalid("If one task-type is non-null, all must be non-null.")
    if request.member_epoch != JOIN_EPOCH and sent is not None:
        raise _invalid("Topology can only be provided when (re-)joining.")


def _check_joining(
    request: Request, owned: Iterable[tuple[str, list[TaskIdsRequest] | None]]
) -> None:
    if request.rebalance_timeout_ms == -1:
        raise _invalid("RebalanceTimeoutMs must be provided in first request.")
    for name, rows in owned:
        if rows is None or rows:
            raise _invalid(f"{name} must be empty when (re-)joining.")
    sent = request.topology
    if sent is None:
        raise _invalid("Topology must be non-null when (re-)joining.")
    for subtopology in sent.subtopologies:
        for info in subtopology.state_changelog_topics:
            if info.partitions:
                raise ApiError(
                    ErrorCode.STREAMS_INVALID_TOPOLOGY,
                    f"Changelog topic {info.name} must have an undefined partition count, "
                    f"but it is set to {info.partitions}.",
                )
    # Kafka finds out only after it has begun, and answers UNKNOWN_SERVER_ERROR.
    ids = [subtopology.subtopology_id for subtopology in sent.subtopologies]
    if sent.epoch < 0 or len(set(ids)) < len(ids):
        raise ApiError(
            ErrorCode.STREAMS_INVALID_TOPOLOGY,
            "A topology has an epoch that is not negative, and each subtopology once.",
        )


def missing_topics(shard: GroupShard, request: Request) -> tuple[InternalTopic, ...]:
    """Internal topics to be made before this heartbeat is decided.

    Raises:
        ApiError: the topology cannot be right.
    """
    group = shard.groups.get(request.group_id)
    known = group if isinstance(group, StreamsGroup) else None
    if known is not None and known.topology is not None:
        if known.has_its_topics:
            return ()
        found = known.topology
    elif request.topology is None or not _may_begin(shard, request.group_id):
        return ()
    else:
        found = Topology(topology.stored(request.topology))
    return configure(found, shard.surroundings.image).missing


def heartbeat(
    shard: GroupShard, request: Request, caller: Caller, waiter: Waiter, now_ms: int
) -> Out:
    """Decide a heartbeat that `check_request` found nothing wrong with. Raises ApiError."""
    if request.member_epoch == LEAVE_EPOCH:
        return _leave(shard, request, waiter, now_ms)
    made: list[GroupRecord] = []
    group = _group_for(shard, request, made)
    return Heartbeat(shard, group, request, caller, made, now_ms).decide(waiter)


def _may_begin(shard: GroupShard, group_id: str) -> bool:
    """Is there no group of this id, or one whose place may be taken?"""
    group = shard.groups.get(group_id)
    return group is None or (group.kind is Kind.CLASSIC and group.is_forgettable)


def _group_for(shard: GroupShard, request: Request, made: list[GroupRecord]) -> StreamsGroup:
    """The group; a new one for the first member, which may take the place of an empty one."""
    group_id = request.group_id
    group = shard.groups.get(group_id)
    if isinstance(group, StreamsGroup):
        most = shard.surroundings.number("group.streams.max.size")
        if request.member_epoch == JOIN_EPOCH and len(group.members) >= most:
            raise ApiError(
                ErrorCode.GROUP_MAX_SIZE_REACHED,
                f"The streams group has reached its maximum capacity of {most} members.",
            )
        return group
    if group is None and request.member_epoch != JOIN_EPOCH:
        raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"Streams group {group_id} not found.")
    if request.member_epoch != JOIN_EPOCH or not _may_begin(shard, group_id):
        raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} is not a streams group.")
    if group is not None and not group.is_simple:
        made += group.tombstones()
    return StreamsGroup(group_id, shard.surroundings, shard.deadlines)


class Heartbeat:
    """One decision."""

    def __init__(
        self,
        shard: GroupShard,
        group: StreamsGroup,
        request: Request,
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
        self.is_new_group = shard.groups.get(group.group_id) is not group
        self.statuses: list[Status] = []
        self.looked = False

    def decide(self, waiter: Waiter) -> Out:
        group, now_ms = self.group, self.now_ms
        group.decide()
        configured_before = group.configured
        before = self._find()
        member = self._update(before)
        found = self._topology(member)
        configured, new_hash = self._configured(found)
        epoch = self._group_epoch(before, member, configured, new_hash)
        target = self._target(member, configured, epoch)
        after = self._step(member, target)
        back = self.shard.replace(group) if self.is_new_group else None
        group.configured = configured
        group.expect_heartbeat(after.member_id, now_ms)
        if self.request.shutdown_application and group.shutdown_asked_by is None:
            group.shutdown_asked_by = after.member_id
        response = self._response(before, after, configured)
        response.heartbeat_interval_ms = self._interval_ms(after, configured, target, epoch)
        if after.is_at(target.epoch) and epoch == target.epoch and after != before:
            others = group.members.values()
            if all(other.is_at(epoch) or other.member_id == after.member_id for other in others):
                group.stable(now_ms)
        out = Out(self.records, [(waiter, response)])

        def refused(code: ErrorCode) -> Out:
            group.looks_at_topics = group.looks_at_topics or self.looked
            group.configured = configured_before
            if after.member_id not in group.members:
                group.forget_deadlines(after.member_id)
            if back is not None:
                back()
            return Out(answers=[(waiter, Response(error_code=code))])

        out.refused = refused
        return out

    # 1: the member

    def _find(self) -> StreamsMember:
        group, request = self.group, self.request
        if request.member_epoch == JOIN_EPOCH:
            return group.members.get(request.member_id) or StreamsMember(request.member_id)
        member = group.member(request.member_id)
        epoch = request.member_epoch
        if epoch == member.epoch:
            return member
        if epoch > member.epoch:
            word = "greater"
        else:
            word = "smaller"
            owned = self._owned()
            if epoch == member.previous_epoch and owned and member.assigned.has_all_of(owned):
                return member  # the answer to its last heartbeat was lost
        raise ApiError(
            ErrorCode.FENCED_MEMBER_EPOCH,
            f"The streams group member has a {word} member epoch ({epoch}) than the one known by "
            f"the group coordinator ({member.epoch}). The member must abandon all its partitions "
            "and rejoin.",
        )

    def _owned(self) -> Wanted | None:
        """What the member says it has."""
        request = self.request
        if request.active_tasks is None:
            return None
        return Wanted(
            read(request.active_tasks),
            read(request.standby_tasks or ()),
            read(request.warmup_tasks or ()),
        )

    def _update(self, before: StreamsMember) -> StreamsMember:
        request = self.request
        timeout_ms, tags, endpoint = (
            request.rebalance_timeout_ms,
            request.client_tags,
            request.user_endpoint,
        )
        member = replace(
            before,
            rack_id=request.rack_id or before.rack_id,
            rebalance_timeout_ms=before.rebalance_timeout_ms if timeout_ms == -1 else timeout_ms,
            topology_epoch=(
                before.topology_epoch if request.topology is None else request.topology.epoch
            ),
            process_id=before.process_id if request.process_id is None else request.process_id,
            client_tags=(
                before.client_tags if tags is None else {row.key: row.value for row in tags}
            ),
            user_endpoint=(
                before.user_endpoint if endpoint is None else (endpoint.host, endpoint.port)
            ),
            client_id=self.caller.client_id,
            client_host=self.caller.client_host,
        )
        if member != before:
            self.records.append(records.member(self.group.group_id, member))
        return member

    # 2: the topology

    def _topology(self, member: StreamsMember) -> Topology:
        """The group's; that of its first member, where it has none."""
        known, sent = self.group.topology, self.request.topology
        if known is None:
            if sent is None:
                raise ApiError(ErrorCode.UNKNOWN_SERVER_ERROR, "The group has no topology.")
            stored = topology.stored(sent)
            self.records.append(records.topology(self.group.group_id, stored))
            return Topology(stored)
        if (
            sent is not None
            and sent.epoch >= known.epoch
            and Topology(topology.stored(sent)) != known
        ):
            raise _invalid("Topology updates are not supported yet.")
        if member.topology_epoch < known.epoch:
            self._tell(
                STALE_TOPOLOGY,
                f"The member's topology epoch {member.topology_epoch} is behind the group's "
                f"topology epoch {known.epoch}.",
            )
        return known

    def _configured(self, found: Topology) -> tuple[Configured, int]:
        """The topology over the topics of now, and what these are told apart by."""
        group = self.group
        configured = group.configured
        if configured is not None and not group.looks_at_topics:
            return configured, group.metadata_hash
        new_hash = topics_hash(self.image, found.required_topics)
        if configured is None or new_hash != group.metadata_hash:
            configured = configure(found, self.image)
        self.looked, group.looks_at_topics = True, False
        return configured, new_hash

    # 3: the group epoch

    def _group_epoch(
        self, before: StreamsMember, member: StreamsMember, configured: Configured, new_hash: int
    ) -> int:
        group, now_ms = self.group, self.now_ms
        validated = -1
        if configured.is_ready:
            validated = configured.topology.epoch
            self._check_tasks(configured)
        configs = group.configs()
        noted = False
        if member.member_id not in group.members:
            noted = True
            group.note(Why.JOINED, now_ms, member)
        elif member != before:
            noted = True
            group.note(Why.CHANGED_METADATA, now_ms, member)
        if new_hash != group.metadata_hash and not self.is_new_group:
            noted = True
            group.note(Why.TOPICS_CHANGED, now_ms)
        if validated != group.validated_epoch and not noted:
            noted = True
            group.note(Why.TOPOLOGY_CHANGED, now_ms, reason="its topics are there, or not any more")
        if configs != group.assignment_configs and not noted:
            noted = True
            group.note(Why.CONFIG_CHANGED, now_ms)
        if not noted:
            return group.epoch
        epoch = group.epoch + 1
        self.records.append(records.epoch(group.group_id, epoch, new_hash, validated, configs))
        return epoch

    def _check_tasks(self, configured: Configured) -> None:
        request = self.request
        for rows in (request.active_tasks, request.standby_tasks, request.warmup_tasks):
            for row in rows or ():
                subtopology = configured.subtopologies.get(row.subtopology_id)
                if subtopology is None:
                    raise _invalid(
                        f"Subtopology {row.subtopology_id} does not exist in the topology."
                    )
                count = subtopology.task_count
                for partition in row.partitions:
                    if not 0 <= partition < count:
                        raise _invalid(
                            f"Task {partition} for subtopology {row.subtopology_id} is invalid. "
                            f"Number of tasks for this subtopology: {count}"
                        )

    # 4: the target

    def _target(self, member: StreamsMember, configured: Configured, epoch: int) -> Target:
        group, now_ms = self.group, self.now_ms
        if group.is_empty and not group.waits_for_more:
            delay_ms = group.number("initial.rebalance.delay.ms")
            if delay_ms > 0:
                self.shard.deadlines.set(("initial", group.group_id), now_ms + delay_ms)
        if group.waits_for_more:
            self._tell_delayed("initial rebalance delay")
            return Target(group.target_epoch)
        last = group.targets.get(member.member_id, Wanted())
        if epoch <= group.target_epoch:
            return Target(group.target_epoch, last)
        if not group.may_assign(now_ms):
            self._tell_delayed("assignment interval")
            return Target(group.target_epoch, last)
        members = {**group.members, member.member_id: member}
        computed = group.compute_target(members, configured, group.configs())
        self.records += group.new_targets(computed, epoch, now_ms)
        return Target(epoch, computed[member.member_id])

    # 5: the step

    def _step(self, member: StreamsMember, target: Target) -> StreamsMember:
        group = self.group
        if member.is_at(target.epoch):
            return member
        after = next_step(member, target, self._owned(), group.free_for(member.process_id))
        if after != member:
            self.records.append(records.assignment(group.group_id, after))
            if after.state is UNREVOKED:
                group.expect_revocation(after, self.now_ms)
            else:
                self.shard.deadlines.cancel(("rebalance", group.group_id, after.member_id))
        return after

    # The answer

    def _tell(self, status: int, detail: str) -> None:
        self.statuses.append(Status(status_code=status, status_detail=detail))

    def _tell_delayed(self, setting: str) -> None:
        self._tell(ASSIGNMENT_DELAYED, f"Assignment delayed due to the configured {setting}.")

    def _interval_ms(
        self, member: StreamsMember, configured: Configured, target: Target, epoch: int
    ) -> int:
        """When it shall come again: sooner while the group is on the way to a new assignment.

        Kafka Streams gives up when topics are missing for two intervals.
        """
        group = self.group
        usual_ms = group.number("heartbeat.interval.ms")
        if not configured.is_ready:
            return max(usual_ms, PATIENCE_MS)
        is_there = member.is_at(target.epoch) and epoch == target.epoch == group.target_epoch
        if is_there and self.now_ms >= group.target_timestamp_ms + usual_ms:
            return usual_ms
        soon_ms = self.shard.surroundings.number("group.streams.settling.heartbeat.interval.ms")
        return min(usual_ms, soon_ms)

    def _response(self, before: StreamsMember, after: StreamsMember, configured: Configured) -> Any:
        group, request = self.group, self.request
        response = Response(
            member_id=after.member_id,
            member_epoch=after.epoch,
        )
        endpoint_epoch = group.endpoint_epoch
        if request.member_epoch == JOIN_EPOCH or before.assigned != after.assigned:
            response.active_tasks = _rows(after.assigned.active)
            response.standby_tasks = _rows(after.assigned.standby)
            response.warmup_tasks = _rows(after.assigned.warmup)
            endpoint_epoch += after.user_endpoint is not None
        if endpoint_epoch != request.endpoint_information_epoch:
            others = [one for one in group.members.values() if one.member_id != after.member_id]
            response.partitions_by_user_endpoint = endpoints(
                [*others, after], configured, self.image
            )
        if not self.is_new_group:  # the first heartbeat of a group is not counted
            group.endpoint_epoch = endpoint_epoch
            response.endpoint_information_epoch = endpoint_epoch
        if configured.problem is not None:
            self._tell(configured.problem.status, configured.problem.detail)
        if group.shutdown_asked_by is not None:
            self._tell(
                SHUTDOWN_APPLICATION,
                f"Streams group member {group.shutdown_asked_by} encountered a fatal error and "
                "requested a shutdown for the entire application.",
            )
        response.status = self.statuses
        return response


def _rows(tasks: Mapping[str, Iterable[PartitionId]]) -> list[TaskIdsResponse]:
    return [
        TaskIdsResponse(subtopology_id=name, partitions=numbers)
        for name, numbers in in_order(tasks)
    ]


def _invalid(why: str) -> ApiError:
    return ApiError(ErrorCode.INVALID_REQUEST, why)


# Leaving


def _leave(shard: GroupShard, request: Request, waiter: Waiter, now_ms: int) -> Out:
    group = shard.groups.get(request.group_id)
    if not isinstance(group, StreamsGroup):
        what = "not found." if group is None else "is not a streams group."
        raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {request.group_id} {what}")
    group.decide()
    if request.shutdown_application and group.shutdown_asked_by is None:
        group.shutdown_asked_by = request.member_id
    member = group.member(request.member_id)
    group.note(Why.LEFT, now_ms, member)
    out = group.fence(member)
    response = Response(member_id=request.member_id, member_epoch=request.member_epoch)
    out.answers.append((waiter, response))
    return out
