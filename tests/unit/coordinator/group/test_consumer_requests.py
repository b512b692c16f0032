"""Heartbeats of consumer groups: who gets what when, who is refused, and why groups rebalance."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.consumer_world import ConsumerWorld, topic_id

from ottla.config.broker_config import BrokerConfig
from ottla.coordinator.group import administration, commits
from ottla.coordinator.group.consumer import ConsumerGroup
from ottla.coordinator.group.settings import Caller
from ottla.model.errors import ErrorCode
from ottla.wire.generated.consumer_group_heartbeat import TopicPartitionsRequest
from ottla.wire.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)


def test_two_members_share_and_nothing_is_read_twice() -> None:
    world = ConsumerWorld()
    world.beat("a", "t")
    assert world.has("a") == [0, 1, 2, 3]
    world.beat("b", "t")
    assert world.has("b") == []
    assert world.group().state_name == "Reconciling"
    world.beat("a", says=False)
    assert world.has("a") == [0, 1]
    world.beat("b")
    assert world.has("b") == [], "a has not said that it gave them up"
    world.beat("a")
    world.beat("b")
    assert world.has("b") == [2, 3]
    assert world.group().state_name == "Stable"
    assert world.why() == ["a joined", "b joined"]


def test_members_are_asked_to_come_soon_while_the_group_settles() -> None:
    world = ConsumerWorld()

    def told(name: str, *topics: str) -> int:
        return world.beat(name, *topics).heartbeat_interval_ms

    assert told("a", "t") == 250
    world.advance(4_999)
    assert told("a") == 250, "another may have started shortly after it"
    world.advance(1)
    assert told("a") == 5_000
    assert told("b", "t") == 250
    assert told("a") == 250
    world.advance(20_000)
    assert told("b") == 250, "a has not said that it gave them up"
    told("a")
    assert told("b") == 5_000
    assert told("a") == 5_000


def test_members_may_be_asked_to_come_sooner_than_while_the_group_settles() -> None:
    world = ConsumerWorld()
    world.surroundings.config = BrokerConfig(
        {
            "group.consumer.heartbeat.interval.ms": "100",
            "group.consumer.min.heartbeat.interval.ms": "100",
        }
    )
    assert world.beat("a", "t").heartbeat_interval_ms == 100


def test_whoever_is_silent_is_removed_and_its_partitions_move() -> None:
    world = ConsumerWorld()
    world.beat("a", "t")
    world.beat("b", "t")
    world.settle("a", "b")
    world.advance(30_000)
    world.beat("a")
    world.advance(20_000)
    world.settle("a")
    assert world.has("a") == [0, 1, 2, 3]
    assert world.code("b") is ErrorCode.UNKNOWN_MEMBER_ID
    assert world.why()[-1] == "b session expired"


def test_whoever_does_not_give_up_in_time_is_removed() -> None:
    world = ConsumerWorld()
    world.beat("a", "t")
    world.beat("b", "t")
    for _ in range(7):
        world.beat("a", topic_partitions=None)
        world.beat("b")
        world.advance(10_000)
    assert "a did not give partitions up in time" in world.why()
    world.settle("b")
    assert world.has("b") == [0, 1, 2, 3]


def test_new_partitions_are_given_out_with_the_next_heartbeat() -> None:
    world = ConsumerWorld()
    world.beat("a", "t", "u")
    written = len(world.log)
    world.beat("a")
    world.set_topics({"t": 4, "other": 1})
    world.beat("a")
    assert len(world.log) == written, "a heartbeat that changes nothing writes nothing"
    world.set_topics({"t": 5, "u": 1})
    world.beat("a")
    assert world.owned["a"] == {topic_id("t"): [0, 1, 2, 3, 4], topic_id("u"): [0]}
    assert world.why()[-1] == "topics changed"
    world.set_topics({"u": 1})
    world.settle("a")
    assert world.owned["a"] == {topic_id("u"): [0]}


def test_an_expression_follows_the_topics() -> None:
    world = ConsumerWorld({"ride-eu": 1, "ride-us": 1, "order": 1})
    world.beat("a", subscribed_topic_regex="ride-.*")
    world.advance(0)
    world.beat("a")
    assert sorted(world.owned["a"]) == [topic_id("ride-eu"), topic_id("ride-us")]
    world.set_topics({"ride-eu": 1, "ride-fr": 2, "order": 1})
    world.beat("a")
    world.advance(0)
    world.settle("a")
    assert world.owned["a"] == {topic_id("ride-eu"): [0], topic_id("ride-fr"): [0, 1]}
    assert world.code("a", subscribed_topic_regex="(") is ErrorCode.INVALID_REGULAR_EXPRESSION
    world.beat("a", member_epoch=-1)
    assert not world.group().regexes


def test_an_older_epoch_is_believed_where_the_last_answer_was_lost_alone() -> None:
    world = ConsumerWorld()
    world.beat("a", "t")
    world.beat("b", "t")
    world.settle("a", "b")
    member = world.group().members["a"]
    assert (member.epoch, member.previous_epoch) == (3, 2)
    fenced = ErrorCode.FENCED_MEMBER_EPOCH
    assert world.code("a", member_epoch=1) is fenced
    assert world.code("a", member_epoch=4) is fenced
    assert world.code("a", member_epoch=2, topic_partitions=None) is fenced, "it says nothing"
    more = [TopicPartitionsRequest(topic_id=topic_id("t"), partitions=[0, 1, 2])]
    assert world.code("a", member_epoch=2, topic_partitions=more) is fenced, "2 is b's by now"
    assert world.code("a", member_epoch=2) is ErrorCode.NONE


def test_a_static_member_comes_back_to_what_it_had() -> None:
    world = ConsumerWorld()
    world.beat("a", "t", instance_id="I")
    world.beat("b", "t")
    world.settle("a", "b")
    before, written = world.has("a"), len(world.why())
    assert world.code("c", "t", instance_id="I") is ErrorCode.UNRELEASED_INSTANCE_ID
    assert world.code("a", member_epoch=-2, instance_id="I") is ErrorCode.NONE
    world.epochs.pop("a")
    assert world.code("c", "t", instance_id="I") is ErrorCode.NONE
    assert world.has("c") == before
    assert len(world.why()) == written, "it made the group rebalance"
    assert world.code("a", member_epoch=2, instance_id="I") is ErrorCode.FENCED_INSTANCE_ID


def test_a_new_target_waits_for_the_interval() -> None:
    world = ConsumerWorld(interval_ms=1_000)
    world.advance(1)
    world.beat("a", "t")
    world.beat("b", "t")
    world.beat("a")
    assert world.group().state_name == "Assigning"
    world.advance(1_000)
    world.settle("a", "b")
    assert world.group().state_name == "Stable"


def test_a_group_has_only_so_many_members() -> None:
    world = ConsumerWorld()
    world.surroundings.config = world.surroundings.config.__class__(
        {"group.consumer.max.size": "1"}
    )
    world.beat("a", "t")
    assert world.code("b", "t") is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert world.code("a") is ErrorCode.NONE


def test_a_refused_append_leaves_nothing_behind() -> None:
    world = ConsumerWorld()
    world.run("refuse NOT_ENOUGH_REPLICAS")
    assert world.code("a", "t") is not ErrorCode.NONE
    assert "g" not in world.shard.groups
    assert world.code("a", "t") is ErrorCode.NONE
    assert world.why() == ["a joined"]
    world.set_topics({"t": 6})
    world.run("refuse NOT_ENOUGH_REPLICAS")
    world.beat("a")
    world.beat("a")
    assert world.has("a") == [0, 1, 2, 3, 4, 5]


def commit(world: ConsumerWorld, member: str, epoch: int, partition: int) -> ErrorCode:
    request = OffsetCommitRequest(
        group_id="g",
        member_id=member,
        generation_id_or_member_epoch=epoch,
        topics=[
            OffsetCommitRequestTopic(
                name="t",
                topic_id=topic_id("t"),
                partitions=[OffsetCommitRequestPartition(partition_index=partition)],
            )
        ],
    )
    world.answers.clear()
    caller = Caller("c", "/host", 10)
    world.decide("c", lambda waiter: commits.commit(world.shard, request, caller, waiter, 0))
    (answer,) = world.answers
    if hasattr(answer, "code"):
        return ErrorCode(answer.code)
    return ErrorCode(answer.topics[0].partitions[0].error_code)


def test_a_commit_of_an_epoch_that_was_counts_for_what_was_kept() -> None:
    world = ConsumerWorld()
    world.beat("a", "t")
    world.beat("b", "t")
    world.settle("a", "b")
    assert commit(world, "a", 3, 0) is ErrorCode.NONE
    assert commit(world, "a", 2, 0) is ErrorCode.NONE
    assert commit(world, "a", 1, 0) is ErrorCode.STALE_MEMBER_EPOCH
    assert commit(world, "a", 4, 0) is ErrorCode.STALE_MEMBER_EPOCH
    assert commit(world, "a", 2, 3) is ErrorCode.STALE_MEMBER_EPOCH
    assert commit(world, "x", 3, 0) is ErrorCode.UNKNOWN_MEMBER_ID
    assert commit(world, "", -1, 0) is ErrorCode.UNKNOWN_MEMBER_ID


def test_an_empty_group_is_deleted_with_its_offsets_and_a_new_one_begins_anew() -> None:
    world = ConsumerWorld()
    world.beat("a", "t")
    commit(world, "a", 2, 0)
    assert world.run("delete-group")[-1] == "admin <- g NON_EMPTY_GROUP"
    world.beat("a", member_epoch=-1)
    assert world.run("list") == ["g: Empty consumer consumer"]
    world.run("delete-group")
    assert not world.shard.groups
    assert not world.shard.offsets.of_group("g")
    world.epochs.clear()
    assert world.beat("a", "t").member_epoch == 2


def test_an_empty_classic_group_gives_its_place_and_takes_it_back() -> None:
    world = ConsumerWorld()
    world.run("commit c t-0@5 generation=-1 id=none")
    world.beat("a", "t")
    assert world.group().state_name == "Stable"
    world.beat("a", member_epoch=-1)
    world.run("join c id=none v=3")
    assert world.shard.classic("g") is not None
    assert world.replay().classic("g") is not None


def test_a_description_says_what_members_have_and_shall_have() -> None:
    world = ConsumerWorld()
    world.beat("a", "t", server_assignor="range")
    world.beat("b", "t")
    described = administration.describe_consumer_group(world.shard, "g")
    assert (described.group_state, described.assignor_name) == ("Reconciling", "range")
    rows = {
        member.member_id: (
            [row.partitions for row in member.assignment.topic_partitions],
            [row.partitions for row in member.target_assignment.topic_partitions],
        )
        for member in described.members
    }
    assert rows == {"a": ([[0, 1, 2, 3]], [[0, 1]]), "b": ([], [[2, 3]])}


# Whatever happens

NAMES = "abc"
names = st.sampled_from(NAMES)
commands = st.one_of(
    st.tuples(st.just("join"), names, st.sampled_from(["t", "u", "t u", ""])),
    st.tuples(st.just("beat"), names, st.booleans()),
    st.tuples(st.just("beat"), names, st.just(True)),
    st.tuples(st.just("leave"), names, st.sampled_from([-1, -2])),
    st.tuples(st.just("stale"), names, st.integers(0, 6)),
    st.tuples(st.just("advance"), st.sampled_from([0, 500, 20_000, 50_000]), st.none()),
    st.tuples(st.just("topics"), st.integers(1, 6), st.integers(0, 3)),
    st.tuples(st.just("refuse"), st.none(), st.none()),
    st.tuples(st.just("restart"), st.none(), st.none()),
)


def play(world: ConsumerWorld, command: tuple[str, Any, Any]) -> None:
    verb, who, what = command
    instance = {"instance_id": "I" + who} if who == "c" else {}
    if verb == "join":
        world.epochs.pop(who, None)
        world.beat(
            who,
            subscribed_topic_names=what.split(),
            rebalance_timeout_ms=30_000,
            topic_partitions=[],
            member_epoch=0,
            **instance,
        )
    elif verb == "beat":
        if world.beat(who, says=what, **instance).error_code:
            world.epochs.pop(who, None)
            world.owned.pop(who, None)
    elif verb == "leave":
        world.beat(who, member_epoch=what, instance_id=instance.get("instance_id"))
        world.epochs.pop(who, None)
        world.owned.pop(who, None)
    elif verb == "stale":
        world.beat(who, member_epoch=what + 1, says=False)
    elif verb == "advance":
        world.advance(who)
    elif verb == "topics":
        world.set_topics({"t": who} | ({"u": what} if what else {}))
    else:
        world.run({"refuse": "refuse NOT_ENOUGH_REPLICAS", "restart": "restart"}[verb])


def holders(group: ConsumerGroup) -> Iterator[tuple[bytes, int]]:
    for member in group.members.values():
        for owned in (member.assigned, member.revoking):
            for topic, partitions in owned.items():
                for partition in partitions:
                    yield topic, partition


@settings(max_examples=150, deadline=None)
@given(st.lists(commands, max_size=40), st.sampled_from([0, 1_000]))
def test_no_partition_has_two_owners_and_a_replay_is_the_same(
    steps: list[tuple[str, Any, Any]], interval_ms: int
) -> None:
    world = ConsumerWorld(interval_ms=interval_ms)
    epoch = 0
    for step in steps:
        play(world, step)
        group = world.shard.groups.get("g")
        if group is None:
            continue
        assert isinstance(group, ConsumerGroup)
        owned = list(holders(group))
        assert len(owned) == len(set(owned)), "two owners of a partition"
        assert group.epoch >= epoch
        assert group.target_epoch <= group.epoch
        epoch = group.epoch
        assert set(group.static_ids.values()) <= set(group.members)
    if "g" in world.shard.groups:
        group, again = world.group(), world.replay().groups["g"]
        assert isinstance(again, ConsumerGroup)
        assert again.members == group.members
        assert (again.targets, again.epoch, again.target_epoch) == (
            group.targets,
            group.epoch,
            group.target_epoch,
        )
        assert again.regexes == group.regexes


@pytest.mark.parametrize("count", [100])
def test_many_members_come_to_rest(count: int) -> None:
    world = ConsumerWorld({"t": 2 * count})
    members = [f"m{number}" for number in range(count)]
    for name in members:
        world.beat(name, "t")
    for _ in range(4):
        for name in members:
            world.beat(name)
    assert world.group().state_name == "Stable"
    assert all(len(world.has(name)) == 2 for name in members)
