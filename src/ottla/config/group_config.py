"""A group's settings: its own over the broker's defaults, within the broker's bounds."""

from collections.abc import Mapping
from typing import NamedTuple

from ottla.config.broker_config import BrokerConfig
from ottla.config.group_keys import GROUP_KEYS
from ottla.config.key import ConfigError, Value

_KINDS = ("consumer", "share", "streams")
_BOUNDED = (
    "heartbeat.interval.ms",
    "session.timeout.ms",
    "record.lock.duration.ms",
    "delivery.count.limit",
    "partition.max.record.locks",
    "num.standby.replicas",
    "assignment.interval.ms",
)
_UPPER_BOUNDS = {"group.streams.max.num.standby.replicas": "group.streams.max.standby.replicas"}


class GroupConfig(NamedTuple):
    values: Mapping[str, Value]
    """What counts, by setting name."""
    overrides: Mapping[str, str]
    """The texts of the group's own settings."""


def group_config(broker: BrokerConfig, overrides: Mapping[str, str]) -> GroupConfig:
    """Return the settings of a group whose own are `overrides`; unknown names are passed over.

    A stored number that the broker's bounds no longer allow counts as the bound.
    """
    values = _values(broker, overrides)
    for setting, low, high in _bounds():
        value = values[setting]
        if setting in overrides and isinstance(value, int):
            if low in broker.values:
                value = max(value, _number(broker, low))
            values[setting] = min(value, _number(broker, high))
    return GroupConfig(values, dict(overrides))


def check_group_config(broker: BrokerConfig, new: Mapping[str, str]) -> None:
    """Raise ConfigError, in Kafka's words, unless a group may have the settings `new`."""
    for name in new:
        if name not in GROUP_KEYS:
            raise ConfigError(f"Unknown group config name: {name}")
    values = _values(broker, new)
    for setting, low, high in _bounds():
        value = values[setting]
        assert isinstance(value, int)
        if low in broker.values and value < _number(broker, low):
            raise ConfigError(f"{setting} must be greater than or equal to {low}")
        if value > _number(broker, high):
            raise ConfigError(f"{setting} must be less than or equal to {high}")
    for kind in _KINDS:
        session, heartbeat = f"{kind}.session.timeout.ms", f"{kind}.heartbeat.interval.ms"
        longest, shortest = values[session], values[heartbeat]
        assert isinstance(longest, int)
        assert isinstance(shortest, int)
        if longest <= shortest:
            raise ConfigError(f"{session} must be greater than {heartbeat}")


def _values(broker: BrokerConfig, overrides: Mapping[str, str]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name, key in GROUP_KEYS.items():
        if name in overrides:
            values[name] = key.parse(overrides[name])
        else:
            values[name] = broker.values[key.synonyms[0]] if key.synonyms else key.default
    return values


def _bounds() -> list[tuple[str, str, str]]:
    """(setting, the broker's lower bound if it has one, its upper bound), in Kafka's order."""
    bounds = []
    for kind in _KINDS:
        for what in _BOUNDED:
            if f"{kind}.{what}" in GROUP_KEYS:
                high = f"group.{kind}.max.{what}"
                bounds.append(
                    (f"{kind}.{what}", f"group.{kind}.min.{what}", _UPPER_BOUNDS.get(high, high))
                )
    return bounds


def _number(broker: BrokerConfig, name: str) -> int:
    value = broker.values[name]
    assert isinstance(value, int), name
    return value
