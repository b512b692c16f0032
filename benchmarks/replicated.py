"""(m): what three brokers do together, everything on all of them (replication factor 3).

A round's figures are those of clients; memory is that of all processes when the round is over.
"""

import signal
import subprocess
import sys
import tempfile
import time

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks import java_tools
from benchmarks.clusters import BROKERS, OTTLA, Together
from benchmarks.measure import CREATE_S, Figures, a_topic, broker_cpu, load, without
from benchmarks.throughput import PARTITIONS, rated, settings_for

SMALL_RECORDS = 2_000_000
KILOBYTE_RECORDS = 400_000
SINGLE_RECORDS = 10_000
MANY = 3_000
TOPICS = 30
MIB = 1 << 20


def up(subject: Together) -> Figures:
    """From nothing to three brokers that answer: `ottla cluster up`; three Kafka nodes, formatted."""
    started = time.perf_counter()
    if subject.name != OTTLA:
        subject.start()
        return {"ready_s": time.perf_counter() - started}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ottla", "cluster", "up", "--port", "0", "--data", folder]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            seconds = time.perf_counter() - started
            process.send_signal(signal.SIGINT)
            process.wait()
    if not line.startswith(b"ottla cluster ready "):
        raise RuntimeError(f"`ottla cluster up` said {line!r}")
    return {"ready_s": seconds}


def _produced(subject: Together, topic: str, records: int, size: int, **settings: str) -> Figures:
    a_topic(subject, topic, PARTITIONS, replicas=BROKERS)
    figures = broker_cpu(
        subject,
        lambda: load(
            "produce",
            topic=topic,
            records=records,
            size=size,
            partitions=PARTITIONS,
            settings=settings_for(subject, acks="all", **settings),
        ),
    )
    memory = subject.memory_bytes() / MIB
    without(subject, topic)
    return {**rated(figures), "together_mib": memory}


def small_records(subject: Together, number: int) -> Figures:
    """100 B records, linger 5 ms, acks=all, 6 partitions."""
    return _produced(subject, f"m1-{number}", SMALL_RECORDS, 100, linger_ms="5")


def kilobyte_records(subject: Together, number: int) -> Figures:
    """1 KB records, linger 5 ms, acks=all, 6 partitions."""
    return _produced(subject, f"m2-{number}", KILOBYTE_RECORDS, 1000, linger_ms="5")


def one_record_a_request(subject: Together, number: int) -> Figures:
    """One 100 B record a request, acks=all, 6 partitions."""
    return _produced(
        subject,
        f"m3-{number}",
        SINGLE_RECORDS,
        100,
        linger_ms="0",
        batch_num_messages="1",
    )


def latency(subject: Together, number: int) -> Figures:
    """EndToEndLatency, acks=all, 100 B: one record at a time, there and back."""
    return java_tools.latency(subject, f"m4-{number}", BROKERS)


def many_partitions_lose_a_broker(subject: Together) -> Figures:
    """3,000 partitions of three replicas; the broker that a client is not asking is killed.

    `detected_s` is when the first partition has another leader, `led_s` when all have, both from
    the kill; `elections_s` is what lies between.
    """
    admin = AdminClient({"bootstrap.servers": subject.brokers[0].bootstrap, "log_level": 2})
    for first in range(0, TOPICS, 10):
        made = [NewTopic(f"many-{n}", MANY // TOPICS, BROKERS) for n in range(first, first + 10)]
        for created in admin.create_topics(made).values():
            created.result(CREATE_S)
    _one_record_in_each(subject)
    killed = len(subject.brokers)
    began = time.perf_counter()
    subject.brokers[-1].kill9()
    detected = 0.0
    before = _led_by(admin, killed)
    while led := _led_by(admin, killed):
        if led < before and not detected:
            detected = time.perf_counter() - began
        if time.perf_counter() - began > CREATE_S:
            raise RuntimeError(f"{led} partitions are still led by the broker that was killed")
    over = time.perf_counter() - began
    return {
        "partitions_led": before,
        "detected_s": detected or over,
        "led_s": over,
        "elections_s": over - (detected or over),
    }


def _one_record_in_each(subject: Together) -> None:
    producer = Producer({"bootstrap.servers": subject.bootstrap, "linger.ms": 50, "acks": "all"})
    for topic in range(TOPICS):
        for partition in range(MANY // TOPICS):
            producer.produce(f"many-{topic}", b"one", partition=partition)
        producer.poll(0)
    if producer.flush(CREATE_S):
        raise RuntimeError("not every partition took its record")


def _led_by(admin: AdminClient, broker: int) -> int:
    """How many partitions a broker leads, or nobody does."""
    topics = admin.list_topics(timeout=CREATE_S).topics.values()
    return sum(
        partition.leader in (broker, -1)
        for topic in topics
        for partition in topic.partitions.values()
    )
