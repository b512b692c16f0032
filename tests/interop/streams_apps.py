"""Two Kafka Streams applications (java/StreamsApp.java): what they get, and what they must say of it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from tests.interop.java_clients import program
from tests.interop.jvms import JavaProcess
from tools.subject import Subject

PARTITIONS = 2
WORDS = [f"word-{number}" for number in range(12)]
MINUTE_MS = 60_000
NOTHING_MORE: Mapping[str, str] = {}
Event = tuple[str, str, int]
"""Key, value and timestamp."""

#: Who dies is missed soon, and a transaction of his does not hold up readers for long.
SETTINGS = {
    "processing.guarantee": "exactly_once_v2",
    "commit.interval.ms": "100",
    "num.stream.threads": "1",
    "consumer.session.timeout.ms": "3000",
    "consumer.heartbeat.interval.ms": "500",
    "consumer.metadata.max.age.ms": "1000",
    "consumer.auto.offset.reset": "earliest",
    "producer.transaction.timeout.ms": "5000",
}


class Output:
    """What a reader of committed records, or of all, sees of a topic, by key, in order."""

    def __init__(self, subject: Subject, topic: str, isolation: str = "read_committed") -> None:
        self.values: dict[str, list[int]] = defaultdict(list)
        self.count = 0
        self._ended: set[int | None] = set()
        self._consumer = Consumer(
            {
                "bootstrap.servers": subject.bootstrap,
                "group.id": "nobody",
                "isolation.level": isolation,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(topic, place, 0) for place in range(PARTITIONS)])

    def read(self, count: int) -> bool:
        """Take in what comes within a moment; whether `count` records were seen."""
        while self.count < count and (message := self._consumer.poll(0.2)) is not None:
            self._take(message)
        return self.count >= count

    def read_to_ends(self) -> dict[str, list[int]]:
        """Take in all that is there, once and then no more."""
        while len(self._ended) < PARTITIONS:
            message = self._consumer.poll(10)
            assert message is not None
            self._take(message)
        self.close()
        return self.values

    def close(self) -> None:
        """Read no more."""
        self._consumer.close()

    def _take(self, message: Message) -> None:
        problem, key, value = message.error(), message.key(), message.value()
        if problem is not None:
            assert problem.code() == KafkaError._PARTITION_EOF, problem
            self._ended.add(message.partition())
            return
        assert key is not None
        assert value is not None
        self.values[key.decode()].append(int(value))
        self.count += 1


def send(subject: Subject, topic: str, events: Iterable[Event]) -> None:
    """What has a key goes where its key belongs."""
    producer = Producer({"bootstrap.servers": subject.bootstrap, "log_level": 0})
    for number, (key, value, timestamp) in enumerate(events):
        producer.produce(
            topic, value, key or None, number % PARTITIONS if not key else -1, timestamp=timestamp
        )
    assert producer.flush(30) == 0


def lines(first: int, count: int) -> list[Event]:
    """Lines of three words."""
    return [
        ("", " ".join(WORDS[(number * step) % len(WORDS)] for step in (1, 5, 7)), 1_700_000_000_000)
        for number in range(first, first + count)
    ]


def payments(first: int, count: int) -> list[Event]:
    """Payments of 40 cards, 20 a second; each third one comes 30 s late."""
    began = 1_700_000_040_000
    return [
        (f"card-{number * 7 % 40}", "1", began + number * 50 - (30_000 if number % 3 == 0 else 0))
        for number in range(first, first + count)
    ]


def counted_words(events: list[Event]) -> Counter[str]:
    """How often each word is in lines."""
    return Counter(word for _, line, _ in events for word in line.split())


def counted_payments(events: list[Event]) -> Counter[str]:
    """How many payments each card has in each minute."""
    return Counter(f"{card}@{time // MINUTE_MS}" for card, _, time in events)


TOPOLOGIES = {"words": (lines, counted_words), "cards": (payments, counted_payments)}
"""How the input of each is made, and how often each key is in it."""


def every_count(truth: Counter[str]) -> dict[str, list[int]]:
    """The output that is right: each count from 1 to the truth, once, in order."""
    return {key: list(range(1, n + 1)) for key, n in truth.items()}


def topics(name: str, *topologies: str) -> list[tuple[str, str]]:
    """Input and output of the applications of these topologies."""
    return [(f"{name}-{topology}-in", f"{name}-{topology}-out") for topology in topologies]


def instances(
    subject: Subject,
    folder: Path,
    name: str,
    topologies: Sequence[str],
    protocol: str,
    more: Mapping[str, str] = NOTHING_MORE,
) -> list[JavaProcess]:
    """Two processes, not started, each of them an instance of an application for each topology.

    `more` are settings of Kafka Streams; one that begins with TOPOLOGY/ is of that one alone. Who
    has the same folder and name goes on with the same state.
    """
    settings = {
        **SETTINGS,
        "bootstrap.servers": subject.bootstrap,
        "group.protocol": protocol,
        **more,
    }
    return [
        JavaProcess(
            folder / which,
            program(
                "StreamsApp",
                ",".join(topologies),
                name,
                f"state.dir={folder / which / 'state'}",
                f"application.server=localhost:{1 + number}",
                *(f"{key}={value}" for key, value in settings.items()),
            ),
        )
        for number, which in enumerate(("first", "second"))
    ]
