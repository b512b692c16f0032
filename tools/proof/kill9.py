"""kill -9 under load: idempotent producers with acks=all never stop while the broker dies.

Several librdkafka producers, one for each codec, send without pause. Again and again the broker is
killed, with produce requests on their way to it, and started anew on its
data; the producers find it and go on. At the end everything is read and
compared with what was acknowledged (`checker`).
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from tools.proof.checker import PRODUCER_SHIFT, Acknowledged, counted, violations
from tools.subject import Subject

from ottla.record.batch import read_header

PARTITIONS = 3
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
"""Of each producer, as `compression.type` has them; in the order of their ids."""
PRODUCERS = len(CODECS)
VALUE_BYTES = 100
ACKNOWLEDGED_A_CYCLE = (500, 5_000)
DEADLINE_S = 60.0
CODEC_MASK = 7
"""Of a batch's attributes."""


class Cycle(NamedTuple):
    """What one death found: at the moment of the kill, and until ready again."""

    requests_in_flight: int
    records_unanswered: int
    records_acknowledged: int
    restart_s: float

    def line(self, number: int) -> str:
        """For people."""
        return (
            f"cycle {number}: {self.requests_in_flight} requests in flight, "
            f"{self.records_unanswered} records unanswered, "
            f"{self.records_acknowledged} acknowledged since the last, "
            f"ready again in {self.restart_s:.2f} s"
        )


class Outcome(NamedTuple):
    """All cycles, and what the checker says."""

    cycles: list[Cycle]
    acknowledged: int
    read: int
    violations: list[str]
    wrong: Counter[str]
    """How many of each kind: lost, duplicate, order, hole."""


class Load:
    """Producers that send until they are told to stop, in a thread of their own."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self.acknowledged: list[Acknowledged] = []
        self.failures: list[str] = []
        self.sent = 0
        self._in_flight = [0] * PRODUCERS
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._producers = [self._producer(bootstrap, n) for n in range(PRODUCERS)]
        self._thread = threading.Thread(target=self._run, name="load")
        self._thread.start()

    def _producer(self, bootstrap: str, number: int) -> Producer:
        def statistics(text: str) -> None:
            brokers = json.loads(text)["brokers"].values()
            with self._changed:
                self._in_flight[number] = sum(broker["waitresp_cnt"] for broker in brokers)
                self._changed.notify()

        return Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": CODECS[number],
                "linger.ms": 1,
                "batch.num.messages": 100,
                "queue.buffering.max.messages": 3_000,
                "message.timeout.ms": 0,
                "reconnect.backoff.ms": 10,
                "reconnect.backoff.max.ms": 50,
                "statistics.interval.ms": 5,
                "stats_cb": statistics,
                "log_level": 0,
            }
        )

    def _run(self) -> None:
        sequence = [0] * PRODUCERS
        while not self._stop.is_set():
            for number, producer in enumerate(self._producers):
                for _ in range(50):
                    value = (number << PRODUCER_SHIFT) + sequence[number]
                    try:
                        producer.produce(
                            self._topic,
                            value.to_bytes(8, "big").ljust(VALUE_BYTES, b"."),
                            partition=sequence[number] % PARTITIONS,
                            on_delivery=self._delivered,
                        )
                    except BufferError:
                        producer.poll(0.002)
                        break
                    sequence[number] += 1
                    self.sent += 1
                producer.poll(0)

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self.failures.append(f"producer: {error.str()}")
            return
        value = int.from_bytes(message.value()[:8], "big")
        self.acknowledged.append((message.partition(), message.offset(), value))

    @property
    def requests_in_flight(self) -> int:
        """Produce requests sent and unanswered, as the producers last said (every 5 ms)."""
        return sum(self._in_flight)

    def await_busy(self, acknowledged: int) -> None:
        """Wait until so many records are acknowledged and requests are on their way."""
        deadline = time.monotonic() + DEADLINE_S
        with self._changed:
            while len(self.acknowledged) < acknowledged or not self.requests_in_flight:
                if self.failures:
                    return
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError(
                        f"{len(self.acknowledged)} of {acknowledged} records acknowledged "
                        f"within {DEADLINE_S:g} s"
                    )

    def stop(self) -> None:
        """Send no more, wait for every answer."""
        self._stop.set()
        self._thread.join()
        for producer in self._producers:
            left = producer.flush(DEADLINE_S)
            if left:
                self.failures.append(f"producer: {left} records unanswered at the end")


def run(
    subject: Subject,
    cycles: int,
    seed: int,
    say: Callable[[str], None],
    stop_when_caught: bool = False,
) -> Outcome:
    """Kill `subject`, which runs, `cycles` times under load; then read and check everything."""
    topic = f"kill-{seed}"
    admin = AdminClient({"bootstrap.servers": subject.bootstrap, "log_level": 2})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(DEADLINE_S)
    chance = random.Random(seed)
    load = Load(subject.bootstrap, topic)
    seen: list[Cycle] = []
    try:
        for number in range(1, cycles + 1):
            before = len(load.acknowledged)
            load.await_busy(before + chance.randint(*ACKNOWLEDGED_A_CYCLE))
            in_flight, unanswered = load.requests_in_flight, load.sent - len(load.acknowledged)
            subject.kill9()
            acknowledged = len(load.acknowledged) - before
            started = time.monotonic()
            subject.start()
            seen.append(Cycle(in_flight, unanswered, acknowledged, time.monotonic() - started))
            say(seen[-1].line(number))
            if load.failures and stop_when_caught:
                break
    finally:
        load.stop()
    read = everything(subject.bootstrap, topic)
    found = load.failures[:5] + violations(load.acknowledged, read)
    wrong = counted(load.acknowledged, read)
    return Outcome(seen, len(load.acknowledged), sum(map(len, read.values())), found, wrong)


def batches_by_codec(data: Path) -> dict[str, int]:
    """Count the topic's batches in the files of a broker that has stopped, by codec."""
    counts: Counter[str] = Counter()
    for path in sorted(data.glob("kill-*/*.log")):
        content = path.read_bytes()
        position = 0
        while position < len(content):
            header = read_header(content, position)
            counts[CODECS[header.attributes & CODEC_MASK]] += 1
            position += header.size
    return {codec: counts[codec] for codec in CODECS}


def everything(bootstrap: str, topic: str) -> dict[int, list[tuple[int, int]]]:
    """Every record of the topic: partition -> (offset, value) in the order of consuming."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "none",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "check.crcs": True,
        }
    )
    places = [TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)]
    read: dict[int, list[tuple[int, int]]] = {partition: [] for partition in range(PARTITIONS)}
    open_partitions = set(read)
    consumer.assign(places)
    deadline = time.monotonic() + DEADLINE_S
    while open_partitions:
        if time.monotonic() > deadline:
            raise TimeoutError(f"partitions {open_partitions} not read within {DEADLINE_S:g} s")
        for message in consumer.consume(5_000, 0.5):
            error = message.error()
            if error is None:
                stored: Any = message
                value = int.from_bytes(stored.value()[:8], "big")
                read[stored.partition()].append((stored.offset(), value))
            elif error.code() == KafkaError._PARTITION_EOF:
                open_partitions.discard(message.partition())
    consumer.close()
    return read
