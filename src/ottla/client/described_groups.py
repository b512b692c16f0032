"""A group of any kind as its coordinator describes it: members, and what each of them reads.

Each kind has a request of its own, which knows nothing of the others. So they
are asked one after the other, the usual kinds first, until one knows the group.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from ottla.client.cluster_view import ClusterView, check
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import BrokerId, TopicPartition
from ottla.wire.codec import decode

CONSUMER_PROTOCOL = "consumer"

NOT_THIS_KIND = frozenset({ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.UNSUPPORTED_VERSION})


class Member(NamedTuple):
    """`partitions` are what it reads: in a streams group the inputs of its active tasks."""

    member_id: str
    instance_id: str | None
    client_id: str
    host: str
    partitions: tuple[TopicPartition, ...]


class DescribedGroup(NamedTuple):
    """`balancer` is the assignor's name; "" where there is none, or none is told."""

    group: str
    kind: str
    state: str
    balancer: str
    coordinator: BrokerId
    members: tuple[Member, ...]


async def describe(view: ClusterView, group: str) -> DescribedGroup:
    """One attempt, without retries.

    Raises:
        ApiError: GROUP_ID_NOT_FOUND; nobody knows the group.
    """
    coordinator = await view.coordinator(group)
    kinds: tuple[Callable[[ClusterView, str, BrokerId], Awaitable[DescribedGroup | None]], ...]
    kinds = (_consumer_group, _classic_group, _share_group, _streams_group)
    for kind in kinds:
        found = await kind(view, group, coordinator)
        if found is not None:
            return found
    raise ApiError(ErrorCode.GROUP_ID_NOT_FOUND, f"group {group!r} does not exist")


async def _answer(view: ClusterView, group: str, coordinator: BrokerId, request: Any) -> Any | None:
    """What the coordinator says of the group; None, if it is of another kind or not there."""
    link = await view.link(coordinator)
    if not link.serves(type(request)):
        return None
    answer = (await view.send(request, coordinator)).groups[0]
    if answer.error_code in NOT_THIS_KIND:
        return None
    check(answer.error_code, answer.error_message, about=f"group {group!r}")
    return answer


async def _consumer_group(
    view: ClusterView, group: str, coordinator: BrokerId
) -> DescribedGroup | None:
    from ottla.wire.generated.consumer_group_describe import ConsumerGroupDescribeRequest

    request = ConsumerGroupDescribeRequest(group_ids=[group])
    answer = await _answer(view, group, coordinator, request)
    if answer is None:
        return None
    members = tuple(_with_partitions(each, each.instance_id) for each in answer.members)
    return DescribedGroup(
        group, "consumer", answer.group_state, answer.assignor_name, coordinator, members
    )


async def _share_group(
    view: ClusterView, group: str, coordinator: BrokerId
) -> DescribedGroup | None:
    from ottla.wire.generated.share_group_describe import ShareGroupDescribeRequest

    request = ShareGroupDescribeRequest(group_ids=[group])
    answer = await _answer(view, group, coordinator, request)
    if answer is None:
        return None
    members = tuple(_with_partitions(each, None) for each in answer.members)
    return DescribedGroup(
        group, "share", answer.group_state, answer.assignor_name, coordinator, members
    )


def _with_partitions(member: Any, instance_id: str | None) -> Member:
    return Member(
        member.member_id,
        instance_id,
        member.client_id,
        member.client_host,
        tuple(
            TopicPartition(topic.topic_name, index)
            for topic in member.assignment.topic_partitions
            for index in topic.partitions
        ),
    )


async def _classic_group(
    view: ClusterView, group: str, coordinator: BrokerId
) -> DescribedGroup | None:
    """Before version 6 a group that nobody knows is dead."""
    from ottla.wire.generated.describe_groups import DescribeGroupsRequest

    answer = await _answer(view, group, coordinator, DescribeGroupsRequest(groups=[group]))
    if answer is None or answer.group_state == "Dead":
        return None
    members = tuple(
        Member(
            each.member_id,
            each.group_instance_id,
            each.client_id,
            each.client_host,
            assigned_partitions(each.member_assignment)
            if answer.protocol_type == CONSUMER_PROTOCOL
            else (),
        )
        for each in answer.members
    )
    return DescribedGroup(
        group, "classic", answer.group_state, answer.protocol_data, coordinator, members
    )


def assigned_partitions(blob: bytes) -> tuple[TopicPartition, ...]:
    """What the bytes of a classic member's assignment give it: version, then the message.

    Raises:
        ProtocolError: the bytes are not an assignment.
    """
    if len(blob) < 2:
        return ()
    from ottla.wire.generated.consumer_protocol_assignment import (
        ConsumerProtocolAssignment,
    )

    version = int.from_bytes(blob[:2], "big", signed=True)
    version = max(0, min(version, ConsumerProtocolAssignment.MAX_VERSION))
    assignment, _ = decode(ConsumerProtocolAssignment, version, blob, 2)
    return tuple(
        TopicPartition(topic.topic, index)
        for topic in assignment.assigned_partitions
        for index in topic.partitions
    )


async def _streams_group(
    view: ClusterView, group: str, coordinator: BrokerId
) -> DescribedGroup | None:
    from ottla.wire.generated.streams_group_describe import StreamsGroupDescribeRequest

    request = StreamsGroupDescribeRequest(group_ids=[group])
    answer = await _answer(view, group, coordinator, request)
    if answer is None:
        return None
    subtopologies = [] if answer.topology is None else answer.topology.subtopologies or []
    inputs = {
        each.subtopology_id: [
            *each.source_topics,
            *(topic.name for topic in each.repartition_source_topics),
        ]
        for each in subtopologies
    }
    names = list(dict.fromkeys(name for topics in inputs.values() for name in topics))
    if names:
        await view.refresh(names)
    members = tuple(
        Member(
            each.member_id,
            each.instance_id,
            each.client_id,
            each.client_host,
            tuple(
                TopicPartition(name, index)
                for task in each.assignment.active_tasks
                for name in inputs.get(task.subtopology_id, ())
                for index in task.partitions
                if name in view.topics and index < len(view.topics[name].partitions)
            ),
        )
        for each in answer.members
    )
    return DescribedGroup(group, "streams", answer.group_state, "", coordinator, members)
