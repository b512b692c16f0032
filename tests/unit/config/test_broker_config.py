"""The snapshot of the broker's settings."""

import typing

import pytest

from ottla.config import broker_config
from ottla.config.broker_config import BrokerConfig
from ottla.config.broker_keys import BROKER_KEYS
from ottla.config.key import ConfigError, ConfigType
from ottla.config.resolve import ConfigSource


def test_the_defaults_are_a_single_node_on_loopback() -> None:
    config = BrokerConfig()
    (listener,) = config.listeners
    assert str(listener) == "PLAINTEXT://127.0.0.1:9092"
    assert listener.also_hosts == ("::1",)
    assert config.advertised_listeners == {}
    assert config.log_dirs == ("./ottla-data",)
    assert config.node_id == 1
    assert config.offsets_topic_replication_factor == 3
    assert config.transaction_state_log_replication_factor == 3
    assert config.record_validation == "full"
    assert config.log_retention_ms == 7 * 24 * 3_600_000


def test_every_attribute_is_a_setting_of_its_type() -> None:
    python = {
        ConfigType.BOOLEAN: bool,
        ConfigType.INT: int,
        ConfigType.SHORT: int,
        ConfigType.LONG: int,
        ConfigType.DOUBLE: float,
        ConfigType.STRING: str,
        ConfigType.LIST: tuple[str, ...],
    }
    effective = {"log_roll_ms", "log_roll_jitter_ms", "log_retention_ms", "log_flush_interval_ms", "log_dirs"}  # fmt: skip
    for name, declared in typing.get_type_hints(broker_config._Attributes).items():
        key = BROKER_KEYS[name.replace("_", ".")]
        expected: object = python[key.type]
        if key.default is None and name not in effective:
            expected = typing.Optional[expected]  # noqa: UP045
        assert declared == expected, name
        assert hasattr(BrokerConfig(), name)


def test_a_snapshot_does_not_change() -> None:
    config = BrokerConfig()
    with pytest.raises(AttributeError):
        config.num_partitions = 2
    with pytest.raises(TypeError):
        config.values["num.partitions"] = 2  # type: ignore[index]


def test_dynamic_settings_make_a_new_snapshot() -> None:
    config = BrokerConfig({"message.max.bytes": "100"})
    changed = config.updated(dynamic_default={"message.max.bytes": "200"})
    per_broker = changed.updated(dynamic_broker={"message.max.bytes": "300"})
    assert [one.message_max_bytes for one in (config, changed, per_broker)] == [100, 200, 300]
    assert [one.source("message.max.bytes") for one in (BrokerConfig(), config, changed, per_broker)] == [
        ConfigSource.DEFAULT,
        ConfigSource.STATIC_BROKER,
        ConfigSource.DYNAMIC_DEFAULT_BROKER,
        ConfigSource.DYNAMIC_BROKER,
    ]  # fmt: skip
    assert per_broker.updated(dynamic_broker={}).message_max_bytes == 200
    assert per_broker.updated({}, {}) == config
    assert len({config, per_broker.updated({}, {}), changed}) == 2


def test_a_dynamic_setting_in_another_unit_counts() -> None:
    config = BrokerConfig({"log.retention.ms": "5"}).updated({"log.retention.hours": "1"})
    assert config.log_retention_ms == 3_600_000


def test_a_stored_dynamic_setting_that_cannot_be_read_is_left_out() -> None:
    config = BrokerConfig().updated({"message.max.bytes": "many", "log.roll.ms": "7"})
    assert config.message_max_bytes == 1048588
    assert config.log_roll_ms == 7
    assert "many" in config.problems[0]


@pytest.mark.parametrize(
    ("static", "attribute", "value"),
    [
        ({"log.retention.minutes": "2"}, "log_retention_ms", 120_000),
        ({"log.retention.minutes": "2", "log.retention.ms": "9"}, "log_retention_ms", 9),
        ({"log.retention.hours": "-1"}, "log_retention_ms", -1),
        ({"log.roll.hours": "1"}, "log_roll_ms", 3_600_000),
        ({"log.roll.jitter.hours": "1"}, "log_roll_jitter_ms", 3_600_000),
        ({"log.flush.scheduler.interval.ms": "50"}, "log_flush_interval_ms", 50),
        ({"log.flush.scheduler.interval.ms": "50", "log.flush.interval.ms": "7"}, "log_flush_interval_ms", 7),
        ({"log.dir": "/a"}, "log_dirs", ("/a",)),
        ({"log.dir": "/a", "log.dirs": "/b, /c"}, "log_dirs", ("/b", "/c")),
        ({"broker.id": "4"}, "node_id", 4),
        ({"node.id": "5"}, "node_id", 5),
    ],
)  # fmt: skip
def test_what_counts_of_several_spellings(
    static: dict[str, str], attribute: str, value: object
) -> None:
    assert getattr(BrokerConfig(static), attribute) == value


def test_stored_settings_that_contradict_each_other_never_stop_a_broker() -> None:
    config = BrokerConfig().updated({"log.retention.ms": "9"}, {"log.retention.ms": "0"})
    assert config.log_retention_ms == 9
    assert "log.retention.ms must be" in config.problems[0]
    assert BrokerConfig().updated({"log.retention.ms": "0"}).log_retention_ms == 604_800_000


def test_single_hosts_have_limits() -> None:
    config = BrokerConfig({"max.connections.per.ip.overrides": "10.0.0.1:5, h:0,::1:7"})
    assert config.connections_per_ip == {"10.0.0.1": 5, "h": 0, "::1": 7}


@pytest.mark.parametrize(
    "static",
    [
        {"log.retention.ms": "0"},
        {"log.roll.ms": "0"},
        {"broker.id": "4", "node.id": "5"},
        {"queued.max.request.bytes": "5"},
        {"max.connections.per.ip": "0"},
        {"max.connections.per.ip.overrides": "nobody"},
        {"connections.max.idle.ms": "10"},
        {"replica.fetch.wait.max.ms": "40000"},
        {"num.partitions": "0"},
        {"listeners": "nonsense"},
        {"listeners": "FOO://:1"},
        {"advertised.listeners": "SSL://h:1", "listeners": "PLAINTEXT://:1"},
        {"group.min.session.timeout.ms": "10", "group.max.session.timeout.ms": "9"},
    ],
)
def test_contradictions_are_refused_at_the_start(static: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        BrokerConfig(static)


def test_a_kraft_file_gives_the_client_listeners() -> None:
    config = BrokerConfig(
        {
            "listeners": "PLAINTEXT://0.0.0.0:9092,CONTROLLER://:9093",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        }
    )
    assert [listener.name for listener in config.listeners] == ["PLAINTEXT"]
    assert config.listeners[0].also_hosts == ()


def test_only_advertised_listeners_opens_every_interface() -> None:
    config = BrokerConfig({"advertised.listeners": "PLAINTEXT://kafka:9092"})
    assert str(config.listeners[0]) == "PLAINTEXT://0.0.0.0:9092"
    assert config.advertised_listeners["PLAINTEXT"].host == "kafka"


def test_a_listener_has_settings_of_its_own() -> None:
    config = BrokerConfig(
        {
            "listener.name.client.ssl.client.auth": "required",
            "listener.name.client.plain.connections.max.reauth.ms": "5",
        }
    )
    assert config.for_listener("CLIENT", "ssl.client.auth") == "required"
    assert config.for_listener("OTHER", "ssl.client.auth") == "none"
    assert config.for_listener("CLIENT", "connections.max.reauth.ms", "PLAIN") == 5
    assert config.for_listener("CLIENT", "connections.max.reauth.ms", "SCRAM-SHA-256") == 0


def test_a_codec_of_the_offsets_topic_that_does_not_exist_is_refused() -> None:
    assert BrokerConfig({"offsets.topic.compression.codec": "4"})
    with pytest.raises(ConfigError, match="Unknown compression type id: 9"):
        BrokerConfig({"offsets.topic.compression.codec": "9"})
