"""Kafka Connect: a distributed worker as a process, and the REST interface it is asked by."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.interop.jvms import JavaProcess
from tools.kafka import java
from tools.subject import free_port, until

WORKER = "org.apache.kafka.connect.cli.ConnectDistributed"
HEAP = "-Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

#: Plug-ins are found by the lists in their jars, not by looking through every class; who dies is
#: missed soon, and his work is given to others at once.
SETTINGS = {
    "key.converter": "org.apache.kafka.connect.storage.StringConverter",
    "value.converter": "org.apache.kafka.connect.storage.StringConverter",
    "plugin.discovery": "service_load",
    "exactly.once.source.support": "enabled",
    "config.storage.replication.factor": "1",
    "offset.storage.replication.factor": "1",
    "offset.storage.partitions": "5",
    "status.storage.replication.factor": "1",
    "offset.flush.interval.ms": "200",
    "session.timeout.ms": "3000",
    "heartbeat.interval.ms": "500",
    "scheduled.rebalance.max.delay.ms": "0",
    "worker.unsync.backoff.ms": "1000",
}


class Worker(JavaProcess):
    """One worker of a Connect cluster; those of one `group` are a cluster."""

    def __init__(self, folder: Path, bootstrap: str, group: str) -> None:
        """Prepare it."""
        self.port = free_port()
        folder.mkdir()
        properties = folder / "worker.properties"
        settings = {
            **SETTINGS,
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "config.storage.topic": f"{group}-configs",
            "offset.storage.topic": f"{group}-offsets",
            "status.storage.topic": f"{group}-status",
            "listeners": f"http://127.0.0.1:{self.port}",
            "rest.advertised.host.name": "127.0.0.1",
        }
        properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        super().__init__(folder, java(WORKER, str(properties), heap=HEAP))

    @property
    def worker_id(self) -> str:
        """What the cluster calls it."""
        return f"127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request to its REST interface.

        Raises:
            OSError: it does not serve; HTTPError: it refuses.
        """
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            said = response.read()
        return json.loads(said) if said else None

    def settled(self, method: str, path: str, body: object = None) -> Any:
        """The same, again while the cluster is not up or rebalances (404, 409, 500, 503)."""

        def answered() -> list[Any]:
            self.assert_running()
            try:
                return [self.ask(method, path, body)]
            except urllib.error.HTTPError as refused:
                refused.close()
                if refused.code not in (404, 409, 500, 503):
                    raise
            except OSError:
                pass
            return []

        (answer,) = until(f"Connect answers {method} {path}", answered, seconds=90, every=0.1)
        return answer

    def runs_on(self, connector: str) -> str:
        """The worker that runs the only task of `connector`, or "" when none does."""
        tasks = self.settled("GET", f"/connectors/{connector}/status")["tasks"]
        failed = [task["trace"] for task in tasks if task["state"] == "FAILED"]
        assert not failed, failed[0]
        running = [task["worker_id"] for task in tasks if task["state"] == "RUNNING"]
        return running[0] if running else ""
