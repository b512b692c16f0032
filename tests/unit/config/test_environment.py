"""What the Docker images' variables mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.config.broker_keys import BROKER_KEYS
from ottla.config.environment import (
    SeedTopic,
    parse_create_topics,
    read_environment,
    setting_name,
    variable_name,
)
from ottla.config.key import ConfigError


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("KAFKA_LOG_DIRS", "log.dirs"),
        ("KAFKA_ABC_DEF", "abc.def"),
        ("KAFKA_ABC__DEF", "abc_def"),
        ("KAFKA_ABC___DEF", "abc-def"),
        ("KAFKA_CFG_NUM_PARTITIONS", "num.partitions"),
        ("KAFKA_LISTENER_NAME_CLIENT_SSL_KEYSTORE_LOCATION", "listener.name.client.ssl.keystore.location"),
    ],
)  # fmt: skip
def test_a_variable_names_a_setting(variable: str, name: str) -> None:
    assert setting_name(variable) == name


@given(st.lists(st.from_regex("[a-z][a-z0-9]*", fullmatch=True), min_size=1), st.data())
def test_every_setting_has_a_variable(words: list[str], data: st.DataObject) -> None:
    name = words[0]
    for word in words[1:]:
        name += data.draw(st.sampled_from(".-_")) + word
    if not name.startswith("cfg"):
        assert setting_name(variable_name(name)) == name


def test_every_declared_setting_has_a_variable() -> None:
    assert all(setting_name(variable_name(name)) == name for name in BROKER_KEYS)


def test_other_variables_are_not_ours() -> None:
    read = read_environment({"PATH": "/bin", "KAFKAESQUE": "1", "CLUSTER_ID": "abc"})
    assert read.settings == {}
    assert read.cluster_id == "abc"
    assert read.infos == ()


def test_what_is_for_the_jvm_is_named_once() -> None:
    read = read_environment(
        {"KAFKA_HEAP_OPTS": "-Xmx1g", "KAFKA_JMX_PORT": "9101", "KAFKA_ZOOKEEPER_CONNECT": "z:2181"}
    )
    assert read.settings == {}
    (info,) = read.infos
    assert all(name in info for name in ("HEAP_OPTS", "JMX_PORT", "ZOOKEEPER_CONNECT"))


def test_kubernetes_service_variables_are_passed_over() -> None:
    read = read_environment(
        {
            "KAFKA_SERVICE_HOST": "10.0.0.1",
            "KAFKA_SERVICE_PORT_CLIENT": "9092",
            "KAFKA_PORT": "tcp://10.0.0.1:9092",
            "KAFKA_PORT_9092_TCP_ADDR": "10.0.0.1",
        }
    )
    assert read == read_environment({})


def test_the_plain_variable_wins_over_bitnamis() -> None:
    read = read_environment({"KAFKA_CFG_NODE_ID": "1", "KAFKA_NODE_ID": "2"})
    assert read.settings["node.id"].text == "2"
    assert read.settings["node.id"].origin == "KAFKA_NODE_ID"


def test_wurstmeisters_host_name_is_advertised() -> None:
    read = read_environment({"KAFKA_ADVERTISED_HOST_NAME": "h", "KAFKA_BROKER_ID": "-1"})
    assert {name: setting.text for name, setting in read.settings.items()} == {
        "advertised.listeners": "PLAINTEXT://h:9092"
    }


def test_secrets_are_files_beside_each_other() -> None:
    read = read_environment(
        {"KAFKA_SSL_KEYSTORE_FILENAME": "k.p12", "KAFKA_SSL_KEY_CREDENTIALS": "key"}
    )
    assert read.settings["ssl.keystore.location"].text == "/etc/kafka/secrets/k.p12"
    assert read.secret_files == {"ssl.key.password": "/etc/kafka/secrets/key"}


def test_topics_to_create() -> None:
    assert parse_create_topics("a:1:3, b:2:1:compact,\nc") == (
        SeedTopic("a", 1, 3),
        SeedTopic("b", 2, 1, {"cleanup.policy": "compact"}),
        SeedTopic("c"),
    )
    assert parse_create_topics("a:1:3;b:2", separator=";") == (
        SeedTopic("a", 1, 3),
        SeedTopic("b", 2),
    )
    assert parse_create_topics("") == ()


@pytest.mark.parametrize("text", ["a:x:1", "a:1:-1", ":1:1", "a:1:1:delete:more"])
def test_topics_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="KAFKA_CREATE_TOPICS"):
        parse_create_topics(text)
