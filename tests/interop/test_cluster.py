"""Three brokers by `ottla cluster up`, run with our own commands and with Kafka's tools."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.interop.test_cli import SOURCES, Command
from tools.kafka import Tools
from tools.subject import until

from ottla.cli.etcd_binary import EtcdNotFoundError, find_etcd

TOOLS = "org.apache.kafka.tools"
READY = "ottla cluster ready "
CONTROLLERS_LEASE_S = 30.0


class Up:
    """A running `ottla cluster up`."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "stderr"
        with self._log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "ottla",
                    "cluster",
                    "up",
                    "--port",
                    "0",
                    "--data",
                    str(folder / "data"),
                    "--racks",
                    "a,b,c",
                ],
                env={**os.environ, "PYTHONPATH": SOURCES},
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert line.startswith(READY), self._log.read_text()
        self.bootstrap = line.removeprefix(READY).strip()
        self.ottla = Command(self.bootstrap)

    def processes(self) -> dict[str, int]:
        found = re.findall(r"cluster: (\S+) is process (\d+)", self._log.read_text())
        return {name: int(number) for name, number in found}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    try:
        find_etcd()
    except EtcdNotFoundError as error:
        pytest.skip(str(error))
    cluster = Up(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.process.send_signal(signal.SIGINT)
    assert cluster.process.wait(60) == 0
    assert cluster.process.stdout is not None
    cluster.process.stdout.close()


def replicas(up: Up, topic: str) -> list[list[int]]:
    (described,) = up.ottla("topic", "describe", topic, "--format", "json").json
    return [row["replicas"] for row in described["partitions"]]


@pytest.mark.java
def test_kafkas_tools(up: Up, kafka_tool: Tools, tmp_path: Path) -> None:
    at = ("--bootstrap-server", up.bootstrap)
    up.ottla("topic", "create", "tools", "-p", "2", "-r", "2")
    up.ottla("produce", "tools", stdin=b"a\nb\nc\n")

    def tool(name: str, *arguments: str) -> str:
        return kafka_tool.check(f"{TOOLS}.{name}", *at, *arguments)

    assert "CurrentVoters" in tool("MetadataQuorumCommand", "describe", "--status")
    assert "FinalizedVersionLevel: 2" in tool("FeatureCommand", "describe")
    down = ("--feature", "transaction.version=1")
    assert "was downgraded to 1" in tool("FeatureCommand", "downgrade", *down)
    assert "was upgraded to 2" in tool(
        "FeatureCommand", "upgrade", "--feature", "transaction.version=2"
    )
    endpoints = kafka_tool.check(
        f"{TOOLS}.ClusterTool", "list-endpoints", *at, "--include-fenced-brokers"
    )
    assert endpoints.count("unfenced") == 3
    assert tool("TopicCommand", "--describe", "--under-replicated-partitions").strip() == ""
    (first, second), _ = replicas(up, "tools")
    (third,) = {1, 2, 3} - {first, second}
    wanted = tmp_path / "wanted.json"
    moves = [{"topic": "tools", "partition": 0, "replicas": [third, second]}]
    wanted.write_text(json.dumps({"version": 1, "partitions": moves}))
    reassign = ("reassign.ReassignPartitionsCommand", "--reassignment-json-file", str(wanted))
    begun = tool(*reassign, "--execute", "--throttle", "10000000")
    assert "Successfully started partition reassignment" in begun
    until("it is moved", lambda: "is completed" in tool(*reassign, "--verify"))
    assert replicas(up, "tools")[0] == [third, second]
    tool("LeaderElectionCommand", "--election-type", "preferred", "--all-topic-partitions")
    (described,) = up.ottla("topic", "describe", "tools", "--format", "json").json
    assert described["partitions"][0]["leader"] == third


def test_our_commands(up: Up) -> None:
    ottla = up.ottla
    ottla("topic", "create", "ours", "-p", "6", "-r", "2")
    ottla("produce", "ours", stdin=b"".join(b"%d\n" % n for n in range(100)))
    status = ottla("cluster", "status", "--format", "json").json
    assert (status["brokers"], status["healthy"]) == (3, True)
    planned = ottla("broker", "drain", "3", "--dry-run", "--format", "json").json
    assert planned["moves"]
    assert any(3 in each for each in replicas(up, "ours"))
    done = ottla("broker", "drain", "3", "--throttle", "100000000", "--format", "json").json
    assert done == {**planned, "done": True}
    assert not any(3 in each for each in replicas(up, "ours"))
    ottla("topic", "create", "later", "-p", "3", "-r", "2")
    assert not any(3 in each for each in replicas(up, "later"))
    assert "is alive" in ottla.fails("broker", "remove", "3")
    ottla("broker", "undrain", "3")
    ottla("cluster", "balance")
    assert any(3 in each for each in replicas(up, "ours"))
    assert ottla("cluster", "balance", "--format", "json").json["moves"] == []
    assert len(ottla("consume", "ours", "-o", "start:end").out.splitlines()) == 100


def test_a_broker_that_dies_is_drained_and_removed(up: Up) -> None:
    """Last: it is gone after that."""
    ottla = up.ottla
    os.kill(up.processes()["broker-3"], signal.SIGKILL)

    def is_down() -> bool:
        rows = ottla("broker", "list", "--format", "json").json
        return any((row["broker"], row["state"]) == (3, "down") for row in rows)

    until("it counts as gone", is_down, CONTROLLERS_LEASE_S)
    assert ottla.any("cluster", "health").status == 1
    ottla("broker", "drain", "3")
    ottla("broker", "remove", "3")
    assert ottla("broker", "list", "--format", "name").out.split() == ["1", "2"]
    ottla("cluster", "health", "--wait", "20")
