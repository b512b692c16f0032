"""Layers of settings."""

import pytest

from ottla.config.broker_config import BrokerConfig
from ottla.config.key import ConfigError
from ottla.config.resolve import (
    Setting,
    base_name,
    combine,
    from_file,
    from_flags,
    override,
    synonyms,
)


def test_flag_beats_environment_beats_file() -> None:
    flags = from_flags([("node.id", "3", "--id")])
    environment = {
        "node.id": Setting("2", "KAFKA_NODE_ID"),
        "num.partitions": Setting("7", "KAFKA_NUM_PARTITIONS"),
    }
    file = from_file("node.id=1\nnum.partitions=5\nlog.dirs=/a\n", "server.properties")
    static = combine(flags, environment, file)
    assert dict(static.settings) == {
        "node.id": Setting("3", "--id"),
        "num.partitions": Setting("7", "KAFKA_NUM_PARTITIONS"),
        "log.dirs": Setting("/a", "server.properties:3"),
    }
    assert static.texts()["node.id"] == "3"


def test_another_unit_in_a_better_layer_hides_all_in_a_worse() -> None:
    file = from_file("log.retention.ms=1\nlog.retention.hours=9", "f")
    static = combine({"log.retention.hours": Setting("2", "env")}, file)
    assert static.texts() == {"log.retention.hours": "2"}
    assert combine(file).texts() == {"log.retention.ms": "1", "log.retention.hours": "9"}


def test_an_unknown_name_is_left_out_with_the_nearest_known_one() -> None:
    static = combine(from_file("\nlog.retention.hour=3", "server.properties"))
    assert static.settings == {}
    assert static.warnings == (
        "Unknown setting log.retention.hour (server.properties:2) is ignored; "
        "did you mean log.retention.hours?",
    )


def test_nothing_is_near_to_nonsense() -> None:
    assert "mean" not in combine({"xyzzy": Setting("", "f")}).warnings[0]


def test_foreign_names_are_told_in_one_line() -> None:
    static = combine(
        from_file(
            "process.roles=broker,controller\ncontroller.quorum.voters=1@h:1\nzookeeper.connect=z",
            "f",
        )
    )
    assert static.settings == {}
    assert static.warnings == ()
    assert len(static.infos) == 1
    assert "controller.quorum.voters, process.roles, zookeeper.connect" in static.infos[0]


COMBINED = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9093
listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
"""


@pytest.mark.parametrize("roles", ["broker,controller", " controller , broker "])
def test_a_combined_node_is_what_we_are(roles: str) -> None:
    static = combine(from_file(COMBINED.replace("broker,controller", roles), "server.properties"))
    assert static.warnings == ()
    (listener,) = BrokerConfig(static.texts()).listeners
    assert str(listener) == "PLAINTEXT://localhost:9092"


@pytest.mark.parametrize(
    ("roles", "says"),
    [
        ("controller", "process.roles=controller asks for a controller alone"),
        (
            "borker",
            "Invalid value borker for configuration process.roles: String must be one of: "
            "broker, controller",
        ),
        (
            "",
            "Configuration 'process.roles' must not be empty. Valid values include: "
            "[broker, controller]",
        ),
    ],
)
def test_what_we_cannot_be_is_refused(roles: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        combine(from_file(f"process.roles={roles}", "f"))
    assert str(refused.value.message).startswith(says)


def test_the_roles_of_the_better_layer_count() -> None:
    flags = from_flags([("process.roles", "broker,controller", "--set process.roles")])
    assert combine(flags, from_file("process.roles=controller", "f")).warnings == ()


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("process.roles=broker\ncontroller.quorum.voters=9@h:1", "process.roles=broker means"),
        (
            "process.roles=broker,controller\ncontroller.quorum.voters=1@a:1,2@b:1,3@c:1",
            "controller.quorum.voters names 3 controllers",
        ),
    ],
)
def test_who_names_other_controllers_hears_that_they_are_not_asked(text: str, begins: str) -> None:
    (warning,) = combine(from_file(text, "f")).warnings
    assert warning.startswith(begins)
    assert "a cluster of its own" in warning


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("listener.name.internal.ssl.keystore.location", "ssl.keystore.location"),
        ("listener.name.internal.plain.sasl.jaas.config", "sasl.jaas.config"),
        ("ssl.keystore.location", "ssl.keystore.location"),
        ("listener.name.internal", "listener.name.internal"),
    ],
)
def test_a_listeners_own_setting_has_a_base(name: str, base: str) -> None:
    assert base_name(name) == base
    assert synonyms(name) == ((name,) if name == base else (name, base))


def test_settings_of_a_listener_are_known() -> None:
    name = "listener.name.internal.ssl.client.auth"
    assert combine({name: Setting("none", "f")}).texts() == {name: "none"}


def test_override_replaces_other_spellings() -> None:
    settings = {"log.roll.ms": "1", "node.id": "1"}
    override(settings, {"log.roll.hours": "2"})
    assert settings == {"node.id": "1", "log.roll.hours": "2"}
