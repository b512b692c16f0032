"""Ten gigabytes: what they do to others, and how soon they are back after a kill -9."""

import contextlib
import os
import time
from collections.abc import Callable

from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from tools.subject import Ottla, free_port

from benchmarks.footprint import start
from benchmarks.measure import CREATE_S, Contestant, Figures, a_topic, load, probe_during

READ = "read-and-compacted"
DELETED = "deleted"
PROBED = "probed"
PARTITIONS = 6
RECORD_BYTES = 1000
RECORDS = 10_000_000
QUIET_S = 10
UPKEEP_S = 600
SEGMENT_BYTES = 100 << 20

SOON = {
    "log.retention.check.interval.ms": "1000",
    "log.cleaner.backoff.ms": "1000",
}
"""Settings with which upkeep begins while it is looked at."""


def _fill(subject: Contestant, topic: str, *, keyed: bool = False) -> None:
    config = {"segment.bytes": str(SEGMENT_BYTES), "file.delete.delay.ms": "1000"}
    a_topic(subject, topic, PARTITIONS, config)
    settings = {
        "bootstrap.servers": subject.bootstrap,
        "queue.buffering.max.messages": "1000000",
        "queue.buffering.max.kbytes": "1048576",
        "linger.ms": "5",
        "acks": "all",
    }
    load(
        "produce",
        topic=topic,
        records=RECORDS,
        size=RECORD_BYTES,
        partitions=PARTITIONS,
        keyed=keyed,
        settings=settings,
    )


def recovery(subject: Contestant) -> Figures:
    """From kill -9 with 10 GB written to the first answered request; the machine stays up."""
    _fill(subject, DELETED)
    subject.kill9()
    restarted = start(subject)
    return {"recovery_s": restarted["start_s"]}


def disturbance(subject: Contestant) -> Figures:
    """The p99 of another client's produce, while 10 GB are read from the device, compacted, deleted.

    `elsewhere` is the same client's at a second broker that does nothing else, during the same
    cold reads: what the machine's cores have left, whatever the broker does.
    """
    _fill(subject, READ, keyed=True)
    _fill(subject, DELETED)
    a_topic(subject, PROBED, 1)
    os.sync()

    def probed(work: Callable[[], None]) -> float:
        return probe_during(subject.bootstrap, PROBED, work)["probe_p99_ms"]

    quiet = probed(lambda: time.sleep(QUIET_S))
    _forget_pages(subject, READ)
    cold_reads = probed(lambda: _read_all(subject))
    during = {
        "cold_reads": cold_reads,
        "elsewhere": _probed_elsewhere(subject),
        "compaction": probed(lambda: _shrink(subject, READ, "cleanup.policy", "compact")),
        "retention": probed(lambda: _shrink(subject, DELETED, "retention.bytes", "1")),
    }
    figures = {"quiet_p99_ms": quiet}
    for what, p99_ms in during.items():
        figures[f"{what}_p99_ms"] = p99_ms
        figures[f"{what}_ratio"] = p99_ms / quiet
    return figures


def _probed_elsewhere(subject: Contestant) -> float:
    """The p99 at a broker of its own, while the other one's files are read from the device."""
    _forget_pages(subject, READ)
    other = Ottla(subject.data.parent / "elsewhere", port=free_port())
    other.start()
    try:
        a_topic(other, PROBED, 1)
        figures = probe_during(other.bootstrap, PROBED, lambda: _read_all(subject))
    finally:
        other.kill9()
    return figures["probe_p99_ms"]


def _forget_pages(subject: Contestant, topic: str) -> None:
    """Have the kernel drop what it keeps in memory of the topic's files."""
    for path in subject.data.rglob(f"{topic}-*/*.log"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _read_all(subject: Contestant) -> None:
    settings = {"bootstrap.servers": subject.bootstrap, "queued.max.messages.kbytes": "65536"}
    load("consume", topic=READ, records=RECORDS, partitions=PARTITIONS, settings=settings)


def _shrink(subject: Contestant, topic: str, setting: str, value: str) -> None:
    """Change a setting of the topic, and come back when little is left of it."""
    admin = AdminClient({"bootstrap.servers": subject.bootstrap, "log_level": 2})
    entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(CREATE_S)
    deadline = time.monotonic() + UPKEEP_S
    while (left := _bytes_of(subject, topic)) > 2 * PARTITIONS * SEGMENT_BYTES:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{left} bytes of {topic} are left")
        time.sleep(0.5)


def _bytes_of(subject: Contestant, topic: str) -> int:
    total = 0
    for path in subject.data.rglob(f"{topic}-*/*"):
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile: that is waited for
            total += path.stat().st_size
    return total
