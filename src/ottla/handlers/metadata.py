"""Metadata, DescribeTopicPartitions, DescribeCluster: what there is and who leads it.

A topic's part of a Metadata answer is kept as bytes, per topic and version, for
as long as its image is the current one: a thousand clients asking about ten
thousand partitions cost a join. What must be encoded anew yields to other
requests every few milliseconds.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from ottla.handlers.context import Context
from ottla.handlers.slices import answer
from ottla.handlers.topics import auto_create
from ottla.metadata.image import BrokerImage, Image, KnownBroker, PartitionImage, TopicImage
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import NO_BROKER, ZERO_UUID, BrokerId, PartitionId, Uuid
from ottla.model.names import INTERNAL_TOPICS, check_topic_name
from ottla.model.steps import Steps
from ottla.wire.codec import encode_around, encode_struct
from ottla.wire.generated.describe_cluster import (
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)
from ottla.wire.generated.describe_topic_partitions import (
    CursorResponse,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
)
from ottla.wire.generated.metadata import (
    MetadataRequest,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)

CLUSTER_OPERATIONS = sum(1 << code for code in (5, 7, 8, 9, 10, 11, 12))
"""What anyone may do to the cluster while there is no authorizer: every operation it has."""

TOPIC_OPERATIONS = sum(1 << code for code in (3, 4, 5, 6, 7, 8, 10, 11))

FIRST_BY_ID = 12

YIELD_EVERY = 400
"""Partitions encoded between two looks at other requests: a few milliseconds."""

BROKER_ENDPOINTS = 1
CONTROLLER_ENDPOINTS = 2


class EncodedTopics:
    """Topics as the bytes of a Metadata answer, kept while their image is current."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int, bool], tuple[TopicImage, bytes]] = {}

    def get(self, topic: TopicImage, version: int, operations: bool) -> bytes | None:
        kept = self._kept.get((topic.name, version, operations))
        return kept[1] if kept is not None and kept[0] is topic else None

    def put(self, topic: TopicImage, version: int, operations: bool, body: bytes) -> None:
        self._kept[topic.name, version, operations] = (topic, body)

    def forget(self, names: Iterable[str]) -> None:
        """Drop what changed."""
        gone = frozenset(names)
        for key in [key for key in self._kept if key[0] in gone]:
            del self._kept[key]


async def metadata(context: Context, request: MetadataRequest) -> bytearray:
    """Return the encoded body of a `MetadataResponse`."""
    version = context.api_version
    operations = request.include_topic_authorized_operations
    topics: list[TopicImage | MetadataResponseTopic]
    asked = request.topics
    if asked is None or (version == 0 and not asked):
        image = context.broker.image
        topics = [
            topic
            for topic in image.topics.values()
            if context.authorize("DESCRIBE", "TOPIC", topic.name)
        ]
    else:
        topics = await _asked_topics(context, request)
    bodies = await _encode_topics(context, topics, operations)
    return _join(context, request, bodies)


async def _asked_topics(
    context: Context, request: MetadataRequest
) -> list[TopicImage | MetadataResponseTopic]:
    assert request.topics is not None
    version = context.api_version
    found: list[TopicImage | MetadataResponseTopic] = []
    missing: list[str] = []
    for asked in request.topics:
        by_id = asked.topic_id != ZERO_UUID
        if (by_id and version < FIRST_BY_ID) or (not by_id and asked.name is None):
            raise ApiError(ErrorCode.INVALID_REQUEST)
    ids = dict.fromkeys(t.topic_id for t in request.topics if t.topic_id != ZERO_UUID)
    for topic_id in ids:
        topic = context.broker.image.topic_by_id(topic_id)
        found.append(topic if topic is not None else _unknown_id(topic_id))
    # Who gives one id means ids: Kafka looks at no name then.
    names = dict.fromkeys(t.name for t in request.topics if t.name is not None and not ids)
    for name in names:
        topic = context.broker.image.topics.get(name)
        if topic is None or not context.authorize("DESCRIBE", "TOPIC", name):
            missing.append(name)
        else:
            found.append(topic)
    if missing:
        may_create = request.allow_auto_topic_creation or version < 4
        created: dict[str, ErrorCode] = {}
        if may_create and context.broker.config.auto_create_topics_enable:
            created = await auto_create(context, missing)
        for number, name in enumerate(missing, 1):
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            code = created.get(name)
            if code is None:
                code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                try:
                    check_topic_name(name)
                except ApiError as error:
                    code = error.code
            made = context.broker.image.topics.get(name)
            if code is ErrorCode.NONE and made is not None:
                found.append(made)
            else:
                found.append(_unknown_name(name, code, request))
    return found


def _unknown_id(topic_id: Uuid) -> MetadataResponseTopic:
    return MetadataResponseTopic(
        error_code=ErrorCode.UNKNOWN_TOPIC_ID, name=None, topic_id=topic_id
    )


def _unknown_name(name: str, code: ErrorCode, request: MetadataRequest) -> MetadataResponseTopic:
    topic = MetadataResponseTopic(error_code=code, name=name, is_internal=name in INTERNAL_TOPICS)
    if request.include_topic_authorized_operations:
        topic.topic_authorized_operations = TOPIC_OPERATIONS
    return topic


async def _encode_topics(
    context: Context, topics: Sequence[TopicImage | MetadataResponseTopic], operations: bool
) -> list[bytes]:
    version = context.api_version
    kept: EncodedTopics = context.broker.extras["encoded_topics"]
    bodies: list[bytes] = []
    fresh = 0
    for topic in topics:
        if isinstance(topic, MetadataResponseTopic):
            body: bytes | None = encode_struct(topic, MetadataResponse, version)
            fresh += 1
        else:
            body = kept.get(topic, version, operations)
            if body is None:
                body = encode_struct(_topic(context, topic, operations), MetadataResponse, version)
                kept.put(topic, version, operations, body)
                fresh += 1 + len(topic.partitions)
        assert body is not None
        bodies.append(body)
        if fresh >= YIELD_EVERY:
            fresh = 0
            await asyncio.sleep(0)
    return bodies


def _as_it_is(
    context: Context, topic: TopicImage, number: PartitionId, state: PartitionImage
) -> PartitionImage:
    """A partition as clients should see it: only who lives leads, others are offline.

    One that this broker should lead and cannot has no leader either.
    """
    brokers = context.broker.image.brokers
    offline = tuple(
        b
        for b in state.replicas
        if b not in brokers or brokers[b].fenced or b in state.offline_replicas
    )
    if offline:
        leader = NO_BROKER if state.leader in offline else state.leader
        state = state._replace(leader=leader, offline_replicas=offline)
    if state.leader != context.broker.broker_id:
        return state
    replica = context.broker.replicas.find(topic.topic_id, number)
    if replica is not None and replica.is_leader:
        return state
    offline = tuple(b for b in state.replicas if b in offline or b == state.leader)
    return state._replace(leader=NO_BROKER, offline_replicas=offline)


def _topic(context: Context, topic: TopicImage, operations: bool) -> MetadataResponseTopic:
    states = [
        _as_it_is(context, topic, number, state) for number, state in enumerate(topic.partitions)
    ]
    response = MetadataResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=[
            MetadataResponsePartition(
                error_code=0 if state.leader >= 0 else ErrorCode.LEADER_NOT_AVAILABLE,
                partition_index=number,
                leader_id=state.leader,
                leader_epoch=state.leader_epoch,
                replica_nodes=list(state.replicas),
                isr_nodes=list(state.isr),
                offline_replicas=list(state.offline_replicas),
            )
            for number, state in enumerate(states)
        ],
    )
    if operations:
        response.topic_authorized_operations = TOPIC_OPERATIONS
    return response


def _join(context: Context, request: MetadataRequest, bodies: list[bytes]) -> bytearray:
    """The answer, with topics that are encoded already."""
    version = context.api_version
    image = context.broker.image
    brokers = []
    for broker in _serving(image):
        host, port = context.address_of(broker.broker_id)
        brokers.append(
            MetadataResponseBroker(node_id=broker.broker_id, host=host, port=port, rack=broker.rack)
        )
    response = MetadataResponse(
        brokers=brokers, cluster_id=image.cluster_id, controller_id=image.controller_id
    )
    if request.include_cluster_authorized_operations and 8 <= version <= 10:
        response.cluster_authorized_operations = CLUSTER_OPERATIONS
    return encode_around(response, version, "topics", bodies)


def _serving(image: Image) -> Sequence[BrokerImage | KnownBroker]:
    """The brokers that clients are told of: those that live.

    If nobody does, all that there are: the store was away for longer than every lease, and while
    they come back, one by one, they serve. librdkafka (2.16), told of no broker at all, forgets
    those it knows and fetches nothing any more.
    """
    alive = [broker for broker in image.brokers.values() if not broker.fenced]
    return alive or list(image.known_brokers.values())


def describe_cluster(context: Context, request: DescribeClusterRequest) -> DescribeClusterResponse:
    image = context.broker.image
    if request.endpoint_type != BROKER_ENDPOINTS:
        controllers = request.endpoint_type == CONTROLLER_ENDPOINTS
        return DescribeClusterResponse(
            error_code=(
                ErrorCode.MISMATCHED_ENDPOINT_TYPE
                if controllers
                else ErrorCode.UNSUPPORTED_ENDPOINT_TYPE
            ),
            error_message=(
                "The request was sent to an endpoint of type BROKER, but we wanted an "
                "endpoint of type CONTROLLER"
                if controllers
                else f"Unsupported endpoint type {request.endpoint_type}"
            ),
        )
    response = DescribeClusterResponse(
        cluster_id=image.cluster_id, controller_id=image.controller_id
    )
    if request.include_cluster_authorized_operations:
        response.cluster_authorized_operations = CLUSTER_OPERATIONS
    everyone: dict[BrokerId, KnownBroker | BrokerImage] = {**image.known_brokers, **image.brokers}
    for broker_id in sorted(everyone):
        alive = image.brokers.get(broker_id)
        is_fenced = alive is None or alive.fenced
        if is_fenced and not request.include_fenced_brokers:
            continue
        host, port = context.address_of(broker_id)
        response.brokers.append(
            DescribeClusterBroker(
                broker_id=broker_id,
                host=host,
                port=port,
                rack=everyone[broker_id].rack,
                is_fenced=is_fenced,
            )
        )
    return response


def describe_topic_partitions(
    context: Context, request: DescribeTopicPartitionsRequest
) -> DescribeTopicPartitionsResponse | Coroutine[Any, Any, DescribeTopicPartitionsResponse]:
    """Page through topics in the order of their names (KIP-966)."""
    broker = context.broker
    count = len(request.topics or broker.image.topics)
    return answer(broker.transport_clock, count, _page(context, request))


def _page(
    context: Context, request: DescribeTopicPartitionsRequest
) -> Steps[DescribeTopicPartitionsResponse]:
    """One page, a topic a step; all of it is of one image."""
    image = context.broker.image
    limit = max(
        1,
        min(
            request.response_partition_limit,
            context.broker.config.max_request_partition_size_limit,
        ),
    )
    cursor = request.cursor
    everything = not request.topics
    names = sorted(image.topics if everything else {topic.name for topic in request.topics})
    start = 0
    if cursor is not None:
        if cursor.partition_index < 0 or (not everything and cursor.topic_name not in names):
            return _refused(request)
        names = [name for name in names if name >= cursor.topic_name]
        if names and names[0] == cursor.topic_name:
            start = cursor.partition_index
    response = DescribeTopicPartitionsResponse()
    left = limit
    for name in names:
        yield
        if not context.authorize("DESCRIBE", "TOPIC", name):
            if not everything:
                response.topics.append(
                    DescribeTopicPartitionsResponseTopic(
                        error_code=ErrorCode.TOPIC_AUTHORIZATION_FAILED, name=name
                    )
                )
            continue
        if left == 0:
            response.next_cursor = CursorResponse(topic_name=name, partition_index=0)
            break
        topic = image.topics.get(name)
        if topic is None:
            response.topics.append(_missing(name))
            continue
        end = min(len(topic.partitions), start + left)
        response.topics.append(_described(context, topic, start, end))
        left -= max(0, end - start)
        if end < len(topic.partitions):
            response.next_cursor = CursorResponse(topic_name=name, partition_index=end)
            break
        start = 0
    return response


def _refused(request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse:
    """A cursor that cannot be: every topic asked for is told so."""
    return DescribeTopicPartitionsResponse(
        topics=[
            DescribeTopicPartitionsResponseTopic(
                error_code=ErrorCode.INVALID_REQUEST, name=topic.name
            )
            for topic in request.topics
        ]
    )


def _missing(name: str) -> DescribeTopicPartitionsResponseTopic:
    code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    try:
        check_topic_name(name)
    except ApiError as error:
        code = error.code
    return DescribeTopicPartitionsResponseTopic(
        error_code=code,
        name=name,
        is_internal=name in INTERNAL_TOPICS,
        topic_authorized_operations=TOPIC_OPERATIONS,
    )


def _last_known(state: PartitionImage) -> list[BrokerId]:
    return [] if state.last_known_leader == NO_BROKER else [state.last_known_leader]


def _described(
    context: Context, topic: TopicImage, start: int, end: int
) -> DescribeTopicPartitionsResponseTopic:
    states = [
        (number, _as_it_is(context, topic, number, topic.partitions[number]))
        for number in range(start, end)
    ]
    return DescribeTopicPartitionsResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.name in INTERNAL_TOPICS,
        topic_authorized_operations=TOPIC_OPERATIONS,
        partitions=[
            DescribeTopicPartitionsResponsePartition(
                error_code=0 if state.leader >= 0 else ErrorCode.LEADER_NOT_AVAILABLE,
                partition_index=number,
                leader_id=state.leader,
                leader_epoch=state.leader_epoch,
                replica_nodes=list(state.replicas),
                isr_nodes=list(state.isr),
                eligible_leader_replicas=list(state.elr),
                last_known_elr=_last_known(state),
                offline_replicas=list(state.offline_replicas),
            )
            for number, state in states
        ],
    )
