"""The records a streams group is stored as, made and read (types 17, and 19 to 23)."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ottla.coordinator.group.records import GroupRecord, record_of
from ottla.coordinator.group.streams import tasks
from ottla.coordinator.group.streams.member import MemberState, StreamsMember
from ottla.coordinator.group.streams.tasks import ActiveTasks, Held, Tasks, Wanted
from ottla.wire.generated.records.streams_group_current_member_assignment_key import (
    StreamsGroupCurrentMemberAssignmentKey,
)
from ottla.wire.generated.records.streams_group_current_member_assignment_value import (
    StreamsGroupCurrentMemberAssignmentValue,
)
from ottla.wire.generated.records.streams_group_current_member_assignment_value import (
    TaskIds as CurrentIds,
)
from ottla.wire.generated.records.streams_group_member_metadata_key import (
    StreamsGroupMemberMetadataKey,
)
from ottla.wire.generated.records.streams_group_member_metadata_value import (
    Endpoint,
    KeyValue,
    StreamsGroupMemberMetadataValue,
)
from ottla.wire.generated.records.streams_group_metadata_key import StreamsGroupMetadataKey
from ottla.wire.generated.records.streams_group_metadata_value import (
    LastAssignmentConfig,
    StreamsGroupMetadataValue,
)
from ottla.wire.generated.records.streams_group_target_assignment_member_key import (
    StreamsGroupTargetAssignmentMemberKey,
)
from ottla.wire.generated.records.streams_group_target_assignment_member_value import (
    StreamsGroupTargetAssignmentMemberValue,
)
from ottla.wire.generated.records.streams_group_target_assignment_member_value import (
    TaskIds as TargetIds,
)
from ottla.wire.generated.records.streams_group_target_assignment_metadata_key import (
    StreamsGroupTargetAssignmentMetadataKey,
)
from ottla.wire.generated.records.streams_group_target_assignment_metadata_value import (
    StreamsGroupTargetAssignmentMetadataValue,
)
from ottla.wire.generated.records.streams_group_topology_key import StreamsGroupTopologyKey
from ottla.wire.generated.records.streams_group_topology_value import StreamsGroupTopologyValue


def epoch(
    group_id: str, number: int, metadata_hash: int, validated: int, configs: Mapping[str, str]
) -> GroupRecord:
    """The group epoch is raised; `validated` is the epoch of a topology that is ready, or -1."""
    return record_of(
        StreamsGroupMetadataKey(group_id=group_id),
        StreamsGroupMetadataValue(
            epoch=number,
            metadata_hash=metadata_hash,
            validated_topology_epoch=validated,
            last_assignment_configs=[
                LastAssignmentConfig(key=key, value=configs[key]) for key in sorted(configs)
            ],
        ),
    )


def configs_of(value: StreamsGroupMetadataValue) -> dict[str, str]:
    return {row.key: row.value for row in value.last_assignment_configs or ()}


def topology(group_id: str, value: StreamsGroupTopologyValue) -> GroupRecord:
    return record_of(StreamsGroupTopologyKey(group_id=group_id), value)


def member(group_id: str, member: StreamsMember) -> GroupRecord:
    endpoint = member.user_endpoint
    return record_of(
        StreamsGroupMemberMetadataKey(group_id=group_id, member_id=member.member_id),
        StreamsGroupMemberMetadataValue(
            instance_id=member.instance_id,
            rack_id=member.rack_id,
            client_id=member.client_id,
            client_host=member.client_host,
            rebalance_timeout_ms=member.rebalance_timeout_ms,
            topology_epoch=member.topology_epoch,
            process_id=member.process_id,
            user_endpoint=None
            if endpoint is None
            else Endpoint(host=endpoint[0], port=endpoint[1]),
            client_tags=[
                KeyValue(key=key, value=member.client_tags[key])
                for key in sorted(member.client_tags)
            ],
        ),
    )


def with_metadata(member: StreamsMember, value: StreamsGroupMemberMetadataValue) -> StreamsMember:
    """Replay a `StreamsGroupMemberMetadata`."""
    endpoint = value.user_endpoint
    return replace(
        member,
        instance_id=value.instance_id,
        rack_id=value.rack_id,
        client_id=value.client_id,
        client_host=value.client_host,
        rebalance_timeout_ms=value.rebalance_timeout_ms,
        topology_epoch=value.topology_epoch,
        process_id=value.process_id,
        user_endpoint=None if endpoint is None else (endpoint.host, endpoint.port),
        client_tags={row.key: row.value for row in value.client_tags},
    )


def target(group_id: str, member_id: str, wanted: Wanted) -> GroupRecord:
    return record_of(
        StreamsGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id),
        StreamsGroupTargetAssignmentMemberValue(
            active_tasks=_target_rows(wanted.active),
            standby_tasks=_target_rows(wanted.standby),
            warmup_tasks=_target_rows(wanted.warmup),
        ),
    )


def wanted_of(value: StreamsGroupTargetAssignmentMemberValue) -> Wanted:
    """Replay a `StreamsGroupTargetAssignmentMember`."""
    return Wanted(
        tasks.read(value.active_tasks),
        tasks.read(value.standby_tasks),
        tasks.read(value.warmup_tasks),
    )


def target_epoch(group_id: str, number: int, now_ms: int) -> GroupRecord:
    return record_of(
        StreamsGroupTargetAssignmentMetadataKey(group_id=group_id),
        StreamsGroupTargetAssignmentMetadataValue(
            assignment_epoch=number, assignment_timestamp=now_ms
        ),
    )


def assignment(group_id: str, member: StreamsMember) -> GroupRecord:
    has, gives = member.assigned, member.revoking
    return record_of(
        StreamsGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member.member_id),
        StreamsGroupCurrentMemberAssignmentValue(
            member_epoch=member.epoch,
            previous_member_epoch=member.previous_epoch,
            state=int(member.state),
            active_tasks=_active_rows(has.active),
            standby_tasks=_current_rows(has.standby),
            warmup_tasks=_current_rows(has.warmup),
            active_tasks_pending_revocation=_active_rows(gives.active),
            standby_tasks_pending_revocation=_current_rows(gives.standby),
            warmup_tasks_pending_revocation=_current_rows(gives.warmup),
        ),
    )


def with_assignment(
    member: StreamsMember, value: StreamsGroupCurrentMemberAssignmentValue
) -> StreamsMember:
    """Replay a `StreamsGroupCurrentMemberAssignment`."""
    try:
        state = MemberState(value.state)
    except ValueError:
        state = MemberState.UNKNOWN
    return replace(
        member,
        epoch=value.member_epoch,
        previous_epoch=value.previous_member_epoch,
        state=state,
        assigned=Held(
            _active_of(value.active_tasks, value.member_epoch),
            tasks.read(value.standby_tasks),
            tasks.read(value.warmup_tasks),
        ),
        revoking=Held(
            _active_of(value.active_tasks_pending_revocation, value.member_epoch),
            tasks.read(value.standby_tasks_pending_revocation),
            tasks.read(value.warmup_tasks_pending_revocation),
        ),
    )


def member_tombstones(group_id: str, member_id: str) -> list[GroupRecord]:
    """In the order in which Kafka writes them."""
    return [
        record_of(
            StreamsGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member_id), None
        ),
        record_of(
            StreamsGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), None
        ),
        record_of(StreamsGroupMemberMetadataKey(group_id=group_id, member_id=member_id), None),
    ]


def group_tombstones(group_id: str) -> list[GroupRecord]:
    """Of a group without members. Its topology goes last, as in Kafka."""
    return [
        record_of(StreamsGroupTargetAssignmentMetadataKey(group_id=group_id), None),
        record_of(StreamsGroupMetadataKey(group_id=group_id), None),
        record_of(StreamsGroupTopologyKey(group_id=group_id), None),
    ]


def _target_rows(wanted: Tasks) -> list[TargetIds]:
    return [
        TargetIds(subtopology_id=name, partitions=numbers)
        for name, numbers in tasks.in_order(wanted)
    ]


def _current_rows(held: Tasks) -> list[CurrentIds]:
    return [
        CurrentIds(subtopology_id=name, partitions=numbers)
        for name, numbers in tasks.in_order(held)
    ]


def _active_rows(held: ActiveTasks) -> list[CurrentIds]:
    return [
        CurrentIds(
            subtopology_id=name,
            partitions=numbers,
            assignment_epochs=[held[name][number] for number in numbers],
        )
        for name, numbers in tasks.in_order(held)
    ]


def _active_of(rows: Iterable[CurrentIds], member_epoch: int) -> ActiveTasks:
    """Before Kafka 4.3 records had no epochs of assignment: the member's counts."""
    found = {}
    for row in rows:
        epochs = row.assignment_epochs
        if epochs is None or len(epochs) != len(row.partitions):
            epochs = [member_epoch] * len(row.partitions)
        found[row.subtopology_id] = dict(zip(row.partitions, epochs, strict=True))
    return found
