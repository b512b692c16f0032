"""The declared settings against what Kafka 4.3.1 declares."""

from pathlib import Path

from ottla.config.broker_keys import BROKER_KEYS
from ottla.config.client_metrics_keys import CLIENT_METRICS_KEYS
from ottla.config.foreign_keys import is_foreign
from ottla.config.group_keys import GROUP_KEYS
from ottla.config.topic_keys import TOPIC_KEYS

GOLDENS = Path(__file__).parents[2] / "goldens" / "config"


def test_the_tables_are_complete() -> None:
    assert len(TOPIC_KEYS) == 33
    assert len(GROUP_KEYS) == 17
    assert len(CLIENT_METRICS_KEYS) == 3
    assert len(BROKER_KEYS) >= 270


def test_every_setting_of_kafka_is_declared_or_known_to_be_foreign() -> None:
    names = (GOLDENS / "broker-names.txt").read_text().split()
    assert len(names) == 360
    assert [name for name in names if name not in BROKER_KEYS and not is_foreign(name)] == []
    # What only Ottla has, and the throttles, which Kafka declares elsewhere.
    assert sorted(set(BROKER_KEYS) - set(names)) == [
        "follower.replication.throttled.rate",
        "group.consumer.settling.heartbeat.interval.ms",
        "group.drop.members.on.disconnect",
        "group.share.settling.heartbeat.interval.ms",
        "group.streams.settling.heartbeat.interval.ms",
        "leader.replication.throttled.rate",
        "log.dir.max.bytes",
        "metadata.etcd.endpoints",
        "metadata.etcd.password",
        "metadata.etcd.prefix",
        "metadata.etcd.ssl.ca",
        "metadata.etcd.ssl.certificate",
        "metadata.etcd.ssl.key",
        "metadata.etcd.user",
        "record.validation",
        "replica.alter.log.dirs.io.max.bytes.per.second",
    ]
