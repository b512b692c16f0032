"""StreamsGroupDescribe: a streams group as administrators see it."""

from collections.abc import Iterable, Mapping

from ottla.coordinator.group.shard import GroupShard
from ottla.coordinator.group.streams.configured import ConfiguredSubtopology, InternalTopic
from ottla.coordinator.group.streams.group import StreamsGroup
from ottla.coordinator.group.streams.member import StreamsMember
from ottla.coordinator.group.streams.tasks import NOTHING_WANTED, Held, Wanted, in_order
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import PartitionId
from ottla.wire.generated.records.streams_group_topology_value import (
    Subtopology as StoredSubtopology,
)
from ottla.wire.generated.records.streams_group_topology_value import TopicInfo as StoredTopic
from ottla.wire.generated.streams_group_describe import (
    Assignment,
    DescribedGroup,
    Endpoint,
    KeyValue,
    Member,
    Subtopology,
    TaskIds,
    TopicInfo,
    Topology,
)


def describe(shard: GroupShard, group_id: str) -> DescribedGroup:
    """One group; `authorized_operations` is left open. Raises ApiError: GROUP_ID_NOT_FOUND."""
    group = shard.groups.get(group_id)
    if not isinstance(group, StreamsGroup):
        what = "not found." if group is None else "is not a streams group."
        raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} {what}")
    return DescribedGroup(
        group_id=group_id,
        group_state=group.state_name,
        group_epoch=group.epoch,
        assignment_epoch=group.target_epoch,
        topology=_topology(group),
        members=[
            _member(member, group.targets.get(member.member_id, NOTHING_WANTED))
            for member in group.members.values()
        ],
    )


def _topology(group: StreamsGroup) -> Topology | None:
    """With the partition counts found out, where it is ready; else as members sent it."""
    if group.topology is None:
        return None
    configured = group.configured
    if configured is not None and configured.is_ready:
        rows = [_configured(name, row) for name, row in configured.subtopologies.items()]
    else:
        stored = group.topology.subtopologies
        rows = [_stored(stored[name]) for name in sorted(stored)]
    return Topology(epoch=group.topology.epoch, subtopologies=rows)


def _configured(subtopology_id: str, subtopology: ConfiguredSubtopology) -> Subtopology:
    def rows(topics: Iterable[InternalTopic]) -> list[TopicInfo]:
        return [
            _topic(topic.name, topic.partition_count, topic.replication_factor, topic.configs)
            for topic in topics
        ]

    return Subtopology(
        subtopology_id=subtopology_id,
        source_topics=list(subtopology.source_topics),
        repartition_sink_topics=list(subtopology.repartition_sink_topics),
        repartition_source_topics=rows(subtopology.repartition_source_topics),
        state_changelog_topics=rows(subtopology.changelog_topics),
    )


def _stored(subtopology: StoredSubtopology) -> Subtopology:
    def rows(topics: Iterable[StoredTopic]) -> list[TopicInfo]:
        return [
            _topic(
                topic.name,
                topic.partitions,
                topic.replication_factor,
                {config.key: config.value for config in topic.topic_configs},
            )
            for topic in sorted(topics, key=lambda topic: topic.name)
        ]

    return Subtopology(
        subtopology_id=subtopology.subtopology_id,
        source_topics=sorted(subtopology.source_topics),
        repartition_sink_topics=sorted(subtopology.repartition_sink_topics),
        repartition_source_topics=rows(subtopology.repartition_source_topics),
        state_changelog_topics=rows(subtopology.state_changelog_topics),
    )


def _topic(name: str, count: int, replicas: int, configs: Mapping[str, str]) -> TopicInfo:
    return TopicInfo(
        name=name,
        partitions=count,
        replication_factor=replicas,
        topic_configs=[KeyValue(key=key, value=value) for key, value in configs.items()],
    )


def _member(member: StreamsMember, target: Wanted) -> Member:
    endpoint = member.user_endpoint
    return Member(
        member_id=member.member_id,
        member_epoch=member.epoch,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        client_id=member.client_id,
        client_host=member.client_host,
        topology_epoch=member.topology_epoch,
        process_id=member.process_id,
        user_endpoint=None if endpoint is None else Endpoint(host=endpoint[0], port=endpoint[1]),
        client_tags=[KeyValue(key=key, value=value) for key, value in member.client_tags.items()],
        assignment=_assignment(member.assigned),
        target_assignment=_assignment(target),
    )


def _assignment(tasks: Held | Wanted) -> Assignment:
    return Assignment(
        active_tasks=_rows(tasks.active),
        standby_tasks=_rows(tasks.standby),
        warmup_tasks=_rows(tasks.warmup),
    )


def _rows(tasks: Mapping[str, Iterable[PartitionId]]) -> list[TaskIds]:
    return [TaskIds(subtopology_id=name, partitions=numbers) for name, numbers in in_order(tasks)]
