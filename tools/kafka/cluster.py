"""Several nodes of the real Kafka, each broker and controller in one process."""

from pathlib import Path

from tools.kafka.server import HEAP, RealKafka


class KafkaNode(RealKafka):
    """One node of several. Its quorum is told before it is started."""

    def __init__(self, number: int, home: Path, extra: dict[str, str], heap: str) -> None:
        super().__init__(home=home, extra=extra, heap=heap)
        self.number = number
        self.name = f"node {number}"
        self.quorum: list[str] = []

    @property
    def voter(self) -> str:
        """How the others reach its controller."""
        return f"{self.number}@127.0.0.1:{self._controller_port}"

    def properties(self) -> dict[str, str]:
        """As of one node; replicated as far as there are nodes, up to three."""
        replicas = str(min(3, len(self.quorum)))
        in_sync = str(min(2, len(self.quorum)))
        return {
            **super().properties(),
            "node.id": str(self.number),
            "controller.quorum.voters": ",".join(self.quorum),
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": in_sync,
            **self._extra,
        }


def kafka_nodes(
    count: int, home: Path, extra: dict[str, str] | None = None, heap: str = HEAP
) -> list[KafkaNode]:
    """`count` nodes that are each other's quorum, not started; launch all before waiting for one."""
    nodes = [
        KafkaNode(number, home / f"node{number}", extra or {}, heap)
        for number in range(1, count + 1)
    ]
    for node in nodes:
        node.quorum = [each.voter for each in nodes]
    return nodes
