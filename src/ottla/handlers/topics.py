"""CreateTopics, DeleteTopics, CreatePartitions, and creation on first use."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ottla.config.broker_config import BrokerConfig
from ottla.config.key import format_value
from ottla.config.resolve import ConfigSource
from ottla.config.topic_config import check_topic_config, topic_config
from ottla.config.topic_keys import TOPIC_KEYS
from ottla.handlers.context import BrokerViews, Context
from ottla.handlers.forwarded import Forwarder
from ottla.handlers.slices import Slices
from ottla.metadata import controller
from ottla.metadata.controller import Defaults, NewTopic, Writes
from ottla.metadata.image import Image, TopicImage
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import ZERO_UUID, TopicName, Uuid
from ottla.model.names import (
    CONSUMER_OFFSETS,
    INTERNAL_TOPICS,
    SHARE_GROUP_STATE,
    TRANSACTION_STATE,
    check_topic_name,
)
from ottla.model.steps import Steps
from ottla.wire.codec import encode_around, encode_struct, encode_struct_around
from ottla.wire.generated.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
)
from ottla.wire.generated.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from ottla.wire.generated.delete_topics import (
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)

log = logging.getLogger("ottla.topics")

FIRST_WITH_CONFIGS = 5


async def create_topics(context: Context, request: CreateTopicsRequest) -> bytearray:
    """Return the encoded body of a `CreateTopicsResponse`."""
    counts = Counter(topic.name for topic in request.topics)
    wanted = [_new_topic(topic) for topic in request.topics if counts[topic.name] == 1]
    outcomes = await _create(context.broker, wanted, validate_only=request.validate_only)
    results = []
    slices = Slices(context.broker.transport_clock)
    for name, count in counts.items():
        if slices.is_over():
            await slices.rest()
        if count > 1:
            outcome: TopicImage | ApiError = ApiError(
                ErrorCode.INVALID_REQUEST, "Duplicate topic name."
            )
        else:
            outcome = outcomes[name]
        if isinstance(outcome, ApiError):
            refused = CreatableTopicResult(
                name=name, error_code=outcome.code, error_message=outcome.message
            )
            results.append(encode_struct(refused, CreateTopicsResponse, context.api_version))
        else:
            results.append(_created(context, outcome))
    await slices.rest_before_answer()
    return encode_around(CreateTopicsResponse(), context.api_version, "topics", results)


def _new_topic(topic: CreatableTopic) -> NewTopic:
    return NewTopic(
        topic.name,
        topic.num_partitions,
        topic.replication_factor,
        [(row.partition_index, tuple(row.broker_ids)) for row in topic.assignments],
        {config.name: config.value for config in topic.configs},
    )


def _created(context: Context, topic: TopicImage) -> bytes:
    """The answer to a topic that was created, encoded."""
    version = context.api_version
    result = CreatableTopicResult(
        name=topic.name,
        topic_id=topic.topic_id,
        error_message=None,
        num_partitions=len(topic.partitions),
        replication_factor=len(topic.partitions[0].replicas),
    )
    if version < FIRST_WITH_CONFIGS:
        return encode_struct(result, CreateTopicsResponse, version)
    config = context.broker.config
    rows = context.broker.config_rows.of(
        config,
        ("created", version, *sorted(topic.configs.items())),
        lambda: [
            encode_struct(row, CreateTopicsResponse, version) for row in _described(config, topic)
        ],
    )
    return encode_struct_around(result, CreateTopicsResponse, version, "configs", rows)


def _described(config: BrokerConfig, topic: TopicImage) -> list[CreatableTopicConfigs]:
    settings = topic_config(config, topic.configs, strict=False)
    return [
        CreatableTopicConfigs(
            name=name,
            value=format_value(settings.values[name], key.type),
            read_only=False,
            config_source=settings.source(name),
            is_sensitive=False,
        )
        for name, key in TOPIC_KEYS.items()
    ]


async def _create(
    broker: BrokerViews, topics: list[NewTopic], *, validate_only: bool = False
) -> dict[TopicName, TopicImage | ApiError]:
    """Create topics by the controller, which may be another broker."""
    while topics:
        forwarder = broker.forwarder
        if forwarder is None or broker.image.controller_id == broker.broker_id:
            return await _create_here(broker, topics, validate_only=validate_only)
        try:
            return await _create_elsewhere(broker, forwarder, topics)
        except ApiError as error:
            if error.code is not ErrorCode.NOT_CONTROLLER:
                raise
    return {}


CREATE_TOPICS_VERSION = 7


async def _create_elsewhere(
    broker: BrokerViews, forwarder: Forwarder, topics: list[NewTopic]
) -> dict[TopicName, TopicImage | ApiError]:
    timeout_ms = broker.config.request_timeout_ms
    request = CreateTopicsRequest(
        topics=[
            CreatableTopic(
                name=topic.name,
                num_partitions=topic.partitions,
                replication_factor=topic.replication_factor,
                configs=[
                    CreatableTopicConfig(name=name, value=value)
                    for name, value in topic.configs.items()
                ],
            )
            for topic in topics
        ],
        timeout_ms=timeout_ms,
    )
    answer: Any = await forwarder.ask(
        request,
        CREATE_TOPICS_VERSION,
        principal=f"User:broker-{broker.broker_id}",
        host="",
        client_id=None,
        timeout_ms=timeout_ms,
    )
    outcomes: dict[TopicName, TopicImage | ApiError] = {}
    for row in answer.topics:
        code = ErrorCode(row.error_code)
        if code in (ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS):
            # Also of one made by somebody else a moment ago this broker may not have heard yet.
            await forwarder.followed(partial(_has_topic, row.name))
        if code:
            outcomes[row.name] = ApiError(code, row.error_message)
        else:
            outcomes[row.name] = broker.image.topics[row.name]
    return outcomes


def _has_topic(name: TopicName, image: Image) -> bool:
    return name in image.topics


async def _create_here(
    broker: BrokerViews, topics: list[NewTopic], *, validate_only: bool
) -> dict[TopicName, TopicImage | ApiError]:
    config = broker.config
    defaults = Defaults(config.num_partitions, config.default_replication_factor)

    def decide(image: Image) -> Steps[tuple[Writes, Any]]:
        writes, outcomes = yield from controller.create_topics_in_steps(
            image,
            topics,
            defaults,
            lambda overrides: check_topic_config(config, overrides),
            broker.randomness,
        )
        return (Writes() if validate_only else writes), outcomes

    outcomes: dict[TopicName, TopicImage | ApiError] = await broker.control.change(decide)
    return outcomes


def internal_topic(broker: BrokerViews, name: TopicName) -> NewTopic:
    """How an internal topic is made: partitions, replicas and settings Kafka gives it.

    Where nobody says how many replicas, there are as many as brokers to have them, three at most.
    """
    config = broker.config
    if name == CONSUMER_OFFSETS:
        return NewTopic(
            name,
            config.offsets_topic_num_partitions,
            _replicas(broker, name, "offsets.topic.replication.factor"),
            (),
            {
                "cleanup.policy": "compact",
                "compression.type": "producer",
                "segment.bytes": str(config.offsets_topic_segment_bytes),
            },
        )
    if name == TRANSACTION_STATE:
        replicas = _replicas(broker, name, "transaction.state.log.replication.factor")
        return NewTopic(
            name,
            config.transaction_state_log_num_partitions,
            replicas,
            (),
            {
                "cleanup.policy": "compact",
                "compression.type": "uncompressed",
                "min.insync.replicas": _min_isr(config, "transaction.state.log.min.isr", replicas),
                "segment.bytes": str(config.transaction_state_log_segment_bytes),
                "unclean.leader.election.enable": "false",
            },
        )
    assert name == SHARE_GROUP_STATE
    replicas = _replicas(broker, name, "share.coordinator.state.topic.replication.factor")
    return NewTopic(
        name,
        _integer(config, "share.coordinator.state.topic.num.partitions"),
        replicas,
        (),
        {
            "cleanup.policy": "delete",
            "compression.type": "uncompressed",
            "min.insync.replicas": _min_isr(
                config, "share.coordinator.state.topic.min.isr", replicas
            ),
            "retention.ms": "-1",
            "segment.bytes": str(config.values["share.coordinator.state.topic.segment.bytes"]),
        },
    )


def _replicas(broker: BrokerViews, topic: TopicName, setting: str) -> int:
    """As the setting says; its default is more than a small cluster has brokers for."""
    wanted = _integer(broker.config, setting)
    usable = sum(each.is_usable for each in broker.image.brokers.values())
    if broker.config.source(setting) is not ConfigSource.DEFAULT or usable >= wanted:
        return wanted
    if broker.forwarder is not None:
        log.warning(
            "%s is made with %d instead of %d replicas: there are no more brokers now",
            topic,
            max(1, usable),
            wanted,
        )
    return max(1, usable)


def _min_isr(config: BrokerConfig, setting: str, replicas: int) -> str:
    """As the setting says; its default leaves a replica that may be missing."""
    wanted = _integer(config, setting)
    if config.source(setting) is ConfigSource.DEFAULT:
        wanted = max(1, min(wanted, replicas - 1))
    return str(wanted)


def _integer(config: BrokerConfig, name: str) -> int:
    value = config.values[name]
    assert isinstance(value, int)
    return value


async def auto_create(context: Context, names: list[TopicName]) -> dict[TopicName, ErrorCode]:
    """Create topics a client asked about; NONE where the topic is there now."""
    codes: dict[TopicName, ErrorCode] = {}
    wanted = []
    for name in names:
        try:
            check_topic_name(name)
        except ApiError as error:
            codes[name] = error.code
            continue
        if name in INTERNAL_TOPICS:
            wanted.append(internal_topic(context.broker, name))
        else:
            wanted.append(NewTopic(name))
    outcomes = await _create(context.broker, wanted)
    for name, outcome in outcomes.items():
        if isinstance(outcome, TopicImage) or outcome.code is ErrorCode.TOPIC_ALREADY_EXISTS:
            codes[name] = ErrorCode.NONE
        else:
            codes[name] = outcome.code
    return codes


async def ensure_internal_topic(broker: BrokerViews, name: TopicName) -> None:
    """Create an internal topic unless it is there.

    Raises:
        ApiError: COORDINATOR_NOT_AVAILABLE, it could not be created, and why: clients ask again.
    """
    if name in broker.image.topics:
        return
    try:
        outcome = (await _create(broker, [internal_topic(broker, name)]))[name]
        if isinstance(outcome, ApiError) and outcome.code is not ErrorCode.TOPIC_ALREADY_EXISTS:
            raise outcome
    except ApiError as error:
        why = error.message or error.code.name
        raise ApiError(ErrorCode.COORDINATOR_NOT_AVAILABLE, f"{name}: {why}") from error


async def create_named(broker: BrokerViews, topics: list[NewTopic]) -> dict[TopicName, ApiError]:
    """Create topics for a coordinator; return those that are not there, and why."""
    outcomes = await _create(broker, topics)
    return {
        name: outcome
        for name, outcome in outcomes.items()
        if isinstance(outcome, ApiError) and outcome.code is not ErrorCode.TOPIC_ALREADY_EXISTS
    }


async def create_missing(broker: BrokerViews, topics: Sequence[NewTopic]) -> None:
    """Create what was asked for at the start, unless it is there.

    Raises:
        ApiError: one of them cannot be created.
    """
    missing = [topic for topic in topics if topic.name not in broker.image.topics]
    for outcome in (await _create(broker, missing)).values():
        if isinstance(outcome, ApiError):
            raise outcome


async def delete_topics(context: Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse:
    if context.api_version >= 6:
        asked = request.topics
    else:
        asked = [DeleteTopicState(name=name) for name in request.topic_names]
    if not context.broker.config.delete_topic_enable:
        if context.api_version < 3:
            raise ApiError(ErrorCode.INVALID_REQUEST, "Topic deletion is disabled.")
        raise ApiError(ErrorCode.TOPIC_DELETION_DISABLED)

    def decide(image: Image) -> tuple[Writes, Any]:
        results, found = _check_deletions(image, asked)
        return controller.delete_topics(image, [t.topic_id for t in found]), results

    results: list[DeletableTopicResult] = await context.broker.control.change(decide)
    return DeleteTopicsResponse(responses=results)


def _check_deletions(
    image: Image, asked: list[DeleteTopicState]
) -> tuple[list[DeletableTopicResult], list[TopicImage]]:
    """What to answer, one result for each thing named, and which topics to delete."""
    results: list[DeletableTopicResult] = []

    def refuse(name: TopicName | None, topic_id: Uuid, code: ErrorCode, message: str) -> None:
        results.append(
            DeletableTopicResult(
                name=name, topic_id=topic_id, error_code=code, error_message=message
            )
        )

    invalid = ErrorCode.INVALID_REQUEST
    names: Counter[TopicName] = Counter()
    ids: Counter[Uuid] = Counter()
    for state in asked:
        by_id = state.topic_id != ZERO_UUID
        if by_id and state.name is not None:
            message = "You may not specify both topic name and topic id."
            refuse(state.name, state.topic_id, invalid, message)
        elif by_id:
            ids[state.topic_id] += 1
        elif state.name is not None:
            names[state.name] += 1
        else:
            refuse(None, ZERO_UUID, invalid, "Neither topic name nor id were specified.")
    found: dict[Uuid, TopicImage] = {}
    for topic_id, count in ids.items():
        topic = image.topic_by_id(topic_id)
        if count > 1:
            refuse(None, topic_id, invalid, "Duplicate topic id.")
        elif topic is None:
            message = "This server does not host this topic ID."
            refuse(None, topic_id, ErrorCode.UNKNOWN_TOPIC_ID, message)
        else:
            found[topic_id] = topic
    for name, count in names.items():
        topic = image.topics.get(name)
        if count > 1:
            refuse(name, ZERO_UUID, invalid, "Duplicate topic name.")
        elif topic is None:
            message = "This server does not host this topic-partition."
            refuse(name, ZERO_UUID, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, message)
        elif topic.topic_id in ids:
            found.pop(topic.topic_id, None)
            message = "The provided topic name maps to an ID that was already supplied."
            refuse(name, topic.topic_id, invalid, message)
        else:
            found[topic.topic_id] = topic
    for topic in found.values():
        results.append(DeletableTopicResult(name=topic.name, topic_id=topic.topic_id))
    return results, list(found.values())


async def create_partitions(
    context: Context, request: CreatePartitionsRequest
) -> CreatePartitionsResponse:
    counts = Counter(topic.name for topic in request.topics)
    wanted = {topic.name: topic for topic in request.topics}

    def decide(image: Image) -> tuple[Writes, Any]:
        return _decide_partitions(image, wanted, counts, validate_only=request.validate_only)

    results = await context.broker.control.change(decide)
    return CreatePartitionsResponse(results=results)


def _decide_partitions(
    image: Image,
    wanted: Mapping[TopicName, CreatePartitionsTopic],
    counts: Mapping[TopicName, int],
    *,
    validate_only: bool,
) -> tuple[Writes, list[CreatePartitionsTopicResult]]:
    puts: list[tuple[str, bytes]] = []
    results = []
    for name, topic in wanted.items():
        result = CreatePartitionsTopicResult(name=name)
        results.append(result)
        assignments = (
            None
            if topic.assignments is None
            else [tuple(row.broker_ids) for row in topic.assignments]
        )
        try:
            if counts[name] > 1:
                raise ApiError(ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
            writes = controller.create_partitions(image, name, topic.count, assignments)
        except ApiError as error:
            result.error_code, result.error_message = error.code, error.message
            continue
        if not validate_only:
            puts += writes.puts
    return Writes(tuple(puts)), results
