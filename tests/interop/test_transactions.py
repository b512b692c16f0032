"""Transactions with real clients: all of one or nothing of it, offsets too; fencing; restarts."""

import subprocess

import confluent_kafka
import pytest
from tests.interop.conftest import create_topic
from tests.interop.java_clients import program
from tools.subject import Subject

import kafka

TIMEOUT_S = 30.0
SILENT = {"log_level": 0}


def producer(
    subject: Subject, name: str, timeout_ms: int = 30_000, **settings: object
) -> confluent_kafka.Producer:
    made = confluent_kafka.Producer(
        {
            "bootstrap.servers": subject.bootstrap,
            "transactional.id": name,
            "transaction.timeout.ms": timeout_ms,
            "reconnect.backoff.ms": 20,
            "linger.ms": 0,
            **SILENT,
            **settings,
        }
    )
    made.init_transactions(TIMEOUT_S)
    return made


def send(made: confluent_kafka.Producer, topic: str, *values: str) -> None:
    for number, value in enumerate(values):
        made.produce(topic, value.encode(), partition=number % 2)
    made.flush(TIMEOUT_S)


def consumer(subject: Subject, group: str, isolation: str) -> confluent_kafka.Consumer:
    return confluent_kafka.Consumer(
        {
            "bootstrap.servers": subject.bootstrap,
            "group.id": group,
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            **SILENT,
        }
    )


def read(subject: Subject, topic: str, isolation: str = "read_committed") -> list[str]:
    """Everything in both partitions up to their ends as of this isolation."""
    made = consumer(subject, "reader", isolation)
    places = [confluent_kafka.TopicPartition(topic, number, 0) for number in range(2)]
    made.assign(places)
    values: list[str] = []
    ended = 0
    while ended < len(places):
        message = made.poll(TIMEOUT_S)
        assert message is not None, f"{values} and no end"
        if message.error() is None:
            values.append(message.value().decode())
        else:
            assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
            ended += 1
    made.close()
    return sorted(values)


@pytest.fixture
def topic(broker: Subject, name: str) -> str:
    create_topic(broker, name, 2)
    return name


def test_committed_records_are_read_and_aborted_ones_are_not(broker: Subject, topic: str) -> None:
    made = producer(broker, topic)
    for verdict in ("c", "a", "d"):
        made.begin_transaction()
        send(made, topic, *(f"{verdict}{number}" for number in range(4)))
        if verdict == "a":
            made.abort_transaction(TIMEOUT_S)
        else:
            made.commit_transaction(TIMEOUT_S)
    committed = [f"{verdict}{number}" for verdict in "cd" for number in range(4)]
    assert read(broker, topic) == committed
    everything = sorted([*committed, *(f"a{number}" for number in range(4))])
    assert read(broker, topic, "read_uncommitted") == everything


def test_nothing_of_an_open_transaction_is_read(broker: Subject, topic: str) -> None:
    made = producer(broker, topic)
    made.begin_transaction()
    send(made, topic, "x", "y")
    assert read(broker, topic) == []
    made.commit_transaction(TIMEOUT_S)
    assert read(broker, topic) == ["x", "y"]


@pytest.mark.parametrize("commits", [True, False])
def test_offsets_count_when_the_transaction_commits(
    broker: Subject, topic: str, commits: bool
) -> None:
    made = producer(broker, topic)
    place = confluent_kafka.TopicPartition(topic, 0, 42)
    reader = consumer(broker, topic, "read_committed")
    made.begin_transaction()
    send(made, topic, "x")
    made.send_offsets_to_transaction([place], reader.consumer_group_metadata(), TIMEOUT_S)
    if commits:
        made.commit_transaction(TIMEOUT_S)
    else:
        made.abort_transaction(TIMEOUT_S)
    (found,) = reader.committed([confluent_kafka.TopicPartition(topic, 0)], TIMEOUT_S)
    assert found.offset == (42 if commits else confluent_kafka.OFFSET_INVALID)
    reader.close()


def test_a_second_producer_fences_the_first(broker: Subject, topic: str) -> None:
    zombie = producer(broker, topic)
    zombie.begin_transaction()
    send(zombie, topic, "zombie")
    newer = producer(broker, topic)
    newer.begin_transaction()
    send(newer, topic, "newer")
    with pytest.raises(confluent_kafka.KafkaException) as caught:
        zombie.commit_transaction(TIMEOUT_S)
    assert caught.value.args[0].code() == confluent_kafka.KafkaError._FENCED
    newer.commit_transaction(TIMEOUT_S)
    assert read(broker, topic) == ["newer"]


def test_a_transaction_outlives_the_broker(own_broker: Subject, name: str) -> None:
    """Open when the broker is killed, it is committed after; committed ones stay so."""
    create_topic(own_broker, name, 2)
    made = producer(own_broker, name)
    made.begin_transaction()
    send(made, name, "a", "b")
    made.commit_transaction(TIMEOUT_S)
    made.begin_transaction()
    send(made, name, "c", "d")
    own_broker.kill9()
    own_broker.start()
    assert read(own_broker, name) == ["a", "b"]
    made.commit_transaction(TIMEOUT_S)
    assert read(own_broker, name) == ["a", "b", "c", "d"]


def test_whom_a_dead_producer_held_up_reads_on_when_its_time_is_up(
    broker: Subject, topic: str
) -> None:
    dead = producer(broker, topic, timeout_ms=1_000)
    dead.begin_transaction()
    send(dead, topic, "dead", "dead")
    other = producer(broker, f"{topic}-other")
    other.begin_transaction()
    send(other, topic, "x", "y")
    other.commit_transaction(TIMEOUT_S)
    reader = consumer(broker, topic, "read_committed")
    reader.assign([confluent_kafka.TopicPartition(topic, 0, 0)])
    while (message := reader.poll(TIMEOUT_S)) is not None and message.error() is not None:
        pass
    assert message is not None
    assert message.value() == b"x"
    reader.close()


@pytest.mark.java
def test_kafkas_own_producer_uses_version_2(broker: Subject, topic: str) -> None:
    """Ten transactions of the Java producer, every third of them aborted."""
    done = subprocess.run(
        program("Transactions", broker.bootstrap, topic, "10"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert read(broker, topic) == [f"{number}" for number in range(10) if number % 3]
    offset, epochs = done.stdout.split()
    assert offset == "8"
    assert int(epochs) >= 10  # one for each end: only version 2 does that


def test_offsets_are_first_of_all_a_transaction_has(own_broker: Subject, name: str) -> None:
    """kafka-python adds a group's offsets before anybody has looked for the group's coordinator."""
    create_topic(own_broker, name)
    committed = {kafka.TopicPartition(name, 0): kafka.structs.OffsetAndMetadata(7, "here", -1)}
    made = kafka.KafkaProducer(bootstrap_servers=own_broker.bootstrap, transactional_id=name)
    try:
        made.init_transactions()
        made.begin_transaction()
        made.send_offsets_to_transaction(committed, name)
        made.commit_transaction()
    finally:
        made.close()
    places = [confluent_kafka.TopicPartition(name, 0)]
    (found,) = consumer(own_broker, name, "read_committed").committed(places, TIMEOUT_S)
    assert found.offset == 7
