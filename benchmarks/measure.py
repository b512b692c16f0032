"""One timed piece of work against one broker: what it took, and what it cost the broker."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any, Protocol

from confluent_kafka.admin import AdminClient, NewTopic
from tools.kafka import RealKafka
from tools.subject import Ottla, until

Contestant = Ottla | RealKafka
Figures = dict[str, float]

CREATE_S = 120.0


class Served(Protocol):
    """What clients can use and whose cost can be told: one broker, or several."""

    @property
    def bootstrap(self) -> str:
        """host:port for clients, several behind each other."""

    def cpu_seconds(self) -> float:
        """User and system time so far."""


def broker_cpu(subject: Served, work: Callable[[], Figures]) -> Figures:
    """What `work` says, with the broker's CPU seconds while it ran as `cpu_s`."""
    before = subject.cpu_seconds()
    figures = work()
    return {**figures, "cpu_s": subject.cpu_seconds() - before}


def load(kind: str, **options: Any) -> Figures:
    """Run `benchmarks.load` in a process of its own; its figures.

    Raises:
        RuntimeError: it failed; the message is what it wrote to stderr.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", kind, json.dumps(options)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    figures: Figures = json.loads(done.stdout)
    return figures


def probe_during(bootstrap: str, topic: str, work: Callable[[], None]) -> Figures:
    """How long a record every millisecond takes, sent by a process of its own while `work` runs.

    Raises:
        RuntimeError: the probe failed; the message is what it wrote to stderr.
    """
    with tempfile.TemporaryFile() as errors:
        probe = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.probe", bootstrap, topic],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert probe.stdout is not None
        if probe.stdout.readline() != b"probing\n":
            errors.seek(0)
            raise RuntimeError(errors.read().decode())
        work()
        said, _ = probe.communicate(b"stop\n", timeout=CREATE_S)
    figures: Figures = json.loads(said)
    return figures


def a_topic(
    subject: Served,
    name: str,
    partitions: int,
    config: dict[str, str] | None = None,
    *,
    replicas: int = 1,
) -> str:
    """Create a topic, and come back when every partition has its leader."""
    admin = AdminClient({"bootstrap.servers": subject.bootstrap, "log_level": 2})
    new = NewTopic(name, partitions, replicas, config=config or {})
    admin.create_topics([new])[name].result(CREATE_S)

    def led() -> bool:
        found = admin.list_topics(name, timeout=CREATE_S).topics[name].partitions
        return len(found) == partitions and all(each.leader >= 0 for each in found.values())

    until(f"{name} has its leaders", led)
    return name


def without(subject: Served, topic: str) -> None:
    """Delete a topic that a round is through with."""
    admin = AdminClient({"bootstrap.servers": subject.bootstrap, "log_level": 2})
    admin.delete_topics([topic])[topic].result(CREATE_S)
