"""Changing settings: what operations make of the present ones, and whether the outcome may be.

Pure, for use inside a decision of the controller: (present settings, changes)
-> new settings, or an ApiError with the code and words of Kafka 4.3.1.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from ottla.config.broker_config import BrokerConfig
from ottla.config.broker_keys import BROKER_KEYS
from ottla.config.client_metrics_keys import CLIENT_METRICS_KEYS
from ottla.config.group_config import check_group_config
from ottla.config.group_keys import GROUP_KEYS
from ottla.config.key import ConfigError, ConfigType, Key, Update
from ottla.config.resolve import base_name
from ottla.config.topic_config import check_topic_config
from ottla.config.topic_keys import TOPIC_KEYS
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.isolation import ResourceType
from ottla.model.names import check_topic_name


class Operation(IntEnum):
    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class Change(NamedTuple):
    name: str
    operation: int
    value: str | None


# What a client may change without naming a listener is not among these, of all that is dynamic.
_ONLY_PER_LISTENER = frozenset(
    (
        "ssl.key.password",
        "ssl.keystore.certificate.chain",
        "ssl.keystore.key",
        "ssl.keystore.location",
        "ssl.keystore.password",
        "ssl.keystore.type",
        "ssl.truststore.certificates",
        "ssl.truststore.location",
        "ssl.truststore.password",
        "ssl.truststore.type",
    )
)
_LISTENER_WIDE = frozenset(
    ("max.connections", "max.connection.creation.rate", "num.network.threads")
)


def check_request(changes: Sequence[Change]) -> None:
    """Refuse what is wrong with a resource's changes whatever its settings are."""
    names = [change.name for change in changes]
    if len(set(names)) != len(names):
        raise ApiError(ErrorCode.INVALID_REQUEST, "Error due to duplicate config keys")
    nulls = [
        change.name
        for change in changes
        if change.operation != Operation.DELETE and change.value is None
    ]
    if nulls:
        raise ApiError(
            ErrorCode.INVALID_REQUEST, f"Null value not supported for : {', '.join(nulls)}"
        )
    for change in changes:
        if change.operation not in Operation.__members__.values():
            raise ApiError(ErrorCode.INVALID_REQUEST, f"Unknown operations type {change.operation}")


def altered(
    resource_type: ResourceType, present: Mapping[str, str], changes: Iterable[Change]
) -> dict[str, str]:
    """Return the settings after the changes; appending starts from the default where none is set."""
    settings = dict(present)
    for name, operation, value in changes:
        if operation == Operation.DELETE:
            settings.pop(name, None)
            continue
        assert value is not None, name
        if operation == Operation.SET:
            settings[name] = value
            continue
        key = _list_key(resource_type, name, Operation(operation))
        text = settings[name] if name in settings else key.format(key.default) or ""
        items = [item for item in text.split(",") if item]
        for item in value.split(","):
            if operation == Operation.SUBTRACT:
                if item in items:
                    items.remove(item)
            elif item not in items:
                items.append(item)
        settings[name] = ",".join(items)
    return settings


def _list_key(resource_type: ResourceType, name: str, operation: Operation) -> Key:
    tables = {
        ResourceType.TOPIC: TOPIC_KEYS,
        ResourceType.GROUP: GROUP_KEYS,
        ResourceType.BROKER: BROKER_KEYS,
    }
    key = tables[resource_type].get(name) if resource_type in tables else None
    if key is not None and key.type is ConfigType.LIST:
        return key
    if resource_type is not ResourceType.BROKER:
        raise ConfigError(f"Can't {operation.name} to key {name} because its type is not LIST.")
    if key is None:
        raise ConfigError(f"Unknown config name: {name}")
    raise ConfigError(
        f"Config value {operation.name.lower()} is not allowed for config key: {name}"
    )


def check(
    broker: BrokerConfig,
    resource_type: ResourceType,
    name: str,
    new: Mapping[str, str],
    old: Mapping[str, str],
) -> None:
    """Raise ApiError unless the resource `name` may have the settings `new` after `old`.

    Whether it exists is not asked here. For a broker, `broker` is its own
    present snapshot, and `name` is empty for the settings of all brokers.
    """
    match resource_type:
        case ResourceType.TOPIC:
            if not name:
                raise ApiError(
                    ErrorCode.INVALID_REQUEST, "Default topic resources are not allowed."
                )
            check_topic_name(name)
            check_topic_config(broker, new, old)
        case ResourceType.BROKER:
            _check_broker(broker, new, old, for_all=not name)
        case ResourceType.GROUP:
            if not name:
                raise ApiError(
                    ErrorCode.INVALID_REQUEST, "Default group resources are not allowed."
                )
            check_group_config(broker, new)
        case ResourceType.CLIENT_METRICS:
            _check_client_metrics(name, new)
        case _:
            raise ApiError(ErrorCode.INVALID_REQUEST, f"Unknown resource type {int(resource_type)}")


def _check_broker(
    broker: BrokerConfig, new: Mapping[str, str], old: Mapping[str, str], *, for_all: bool
) -> None:
    """Dynamic settings; those stored before and untouched are not held against the change."""
    asked = {name: text for name, text in new.items() if old.get(name) != text}
    _refuse(
        (name for name in asked if name in BROKER_KEYS and _is_static(name)),
        "Cannot update these configs dynamically",
    )
    _refuse(
        (name for name in asked if name in _ONLY_PER_LISTENER),
        "These security configs can be dynamically updated only per-listener using the listener "
        "prefix",
    )
    try:
        for name, text in asked.items():
            key = BROKER_KEYS.get(base_name(name))
            if key is not None:
                key.parse(text)
        if for_all:
            _refuse(
                (name for name in asked if _is_per_broker(name)),
                "Cannot update these configs at default cluster level, broker id must be specified",
            )
            BrokerConfig(broker.static, new, broker.dynamic_broker)
        else:
            BrokerConfig(broker.static, broker.dynamic_default, new)
    except ConfigError as error:
        # Kafka answers so: the value cannot be applied, and it calls that the request's fault.
        raise ApiError(ErrorCode.INVALID_REQUEST, error.message) from None


def _refuse(names: Iterable[str], problem: str) -> None:
    refused = sorted(names)
    if refused:
        raise ApiError(ErrorCode.INVALID_REQUEST, f"{problem}: [{', '.join(refused)}]")


def _is_static(name: str) -> bool:
    return BROKER_KEYS[name].update is Update.READ_ONLY


def _is_per_broker(name: str) -> bool:
    base = base_name(name)
    if base != name:
        return base not in _LISTENER_WIDE
    return name in BROKER_KEYS and BROKER_KEYS[name].update is Update.PER_BROKER


_MATCHED_BY = frozenset(
    (
        "client_instance_id",
        "client_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    )
)
_SHORTEST_PUSH_MS = 100
_LONGEST_PUSH_MS = 3_600_000


def _check_client_metrics(name: str, new: Mapping[str, str]) -> None:
    import re

    if not name:
        raise ApiError(ErrorCode.INVALID_REQUEST, "Subscription name can't be empty")
    for setting in new:
        if setting not in CLIENT_METRICS_KEYS:
            raise ApiError(
                ErrorCode.INVALID_REQUEST, f"Unknown client metrics configuration: {setting}"
            )
    values = {setting: CLIENT_METRICS_KEYS[setting].parse(text) for setting, text in new.items()}
    interval = values.get("interval.ms")
    if isinstance(interval, int) and not _SHORTEST_PUSH_MS <= interval <= _LONGEST_PUSH_MS:
        raise ApiError(
            ErrorCode.INVALID_REQUEST,
            f"Invalid value {interval} for interval.ms, interval must be between "
            f"{_SHORTEST_PUSH_MS} and {_LONGEST_PUSH_MS} (1 hour)",
        )
    match = values.get("match", ())
    assert isinstance(match, tuple)
    for pattern in match:
        property_name, separator, expression = pattern.partition("=")
        try:
            re.compile(expression)
        except re.error:
            separator = ""
        if not separator or property_name.strip() not in _MATCHED_BY:
            raise ConfigError(f"Illegal client matching pattern: {pattern}")
