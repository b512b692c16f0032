"""Have Kafka's tools ask three nodes of the real Kafka what they ask ours.

    python -m tests.interop.cluster_tool_goldens FOLDER

writes `tests/goldens/cluster_tools`; the nodes' data are in the folder, which must be empty.
"""

import sys
from pathlib import Path

from tests.interop.cluster_session import ClusterSession, Nodes, written
from tests.interop.cluster_tools import (
    DIRECTORIES,
    SCRIPTS,
    SETTINGS,
)
from tools.kafka import KafkaNode, Tools

GOLDENS = Path(__file__).parent.parent / "goldens" / "cluster_tools"
HEAP = "-Xmx400m -Xms128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"


class Node(KafkaNode):
    """One with several log directories."""

    def properties(self) -> dict[str, str]:
        others = [f"{self.data}{n}" for n in range(2, DIRECTORIES + 1)]
        return {**super().properties(), "log.dirs": ",".join([str(self.data), *others])}


def capture(folder: Path, names: list[str]) -> None:
    nodes = [Node(n, folder / f"node{n}", SETTINGS, HEAP) for n in (1, 2, 3)]
    for node in nodes:
        node.quorum = [each.voter for each in nodes]
    try:
        for node in nodes:
            node.launch()
        for node in nodes:
            node.await_ready()
        with Tools() as tools:
            for name in names or SCRIPTS:
                session = ClusterSession(tools, Nodes({n.number: n for n in nodes}), folder)
                try:
                    SCRIPTS[name](session)
                finally:
                    GOLDENS.mkdir(exist_ok=True)
                    (GOLDENS / f"{name}.txt").write_text(written(session.steps))
    finally:
        for node in nodes:
            node.kill9()


if __name__ == "__main__":
    capture(Path(sys.argv[1]).absolute(), sys.argv[2:])
