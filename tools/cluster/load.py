"""Clients of a cluster that is disturbed: producers that never stop, readers that always read.

Producers are idempotent, with acks=all, and never give up; what they must not be told is an error.
Each acknowledgement, each record read and each high watermark goes into the journal. The threads
pass nothing else on, and end when told.
"""

import logging
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from tools.cluster.journal import Journal
from tools.cluster.silence import Silence
from tools.proof.checker import PRODUCER_SHIFT
from tools.subject.wait import until

PRODUCERS = 3
VALUE_BYTES = 200
TICK_S = 0.02
END_S = 60.0
UNKNOWN_OFFSET = -1

IMPATIENT: Mapping[str, Any] = {
    "socket.timeout.ms": 3_000,
    "socket.connection.setup.timeout.ms": 2_000,
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 500,
    "topic.metadata.refresh.fast.interval.ms": 100,
    "log_level": 0,
}
"""Of every client: a broker that is stopped or cut off is not waited for long, as the defaults would
(a minute), so that what is measured is the cluster, and requests are repeated often."""


class Bumps(logging.Handler):
    """Keeps why librdkafka took another epoch: what was not answered before may be there twice then."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if "epoch bump" in said:
            self._journal.note(f"{time.monotonic():.3f} {said}")


class Producers:
    """Idempotent producers that together send so many records a second, to all partitions in turn."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        partitions: int,
        records_per_s: float,
        journal: Journal,
        silence: Silence,
    ) -> None:
        self._topic = topic
        self._partitions = partitions
        self._per_s = records_per_s / PRODUCERS
        self._journal = journal
        self._silence = silence
        self._stop = threading.Event()
        self._patience_s = END_S
        self._threads = [
            threading.Thread(target=self._run, args=(bootstrap, n), name=f"producer {n}")
            for n in range(PRODUCERS)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, bootstrap: str, number: int) -> None:
        logger = logging.Logger(f"producer {number}")
        logger.addHandler(Bumps(self._journal))
        producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "batch.num.messages": 50,
                "queue.buffering.max.messages": 100_000,
                "message.timeout.ms": 0,
                "request.timeout.ms": 2_000,
                "retry.backoff.ms": 50,
                "retry.backoff.max.ms": 300,
                "error_cb": partial(self._told, number),
                **IMPATIENT,
                "debug": "eos",
                "log_level": 7,
            },
            logger=logger,
        )
        began, sequence = time.monotonic(), 0
        while not self._stop.is_set():
            now = time.monotonic()
            while sequence < (now - began) * self._per_s:
                value = (number << PRODUCER_SHIFT) + sequence
                try:
                    producer.produce(
                        self._topic,
                        value.to_bytes(8, "big").ljust(VALUE_BYTES, b"."),
                        partition=sequence % self._partitions,
                        on_delivery=partial(self._delivered, time.monotonic(), value),
                    )
                except BufferError:
                    break
                sequence += 1
                self._journal.sent[number] = sequence
            producer.poll(TICK_S)
        left = producer.flush(self._patience_s)
        if left and self._patience_s:
            self._journal.complain(
                "stall", f"{left} records of producer {number} unanswered after {END_S:g} s"
            )

    def _told(self, number: int, error: KafkaError) -> None:
        """What the client says of itself; of connections it says that they were lost."""
        if not is_transient(error):
            self._journal.complain("producer", f"{number}: {error.name()} {error.str()}")

    def _delivered(self, sent_at: float, value: int, error: KafkaError | None, told: Any) -> None:
        at = time.monotonic()
        if error is not None:
            self._journal.complain("producer", f"{error.name()} {error.str()} at {at:.3f}")
            return
        offset = told.offset()
        self._journal.acknowledged(
            told.partition(), UNKNOWN_OFFSET if offset is None else offset, value, at
        )
        self._silence.acknowledged(told.partition(), at, sent_at)

    def stop(self, patience_s: float = END_S) -> None:
        """Send no more, wait for every answer; not if there is no patience for that."""
        self._patience_s = patience_s
        self._stop.set()
        for thread in self._threads:
            thread.join()


def consumer(bootstrap: str, **settings: Any) -> Consumer:
    """A client that reads without a group."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "none",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "check.crcs": True,
            "fetch.wait.max.ms": 100,
            "fetch.error.backoff.ms": 100,
            **IMPATIENT,
            **settings,
        }
    )


class Reader:
    """Reads all partitions from their beginning, while the cluster is disturbed."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, journal: Journal) -> None:
        self._journal = journal
        self.positions = [0] * partitions
        self._consumer = consumer(bootstrap, error_cb=self._told)
        self._consumer.assign([TopicPartition(topic, n, 0) for n in range(partitions)])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader")
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(500, 0.1):
                at = time.monotonic()
                error = message.error()
                if error is None:
                    self._take(message, at)
                elif not error.retriable() and not is_transient(error):
                    where = f"{message.partition()}@{message.offset()}"
                    self._journal.complain(
                        "reader", f"{error.name()} {error.str()} {where} at {at:.3f}"
                    )
        self._consumer.close()

    def _told(self, error: KafkaError) -> None:
        if not is_transient(error):
            self._journal.complain("reader", f"{error.name()} {error.str()}")

    def _take(self, message: Any, at: float) -> None:
        number, offset = message.partition(), message.offset()
        if offset != self.positions[number]:
            self._journal.complain(
                "reader", f"{number}@{offset} came after @{self.positions[number] - 1} at {at:.3f}"
            )
        self.positions[number] = offset + 1
        value = int.from_bytes(message.value()[:8], "big")
        self._journal.read(number, offset, value, at)

    def await_end(self, ends: Mapping[int, int]) -> None:
        """Let it read up to those offsets, which it must."""
        try:
            until(
                "the reader has read everything",
                lambda: all(self.positions[number] >= end for number, end in ends.items()),
                END_S,
            )
        except TimeoutError:
            self._journal.complain("reader", f"is at {self.positions}, the ends are {ends}")

    def stop(self) -> None:
        """Read no more."""
        self._stop.set()
        self._thread.join()


class Watcher:
    """Asks for each partition's high watermark, one question at a time."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, journal: Journal) -> None:
        self._journal = journal
        self._places = [TopicPartition(topic, n) for n in range(partitions)]
        self._consumer = consumer(bootstrap)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher")
        self._thread.start()

    def _run(self) -> None:
        while True:
            for place in self._places:
                if self._stop.wait(0.1):
                    self._consumer.close()
                    return
                try:
                    answer = self._consumer.get_watermark_offsets(place, timeout=2.0)
                except KafkaException:
                    continue
                if answer is not None:
                    self._journal.watermark(place.partition, answer[1], time.monotonic())

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        self._thread.join()


def everything(bootstrap: str, topic: str, partitions: int) -> dict[int, list[tuple[int, int]]]:
    """Read every partition from its beginning to its end: (offset, value) in order.

    Raises:
        TimeoutError: it did not come to the end.
    """
    reader = consumer(bootstrap, **{"enable.partition.eof": True})
    read: dict[int, list[tuple[int, int]]] = {number: [] for number in range(partitions)}
    unread = set(read)
    reader.assign([TopicPartition(topic, number, 0) for number in read])
    deadline = time.monotonic() + END_S
    try:
        while unread:
            if time.monotonic() > deadline:
                raise TimeoutError(f"partitions {sorted(unread)} not read within {END_S:g} s")
            for message in reader.consume(5_000, 0.5):
                error = message.error()
                if error is None:
                    stored: Any = message
                    value = int.from_bytes(stored.value()[:8], "big")
                    read[stored.partition()].append((stored.offset(), value))
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
    finally:
        reader.close()
    return read


def is_transient(error: KafkaError) -> bool:
    """Whether the client goes on by itself; it says so of connections and of leaders it lost."""
    return error.code() in (
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.KAFKA_STORAGE_ERROR,
    )
