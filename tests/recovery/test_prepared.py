"""Killed between the decision how a transaction ends and its completion: the next start ends it so."""

from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from tools.subject import Ottla, until

TIMEOUT_S = 30.0
PARTITIONS = 3
SETTINGS = {"offsets.topic.num.partitions": "1", "transaction.state.log.num.partitions": "1"}


def client(subject: Ottla, **settings: Any) -> dict[str, Any]:
    return {
        "bootstrap.servers": subject.bootstrap,
        "reconnect.backoff.ms": 10,
        "reconnect.backoff.max.ms": 50,
        "metadata.recovery.strategy": "none",
        "log_level": 0,
        **settings,
    }


def read(subject: Ottla, isolation: str) -> list[str]:
    """Everything, up to the ends as of this isolation."""
    reader = confluent_kafka.Consumer(
        client(
            subject,
            **{"group.id": "r", "isolation.level": isolation, "enable.partition.eof": True},
        )
    )
    reader.assign([confluent_kafka.TopicPartition("t", n, 0) for n in range(PARTITIONS)])
    values: list[str] = []
    ended = 0
    while ended < PARTITIONS:
        message = reader.poll(TIMEOUT_S)
        assert message is not None, f"{values} and no end"
        if message.error() is None:
            values.append(message.value().decode())
        else:
            assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
            ended += 1
    reader.close()
    return sorted(values)


@pytest.mark.parametrize(
    ("moment", "commits"),
    [
        ("die_before_markers", True),
        ("die_before_markers", False),
        ("die_between_markers", True),
        ("die_before_complete", False),
    ],
)
def test_a_decided_transaction_is_ended_after_the_next_start(
    tmp_path: Path, moment: str, commits: bool
) -> None:
    dying = Ottla(tmp_path / "data", settings=SETTINGS, environment={"OTTLA_BREAK": moment})
    dying.start()
    subject = Ottla(tmp_path / "data", port=dying.port, settings=SETTINGS)
    try:
        admin = AdminClient(client(dying))
        admin.create_topics([NewTopic("t", PARTITIONS, 1)])["t"].result(TIMEOUT_S)
        producer = confluent_kafka.Producer(client(dying, **{"transactional.id": "t"}))
        producer.init_transactions(TIMEOUT_S)
        producer.begin_transaction()
        for number in range(PARTITIONS):
            producer.produce("t", f"{number}".encode(), partition=number)
        producer.flush(TIMEOUT_S)
        group = confluent_kafka.Consumer(client(dying, **{"group.id": "g"}))
        place = confluent_kafka.TopicPartition("t", 0, 42)
        producer.send_offsets_to_transaction([place], group.consumer_group_metadata(), TIMEOUT_S)
        end = producer.commit_transaction if commits else producer.abort_transaction
        with pytest.raises(confluent_kafka.KafkaException) as still_open:
            end(0.5)  # the broker dies of it
        assert still_open.value.args[0].retriable()
        until("the broker is dead", lambda: not dying.running())
        dying.kill9()

        subject.start()
        end(TIMEOUT_S)  # asked again, it is answered as it was decided, when the markers are there
        assert read(subject, "read_committed") == (["0", "1", "2"] if commits else [])
        assert read(subject, "read_uncommitted") == ["0", "1", "2"]
        (found,) = group.committed([confluent_kafka.TopicPartition("t", 0)], TIMEOUT_S)
        assert found.offset == (42 if commits else confluent_kafka.OFFSET_INVALID)
        group.close()
    finally:
        dying.kill9()
        subject.kill9()
