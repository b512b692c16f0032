"""A topic's settings over the broker's."""

import pytest

from ottla.config.broker_config import BrokerConfig
from ottla.config.key import ConfigError
from ottla.config.resolve import ConfigSource
from ottla.config.topic_config import TopicConfig, check_topic_config, topic_config
from ottla.config.topic_keys import TOPIC_KEYS

BROKER = BrokerConfig()


def test_the_broker_gives_the_defaults() -> None:
    broker = BrokerConfig({"log.retention.minutes": "1", "message.max.bytes": "7"})
    config = topic_config(broker, {})
    assert config.retention_ms == 60_000
    assert config.max_message_bytes == 7
    assert config.segment_ms == 7 * 24 * 3_600_000
    assert config.cleanup_policy == {"delete"}
    assert config.source("retention.ms") is ConfigSource.STATIC_BROKER
    assert config.source("segment.ms") is ConfigSource.DEFAULT
    assert config.source("remote.storage.enable") is ConfigSource.DEFAULT


def test_without_broker_settings_the_defaults_are_those_declared() -> None:
    assert dict(topic_config(BROKER, {}).values) == {
        name: key.default for name, key in TOPIC_KEYS.items()
    }


def test_the_topics_own_settings_win() -> None:
    config = topic_config(BROKER, {"retention.ms": " 5 ", "cleanup.policy": "compact, delete"})
    assert config.retention_ms == 5
    assert config.cleanup_policy == {"compact", "delete"}
    assert config.values["cleanup.policy"] == ("compact", "delete")
    assert config.source("retention.ms") is ConfigSource.TOPIC


def test_every_setting_is_an_attribute() -> None:
    config = topic_config(BROKER, {})
    for name in TOPIC_KEYS:
        assert name.replace(".", "_") in TopicConfig.__annotations__
        assert hasattr(config, name.replace(".", "_"))


def test_what_is_stored_never_stops_a_start() -> None:
    stored = {"retention.ms": "soon", "flush.ms": "3", "of.another.release": "1"}
    config = topic_config(BROKER, stored, strict=False)
    assert config.retention_ms == 604_800_000
    assert config.flush_ms == 3
    assert config.source("retention.ms") is ConfigSource.DEFAULT
    with pytest.raises(ConfigError):
        topic_config(BROKER, stored)


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ({"foo": "1"}, "Unknown topic config name: foo"),
        (
            {"retention.ms": "-2"},
            "Invalid value -2 for configuration retention.ms: Value must be at least -1",
        ),
        (
            {"cleanup.policy": "shred"},
            "Invalid value shred for configuration cleanup.policy: "
            "String must be one of: compact, delete",
        ),
        (
            {"segment.bytes": "1048575"},
            "Invalid value 1048575 for configuration segment.bytes: Value must be at least 1048576",
        ),
        (
            {"min.compaction.lag.ms": "9", "max.compaction.lag.ms": "8"},
            "conflict topic config setting min.compaction.lag.ms (9) > max.compaction.lag.ms (8)",
        ),
        (
            {"remote.storage.enable": "true"},
            "Tiered Storage functionality is disabled in the broker. "
            "Topic cannot be configured with remote log storage.",
        ),
    ],
)
def test_refusals_have_kafkas_words(new: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_topic_config(BROKER, new)
    assert refused.value.message == words


def test_an_empty_cleanup_policy_keeps_everything() -> None:
    assert check_topic_config(BROKER, {"cleanup.policy": ""}).cleanup_policy == set()


TIERED = BrokerConfig({"remote.log.storage.system.enable": "true"})
ON = {"remote.storage.enable": "true"}


@pytest.mark.parametrize(
    "more",
    [
        {"cleanup.policy": "compact"},
        {"retention.ms": "5", "local.retention.ms": "6"},
        {"retention.bytes": "5", "local.retention.bytes": "-1"},
        {"remote.log.copy.disable": "true", "retention.ms": "5", "local.retention.ms": "4"},
    ],
)
def test_tiered_storage_has_rules(more: dict[str, str]) -> None:
    check_topic_config(TIERED, ON)
    with pytest.raises(ConfigError):
        check_topic_config(TIERED, ON | more)


def test_tiered_storage_is_not_switched_off_by_accident() -> None:
    with pytest.raises(ConfigError):
        check_topic_config(TIERED, {}, ON)
    check_topic_config(TIERED, {"remote.log.delete.on.disable": "true"}, ON)
