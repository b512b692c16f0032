"""DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, ListConfigResources.

Settings of brokers, topics, groups and client metrics are metadata: a change is
decided on the newest image, and each resource succeeds or fails by itself. Log
levels are not stored; they are changed here, at once, until the next start.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ottla.config.alter import Change, Operation, altered, check, check_request
from ottla.config.broker_config import BrokerConfig
from ottla.config.describe import (
    EVERYTHING,
    Entry,
    describe_all_brokers,
    describe_broker,
    describe_client_metrics,
    describe_group,
    describe_topic,
)
from ottla.config.loggers import Loggers, change_log_levels, check_log_levels
from ottla.config.resolve import ConfigSource
from ottla.handlers.config_rows import ConfigRows
from ottla.handlers.slices import Slices
from ottla.metadata.changes import config_key, config_name
from ottla.metadata.controller import Writes
from ottla.metadata.image import ConfigResource, Image
from ottla.model.clock import Clock
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import BrokerId
from ottla.model.isolation import ResourceType
from ottla.model.names import check_topic_name
from ottla.wire.codec import encode_around, encode_struct, encode_struct_around
from ottla.wire.generated import alter_configs as legacy
from ottla.wire.generated import incremental_alter_configs as incremental
from ottla.wire.generated.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)
from ottla.wire.generated.list_config_resources import ConfigResource as ListedResource
from ottla.wire.generated.list_config_resources import (
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)


class Control(Protocol):
    async def change(self, decide: Callable[[Image], tuple[Writes, Any]], /) -> Any:
        """Decide on the newest image, write, and return the decision's answer once followed."""


class Broker(Protocol):
    """What is needed of the broker's views."""

    @property
    def broker_id(self) -> BrokerId: ...
    @property
    def config(self) -> BrokerConfig: ...
    @property
    def image(self) -> Image: ...
    @property
    def control(self) -> Control: ...
    @property
    def loggers(self) -> Loggers: ...
    @property
    def transport_clock(self) -> Clock: ...
    @property
    def config_rows(self) -> ConfigRows: ...


class Context(Protocol):
    """What is needed of a request's context."""

    @property
    def api_version(self) -> int: ...
    @property
    def broker(self) -> Broker: ...
    def authorize(self, operation: str, resource_type: str, name: str) -> bool: ...


CLUSTER = "kafka-cluster"
"""The one resource of type CLUSTER there is."""

_NOTHING_SET: Mapping[str, str] = {}


def _may(context: Context, operation: str, resource_type: int, name: str) -> ErrorCode:
    """NONE, or the code for one who may not do `operation` to the settings of a resource."""
    if resource_type == ResourceType.TOPIC:
        allowed = context.authorize(operation, "TOPIC", name)
        return ErrorCode.NONE if allowed else ErrorCode.TOPIC_AUTHORIZATION_FAILED
    if resource_type == ResourceType.GROUP:
        allowed = context.authorize(operation, "GROUP", name)
        return ErrorCode.NONE if allowed else ErrorCode.GROUP_AUTHORIZATION_FAILED
    allowed = context.authorize(operation, "CLUSTER", CLUSTER)
    return ErrorCode.NONE if allowed else ErrorCode.CLUSTER_AUTHORIZATION_FAILED


# Describing


async def describe_configs(context: Context, request: DescribeConfigsRequest) -> bytearray:
    """Describe each resource; one of a type that is not known fails them all.

    Returns the encoded body of a `DescribeConfigsResponse`: with documentation
    a topic's rows are 15 KiB, and mostly those of the topic before.
    """
    unknown = [r.resource_type for r in request.resources if _type(r.resource_type) is None]
    slices = Slices(context.broker.transport_clock)
    refused: list[bytes] = []
    results: list[bytes] = []
    for resource in request.resources:
        if unknown:
            results.append(
                _failed(
                    context,
                    resource,
                    ErrorCode.INVALID_REQUEST,
                    f"Unknown resource type {unknown[0]}",
                )
            )
        else:
            code = _may(context, "DESCRIBE_CONFIGS", resource.resource_type, resource.resource_name)
            if code is not ErrorCode.NONE:
                refused.append(_failed(context, resource, code, code.name))
            else:
                results.append(_result(context, request, resource))
        if slices.is_over():
            await slices.rest()
    await slices.rest_before_answer()
    return encode_around(
        DescribeConfigsResponse(), context.api_version, "results", results + refused
    )


def _result(
    context: Context, request: DescribeConfigsRequest, resource: DescribeConfigsResource
) -> bytes:
    """One resource's part of the answer, encoded."""
    try:
        rows = _rows(context, request, resource)
    except ApiError as error:
        # Kafka leaves the text empty, not null, where it has none.
        return _failed(context, resource, error.code, error.message or "")
    result = DescribeConfigsResult(
        resource_type=resource.resource_type, resource_name=resource.resource_name
    )
    return encode_struct_around(
        result, DescribeConfigsResponse, context.api_version, "configs", rows
    )


def _rows(
    context: Context, request: DescribeConfigsRequest, resource: DescribeConfigsResource
) -> list[bytes]:
    """The settings of one resource, encoded; topics with the same settings share theirs."""
    broker, version = context.broker, context.api_version
    synonyms, documentation = request.include_synonyms, request.include_documentation

    def encoded(entries: Sequence[Entry]) -> list[bytes]:
        return [
            encode_struct(_row(entry, synonyms, documentation), DescribeConfigsResponse, version)
            for entry in entries
        ]

    if resource.resource_type != ResourceType.TOPIC:
        return encoded(_describe(broker, resource))
    overrides = _topic_settings(broker, resource.resource_name)
    if resource.configuration_keys:
        names = frozenset(resource.configuration_keys)
        return encoded(describe_topic(broker.config, overrides, names))
    return broker.config_rows.of(
        broker.config,
        ("described", version, synonyms, documentation, *sorted(overrides.items())),
        lambda: encoded(describe_topic(broker.config, overrides)),
    )


def _topic_settings(broker: Broker, name: str) -> Mapping[str, str]:
    """What was set on a topic. Raises ApiError."""
    check_topic_name(name)
    topic = broker.image.topics.get(name)
    if topic is None:
        raise ApiError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    return topic.configs


def _describe(broker: Broker, resource: DescribeConfigsResource) -> Sequence[Entry]:
    """The settings of anything but a topic."""
    name = resource.resource_name
    asked = resource.configuration_keys
    names = frozenset(asked) if asked else EVERYTHING
    match ResourceType(resource.resource_type):
        case ResourceType.BROKER:
            if not name:
                return describe_all_brokers(broker.config, names)
            if _broker_number(name, "Broker") != broker.broker_id:
                raise ApiError(
                    ErrorCode.INVALID_REQUEST,
                    f"Unexpected broker id, expected {broker.broker_id} or empty string, "
                    f"but received {name}",
                )
            return describe_broker(broker.config, names)
        case ResourceType.BROKER_LOGGER:
            if not name:
                raise ApiError(ErrorCode.INVALID_REQUEST, "Broker id must not be empty")
            if _broker_number(name, "Broker") != broker.broker_id:
                raise ApiError(
                    ErrorCode.INVALID_REQUEST,
                    f"Unexpected broker id, expected {broker.broker_id} but received {name}",
                )
            return [_logger(*row) for row in broker.loggers.levels().items() if row[0] in names]
        case ResourceType.GROUP:
            if not name:
                raise ApiError(ErrorCode.INVALID_REQUEST, "Group name must not be empty")
            return describe_group(broker.config, _stored(broker.image, resource), names)
        case _:
            if not name:
                raise ApiError(
                    ErrorCode.INVALID_REQUEST, "Client metrics subscription name must not be empty"
                )
            return describe_client_metrics(_stored(broker.image, resource), names)


def _stored(image: Image, resource: DescribeConfigsResource) -> Mapping[str, str]:
    key = ConfigResource(ResourceType(resource.resource_type), resource.resource_name)
    return image.configs.get(key, _NOTHING_SET)


def _logger(name: str, level: str) -> Entry:
    from ottla.config.key import ConfigType

    source = ConfigSource.DYNAMIC_BROKER_LOGGER
    return Entry(name, level, source, False, False, ConfigType.UNKNOWN, "", ())


def _row(entry: Entry, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult:
    return DescribeConfigsResourceResult(
        name=entry.name,
        value=entry.value,
        read_only=entry.is_read_only,
        config_source=entry.source,
        is_sensitive=entry.is_sensitive,
        synonyms=[
            DescribeConfigsSynonym(name=name, value=value, source=source)
            for name, value, source in (entry.synonyms if synonyms else ())
        ],
        config_type=entry.type,
        documentation=entry.documentation
        if documentation or entry.source is ConfigSource.DYNAMIC_BROKER_LOGGER
        else None,
    )


def _failed(
    context: Context, resource: DescribeConfigsResource, code: ErrorCode, message: str | None
) -> bytes:
    failed = DescribeConfigsResult(
        error_code=code,
        error_message=message,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
    )
    return encode_struct(failed, DescribeConfigsResponse, context.api_version)


# Altering


class _Wanted(NamedTuple):
    """What a request wants of one resource."""

    resource_type: int
    name: str
    changes: tuple[Change, ...]
    replaces: bool
    """Settings that are not mentioned go (the older API)."""


async def incremental_alter_configs(
    context: Context, request: incremental.IncrementalAlterConfigsRequest
) -> incremental.IncrementalAlterConfigsResponse:
    wanted = [
        _Wanted(
            resource.resource_type,
            resource.resource_name,
            tuple(Change(c.name, c.config_operation, c.value) for c in resource.configs),
            False,
        )
        for resource in request.resources
    ]
    outcomes = await _alter(context, wanted, validate_only=request.validate_only)
    return incremental.IncrementalAlterConfigsResponse(
        responses=[
            incremental.AlterConfigsResourceResponse(
                error_code=outcome.code,
                error_message=outcome.message,
                resource_type=one.resource_type,
                resource_name=one.name,
            )
            for one, outcome in zip(wanted, outcomes, strict=True)
        ]
    )


async def alter_configs(
    context: Context, request: legacy.AlterConfigsRequest
) -> legacy.AlterConfigsResponse:
    wanted = [
        _Wanted(
            resource.resource_type,
            resource.resource_name,
            tuple(Change(c.name, Operation.SET, c.value) for c in resource.configs),
            True,
        )
        for resource in request.resources
    ]
    outcomes = await _alter(context, wanted, validate_only=request.validate_only)
    return legacy.AlterConfigsResponse(
        responses=[
            legacy.AlterConfigsResourceResponse(
                error_code=outcome.code,
                error_message=outcome.message,
                resource_type=one.resource_type,
                resource_name=one.name,
            )
            for one, outcome in zip(wanted, outcomes, strict=True)
        ]
    )


class _Outcome(NamedTuple):
    code: ErrorCode
    message: str | None


_DONE = _Outcome(ErrorCode.NONE, None)


async def _alter(
    context: Context, wanted: Sequence[_Wanted], *, validate_only: bool
) -> list[_Outcome]:
    """Return an outcome for each of `wanted`, in order."""
    broker = context.broker
    outcomes: dict[int, _Outcome] = {}
    times = Counter((one.resource_type, one.name) for one in wanted)
    stored: list[int] = []
    for index, one in enumerate(wanted):
        try:
            if times[one.resource_type, one.name] > 1:
                raise ApiError(ErrorCode.INVALID_REQUEST, "Each resource must appear at most once.")
            if _before_storing(context, one, validate_only=validate_only):
                stored.append(index)
            else:
                outcomes[index] = _DONE
        except ApiError as error:
            outcomes[index] = _Outcome(error.code, error.message)
    if stored:

        def decide(image: Image) -> tuple[Writes, Any]:
            return _decide(
                broker.config, image, {i: wanted[i] for i in stored}, validate_only=validate_only
            )

        outcomes.update(await broker.control.change(decide))
    return [outcomes[index] for index in range(len(wanted))]


def _before_storing(context: Context, one: _Wanted, *, validate_only: bool) -> bool:
    """Check what needs no image, and change log levels; False where nothing is to be stored."""
    resource_type = _type(one.resource_type)
    is_logger = resource_type is ResourceType.BROKER_LOGGER
    check_request(one.changes)
    if resource_type is None or (is_logger and one.replaces):
        raise ApiError(ErrorCode.INVALID_REQUEST, f"Unknown resource type {one.resource_type}")
    code = _may(context, "ALTER_CONFIGS", one.resource_type, one.name)
    if code is not ErrorCode.NONE:
        raise ApiError(code)
    broker = context.broker
    if is_logger:
        if _broker_number(one.name, "Node") != broker.broker_id:
            raise ApiError(
                ErrorCode.INVALID_REQUEST,
                f"Unexpected node id. Expected {broker.broker_id}, but received {one.name}",
            )
        check_log_levels(broker.loggers, one.changes)
        if not validate_only:
            change_log_levels(broker.loggers, one.changes)
        return False
    is_one_broker = resource_type is ResourceType.BROKER and one.name
    # The broker that was asked may have passed it on to us.
    if is_one_broker and _broker_number(one.name, "Node") not in {
        broker.broker_id,
        *broker.image.brokers,
    }:
        raise ApiError(
            ErrorCode.INVALID_REQUEST,
            f"Unexpected broker id, expected {broker.broker_id}, but received {one.name}",
        )
    return True


def _decide(
    config: BrokerConfig, image: Image, wanted: Mapping[int, _Wanted], *, validate_only: bool
) -> tuple[Writes, dict[int, _Outcome]]:
    puts: list[tuple[str, bytes]] = []
    deletes: list[str] = []
    outcomes: dict[int, _Outcome] = {}
    for index, one in wanted.items():
        try:
            resource, new = _new_settings(config, image, one)
        except ApiError as error:
            outcomes[index] = _Outcome(error.code, error.message)
            continue
        outcomes[index] = _DONE
        if new == _present(image, resource):
            continue
        if new:
            puts.append(config_key(resource, new))
        else:
            deletes.append(config_name(resource))
    if validate_only:
        return Writes(), outcomes
    return Writes(tuple(puts), tuple(deletes)), outcomes


def _new_settings(
    config: BrokerConfig, image: Image, one: _Wanted
) -> tuple[ConfigResource, dict[str, str]]:
    resource = ConfigResource(ResourceType(one.resource_type), one.name)
    present = _present(image, resource)
    new = altered(resource.type, _NOTHING_SET if one.replaces else present, one.changes)
    check(config, resource.type, one.name, new, present)
    if resource.type is ResourceType.TOPIC and one.name not in image.topics:
        raise ApiError(
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{one.name}' does not exist."
        )
    return resource, new


def _present(image: Image, resource: ConfigResource) -> Mapping[str, str]:
    if resource.type is ResourceType.TOPIC:
        topic = image.topics.get(resource.name)
        return _NOTHING_SET if topic is None else topic.configs
    return image.configs.get(resource, _NOTHING_SET)


def _type(number: int) -> ResourceType | None:
    """The type that has settings under this number, if any."""
    if number == ResourceType.UNKNOWN or number not in ResourceType.__members__.values():
        return None
    return ResourceType(number)


def _broker_number(name: str, what: str) -> int:
    try:
        return int(name)
    except ValueError:
        raise ApiError(
            ErrorCode.INVALID_REQUEST, f"{what} id must be an integer, but it is: {name}"
        ) from None


# Listing

_LISTED = (
    ResourceType.GROUP,
    ResourceType.CLIENT_METRICS,
    ResourceType.BROKER_LOGGER,
    ResourceType.BROKER,
    ResourceType.TOPIC,
)


async def list_config_resources(
    context: Context, request: ListConfigResourcesRequest
) -> ListConfigResourcesResponse:
    """List what has settings, or for brokers and topics could have; version 0 knows one type."""
    if not context.authorize("DESCRIBE_CONFIGS", "CLUSTER", CLUSTER):
        return ListConfigResourcesResponse(error_code=ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    asked: Collection[int] = request.resource_types or _LISTED
    if context.api_version == 0:
        asked = (ResourceType.CLIENT_METRICS,)
    if any(_type(number) is None for number in asked):
        return ListConfigResourcesResponse(error_code=ErrorCode.UNSUPPORTED_VERSION)
    image = context.broker.image
    return ListConfigResourcesResponse(
        config_resources=[
            ListedResource(resource_name=name, resource_type=resource_type)
            for resource_type in _LISTED
            if resource_type in asked
            for name in _names(image, resource_type)
        ]
    )


def _names(image: Image, resource_type: ResourceType) -> list[str]:
    if resource_type is ResourceType.TOPIC:
        return sorted(image.topics)
    if resource_type in (ResourceType.BROKER, ResourceType.BROKER_LOGGER):
        return [str(broker_id) for broker_id in sorted(image.brokers)]
    return sorted(one.name for one in image.configs if one.type is resource_type)
