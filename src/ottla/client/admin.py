"""Topics and settings: create, describe, change, delete.

Each call raises `ApiError` with the broker's code and words for the first thing
that failed; `about` in its message names the topic or resource.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from ottla.client.cluster_view import ClusterView, Topic, check
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import Uuid
from ottla.model.isolation import ResourceType
from ottla.wire.message import Message


class ConfigSource(IntEnum):
    """Where a setting's value comes from (`DescribeConfigsResponse.ConfigSource`)."""

    UNKNOWN = 0
    DYNAMIC_TOPIC_CONFIG = 1
    DYNAMIC_BROKER_CONFIG = 2
    DYNAMIC_DEFAULT_BROKER_CONFIG = 3
    STATIC_BROKER_CONFIG = 4
    DEFAULT_CONFIG = 5
    DYNAMIC_BROKER_LOGGER_CONFIG = 6
    DYNAMIC_CLIENT_METRICS_CONFIG = 7
    DYNAMIC_GROUP_CONFIG = 8


class ConfigEntry(NamedTuple):
    name: str
    value: str | None
    source: ConfigSource
    read_only: bool
    sensitive: bool
    documentation: str | None

    @property
    def is_default(self) -> bool:
        return self.source in (ConfigSource.DEFAULT_CONFIG, ConfigSource.UNKNOWN)


class ConfigOperation(IntEnum):
    """What to do to a setting (KIP-339)."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class ConfigChange(NamedTuple):
    operation: ConfigOperation
    name: str
    value: str | None


class CreatedTopic(NamedTuple):
    """`partitions` and `replication_factor` are -1 where the broker does not say."""

    name: str
    topic_id: Uuid
    partitions: int
    replication_factor: int


class Admin:
    def __init__(self, view: ClusterView, *, timeout_ms: int = 30_000) -> None:
        self._view = view
        self._timeout_ms = timeout_ms

    # Topics

    async def list_topics(self) -> list[Topic]:
        """Every topic there is, internal ones too, by name."""

        async def attempt() -> list[Topic]:
            await self._view.refresh(None)
            return sorted(self._view.topics.values())

        return await self._view.ask(attempt)

    async def describe_topics(self, names: Sequence[str]) -> list[Topic]:
        return await self._view.find_topics(names)

    async def create_topic(
        self,
        name: str,
        *,
        partitions: int = -1,
        replication_factor: int = -1,
        configs: Mapping[str, str] | None = None,
        validate_only: bool = False,
    ) -> CreatedTopic:
        """Create a topic; -1 leaves a number to the broker's default."""
        from ottla.wire.generated.create_topics import (
            CreatableTopic,
            CreatableTopicConfig,
            CreateTopicsRequest,
        )

        topic = CreatableTopic(
            name=name,
            num_partitions=partitions,
            replication_factor=replication_factor,
            configs=[
                CreatableTopicConfig(name=key, value=value)
                for key, value in (configs or {}).items()
            ],
        )
        request = CreateTopicsRequest(
            topics=[topic], timeout_ms=self._timeout_ms, validate_only=validate_only
        )
        response = await self._to_controller(request)
        answer = response.topics[0]
        check(answer.error_code, answer.error_message, about=f"topic {name!r}")
        self._view.forget(name)
        return CreatedTopic(
            answer.name, answer.topic_id, answer.num_partitions, answer.replication_factor
        )

    async def delete_topics(self, names: Sequence[str]) -> dict[str, ApiError | None]:
        """Delete each; the answer says per name what went wrong, or None."""
        from ottla.wire.generated.delete_topics import DeleteTopicsRequest, DeleteTopicState

        link = await self._view.link()
        if link.serves(DeleteTopicsRequest, 6):
            request = DeleteTopicsRequest(
                topics=[DeleteTopicState(name=name) for name in names],
                timeout_ms=self._timeout_ms,
            )
        else:
            request = DeleteTopicsRequest(topic_names=list(names), timeout_ms=self._timeout_ms)
        response = await self._to_controller(request)
        results: dict[str, ApiError | None] = {}
        for answer in response.responses:
            self._view.forget(answer.name)
            try:
                check(answer.error_code, answer.error_message, about=f"topic {answer.name!r}")
            except ApiError as error:
                results[answer.name] = error
            else:
                results[answer.name] = None
        return results

    async def add_partitions(self, topic: str, total: int, *, validate_only: bool = False) -> None:
        """Grow a topic to `total` partitions."""
        from ottla.wire.generated.create_partitions import (
            CreatePartitionsRequest,
            CreatePartitionsTopic,
        )

        request = CreatePartitionsRequest(
            topics=[CreatePartitionsTopic(name=topic, count=total, assignments=None)],
            timeout_ms=self._timeout_ms,
            validate_only=validate_only,
        )
        response = await self._to_controller(request)
        answer = response.results[0]
        check(answer.error_code, answer.error_message, about=f"topic {topic!r}")
        self._view.forget(topic)

    async def _to_controller(self, request: Message) -> Any:
        """Any broker passes such a request on; one that does not names the controller."""
        response = await self._view.send(request)
        if _refused_as_not_controller(response):
            await self._view.refresh()
            response = await self._view.send(request, self._view.cluster.controller)
        return response

    # Settings

    async def describe_configs(
        self,
        kind: ResourceType,
        name: str,
        keys: Iterable[str] | None = None,
        *,
        documentation: bool = False,
    ) -> list[ConfigEntry]:
        """The settings of a topic, broker (by id) or group, by name."""
        from ottla.wire.generated.describe_configs import (
            DescribeConfigsRequest,
            DescribeConfigsResource,
        )

        resource = DescribeConfigsResource(
            resource_type=int(kind),
            resource_name=name,
            configuration_keys=None if keys is None else list(keys),
        )
        request = DescribeConfigsRequest(resources=[resource])
        link = await self._view.link(_broker_of(kind, name))
        if documentation and link.serves(DescribeConfigsRequest, 3):
            request.include_documentation = True
        response = await link.request(request, timeout_ms=self._view.request_timeout_ms)
        answer = response.results[0]
        check(answer.error_code, answer.error_message, about=_resource_text(kind, name))
        return sorted(
            ConfigEntry(
                each.name,
                each.value,
                _source(each.config_source),
                each.read_only,
                each.is_sensitive,
                each.documentation,
            )
            for each in answer.configs
        )

    async def alter_configs(
        self,
        kind: ResourceType,
        name: str,
        changes: Sequence[ConfigChange],
        *,
        validate_only: bool = False,
    ) -> None:
        """Change some settings, all or none; the others stay as they are."""
        from ottla.wire.generated.incremental_alter_configs import (
            AlterableConfig,
            AlterConfigsResource,
            IncrementalAlterConfigsRequest,
        )

        resource = AlterConfigsResource(
            resource_type=int(kind),
            resource_name=name,
            configs=[
                AlterableConfig(
                    name=change.name, config_operation=int(change.operation), value=change.value
                )
                for change in changes
            ],
        )
        request = IncrementalAlterConfigsRequest(resources=[resource], validate_only=validate_only)
        response = await self._view.send(request, _broker_of(kind, name))
        answer = response.responses[0]
        check(answer.error_code, answer.error_message, about=_resource_text(kind, name))


def _refused_as_not_controller(response: Any) -> bool:
    for field in ("topics", "responses", "results"):
        for answer in getattr(response, field, ()):
            if answer.error_code == ErrorCode.NOT_CONTROLLER:
                return True
    return False


def _broker_of(kind: ResourceType, name: str) -> int | None:
    """The broker that must be asked itself, or None where any will do."""
    if kind in (ResourceType.BROKER, ResourceType.BROKER_LOGGER) and name:
        return int(name)
    return None


def _resource_text(kind: ResourceType, name: str) -> str:
    return f"{kind.name.lower().replace('_', ' ')} {name!r}"


def _source(code: int) -> ConfigSource:
    try:
        return ConfigSource(code)
    except ValueError:
        return ConfigSource.UNKNOWN
