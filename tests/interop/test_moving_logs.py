"""Kafka's own admin client moves a replica to another log directory."""

import subprocess
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from tests.interop.java_clients import program
from tools.subject import Ottla

pytestmark = pytest.mark.java

RECORDS = 2_000
VALUE = b"x" * 5_000


def test_the_java_admin_client_moves_a_replica(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    paths = ",".join(map(str, folders))
    broker = Ottla(tmp_path / "data", arguments=("--set", f"log.dirs={paths}"))
    broker.start()
    try:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic("rides", 1, 1)])["rides"].result(30)
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for number in range(RECORDS):
            producer.produce("rides", VALUE, str(number).encode())
        assert producer.flush(60) == 0
        (place,) = [folder for folder in folders if (folder / "rides-0").exists()]
        (other,) = {*folders} - {place}
        command = program("MoveReplica", broker.bootstrap, "rides", "0", "1", str(other))
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.splitlines() == [
            f"was {place}",
            f"is {other}",
            "LogDirNotFoundException",
        ]
        assert (other / "rides-0").exists()
        assert not (place / "rides-0").exists()
        assert keys(broker.bootstrap) == [str(number).encode() for number in range(RECORDS)]
    finally:
        broker.kill9()


def keys(bootstrap: str) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader"})
    consumer.assign([TopicPartition("rides", 0, 0)])
    found: list[bytes | None] = []
    while len(found) < RECORDS:
        messages = consumer.consume(RECORDS, timeout=10)
        assert messages
        found += [message.key() for message in messages]
    consumer.close()
    return found
