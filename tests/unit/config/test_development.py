from ottla.config.broker_config import BrokerConfig
from ottla.config.broker_keys import BROKER_KEYS
from ottla.config.development import DEVELOPMENT
from ottla.config.resolve import combine, from_flags


def test_every_default_for_tests_is_a_setting_that_has_an_effect_or_will() -> None:
    assert set(DEVELOPMENT) <= set(BROKER_KEYS)
    config = BrokerConfig(dict(DEVELOPMENT))
    assert config.group_drop_members_on_disconnect
    assert config.group_initial_rebalance_delay_ms == 0
    assert config.values["group.consumer.heartbeat.interval.ms"] == 100


def test_whatever_is_said_in_another_way_wins() -> None:
    said = from_flags([("group.initial.rebalance.delay.ms", "7", "--set")])
    defaults = from_flags((name, text, "--dev") for name, text in DEVELOPMENT.items())
    texts = combine(said, {}, {}, defaults).texts()
    assert texts["group.initial.rebalance.delay.ms"] == "7"
    assert texts["group.drop.members.on.disconnect"] == "true"
