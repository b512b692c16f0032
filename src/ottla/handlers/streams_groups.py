"""StreamsGroupHeartbeat and StreamsGroupDescribe (KIP-1071)."""

from collections.abc import Iterable
from typing import Any

from ottla.coordinator.group.streams import configured, describe, heartbeat
from ottla.coordinator.group.streams.configured import InternalTopic
from ottla.coordinator.group.streams.group import StreamsGroup
from ottla.handlers.context import Context
from ottla.handlers.groups import DENIED, caller_of, operations
from ottla.handlers.membership import came_by
from ottla.handlers.topics import create_named
from ottla.metadata.controller import NewTopic
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicName
from ottla.model.names import INTERNAL_TOPICS, check_topic_name
from ottla.wire.generated.streams_group_describe import (
    DescribedGroup,
    StreamsGroupDescribeRequest,
    StreamsGroupDescribeResponse,
    Subtopology,
)
from ottla.wire.generated.streams_group_heartbeat import (
    Status,
    StreamsGroupHeartbeatRequest,
    StreamsGroupHeartbeatResponse,
    Topology,
)

NAMED = 3
"""How many topics that could not be made are named."""


async def streams_group_heartbeat(
    context: Context, request: StreamsGroupHeartbeatRequest
) -> StreamsGroupHeartbeatResponse:
    """Join, keep alive, move on, leave. Internal topics that are missing are made first.

    Kafka makes them after it has answered, and the member has its tasks a
    heartbeat interval later.
    """
    if not _is_enabled(context):
        return StreamsGroupHeartbeatResponse(error_code=ErrorCode.UNSUPPORTED_VERSION)
    if not context.authorize("READ", "GROUP", request.group_id):
        return StreamsGroupHeartbeatResponse(error_code=DENIED)
    try:
        if request.topology is not None:
            _check_topics(context, request.topology)
        heartbeat.check_request(request)
        refused = await _make_topics(context, request)
        response: StreamsGroupHeartbeatResponse = await context.broker.groups.decide(
            request.group_id,
            lambda shard, waiter, now_ms: heartbeat.heartbeat(
                shard, request, caller_of(context), waiter, now_ms
            ),
        )
    except ApiError as error:
        return StreamsGroupHeartbeatResponse(error_code=error.code, error_message=error.message)
    _tell_refused(response.status or (), refused)
    came_by(context, request.group_id, response.member_id)
    return response


def _is_enabled(context: Context) -> bool:
    protocols = context.broker.config.values["group.coordinator.rebalance.protocols"]
    assert isinstance(protocols, tuple)
    return "streams" in protocols


def _check_topics(context: Context, topology: Topology) -> None:
    """Raises ApiError: the topology has a topic it may not have, or not see."""
    names = list(
        dict.fromkeys(
            name
            for subtopology in topology.subtopologies
            for name in (
                *subtopology.source_topics,
                *subtopology.repartition_sink_topics,
                *(info.name for info in subtopology.repartition_source_topics),
                *(info.name for info in subtopology.state_changelog_topics),
            )
        )
    )
    internal = [name for name in names if name in INTERNAL_TOPICS]
    if internal:
        raise ApiError(
            ErrorCode.STREAMS_INVALID_TOPOLOGY,
            f"Use of Kafka internal topics {','.join(internal)} in a Kafka Streams topology is "
            "prohibited.",
        )
    illegal = [name for name in names if not _is_legal(name)]
    if illegal:
        raise ApiError(
            ErrorCode.STREAMS_INVALID_TOPOLOGY,
            f"Topic names {','.join(illegal)} are not valid topic names.",
        )
    for name in names:
        if not context.authorize("DESCRIBE", "TOPIC", name):
            raise ApiError(ErrorCode.TOPIC_AUTHORIZATION_FAILED)


def _is_legal(name: TopicName) -> bool:
    try:
        check_topic_name(name)
    except ApiError:
        return False
    return True


# Internal topics


async def _make_topics(context: Context, request: StreamsGroupHeartbeatRequest) -> list[str]:
    """Make what the topology needs and is not there; return what is to be said of the others."""
    known = context.broker.groups.peek_any(request.group_id)
    has_topics = isinstance(known, StreamsGroup) and known.has_its_topics
    if request.member_epoch < 0 or has_topics:
        return []
    missing = await context.broker.groups.look(
        request.group_id, lambda shard: heartbeat.missing_topics(shard, request)
    )
    if not missing:
        return []
    denied = _denied(context, missing)
    if denied:
        return [f"Unauthorized to CREATE on topics {', '.join(denied)}."]
    refused = await create_named(
        context.broker,
        [
            NewTopic(
                topic.name,
                topic.partition_count,
                topic.replication_factor or -1,
                (),
                dict(topic.configs),
            )
            for topic in missing
        ],
    )
    if not refused:
        return []
    rows = [f"{name} ({error.message or error.code.name})" for name, error in refused.items()]
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return [f"Creation failed: {', '.join(rows[:NAMED])}{more}."]


def _denied(context: Context, topics: Iterable[InternalTopic]) -> list[TopicName]:
    if context.authorize("CREATE", "CLUSTER", "kafka-cluster"):
        return []
    return [topic.name for topic in topics if not context.authorize("CREATE", "TOPIC", topic.name)]


def _tell_refused(statuses: Iterable[Status], refused: list[str]) -> None:
    for status in statuses:
        if status.status_code == configured.MISSING_INTERNAL_TOPICS:
            status.status_detail = "; ".join([status.status_detail, *refused])


# Describing


async def streams_group_describe(
    context: Context, request: StreamsGroupDescribeRequest
) -> StreamsGroupDescribeResponse:
    """Denied groups first; a group with a topic the client may not see is denied, too."""
    response = StreamsGroupDescribeResponse()
    if not _is_enabled(context):
        code = ErrorCode.UNSUPPORTED_VERSION
        response.groups = [
            DescribedGroup(group_id=group_id, error_code=code) for group_id in request.group_ids
        ]
        return response
    allowed = []
    for group_id in request.group_ids:
        if context.authorize("DESCRIBE", "GROUP", group_id):
            allowed.append(group_id)
        else:
            response.groups.append(DescribedGroup(group_id=group_id, error_code=DENIED))
    for group_id in allowed:
        group = await _described(context, group_id)
        if not group.error_code:
            if not _may_see(context, group):
                group = DescribedGroup(
                    group_id=group.group_id,
                    error_code=ErrorCode.TOPIC_AUTHORIZATION_FAILED,
                    error_message="The described group uses topics that the client is not "
                    "authorized to describe.",
                )
            elif request.include_authorized_operations:
                group.authorized_operations = operations(context, group.group_id)
        response.groups.append(group)
    return response


async def _described(context: Context, group_id: str) -> DescribedGroup:
    try:
        if not group_id:
            raise ApiError(ErrorCode.INVALID_GROUP_ID)
        return await context.broker.groups.look(
            group_id, lambda shard: describe.describe(shard, group_id)
        )
    except ApiError as error:
        return DescribedGroup(group_id=group_id, error_code=error.code, error_message=error.message)


def _may_see(context: Context, group: DescribedGroup) -> bool:
    topology: Any = group.topology
    subtopologies: list[Subtopology] = [] if topology is None else topology.subtopologies
    names = {
        name
        for subtopology in subtopologies
        for name in (
            *subtopology.source_topics,
            *subtopology.repartition_sink_topics,
            *(topic.name for topic in subtopology.repartition_source_topics),
            *(topic.name for topic in subtopology.state_changelog_topics),
        )
    }
    return all(context.authorize("DESCRIBE", "TOPIC", name) for name in sorted(names))
