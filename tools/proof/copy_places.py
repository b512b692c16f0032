"""Where a transactional copy takes place: one broker, or a cluster of which every broker is bounced."""

from pathlib import Path
from typing import Protocol

from tools.cluster.cluster import Cluster
from tools.subject import Subject

LEASE_MS = 4_000
"""Of a broker in a cluster: a coordinator that was killed has another after so long."""

SETTINGS = {"broker.session.timeout.ms": str(LEASE_MS), "min.insync.replicas": "2"}
"""Of a cluster's brokers, beside those of every copy."""


class CopyPlace(Protocol):
    """Brokers that run."""

    @property
    def bootstrap(self) -> str:
        """For clients."""

    @property
    def replicas(self) -> int:
        """Of each partition that is copied."""

    def disturb(self, number: int) -> str:
        """Disturb brokers for the `number`-th time, counted from 0; what was done."""


class OneBroker:
    """It is killed each time."""

    replicas = 1

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    @property
    def bootstrap(self) -> str:
        return self._subject.bootstrap

    def disturb(self, number: int) -> str:
        self._subject.kill9()
        self._subject.start()
        return "broker killed"


class ManyBrokers:
    """They are bounced in turn: each is killed, then each is stopped, and so on."""

    replicas = 3

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @property
    def bootstrap(self) -> str:
        return self._cluster.bootstrap

    def disturb(self, number: int) -> str:
        brokers = self._cluster.brokers
        turn, which = divmod(number, len(brokers))
        broker = brokers[which + 1]
        if turn % 2:
            broker.stop()
            what = "stopped"
        else:
            broker.kill9()
            what = "killed"
        broker.start()
        return f"{broker.name} {what}"


def a_cluster(home: Path, brokers: int, settings: dict[str, str]) -> Cluster:
    """A cluster for a copy, not started yet. Raises EtcdNotFoundError."""
    return Cluster(home, brokers=brokers, network=False, settings=SETTINGS | settings)
