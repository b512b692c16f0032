"""Brokers inside the test's own process, and librdkafka."""

from typing import Any

from confluent_kafka import Consumer, Producer

from ottla.testing.embedded_cluster import EmbeddedCluster

RECORDS = 300
SETTINGS = {"min.insync.replicas": "2"}


def test_a_broker_that_is_killed_takes_nothing_with_it() -> None:
    failed: list[Any] = []

    def told(error: Any, message: Any) -> None:
        if error is not None:
            failed.append(error)

    with EmbeddedCluster(settings=SETTINGS, topics={"rides": 3}) as cluster:
        client = {"bootstrap.servers": cluster.bootstrap, "log_level": 2}
        producer = Producer({**client, "acks": "all", "enable.idempotence": True, "linger.ms": 1})
        for n in range(RECORDS):
            producer.produce("rides", str(n), partition=n % 3, on_delivery=told)
            if n == RECORDS // 3:
                producer.poll(0)
                cluster.kill(cluster.leader("rides", 0))
        assert producer.flush(30) == 0
        assert failed == []
        (dead,) = {1, 2, 3} - set(cluster.running)
        assert dead not in cluster.in_sync("rides", 0)
        consumer = Consumer({**client, "group.id": "g", "auto.offset.reset": "earliest"})
        consumer.subscribe(["rides"])
        found: list[int] = []
        while len(found) < RECORDS:
            found += [int(m.value()) for m in consumer.consume(RECORDS, 0.5) if not m.error()]
        consumer.commit(asynchronous=False)
        consumer.close()
        assert sorted(found) == list(range(RECORDS))
        cluster.restart(dead)
        cluster.wait_in_sync()
        assert cluster.in_sync("rides", 0) == [1, 2, 3]
