"""(i) Acknowledged after fsync: many producers, against one fsync for each request.

The yardstick is measured beside every round, on the same file system: a loop that writes the
same batch at the end of a file and syncs it, again and again.
"""

import os
import time
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.measure import CREATE_S, Contestant, Figures, broker_cpu, load, without
from ottla.record.builder import build_batch
from ottla.record.records import Record

PRODUCERS = 32
VALUE_BYTES = 100
SECONDS = 5.0
SERIAL_SECONDS = 1.0


def one_partition(subject: Contestant, number: int) -> Figures:
    """(i) 32 idempotent producers, one request in flight each, `flush.messages=1`."""
    return _durable(subject, f"i1-{number}", 1)


def many_partitions(subject: Contestant, number: int) -> Figures:
    """(i) the same, each producer with a partition of its own."""
    return _durable(subject, f"i32-{number}", PRODUCERS)


def _durable(subject: Contestant, topic: str, partitions: int) -> Figures:
    admin = AdminClient({"bootstrap.servers": subject.bootstrap, "log_level": 2})
    made = NewTopic(topic, partitions, 1, config={"flush.messages": "1"})
    admin.create_topics([made])[topic].result(CREATE_S)
    serial = serial_per_s(subject.data.parent)
    options = {
        "bootstrap": subject.bootstrap,
        "topic": topic,
        "partitions": partitions,
        "producers": PRODUCERS,
        "size": VALUE_BYTES,
        "seconds": SECONDS,
    }
    figures = broker_cpu(subject, lambda: load("closed", **options))
    without(subject, topic)
    requests_per_s = figures["records"] / figures["seconds"]
    return {
        **figures,
        "requests_per_s": requests_per_s,
        "serial_per_s": serial,
        "sync_ms": 1000 / serial,
        "times_serial": requests_per_s / serial,
    }


def serial_per_s(folder: Path) -> float:
    """How many times a second a batch can be written and synced there, one after the other."""
    batch = build_batch(
        [Record(timestamp=0, key=None, value=bytes(VALUE_BYTES))],
        producer_id=1,
        producer_epoch=0,
        base_sequence=0,
    )
    path = folder / "serial"
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    try:
        count, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < SERIAL_SECONDS:
            os.pwrite(file, batch, count * len(batch))
            os.fdatasync(file)
            count += 1
        return count / passed
    finally:
        os.close(file)
        path.unlink()
