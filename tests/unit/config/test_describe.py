"""Entries and the synonyms behind them; the whole is compared with Kafka in the handler's test."""

from ottla.config.broker_config import BrokerConfig
from ottla.config.describe import (
    Synonym,
    describe_all_brokers,
    describe_broker,
    describe_client_metrics,
    describe_group,
    describe_topic,
)
from ottla.config.resolve import ConfigSource


def test_synonyms_begin_with_what_counts() -> None:
    broker = BrokerConfig({"log.retention.hours": "1", "log.retention.ms": "5"})
    (entry,) = describe_topic(broker, {"retention.ms": "9"}, {"retention.ms"})
    assert entry.value == "9"
    assert entry.source is ConfigSource.TOPIC
    assert entry.synonyms == (
        Synonym("retention.ms", "9", ConfigSource.TOPIC),
        Synonym("log.retention.ms", "5", ConfigSource.STATIC_BROKER),
        Synonym("log.retention.hours", "1", ConfigSource.STATIC_BROKER),
        Synonym("log.retention.hours", "168", ConfigSource.DEFAULT),
    )


def test_hours_alone_count_without_being_a_synonym() -> None:
    # Kafka's rule drops spellings before the asked one, and tools print what is left.
    (entry,) = describe_topic(BrokerConfig({"log.retention.hours": "1"}), {}, {"retention.ms"})
    assert (entry.value, entry.source, entry.synonyms) == ("3600000", ConfigSource.DEFAULT, ())


def test_the_base_of_a_listeners_setting_is_its_synonym() -> None:
    name = "listener.name.client.ssl.client.auth"
    (entry,) = describe_broker(BrokerConfig({name: "required"}), {name})
    assert [(s.name, s.value) for s in entry.synonyms] == [
        (name, "required"),
        ("ssl.client.auth", "none"),
    ]


def test_entries_are_sorted_and_filtered() -> None:
    broker = BrokerConfig().updated({"message.max.bytes": "5", "log.roll.ms": "70000"})
    described = (
        describe_topic(broker, {}),
        describe_group(broker, {}),
        describe_client_metrics({}),
        describe_broker(broker),
        describe_all_brokers(broker),
    )
    for entries in described:
        names = [entry.name for entry in entries]
        assert names == sorted(names)
        assert names
    assert describe_topic(broker, {}, set()) == []


def test_what_was_stored_by_another_release_is_shown_as_it_is() -> None:
    (entry,) = describe_topic(BrokerConfig(), {"retention.ms": "soon"}, {"retention.ms"})
    assert entry.value == "soon"
