"""Kafka Connect: files into a topic and out again, by two workers of which one dies."""

from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from tests.interop.conftest import create_topic
from tests.interop.connect import Worker
from tests.interop.jvms import none_left
from tools.subject import Subject, until

pytestmark = pytest.mark.java

LINES = 3_000
#: With its newline as long as what the source reads at a time. It extracts no line from what it has
#: read but when it reads more, so that shorter lines would stay there once a batch is full.
WIDTH = 1023


def committed(subject: Subject, topic: str) -> list[str]:
    """Every value of the topic's only partition that a reader of committed records sees."""
    consumer = Consumer(
        {
            "bootstrap.servers": subject.bootstrap,
            "group.id": "nobody",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    values = []
    while True:
        message = consumer.poll(10)
        assert message is not None
        problem, value = message.error(), message.value()
        if problem is not None:
            assert problem.code() == KafkaError._PARTITION_EOF, problem
            consumer.close()
            return values
        assert value is not None
        values.append(value.decode())


def append(file: Path, lines: list[str]) -> None:
    with file.open("a") as out:
        out.writelines(f"{line}\n" for line in lines)


def arrived(file: Path) -> set[str]:
    """The whole lines of a file, none when there is no file yet."""
    return set(file.read_text().split("\n")[:-1]) if file.exists() else set()


def test_lines_arrive_though_a_worker_dies(broker: Subject, name: str, tmp_path: Path) -> None:
    """Once in the topic, at least once in the file: the sink's file knows no offsets."""
    create_topic(broker, name)
    into, out_of = tmp_path / "in.txt", tmp_path / "out.txt"
    source = {"connector.class": "FileStreamSource", "file": str(into), "topic": name}
    sink = {"connector.class": "FileStreamSink", "file": str(out_of), "topics": name}
    lines = [str(number).zfill(WIDTH) for number in range(LINES)]
    workers = [Worker(tmp_path / f"worker-{n}", broker.bootstrap, f"{name}-group") for n in (0, 1)]
    first = workers[0]
    with none_left(*workers):
        for worker in workers:
            worker.start()
        for worker in workers:
            assert worker.settled("GET", "/connectors") == []
        # Each poll of 20 lines is a transaction, so that the worker dies in the middle of some.
        first.settled("PUT", "/connectors/source/config", {**source, "batch.size": "20"})
        first.settled("PUT", "/connectors/sink/config", sink)
        append(into, lines[:100])
        until("the first lines arrived", lambda: arrived(out_of) == set(lines[:100]), 240)
        place = until("the source runs", lambda: first.runs_on("source"))
        (killed,) = (worker for worker in workers if worker.worker_id == place)
        (other,) = (worker for worker in workers if worker is not killed)
        append(into, lines[100:])
        until("more arrive", lambda: len(arrived(out_of)) > 100, 240)
        killed.kill9()
        until("all of them arrived", lambda: arrived(out_of) == set(lines), 240)
        assert other.runs_on("source") == other.worker_id
    assert committed(broker, name) == lines
