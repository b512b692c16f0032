"""`ottla cluster`, asked of four embedded brokers."""

from typing import Any

import pytest
from tests.support.command import Ottla

from ottla.metadata.quorum import Quorum, QuorumMember
from ottla.model.errors import PeerError
from ottla.testing.embedded_cluster import EmbeddedCluster


def test_status_shows_what_each_broker_leads_and_holds(ottla: Ottla) -> None:
    status = ottla.json("cluster", "status")
    assert status["healthy"]
    assert (status["brokers"], status["partitions"], status["without_leader"]) == (4, 3, 0)
    brokers = status["broker_list"]
    assert [(each["broker"], each["rack"], each["state"]) for each in brokers] == [
        (1, "b", "alive"),
        (2, "a", "alive"),
        (3, "b", "alive"),
        (4, "a", "alive"),
    ]
    assert sum(each["leaders"] for each in brokers) == 3
    assert sum(each["replicas"] for each in brokers) == 9


def test_status_in_a_table_and_by_name(ottla: Ottla) -> None:
    lines = ottla("cluster", "status").lines
    assert "HEALTHY               yes" in lines
    assert lines[-5].split()[:2] == ["BROKER", "HOST"]
    assert ottla("cluster", "status", "--format", "name").lines == ["1", "2", "3", "4"]


def test_health_fails_while_a_broker_is_away_and_waits_for_it(ottla: Ottla) -> None:
    assert ottla("cluster", "health", "--format", "name").lines == ["healthy"]
    dead = ottla.cluster.leader("rides", 0)
    ottla.cluster.kill(dead)
    health = ottla.json("cluster", "health", status=1)
    assert health["brokers_down"] == 1
    assert health["under_replicated"] > 0
    assert health["without_leader"] == 0
    assert ottla("cluster", "health", "--format", "name", status=1).lines == ["unhealthy"]
    ottla.cluster.restart(dead)
    assert ottla.json("cluster", "health", "--wait", "60")["healthy"]


def test_health_of_nobody_says_so(ottla: Ottla) -> None:
    for broker in ottla.cluster.running:
        ottla.cluster.kill(broker, noticed=False)
    assert "Is the broker running?" in ottla("cluster", "health", status=1).err


@pytest.mark.parametrize("answers", [True, False])
def test_health_fails_while_etcd_has_no_leader(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    async def quorum(*arguments: Any) -> Quorum:
        if answers:
            return Quorum([QuorumMember(1, "ETCD", "127.0.0.1", 2379)])
        raise PeerError("no member answers")

    monkeypatch.setattr("ottla.broker.broker.quorum_of", quorum)
    with EmbeddedCluster() as cluster:
        health = Ottla(cluster, capsys).json("cluster", "health", status=1)
    assert not health["metadata_quorum"]
    assert not health["healthy"]


def test_preferred_replicas_are_elected(ottla: Ottla) -> None:
    preferred = ottla.cluster.leader("rides", 0)
    assert "No election was needed" in ottla("cluster", "elect").err
    ottla.cluster.stop(preferred)
    ottla.cluster.restart(preferred)
    ottla.cluster.wait_in_sync()
    assert ottla.cluster.leader("rides", 0) != preferred
    assert ottla.json("cluster", "health")["not_led_by_preferred"] == 1
    for arguments in ((), ("rides:0",)):
        foreseen = ottla.json("cluster", "elect", *arguments, "--dry-run")
        assert foreseen == [{"partition": "rides:0", "result": "would be elected"}]
    assert ottla.cluster.leader("rides", 0) != preferred
    assert ottla("cluster", "elect", "rides:0").lines[1].split() == ["rides:0", "elected"]
    assert ottla.cluster.leader("rides", 0) == preferred
    assert ottla.json("cluster", "elect", "rides:0") == [
        {"partition": "rides:0", "result": "ELECTION_NOT_NEEDED"}
    ]


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
def test_an_election_of_what_is_not_there_fails(ottla: Ottla, dry_run: tuple[str, ...]) -> None:
    said = ottla("cluster", "elect", "rides:9", *dry_run, status=1)
    assert "UNKNOWN_TOPIC_OR_PARTITION" in said.out


@pytest.mark.parametrize("unclean", [(), ("--unclean",)])
def test_a_dry_run_foresees_what_an_election_answers(
    ottla: Ottla, unclean: tuple[str, ...]
) -> None:
    (preferred, *_) = ottla.replicas("rides")[0]
    ottla.cluster.kill(preferred)
    asked = ("cluster", "elect", "rides:0", *unclean)
    status = int(not unclean)
    foreseen = ottla.json(*asked, "--dry-run", status=status)
    assert foreseen == ottla.json(*asked, status=status)


def test_a_partition_is_moved(ottla: Ottla) -> None:
    before = ottla.replicas("rides")[0]
    (new,) = {1, 2, 3, 4} - set(before)
    target = [new, *before[1:]]
    text = ",".join(map(str, target))
    planned = ottla.json("cluster", "move", "rides:0", text, "--dry-run")
    assert not planned["done"]
    assert ottla.replicas("rides")[0] == before
    said = ottla("cluster", "move", "rides:0", text)
    assert "1 of 1 partitions moved" in said.err
    assert "1 replicas to copy" in said.err
    assert ottla.replicas("rides")[0] == target
    assert ottla.cluster.leader("rides", 0) == new


@pytest.mark.parametrize("no_wait", [(), ("--no-wait",)])
def test_a_throttle_is_taken_off_by_who_waits_and_named_by_who_does_not(
    ottla: Ottla, no_wait: tuple[str, ...]
) -> None:
    before = ottla.replicas("rides")[0]
    (new,) = {1, 2, 3, 4} - set(before)
    target = ",".join(map(str, [new, *before[1:]]))
    said = ottla("cluster", "move", "rides:0", target, "--throttle", "100000", *no_wait)
    throttled = "follower.replication.throttled.replicas"
    assert (throttled in said.err) == bool(no_wait)
    assert (throttled in ottla("topic", "describe", "rides").out) == bool(no_wait)


def test_a_move_is_taken_back(ottla: Ottla) -> None:
    before = ottla.replicas("rides")[0]
    (new,) = {1, 2, 3, 4} - set(before)
    ottla.cluster.kill(new)
    ottla("cluster", "move", "rides:0", f"{new},{before[0]}", "--no-wait")
    assert ottla.json("cluster", "health", status=1)["moving"] == 1
    ottla("cluster", "move", "rides:0", "--cancel")
    assert ottla.json("cluster", "health", status=1)["moving"] == 0
    assert ottla.replicas("rides")[0] == before


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("rides:0",), 2, "Name the brokers, or --cancel."),
        (("rides:0", "1", "--cancel"), 2, "Name the brokers, or --cancel."),
        (("rides", "1"), 2, "write TOPIC:PARTITION"),
        (("rides:0", "1;2"), 2, "write broker ids"),
        (("rides:0", "1,1"), 1, "named twice"),
        (("rides:9", "1"), 1, "has no partition 9"),
        (("other:0", "1"), 1, "UNKNOWN_TOPIC_OR_PARTITION"),
        (("rides:0", "1,9"), 1, "INVALID_REPLICA_ASSIGNMENT"),
        (("rides:0", "1,9", "--dry-run"), 1, "INVALID_REPLICA_ASSIGNMENT"),
        (("rides:0", "1,1", "--dry-run"), 1, "named twice"),
        (("rides:0", "--cancel"), 1, "NO_REASSIGNMENT_IN_PROGRESS"),
        (("rides:0", "--cancel", "--dry-run"), 1, "NO_REASSIGNMENT_IN_PROGRESS"),
    ],
)
def test_moves_that_are_refused(
    ottla: Ottla, arguments: tuple[str, ...], status: int, said: str
) -> None:
    assert said in ottla("cluster", "move", *arguments, status=status).err


def test_balance_uses_a_broker_that_was_empty(ottla: Ottla) -> None:
    assert "Everything is balanced." in ottla("cluster", "balance").err
    ottla("broker", "drain", "4")
    ottla("broker", "undrain", "4")
    planned = ottla.json("cluster", "balance", "--dry-run")
    assert planned["moves"]
    assert not any(4 in replicas for replicas in ottla.replicas("rides"))
    done = ottla.json("cluster", "balance")
    assert done["moves"] == planned["moves"]
    assert any(4 in replicas for replicas in ottla.replicas("rides"))
    assert ottla.json("cluster", "health")["healthy"]
    assert ottla.json("cluster", "balance") == {"done": True, "moves": []}


def test_the_first_broker_named_leads(ottla: Ottla) -> None:
    turned = ottla.replicas("rides")[0][::-1]
    ottla("cluster", "move", "rides:0", ",".join(map(str, turned)))
    assert ottla.replicas("rides")[0] == turned
    assert ottla.cluster.leader("rides", 0) == turned[0]
