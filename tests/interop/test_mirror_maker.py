"""MirrorMaker 2 from a real Kafka: topics, their settings, records, and where groups are."""

from pathlib import Path

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from tests.interop.conftest import create_topic
from tests.interop.jvms import JavaProcess, none_left
from tools.kafka import java
from tools.subject import Subject, until

pytestmark = pytest.mark.java

PARTITIONS = 2
NEWER = 20_000
Row = tuple[int, int, bytes | None, bytes | None, object]
"""Partition, timestamp, key, value, headers."""
MIRROR = "org.apache.kafka.connect.mirror.MirrorMaker"
HEAP = "-Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
RETENTION_MS = "123456789012"

SETTINGS = {
    "clusters": "old, new",
    "old->new.enabled": "true",
    "emit.heartbeats.enabled": "false",
    "replication.policy.class": "org.apache.kafka.connect.mirror.IdentityReplicationPolicy",
    "sync.group.offsets.enabled": "true",
    "offset-syncs.topic.location": "target",
    "new.exactly.once.source.support": "enabled",
    "plugin.discovery": "service_load",
    "new.plugin.discovery": "service_load",
    "replication.factor": "1",
    "offset-syncs.topic.replication.factor": "1",
    "checkpoints.topic.replication.factor": "1",
    "heartbeats.topic.replication.factor": "1",
    "offset.storage.replication.factor": "1",
    "status.storage.replication.factor": "1",
    "config.storage.replication.factor": "1",
    # Everything that is looked at now and then is so each second.
    "refresh.topics.interval.seconds": "1",
    "refresh.groups.interval.seconds": "1",
    "sync.topic.configs.interval.seconds": "1",
    "emit.checkpoints.interval.seconds": "1",
    "sync.group.offsets.interval.seconds": "1",
    "new.offset.flush.interval.ms": "500",
    "new.session.timeout.ms": "3000",
    "new.heartbeat.interval.ms": "500",
    "new.scheduled.rebalance.max.delay.ms": "0",
    # A worker that starts reads the offsets up to their end, so it waits for what a killed one left.
    "new.producer.transaction.timeout.ms": "3000",
}


def mirror(folder: Path, old: Subject, new: Subject, topic: str, group: str) -> JavaProcess:
    """A MirrorMaker 2 for one topic and one group."""
    folder.mkdir()
    properties = folder / "mirror.properties"
    settings = {
        **SETTINGS,
        "old.bootstrap.servers": old.bootstrap,
        "new.bootstrap.servers": new.bootstrap,
        "topics": topic,
        "groups": group,
    }
    properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    command = java(MIRROR, str(properties), "--clusters", "new", heap=HEAP)
    return JavaProcess(folder, command)


def produce(subject: Subject, topic: str, numbers: range) -> None:
    producer = Producer({"bootstrap.servers": subject.bootstrap, "log_level": 0})
    for number in numbers:
        producer.produce(
            topic,
            str(number),
            f"key-{number}",
            number % PARTITIONS,
            timestamp=1_700_000_000_000 + number,
            headers=[("source", str(number).encode())],
        )
    assert producer.flush(30) == 0


class Reader:
    """A member of a group that reads on from where the group is."""

    def __init__(self, subject: Subject, topic: str, group: str) -> None:
        self._rows: list[Row] = []
        self._ended: set[int] = set()
        self._consumer = Consumer(
            {
                "bootstrap.servers": subject.bootstrap,
                "group.id": group,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
        self._consumer.subscribe([topic])

    def read(self, count: int) -> list[Row]:
        """The first `count` rows, by partition and time, and all that is behind them by now."""
        until(f"{count} records are read", lambda: self.begun(count) and self._to_ends(), 60)
        return sorted(self._rows)

    def begun(self, count: int) -> bool:
        """Take in what comes within a moment; whether `count` rows were read."""
        while len(self._rows) < count and self._take(0.2):
            pass
        return len(self._rows) >= count

    def _to_ends(self) -> bool:
        while len(self._ended) < PARTITIONS and self._take(0.2):
            pass
        return len(self._ended) == PARTITIONS

    def _take(self, seconds: float) -> bool:
        message = self._consumer.poll(seconds)
        if message is None:
            return False
        place, problem = message.partition(), message.error()
        assert place is not None
        if problem is None:
            self._ended.discard(place)
            time = message.timestamp()[1]
            self._rows.append((place, time, message.key(), message.value(), message.headers()))
        else:
            assert problem.code() == KafkaError._PARTITION_EOF, problem
            self._ended.add(place)
        return True

    def close(self) -> None:
        """Leave the group at what was read."""
        self._consumer.commit(asynchronous=False)
        self._consumer.close()


def read(subject: Subject, topic: str, group: str, count: int) -> list[Row]:
    """What a new member of `group` reads, at least `count` rows."""
    reader = Reader(subject, topic, group)
    rows = reader.read(count)
    reader.close()
    return rows


def committed(subject: Subject, group: str) -> dict[int, int]:
    """Where a group is, by partition."""
    admin = AdminClient({"bootstrap.servers": subject.bootstrap, "log_level": 0})
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
    places = asked[group].result(10).topic_partitions or []
    return {place.partition: place.offset for place in places}


def retention(subject: Subject, topic: str) -> str | None:
    """`retention.ms` of the topic."""
    admin = AdminClient({"bootstrap.servers": subject.bootstrap, "log_level": 0})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    entries = admin.describe_configs([resource])[resource].result(10)
    value = entries["retention.ms"].value
    return None if value is None else str(value)


def test_records_settings_and_groups_move_from_kafka(
    real_kafka: Subject, broker: Subject, name: str, tmp_path: Path
) -> None:
    """A group goes on where it was, though offsets differ and the mirror was killed."""
    group = f"{name}-group"
    create_topic(real_kafka, name, PARTITIONS, {"retention.ms": RETENTION_MS})
    produce(real_kafka, name, range(600))
    admin = AdminClient({"bootstrap.servers": real_kafka.bootstrap, "log_level": 0})
    for future in admin.delete_records([TopicPartition(name, 0, 50)]).values():
        future.result(10)
    kept = read(real_kafka, name, f"{name}-other", 550)
    app = mirror(tmp_path / "mirror", real_kafka, broker, name, group)
    with none_left(app):
        app.start()
        here = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        until("the topic is here", lambda: name in here.list_topics(timeout=10).topics, 60)
        copies = Reader(broker, name, f"{name}-copies")
        assert copies.read(550) == kept
        assert retention(broker, name) == RETENTION_MS
        read(real_kafka, name, group, 550)
        until("the group is here", lambda: set(committed(broker, group)) == {0, 1}, 60)
        produce(real_kafka, name, range(600, 600 + NEWER))
        until("the first of these are here", lambda: copies.begun(551), 60)
        app.kill9()
        app.start()
        newer = read(real_kafka, name, f"{name}-other", NEWER)
        assert copies.read(550 + NEWER) == sorted(kept + newer)
    assert read(broker, name, group, NEWER) == newer
    copies.close()
