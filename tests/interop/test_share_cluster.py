"""A share group over three brokers, with librdkafka's share consumer: leaders die, what was said stays."""

from typing import Any

from confluent_kafka import AcknowledgeType, Producer, ShareConsumer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from tools.subject import until

from ottla.testing.embedded_cluster import EmbeddedCluster

PARTITIONS = 6
RECORDS = 60
SETTINGS = {
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    "share.coordinator.state.topic.num.partitions": "6",
}

Place = tuple[int, int]


def produce(client: dict[str, Any]) -> None:
    producer = Producer({**client, "acks": "all"})
    for number in range(RECORDS):
        producer.produce("t", str(number), partition=number % PARTITIONS)
    assert producer.flush(30) == 0


def begin_at_the_earliest(client: dict[str, Any], group: str) -> None:
    entry = ConfigEntry(
        "share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=[entry])
    admin = AdminClient(client)
    (done,) = admin.incremental_alter_configs([resource]).values()
    done.result()


def test_leaders_die_and_nothing_accepted_comes_again() -> None:
    with EmbeddedCluster(settings=SETTINGS, topics={"t": PARTITIONS}) as cluster:
        client = {"bootstrap.servers": cluster.bootstrap, "log_level": 2}
        produce(client)
        begin_at_the_earliest(client, "g")
        accepted: set[Place] = set()
        twice: set[Place] = set()

        def accept(one: ShareConsumer) -> int:
            """Accept what comes; those whose acceptance was answered count."""
            held: set[Place] = set()
            for message in one.poll(0.2):
                if message.error() is None:
                    held.add((message.partition(), message.offset()))
                    one.acknowledge(message, AcknowledgeType.ACCEPT)
            twice.update(held & accepted)
            verdicts = one.commit_sync(10)
            refused = {each.partition for each, error in verdicts.items() if error is not None}
            accepted.update(place for place in held if place[0] not in refused)
            return len(accepted)

        settings = {**client, "group.id": "g", "share.acknowledgement.mode": "explicit"}
        with ShareConsumer({**settings, "max.poll.records": 10}) as one:
            one.subscribe(["t"])
            until("some", lambda: accept(one) >= RECORDS // 3)
            cluster.kill(cluster.leader("__share_group_state", 0))
            until("all of them", lambda: accept(one) == RECORDS)
            (dead,) = {1, 2, 3} - set(cluster.running)
            cluster.restart(dead)
            cluster.wait_in_sync()
            produce(client)
            cluster.stop(cluster.leader("t", 0))
            until("all the others", lambda: accept(one) == 2 * RECORDS)
        assert twice == set()
