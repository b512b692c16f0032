"""A group's settings over the broker's."""

from ottla.config.broker_config import BrokerConfig
from ottla.config.group_config import group_config
from ottla.config.group_keys import GROUP_KEYS


def test_the_broker_gives_the_defaults() -> None:
    broker = BrokerConfig({"group.consumer.session.timeout.ms": "50000"})
    values = group_config(broker, {"share.isolation.level": "read_committed"}).values
    assert list(values) == list(GROUP_KEYS)
    assert values["consumer.session.timeout.ms"] == 50000
    assert values["share.isolation.level"] == "read_committed"
    assert values["share.auto.offset.reset"] == "latest"
