"""What `ottla cluster up` starts; `tests/interop/test_cluster.py` starts it."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ottla.cli import cluster_up
from ottla.cli.cluster_up import LocalCluster, up
from ottla.cli.connect import Failure
from ottla.cli.etcd_binary import EtcdBinary, EtcdNotFoundError
from ottla.cli.serve import serve
from ottla.config.broker_config import BrokerConfig

ETCD = EtcdBinary("etcd", (3, 5, 16), "PATH")


def started_with(command: list[str]) -> click.Context:
    """What `ottla serve` understands of it."""
    assert command[1:4] == ["-m", "ottla", "serve"]
    return serve.make_context("serve", command[4:])


@pytest.mark.parametrize(
    ("count", "copies", "in_sync"), [(1, 1, 1), (2, 2, 1), (3, 3, 2), (5, 3, 2)]
)
def test_brokers_are_one_cluster(count: int, copies: int, in_sync: int) -> None:
    local = LocalCluster(ETCD, Path("data"), (2379, 2380))
    given = started_with(local.broker_command(2, 9093, count, [], ())).params
    assert (given["data"], given["port"]) == ("data/broker-2", 9093)
    config = BrokerConfig(given["overrides"])
    assert config.node_id == 2
    assert config.values["metadata.etcd.endpoints"]
    assert config.values["default.replication.factor"] == copies
    assert config.values["offsets.topic.replication.factor"] == copies
    assert config.min_insync_replicas == in_sync


def test_racks_go_round_and_settings_are_passed_on() -> None:
    local = LocalCluster(ETCD, Path("data"), (2379, 2380))
    racks = []
    for number in range(1, 5):
        command = local.broker_command(number, 9091 + number, 4, ["a", "b"], ("num.partitions=7",))
        config = BrokerConfig(started_with(command).params["overrides"])
        racks.append(config.broker_rack)
        assert config.values["num.partitions"] == 7
    assert racks == ["a", "b", "a", "b"]


def test_without_an_etcd_it_says_where_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def find() -> EtcdBinary:
        raise EtcdNotFoundError("install one")

    monkeypatch.setattr(cluster_up, "find_etcd", find)
    answer = CliRunner().invoke(up, [], standalone_mode=False)
    assert isinstance(answer.exception, Failure)
    assert answer.exception.message == "install one"
