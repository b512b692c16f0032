"""A topic copied in transactions while the copiers and the brokers are killed again and again.

Consume, produce, send the offsets with the transaction (Kafka's own system test, with its figures
by default): two copiers, each its own process, are killed at random and started anew, and so is
the broker, or one after the other of a cluster. All the while somebody reads the copy with `read_committed`. At the end the copy must
be the source, exactly, for that reader and for one who reads it from the start (`copy_checker`).
"""

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from tools.kafka import java
from tools.proof.copy_checker import Values, counted, violations
from tools.proof.copy_places import CopyPlace

PARTITIONS = 2
STALLED_S = 120.0
"""So long without a new record, and the copy does not come to an end."""

TIMEOUT_MS = 5_000
"""Of a transaction. Kafka's copier asks for its offsets before it fences the one before: as long as
that one's transaction is open, they may change, and it waits."""

PACKAGE = "tools.proof.copiers"
JAVA = "org.apache.kafka.tools.TransactionalMessageCopier"
JAVA_HEAP = "-Xmx192m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

CLIENTS = ("confluent", "confluent-consumer", "aiokafka", "java", "java-group")
"""`java` and `java-group` are Kafka's own copier, with partitions of its own or as a group."""

SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "1500",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "300",
}
"""Of the broker: a copier that was killed is missed soon."""


class Plan(NamedTuple):
    """How much is copied, and how it is disturbed."""

    client: str
    records: int
    transaction_size: int
    broker_kills: int
    copier_kills: int
    abort_every: int
    """Each so-manieth transaction is aborted; Kafka's copier takes it for yes or no."""
    seed: int


def planned(client: str, records: int, kills: int, seed: int) -> Plan:
    """Kafka's own transactions, broker and copiers killed as often, every fifth one aborted."""
    return Plan(client, records, 750, kills, kills, 5, seed)


class Outcome(NamedTuple):
    """What became of a copy."""

    read: int
    read_uncommitted: int
    broker_kills: int
    copier_kills: int
    gave_up: int
    """Copiers that ended by themselves, and were started anew."""
    violations: list[str]
    wrong: Counter[str]


class Copier:
    """One copier: a process, and another when it has ended."""

    def __init__(self, command: list[str], log: Path, may_finish: bool) -> None:
        self._command = command
        self._log = log
        self._may_finish = may_finish
        self.gave_up = 0
        self._process = self._launched()

    def _launched(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def look(self) -> None:
        """Start another if this one has ended, unless it was done."""
        status = self._process.poll()
        if status is None or (status == 0 and self._may_finish):
            return
        self.gave_up += status != 0
        self._process = self._launched()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Kill it and start another."""
        self.kill()
        self._process = self._launched()


def command(plan: Plan, number: int, bootstrap: str, source: str, target: str) -> list[str]:
    """What runs copier `number`."""
    transactional_id = f"{target}-{number}"
    in_group = plan.client in ("java-group", "confluent", "confluent-consumer")
    if plan.client.startswith("java"):
        options = ["--group-mode", "--use-group-metadata"] if in_group else []
        if plan.abort_every:
            options.append("--enable-random-aborts")
        return java(
            JAVA,
            *("--broker-list", bootstrap, "--input-topic", source, "--output-topic", target),
            *("--input-partition", str(number), "--consumer-group", f"{target}-group"),
            *("--transaction-size", str(plan.transaction_size)),
            *("--transaction-timeout", str(TIMEOUT_MS), "--transactional-id", transactional_id),
            *options,
            heap=JAVA_HEAP,
        )
    return [
        *(sys.executable, "-m", f"{PACKAGE}.with_{plan.client.partition('-')[0]}"),
        *("--bootstrap", bootstrap, "--source", source, "--target", target),
        *("--group", f"{target}-group", "--transactional-id", transactional_id),
        *("--transaction-size", str(plan.transaction_size)),
        *("--transaction-timeout-ms", str(TIMEOUT_MS)),
        *("--partition", "-1" if in_group else str(number)),
        *("--abort-every", str(plan.abort_every)),
        *("--protocol", "consumer" if plan.client.endswith("-consumer") else "classic"),
    ]


class Reader:
    """Reads the copy while it is made, in a thread of its own."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.values: dict[int, list[str]] = {number: [] for number in range(PARTITIONS)}
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._consumer = consumer(bootstrap, "read_committed")
        self._consumer.assign(places(topic))
        self._thread = threading.Thread(target=self._run, name="reader")
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            came = self._consumer.consume(1_000, 0.1)
            with self._changed:
                for message in came:
                    if message.error() is None:
                        self.values[message.partition()].append(text(message))
                self._changed.notify()
        self._consumer.close()

    @property
    def count(self) -> int:
        """How many records came."""
        return sum(map(len, self.values.values()))

    def await_more(self, seconds: float) -> int:
        """Wait for at most `seconds` for more records; how many came by now."""
        with self._changed:
            self._changed.wait(seconds)
            return self.count

    def stop(self) -> None:
        """Read no more."""
        self._stop.set()
        self._thread.join()


def run(subject: CopyPlace, plan: Plan, folder: Path, say: Callable[[str], None]) -> Outcome:
    """Copy a new topic of `subject`, which runs, and check the copy; logs go into `folder`."""
    name = f"copy-{plan.client}-{plan.seed}"
    source, target = f"{name}-in", f"{name}-out"
    admin = AdminClient({"bootstrap.servers": subject.bootstrap, "log_level": 2})
    for made in admin.create_topics(
        [NewTopic(topic, PARTITIONS, subject.replicas) for topic in (source, target)]
    ).values():
        made.result(30)
    wanted = filled(subject.bootstrap, source, plan.records)
    if plan.client == "aiokafka":
        commit_beginning(subject.bootstrap, source, target)
    copiers = [
        Copier(
            command(plan, number, subject.bootstrap, source, target),
            folder / f"copier-{number}.log",
            may_finish=plan.client == "java",
        )
        for number in range(PARTITIONS)
    ]
    reader = Reader(subject.bootstrap, target)
    try:
        disturb(subject, plan, copiers, reader, say)
        ended = await_end(subject.bootstrap, plan, copiers, reader, source, target)
    finally:
        for copier in copiers:
            copier.kill()
        reader.stop()
    copied = everything(subject.bootstrap, target, "read_committed")
    found = violations(wanted, copied, reader.values)
    wrong = counted(wanted, copied, reader.values)
    if not ended:
        found.append(f"stalled: {reader.count} of {plan.records} records for {STALLED_S:g} s")
        wrong["stalled"] += 1
    uncommitted = everything(subject.bootstrap, target, "read_uncommitted")
    return Outcome(
        sum(map(len, copied.values())),
        sum(map(len, uncommitted.values())),
        plan.broker_kills,
        plan.copier_kills,
        sum(copier.gave_up for copier in copiers),
        found,
        wrong,
    )


def disturb(
    subject: CopyPlace,
    plan: Plan,
    copiers: list[Copier],
    reader: Reader,
    say: Callable[[str], None],
) -> None:
    """Kill as planned: each time when some random number of records has come, and a little later."""
    chance = random.Random(plan.seed)
    victims = ["broker"] * plan.broker_kills + ["copier"] * plan.copier_kills
    chance.shuffle(victims)
    each = plan.records / max(1, len(victims))
    bounces = count()
    for number, victim in enumerate(victims):
        threshold = round((number + chance.random()) * each)
        if not await_count(threshold, copiers, reader):
            return
        # Anywhere in the transactions that follow.
        reader.await_more(chance.uniform(0, 0.1))
        began = time.monotonic()
        if victim == "broker":
            done = subject.disturb(next(bounces))
        else:
            which = chance.randrange(len(copiers))
            copiers[which].restart()
            done = f"copier {which} killed"
        say(
            f"{plan.client}: {reader.count} of {plan.records} read, {done} "
            f"and started in {time.monotonic() - began:.2f} s"
        )


def await_count(wanted: int, copiers: list[Copier], reader: Reader) -> bool:
    """Wait until so many records came; False if for too long none did."""
    seen, since = -1, time.monotonic()
    while (now := reader.await_more(0.1)) < wanted:
        for copier in copiers:
            copier.look()
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > STALLED_S:
            return False
    return True


def await_end(
    bootstrap: str, plan: Plan, copiers: list[Copier], reader: Reader, source: str, target: str
) -> bool:
    """Wait until the copy is as long as its source, and the group has committed its ends."""
    if not await_count(plan.records, copiers, reader):
        return False
    group = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{target}-group",
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    committed = group.committed(places(source), 30)
    group.close()
    # The copy has as many records as the source: what the offsets say came with the last of them.
    return sum(place.offset for place in committed) == plan.records


def filled(bootstrap: str, topic: str, records: int) -> dict[int, list[str]]:
    """Write numbered records evenly into the partitions; partition -> its values in order."""
    values: dict[int, list[str]] = {number: [] for number in range(PARTITIONS)}
    failures: list[str] = []

    def delivered(error: KafkaError | None, message: Any) -> None:
        if error is not None:
            failures.append(error.str())

    producer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 0}
    )
    for number in range(records):
        partition = number % PARTITIONS
        values[partition].append(str(number))
        while True:
            try:
                producer.produce(
                    topic, str(number).encode(), partition=partition, on_delivery=delivered
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(60)
    if left or failures:
        raise RuntimeError(f"{left} records not sent, {failures[:3]}")
    return values


def commit_beginning(bootstrap: str, source: str, target: str) -> None:
    """Commit offset 0 for the group of the copiers, so that none is ever without an offset."""
    group = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{target}-group"})
    begin = [TopicPartition(source, number, 0) for number in range(PARTITIONS)]
    group.commit(offsets=begin, asynchronous=False)
    group.close()


def consumer(bootstrap: str, isolation: str) -> Consumer:
    """One that reads what it is told to, in no group."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "none",
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "reconnect.backoff.ms": 10,
            "reconnect.backoff.max.ms": 100,
            # Without, 2.16 may wait for ever for a broker it has forgotten.
            "metadata.recovery.strategy": "none",
            "log_level": 0,
        }
    )


def places(topic: str) -> list[TopicPartition]:
    """All partitions, from the beginning."""
    return [TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)]


def text(message: Any) -> str:
    """The value of a record."""
    value: bytes = message.value()
    return value.decode()


def everything(bootstrap: str, topic: str, isolation: str) -> Values:
    """Every record from the start to the end as this isolation has it."""
    reader = consumer(bootstrap, isolation)
    reader.assign(places(topic))
    values: dict[int, list[str]] = {number: [] for number in range(PARTITIONS)}
    at_end: set[int] = set()
    deadline = time.monotonic() + 60
    while len(at_end) < PARTITIONS:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{topic} was not read to its end within 60 s")
        for message in reader.consume(1_000, 0.2):
            error = message.error()
            if error is None:
                values[message.partition()].append(text(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                at_end.add(message.partition())
    reader.close()
    return values
