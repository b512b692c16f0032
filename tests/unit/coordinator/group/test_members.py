"""The member table of a group."""

import pytest

from ottla.coordinator.group.members import Member, Members, Protocols
from ottla.coordinator.outcome import Waiter
from ottla.model.errors import ApiError, ErrorCode


def member(name: str, *protocols: str, instance: str | None = None, timeout: int = 1_000) -> Member:
    supported: Protocols = dict.fromkeys(protocols or ("range",), b"")
    return Member(name, instance, "client", "/host", timeout, 1_000, supported)


def table(*members: Member) -> Members:
    together = Members()
    for each in members:
        together.add(each, "consumer")
    return together


def test_each_member_votes_for_its_first_common_protocol() -> None:
    members = table(
        member("a", "sticky", "range", "roundrobin"),
        member("b", "roundrobin", "range"),
        member("c", "range", "roundrobin"),
    )
    assert members.select_protocol() == "range"
    members.remove("a")
    members.remove("c")
    assert members.select_protocol() == "roundrobin"


def test_only_what_everybody_supports_lets_a_member_in() -> None:
    members = table(member("a", "range", "sticky"), member("b", "range"))
    assert members.supports("consumer", ["sticky", "range"], False)
    assert not members.supports("consumer", ["sticky"], False)
    assert not members.supports("connect", ["range"], False)
    assert not members.supports("consumer", [], False)
    members.remove("b")
    assert members.supports("consumer", ["sticky"], False)


def test_an_empty_group_takes_anyone_who_names_a_type_and_a_protocol() -> None:
    members = Members()
    assert members.supports("connect", ["v1"], True)
    assert not members.supports("", ["v1"], True)
    assert not members.supports("connect", [], True)


def test_the_next_member_leads_after_the_leader() -> None:
    members = table(member("a"), member("b"), member("c"))
    assert members.leader_id == "a"
    members.remove("a")
    assert members.leader_id == "b"
    members.remove("c")
    members.remove("b")
    assert members.leader_id is None


def test_a_leader_that_has_not_joined_again_is_replaced_by_one_that_has() -> None:
    members = table(member("a", instance="A"), member("b"))
    assert not members.elect_joined_leader()
    joined = members.get("b")
    assert joined is not None
    members.park_join(joined, Waiter())
    assert members.elect_joined_leader()
    assert members.leader_id == "b"


def test_a_replaced_static_member_leaves_its_place_and_assignment_to_the_new_one() -> None:
    members = table(member("a", instance="A"), member("b"))
    old = members.get("a")
    assert old is not None
    old.assignment = b"mine"
    new = members.replace_static("A", "a2")
    assert new.assignment == b"mine"
    assert members.leader_id == "a2"
    assert members.static_id("A") == "a2"
    assert "a" not in members
    with pytest.raises(ApiError) as fenced:
        members.find("a", "A")
    assert fenced.value.code is ErrorCode.FENCED_INSTANCE_ID
    with pytest.raises(ApiError) as unknown:
        members.find("a2", "B")
    assert unknown.value.code is ErrorCode.UNKNOWN_MEMBER_ID


def test_the_group_waits_for_handed_out_ids_too() -> None:
    members = table(member("a"))
    first = members.get("a")
    assert first is not None
    members.park_join(first, Waiter())
    assert members.all_joined
    members.pending["b"] = None
    assert not members.all_joined
    members.remove("b")
    assert members.all_joined


def test_the_longest_rebalance_timeout_counts() -> None:
    assert table(member("a", timeout=5), member("b", timeout=9)).rebalance_timeout_ms() == 9
    assert Members().rebalance_timeout_ms() == 0
