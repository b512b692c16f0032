"""`ottla group` about groups of every kind, whose one member is played by raw requests."""

from typing import Any

import pytest
from tests.interop.conftest import configure_group, create_topic
from tests.interop.test_cli import Command, described
from tests.interop.test_streams_groups import ask
from tests.support.versions import ask_consumer_groups, ask_share, ask_streams
from tools.subject import Ottla, Subject, until

COORDINATOR, SHARE, CONSUMER, STREAMS = 10, 76, 68, 88
MEMBER = "the-member"


@pytest.fixture
def ottla(broker: Subject) -> Command:
    return Command(broker.bootstrap)


def joins(subject: Subject, kind: str, group: str, topic: str) -> int:
    """Let the member join, and come again until it has both partitions; its epoch then."""
    epoch = 0

    def has_both() -> bool:
        nonlocal epoch
        _, answer = ask(subject, (COORDINATOR, 4, {"coordinator_keys": [group]}), beat())
        if answer.error_code in (14, 15, 16):  # the coordinator is on its way
            return False
        assert answer.error_code == 0, answer
        epoch = answer.member_epoch
        if kind == "streams":
            given = answer.active_tasks or ()
        else:
            given = () if answer.assignment is None else answer.assignment.topic_partitions
        return [len(row.partitions) for row in given] == [2]

    def beat() -> tuple[int, int, dict[str, Any]]:
        if kind == "consumer":
            rest = {"subscribed_topic_names": [topic]} if not epoch else {}
            return CONSUMER, 1, ask_consumer_groups.beat(group, MEMBER, epoch, **rest)
        if kind == "share":
            rest = {"subscribed_topic_names": [topic]} if not epoch else {}
            return SHARE, 1, ask_share.beating(group, MEMBER, epoch, **rest)
        shape = ask_streams.topology(ask_streams.subtopology(topic))
        if epoch:
            return STREAMS, 0, ask_streams.beating(group, MEMBER, epoch)
        return STREAMS, 0, ask_streams.joining(group, MEMBER, shape)

    until("the member has both partitions", has_both)
    return epoch


def leaves(subject: Subject, kind: str, group: str) -> None:
    key, version = {"consumer": (CONSUMER, 1), "share": (SHARE, 1), "streams": (STREAMS, 0)}[kind]
    fields = {"group_id": group, "member_id": MEMBER, "member_epoch": -1}
    (answer,) = ask(subject, (key, version, fields))
    assert answer.error_code == 0, answer


@pytest.mark.parametrize("kind", ["consumer", "share", "streams"])
def test_groups_of_every_kind(ottla: Command, broker: Subject, name: str, kind: str) -> None:
    """Listed and described while there is a member, moved, stripped of offsets, deleted later."""
    create_topic(broker, name, 2)
    ottla("produce", name, "-p", "1", stdin=b"0\n1\n2\n3\n4\n")
    configure_group(broker, name, f"{kind}.assignment.interval.ms", "0")
    if kind == "streams":
        configure_group(broker, name, "streams.initial.rebalance.delay.ms", "0")
    joins(broker, kind, name, name)
    listed = {row["group"]: row for row in ottla("group", "list", "--format", "json").json}
    assert (listed[name]["type"], listed[name]["state"]) == (kind, "Stable")
    group = described(ottla, name)
    assert (group["type"], group["state"]) == (kind, "Stable")
    assert [(row["member_id"], row["partitions"]) for row in group["members"]] == [(MEMBER, 2)]
    assert [(row["partition"], row["member_id"]) for row in group["partitions"]] == [
        (0, MEMBER),
        (1, MEMBER),
    ]
    if isinstance(broker, Ottla):
        causes = ottla("group", "why", name, "--format", "json").json
        assert causes[0]["causes"][0]["member_id"] == MEMBER
    goal = ("-t", f"{name}:1", "--to-offset", "3")
    code = "NON_EMPTY_GROUP" if kind == "share" else "UNKNOWN_MEMBER_ID"
    assert code in ottla.fails("group", "reset", name, *goal)
    leaves(broker, kind, name)
    ottla("group", "reset", name, *goal)
    group = described(ottla, name)
    assert (group["type"], group["state"], group["total_lag"]) == (kind, "Empty", 2)
    (row,) = [row for row in group["partitions"] if row["partition"] == 1]
    assert (row["current_offset"], row["lag"], row["members"]) == (3, 2, 0)
    if kind == "share":
        assert "whole topics" in ottla.fails("group", "offset-delete", name, "-t", f"{name}:1")
    ottla("group", "offset-delete", name, "-t", name)
    assert described(ottla, name)["partitions"] == []
    ottla("group", "delete", name)
    assert "GROUP_ID_NOT_FOUND" in ottla.fails("group", "describe", name)
