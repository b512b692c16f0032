"""The real Kafka as a subject: one combined node, on a data folder of its own."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from tools.kafka.jars import VERSION, java
from tools.subject.ports import free_port
from tools.subject.process import Process

CLUSTER_ID = "hVgKV5QRTzOtnlWrSSWHyA"

#: The heap and collector that a tuned small Kafka gets, so that a comparison is fair to it.
HEAP = "-Xmx1g -Xms1g -XX:+UseG1GC -XX:MaxGCPauseMillis=20"


class RealKafka(Process):
    """One Kafka node, broker and controller in one process.

    As a context manager it starts on entering and, on leaving, is killed;
    the folder goes too unless `home` named it.
    """

    name = f"Kafka {VERSION}"

    def __init__(
        self,
        port: int = 0,
        extra: dict[str, str] | None = None,
        home: Path | None = None,
        heap: str = HEAP,
        features: dict[str, int] | None = None,
    ) -> None:
        """Prepare it; `extra` are lines of server.properties, port 0 is a free one.

        `features` are levels to format with where they differ from the release's own.
        """
        self._temporary = home is None
        self.home = home or Path(tempfile.mkdtemp(prefix="kafka-"))
        self.home.mkdir(parents=True, exist_ok=True)
        super().__init__(
            data=self.home / "data",
            log=self.home / "server.log",
            port=port or free_port(),
        )
        self._controller_port = free_port()
        self._extra = extra or {}
        self._heap = heap
        self._features = features or {}

    def properties(self) -> dict[str, str]:
        """Its server.properties: one node, replication 1 everywhere, no delay for new groups."""
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},"
            f"CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.data),
            "num.partitions": "1",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            **self._extra,
        }

    def command(self) -> list[str]:
        """What to run."""
        return java("kafka.Kafka", str(self._write_properties()), heap=self._heap)

    def prepare(self) -> None:
        """Format the folder if it is new."""
        if not (self.data / "meta.properties").exists():
            self._format()

    def launch(self) -> None:
        """Format the folder if it is new, then start."""
        self.prepare()
        super().launch()

    def _format(self) -> None:
        properties = str(self._write_properties())
        features = [
            word
            for name, level in self._features.items()
            for word in ("--feature", f"{name}={level}")
        ]
        tool = java("kafka.tools.StorageTool", heap="-Xmx256m -XX:TieredStopAtLevel=1")
        done = subprocess.run(
            [*tool, "format", "-t", CLUSTER_ID, "-c", properties, *features],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"Kafka could not format {self.data}:\n{done.stdout}{done.stderr}")

    def _write_properties(self) -> Path:
        path = self.home / "server.properties"
        path.write_text("".join(f"{k}={v}\n" for k, v in self.properties().items()))
        return path

    def discard(self) -> None:
        """Kill it and, unless the folder was given, remove what it wrote."""
        self.kill9()
        if self._temporary:
            shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> "RealKafka":
        """Start it."""
        try:
            self.start()
        except BaseException:
            self.discard()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop and discard it."""
        self.discard()
