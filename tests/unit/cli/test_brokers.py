"""`ottla broker`, asked of four embedded brokers."""

import pytest
from tests.support.command import Ottla

from ottla.testing.embedded_cluster import EmbeddedCluster


def states(ottla: Ottla) -> dict[int, str]:
    return {each["broker"]: each["state"] for each in ottla.json("broker", "list")}


def test_a_broker_is_listed_alive_or_not(ottla: Ottla) -> None:
    assert set(states(ottla).values()) == {"alive"}
    ottla.cluster.kill(3)
    assert states(ottla) == {1: "alive", 2: "alive", 3: "down", 4: "alive"}
    assert ottla("broker", "list", "--format", "name").lines == ["1", "2", "3", "4"]


def test_a_drained_broker_is_empty_and_gets_nothing_new(ottla: Ottla) -> None:
    planned = ottla.json("broker", "drain", "2", "--dry-run")
    assert {2 in each["from"] and 2 not in each["to"] for each in planned["moves"]} == {True}
    assert states(ottla)[2] == "alive"
    assert ottla.json("broker", "drain", "2")["moves"] == planned["moves"]
    assert states(ottla)[2] == "drained"
    assert ottla("topic", "create", "cars", "-p", "4").status == 0
    assert not any(2 in replicas for replicas in ottla.replicas("cars"))
    said = ottla("broker", "drain", "2")
    assert "Broker 2 holds nothing." in said.err
    assert ottla("broker", "undrain", "2", "--dry-run").lines == ["Broker 2 could be undrained."]
    assert states(ottla)[2] == "drained"
    assert ottla("broker", "undrain", "2").lines == ["Broker 2 undrained."]
    assert states(ottla)[2] == "alive"
    assert ottla("broker", "undrain", "2", "--dry-run").lines == ["Broker 2 is not drained."]


@pytest.mark.parametrize("directories", ["*", "/a,/b"])
def test_who_cordons_itself_is_drained_and_can_be_undrained(
    directories: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cordoned = {"log.dirs": "/a,/b", "cordoned.log.dirs": directories}
    with EmbeddedCluster(3, settings_of={2: cordoned}) as cluster:
        ottla = Ottla(cluster, capsys)
        assert states(ottla) == {1: "alive", 2: "drained", 3: "alive"}
        ottla("topic", "create", "cars", "-p", "4", "-r", "2")
        assert not any(2 in replicas for replicas in ottla.replicas("cars"))
        ottla("broker", "undrain", "2")
        assert states(ottla)[2] == "alive"
        ottla("topic", "create", "bikes", "-p", "4", "-r", "2")
        assert any(2 in replicas for replicas in ottla.replicas("bikes"))


def test_a_dead_broker_is_drained_and_removed(ottla: Ottla) -> None:
    ottla.cluster.kill(1)
    said = ottla("broker", "remove", "1", status=1)
    assert "have a replica on broker 1" in said.err
    ottla("broker", "drain", "1")
    assert not any(1 in replicas for replicas in ottla.replicas("rides"))
    assert ottla("broker", "remove", "1", "--dry-run").lines == ["Broker 1 could be removed."]
    assert states(ottla)[1] == "down"
    assert ottla.json("broker", "remove", "1") == {"broker": 1, "result": "removed"}
    assert list(states(ottla)) == [2, 3, 4]
    assert ottla.json("cluster", "health")["healthy"]


def test_a_dead_broker_is_removed_with_what_it_has_by_force(ottla: Ottla) -> None:
    ottla.cluster.kill(1)
    assert ottla("broker", "remove", "1", "--force", "--format", "name").lines == ["1"]
    assert list(states(ottla)) == [2, 3, 4]


def test_a_broker_that_lives_is_not_removed(ottla: Ottla) -> None:
    said = ottla("broker", "remove", "1", "--force", status=1)
    assert "broker 1 is alive" in said.err


def test_there_must_be_room_for_what_is_drained(ottla: Ottla) -> None:
    ottla("broker", "drain", "4")
    said = ottla("broker", "drain", "3", status=1)
    assert "has 3 replicas, and there would be 2 brokers" in said.err
    assert states(ottla)[3] == "alive"


def test_brokers_that_are_not_there(ottla: Ottla) -> None:
    for command in ("drain", "remove"):
        assert "there is no broker 9" in ottla("broker", command, "9", status=1).err
