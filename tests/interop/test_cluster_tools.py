"""Kafka's operators' tools print the same about three of our brokers as about three real ones."""

import difflib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.interop.cluster_session import ClusterSession, Nodes, written
from tests.interop.cluster_tool_goldens import GOLDENS
from tests.interop.cluster_tools import (
    DIRECTORIES,
    QUORUM,
    SCRIPTS,
    SETTINGS,
)
from tools.cluster.cluster import Cluster
from tools.kafka import Tools

from ottla.cli.etcd_binary import EtcdNotFoundError

pytestmark = pytest.mark.java


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("cluster")
    try:
        cluster = Cluster(folder, network=False, settings=SETTINGS, directories=DIRECTORIES)
    except EtcdNotFoundError as error:
        pytest.skip(str(error))
    with cluster:
        yield Nodes(cluster.brokers)


@pytest.mark.parametrize("name", SCRIPTS)
def test_tools_print_what_they_print_of_kafka(
    nodes: Nodes, kafka_tool: Tools, tmp_path: Path, name: str
) -> None:
    session = ClusterSession(kafka_tool, nodes, tmp_path)
    SCRIPTS[name](session)
    ours = written(session.steps).splitlines()
    unserved = {line.partition(":")[0] for line in ours if line.endswith("UNSUPPORTED,")}
    ours, kafkas = (
        [line for line in lines if line.partition(":")[0] not in unserved]
        for lines in (ours, (GOLDENS / f"{name}.txt").read_text().splitlines())
    )
    different = list(difflib.unified_diff(kafkas, ours, "Kafka", "Ottla", n=3, lineterm=""))
    if different:
        pytest.fail("\n".join(different), pytrace=False)


def test_etcd_decides_and_the_brokers_observe(nodes: Nodes, kafka_tool: Tools) -> None:
    described = ("describe", "--status")
    printed = kafka_tool.check(QUORUM, "--bootstrap-server", nodes.bootstrap, *described)
    (voters,) = re.findall(r"CurrentVoters:\s+(.*)", printed)
    (observers,) = re.findall(r"CurrentObservers:\s+(.*)", printed)
    (leader,) = re.findall(r"LeaderId:\s+(\d+)", printed)
    (voter,) = json.loads(voters)
    assert voter["id"] == int(leader)
    assert voter["endpoints"][0].startswith("ETCD://")
    assert [each["id"] for each in json.loads(observers)] == [1, 2, 3]
