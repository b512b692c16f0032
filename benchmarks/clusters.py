"""Three brokers of a kind as one contestant: what they cost together, their quorum included.

Kafka's nodes are controllers, too; Ottla's brokers have an etcd of one member beside them, whose
memory and processor time count as theirs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.cluster.cluster import Cluster
from tools.kafka import VERSION, kafka_nodes
from tools.subject.process import Process

BROKERS = 3
OTTLA = "Ottla"
ALL_REPLICAS = {"min.insync.replicas": "2"}


class Together:
    """Processes that are one contestant."""

    def __init__(self, name: str, brokers: Sequence[Process], others: Sequence[Process]) -> None:
        self.name = name
        self.brokers = list(brokers)
        self._others = list(others)

    @property
    def bootstrap(self) -> str:
        """Every broker."""
        return ",".join(broker.bootstrap for broker in self.brokers)

    def start(self) -> None:
        """Start all, and come back when all accept requests."""
        for group in (self._others, self.brokers):
            for process in group:
                process.prepare()
            for process in group:
                process.launch()
            for process in group:
                process.await_ready()

    def kill9(self) -> None:
        """End all."""
        for process in (*self.brokers, *self._others):
            process.kill9()

    def cpu_seconds(self) -> float:
        """Of all together."""
        return sum(process.cpu_seconds() for process in (*self.brokers, *self._others))

    def memory_bytes(self) -> int:
        """Of all together."""
        return sum(process.memory_bytes() for process in (*self.brokers, *self._others))


def kafka(folder: Path, settings: Mapping[str, str]) -> Together:
    """Three nodes of the real Kafka, not started."""
    nodes = kafka_nodes(BROKERS, folder, {**settings, **ALL_REPLICAS})
    return Together(f"Kafka {VERSION}", nodes, [])


def ottla(folder: Path, settings: Mapping[str, str]) -> Together:
    """Three brokers of Ottla and their etcd, not started."""
    cluster = Cluster(folder, brokers=BROKERS, network=False, settings={**settings, **ALL_REPLICAS})
    return Together(OTTLA, list(cluster.brokers.values()), cluster.etcd.members)
