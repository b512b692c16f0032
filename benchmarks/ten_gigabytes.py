"""Ten gigabytes: what they do to others, and how soon they are back after a kill -9."""

import contextlib
import os
import time

from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from benchmarks.footprint import start
from benchmarks.measure import CREATE_S, Contestant, Figures, a_topic, load, probe_during

TOPIC = "large"
PROBED = "probed"
PARTITIONS = 6
RECORD_BYTES = 1000
RECORDS = 10_000_000
QUIET_S = 10
SEGMENT_BYTES = 100 << 20

SOON = {"log.retention.check.interval.ms": "1000"}
"""Settings with which upkeep begins while it is looked at."""


def _fill(subject: Contestant, **config: str) -> None:
    a_topic(subject, TOPIC, PARTITIONS, {name.replace("_", "."): v for name, v in config.items()})
    settings = {
        "bootstrap.servers": subject.bootstrap,
        "queue.buffering.max.messages": "1000000",
        "queue.buffering.max.kbytes": "1048576",
        "linger.ms": "5",
        "acks": "all",
    }
    load(
        "produce",
        topic=TOPIC,
        records=RECORDS,
        size=RECORD_BYTES,
        partitions=PARTITIONS,
        settings=settings,
    )


def recovery(subject: Contestant) -> Figures:
    """From kill -9 with 10 GB written to the first answered request; the machine stays up."""
    _fill(subject)
    subject.kill9()
    restarted = start(subject)
    return {"recovery_s": restarted["start_s"]}


def disturbance(subject: Contestant) -> Figures:
    """The p99 of another client's produce, while 10 GB are read from the device, and deleted."""
    _fill(subject, segment_bytes=str(SEGMENT_BYTES), file_delete_delay_ms="1000")
    a_topic(subject, PROBED, 1)
    os.sync()
    quiet = probe_during(subject.bootstrap, PROBED, lambda: time.sleep(QUIET_S))
    _forget_pages(subject)
    cold = probe_during(subject.bootstrap, PROBED, lambda: _read_all(subject))
    retention = probe_during(subject.bootstrap, PROBED, lambda: _delete_all(subject))
    base = quiet["probe_p99_ms"]
    return {
        "quiet_p99_ms": base,
        "cold_reads_p99_ms": cold["probe_p99_ms"],
        "retention_p99_ms": retention["probe_p99_ms"],
        "cold_reads_ratio": cold["probe_p99_ms"] / base,
        "retention_ratio": retention["probe_p99_ms"] / base,
    }


def _forget_pages(subject: Contestant) -> None:
    """Have the kernel drop what it keeps in memory of the topic's files."""
    for path in subject.data.rglob(f"{TOPIC}-*/*.log"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _read_all(subject: Contestant) -> None:
    settings = {"bootstrap.servers": subject.bootstrap, "queued.max.messages.kbytes": "65536"}
    load("consume", topic=TOPIC, records=RECORDS, partitions=PARTITIONS, settings=settings)


def _delete_all(subject: Contestant) -> None:
    admin = AdminClient({"bootstrap.servers": subject.bootstrap, "log_level": 2})
    entry = ConfigEntry("retention.bytes", "1", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, TOPIC, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(CREATE_S)
    deadline = time.monotonic() + CREATE_S
    while (
        sum(path.stat().st_size for path in subject.data.rglob(f"{TOPIC}-*/*"))
        > (PARTITIONS + 1) * 2 * SEGMENT_BYTES
    ):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{TOPIC} was not deleted")
        time.sleep(0.5)


def _bytes_of(subject: Contestant) -> int:
    total = 0
    for path in subject.data.rglob(f"{TOPIC}-*/*"):
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile: that is waited for
            total += path.stat().st_size
    return total
