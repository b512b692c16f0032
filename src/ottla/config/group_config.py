"""A group's settings: its own over the broker's defaults."""

from collections.abc import Mapping
from typing import NamedTuple

from ottla.config.broker_config import BrokerConfig
from ottla.config.group_keys import GROUP_KEYS
from ottla.config.key import Value

# Where the broker bounds what a group may choose: setting, lower bound, upper bound.
_BOUNDS = (
    ("consumer.session.timeout.ms", "group.consumer.{}.session.timeout.ms"),
    ("consumer.heartbeat.interval.ms", "group.consumer.{}.heartbeat.interval.ms"),
    ("consumer.assignment.interval.ms", "group.consumer.{}.assignment.interval.ms"),
    ("share.session.timeout.ms", "group.share.{}.session.timeout.ms"),
    ("share.heartbeat.interval.ms", "group.share.{}.heartbeat.interval.ms"),
    ("share.record.lock.duration.ms", "group.share.{}.record.lock.duration.ms"),
    ("share.delivery.count.limit", "group.share.{}.delivery.count.limit"),
    ("share.partition.max.record.locks", "group.share.{}.partition.max.record.locks"),
    ("share.assignment.interval.ms", "group.share.{}.assignment.interval.ms"),
    ("streams.session.timeout.ms", "group.streams.{}.session.timeout.ms"),
    ("streams.heartbeat.interval.ms", "group.streams.{}.heartbeat.interval.ms"),
    ("streams.assignment.interval.ms", "group.streams.{}.assignment.interval.ms"),
)


class GroupConfig(NamedTuple):
    values: Mapping[str, Value]
    overrides: Mapping[str, str]


def group_config(broker: BrokerConfig, overrides: Mapping[str, str]) -> GroupConfig:
    """Return the settings of a group whose own are `overrides`; unknown names are passed over."""
    values: dict[str, Value] = {}
    for name, key in GROUP_KEYS.items():
        values[name] = broker.values[key.synonyms[0]] if key.synonyms else key.default
        if name in overrides:
            values[name] = key.parse(overrides[name])
    return GroupConfig(values, dict(overrides))
