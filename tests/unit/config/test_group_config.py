"""A group's settings over the broker's, within its bounds."""

import pytest

from ottla.config.broker_config import BrokerConfig
from ottla.config.group_config import check_group_config, group_config
from ottla.config.group_keys import GROUP_KEYS
from ottla.config.key import ConfigError


def test_the_broker_gives_the_defaults() -> None:
    broker = BrokerConfig({"group.consumer.session.timeout.ms": "50000"})
    values = group_config(broker, {"share.isolation.level": "read_committed"}).values
    assert list(values) == list(GROUP_KEYS)
    assert values["consumer.session.timeout.ms"] == 50000
    assert values["share.isolation.level"] == "read_committed"
    assert values["share.auto.offset.reset"] == "latest"


def test_a_stored_number_keeps_to_the_bounds_of_today() -> None:
    stored = {"consumer.session.timeout.ms": "60000", "streams.num.standby.replicas": "2"}
    broker = BrokerConfig(
        {
            "group.consumer.max.session.timeout.ms": "50000",
            "group.streams.max.standby.replicas": "1",
        }
    )
    values = group_config(broker, stored).values
    assert values["consumer.session.timeout.ms"] == 50000
    assert values["streams.num.standby.replicas"] == 1


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ({"foo": "1"}, "Unknown group config name: foo"),
        (
            {"consumer.heartbeat.interval.ms": "1"},
            "consumer.heartbeat.interval.ms must be greater than or equal to "
            "group.consumer.min.heartbeat.interval.ms",
        ),
        (
            {"streams.num.standby.replicas": "3"},
            "streams.num.standby.replicas must be less than or equal to "
            "group.streams.max.standby.replicas",
        ),
    ],
)
def test_refusals_have_kafkas_words(new: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_group_config(BrokerConfig(), new)
    assert refused.value.message == words


def test_a_session_outlasts_a_heartbeat() -> None:
    broker = BrokerConfig(
        {
            "group.consumer.min.session.timeout.ms": "1000",
            "group.consumer.min.heartbeat.interval.ms": "1000",
        }
    )
    new = {"consumer.session.timeout.ms": "2000", "consumer.heartbeat.interval.ms": "2000"}
    with pytest.raises(ConfigError, match="must be greater than"):
        check_group_config(broker, new)
