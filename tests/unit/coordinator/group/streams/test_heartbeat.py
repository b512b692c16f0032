"""Heartbeats of streams groups: who gets which task when, who is refused, why they rebalance."""

from typing import Any

import pytest
from tests.support.streams_world import EndpointRequest, StreamsWorld, TopicInfo, part

from ottla.config.broker_config import BrokerConfig
from ottla.coordinator.group import administration, commits
from ottla.coordinator.group.settings import Caller
from ottla.coordinator.group.streams import describe, heartbeat
from ottla.coordinator.group.streams.configured import (
    ASSIGNMENT_DELAYED,
    MISSING_INTERNAL_TOPICS,
    MISSING_SOURCE_TOPICS,
    SHUTDOWN_APPLICATION,
    STALE_TOPOLOGY,
)
from ottla.coordinator.group.streams.group import StreamsGroup
from ottla.model.errors import ApiError, ErrorCode
from ottla.wire.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from ottla.wire.generated.streams_group_heartbeat import (
    StreamsGroupHeartbeatRequest,
    TaskIdsRequest,
    Topology,
)

STATEFUL = {"state_changelog_topics": [TopicInfo(name="log")]}


def test_two_members_share_and_no_task_is_active_twice() -> None:
    world = StreamsWorld()
    world.join("a")
    assert world.has("a") == (["0_0", "0_1", "0_2", "0_3"], [])
    world.join("b")
    assert world.has("b") == ([], [])
    assert world.group.state_name == "Reconciling"
    world.beat("a", says=False)
    assert world.has("a") == (["0_0", "0_1"], [])
    world.beat("b")
    assert world.has("b") == ([], []), "a has not said that it gave them up"
    world.beat("a")
    world.beat("b")
    assert world.has("b") == (["0_2", "0_3"], [])
    assert world.group.state_name == "Stable"
    assert world.why() == ["a joined", "b joined"]


def test_the_first_members_wait_for_more() -> None:
    world = StreamsWorld(delay_ms=3_000)
    answer = world.join("a")
    assert world.statuses(answer) == [ASSIGNMENT_DELAYED]
    assert (answer.member_epoch, world.has("a")) == (1, ([], []))
    world.advance(1_000)
    world.join("b")
    world.advance(1_999)
    assert world.statuses(world.beat("a")) == [ASSIGNMENT_DELAYED]
    world.advance(1)
    assert world.statuses(world.beat("a")) == []
    world.beat("b")
    assert world.has("a") == (["0_0", "0_2"], [])
    assert world.has("b") == (["0_1", "0_3"], [])
    assert world.group.state_name == "Stable"


def test_whoever_leaves_during_the_wait_is_not_waited_for() -> None:
    world = StreamsWorld(delay_ms=3_000)
    world.join("a")
    world.leave("a")
    world.advance(3_000)
    assert world.group.state_name == "Empty"
    assert world.group.targets == {}


def test_targets_are_not_computed_too_often() -> None:
    world = StreamsWorld(interval_ms=1_000)
    world.advance(1)
    world.join("a")
    assert world.statuses(world.join("b")) == [ASSIGNMENT_DELAYED]
    assert world.group.state_name == "Assigning"
    world.advance(1_000)
    assert world.statuses(world.beat("b")) == []
    world.settle("a", "b")
    assert len(world.has("b")[0]) == 2


def test_whoever_is_silent_is_removed_and_its_tasks_move() -> None:
    world = StreamsWorld()
    world.join("a")
    world.join("b")
    world.settle("a", "b")
    world.advance(30_000)
    world.beat("a")
    world.advance(20_000)
    world.settle("a")
    assert len(world.has("a")[0]) == 4
    assert world.code("b") is ErrorCode.UNKNOWN_MEMBER_ID
    assert world.why()[-1] == "b session expired"


def test_whoever_does_not_give_up_in_time_is_removed() -> None:
    world = StreamsWorld()
    world.join("a")
    world.join("b")
    for _ in range(7):
        world.beat("a", says=False)
        world.beat("b")
        world.advance(10_000)
    assert world.code("a") is ErrorCode.UNKNOWN_MEMBER_ID
    assert world.why()[-1] == "a did not give partitions up in time"
    world.settle("b")
    assert len(world.has("b")[0]) == 4


def test_standbys_are_in_other_processes_and_take_over() -> None:
    world = StreamsWorld(part("t", **STATEFUL), topics={"t": 2, "log": 2}, standbys=1)
    world.join("a")
    assert world.has("a") == (["0_0", "0_1"], [])
    world.join("b")
    world.settle("a", "b")
    assert world.has("a") == (["0_0"], ["0_1"])
    assert world.has("b") == (["0_1"], ["0_0"])
    world.leave("b")
    world.settle("a")
    assert world.has("a") == (["0_0", "0_1"], [])


def test_members_of_one_process_are_no_standbys_for_each_other() -> None:
    world = StreamsWorld(part("t", **STATEFUL), topics={"t": 2, "log": 2}, standbys=1)
    world.join("a", process="p")
    world.join("b", process="p")
    world.settle("a", "b")
    assert world.has("a") == (["0_0"], [])
    assert world.has("b") == (["0_1"], [])


def test_a_process_takes_an_active_task_only_when_its_standby_is_gone() -> None:
    world = StreamsWorld(part("t", **STATEFUL), topics={"t": 2, "log": 2}, standbys=1)
    world.join("a", process="p")
    world.join("c", process="q")
    world.settle("a", "c")
    standby = world.has("c")[1]
    assert standby
    world.join("d", process="q")
    world.settle("a", "c", "d")
    for name in ("a", "c", "d"):
        active, copies = world.has(name)
        assert not set(active) & set(copies)
    assert world.group.state_name == "Stable"


def test_a_changed_number_of_standbys_is_a_rebalance() -> None:
    world = StreamsWorld(part("t", **STATEFUL), topics={"t": 2, "log": 2})
    world.join("a")
    world.join("b")
    world.settle("a", "b")
    world.configure("streams.num.standby.replicas", "1")
    world.settle("a", "b")
    assert (len(world.has("a")[1]), len(world.has("b")[1])) == (1, 1)
    assert world.why()[-1] == "group settings changed"


def test_missing_topics_are_told_and_found_when_they_are_there() -> None:
    world = StreamsWorld(part("t", "u", **STATEFUL), topics={"t": 2})
    answer = world.join("a")
    assert world.statuses(answer) == [MISSING_SOURCE_TOPICS]
    assert answer.member_epoch == 2
    assert world.group.state_name == "NotReady"
    world.set_topics({"t": 2, "u": 3})
    answer = world.beat("a")
    assert world.statuses(answer) == [MISSING_INTERNAL_TOPICS]
    assert [(row.name, row.partition_count) for row in world.group.configured.missing] == [  # type: ignore[union-attr]
        ("log", 3)
    ]
    world.set_topics({"t": 2, "u": 3, "log": 3})
    assert world.statuses(world.beat("a")) == []
    assert world.has("a") == (["0_0", "0_1", "0_2"], [])
    assert world.group.state_name == "Stable"
    world.set_topics({"t": 2, "log": 3})
    assert world.statuses(world.beat("a")) == [MISSING_SOURCE_TOPICS]
    assert world.group.state_name == "NotReady"
    world.settle("a")
    assert world.has("a") == ([], [])
    assert world.why() == ["a joined", *["topics changed"] * 3]


def test_other_topics_are_no_reason_to_rebalance() -> None:
    world = StreamsWorld()
    world.join("a")
    world.set_topics({"t": 4, "other": 1})
    world.beat("a")
    assert world.group.epoch == 2
    world.set_topics({"t": 5, "other": 1})
    world.beat("a")
    assert world.group.epoch == 3
    assert len(world.has("a")[0]) == 5


def test_what_is_to_be_made_is_known_before_the_heartbeat() -> None:
    world = StreamsWorld(part("t", **STATEFUL))
    request = StreamsGroupHeartbeatRequest(group_id="g", member_id="a", topology=world.topology)
    assert [row.name for row in heartbeat.missing_topics(world.shard, request)] == ["log"]
    world.join("a")
    request = StreamsGroupHeartbeatRequest(group_id="g", member_id="a", member_epoch=2)
    assert [row.name for row in heartbeat.missing_topics(world.shard, request)] == ["log"]
    world.set_topics({"t": 4, "log": 4})
    assert not heartbeat.missing_topics(world.shard, request)
    world.beat("a")
    assert not heartbeat.missing_topics(world.shard, request)


def test_nothing_is_made_for_groups_that_are_none() -> None:
    world = StreamsWorld(part("t", **STATEFUL))
    world.run("join c")
    request = StreamsGroupHeartbeatRequest(group_id="g", member_id="a", topology=world.topology)
    assert not heartbeat.missing_topics(world.shard, request)
    request = StreamsGroupHeartbeatRequest(group_id="h", member_id="a", member_epoch=3)
    assert not heartbeat.missing_topics(world.shard, request)
    assert world.join("a").error_code == ErrorCode.GROUP_ID_NOT_FOUND


def test_a_full_group_takes_nobody_else() -> None:
    world = StreamsWorld()
    world.surroundings.config = BrokerConfig({"group.streams.max.size": "1"})
    world.join("a")
    assert world.join("b").error_code == ErrorCode.GROUP_MAX_SIZE_REACHED
    assert world.code("a") is ErrorCode.NONE
    world.leave("a")
    assert world.join("b").error_code == ErrorCode.NONE


def test_offsets_of_what_is_read_are_kept_from_deletion() -> None:
    world = StreamsWorld(part("t", **STATEFUL), topics={"t": 1, "log": 1})
    world.join("a")
    assert world.group.is_subscribed_to("t")
    assert not world.group.is_subscribed_to("log")
    world.leave("a")
    assert not world.group.is_subscribed_to("t")


def test_a_stale_topology_is_told_and_a_newer_one_refused() -> None:
    world = StreamsWorld()
    world.topology = Topology(epoch=1, subtopologies=[part("t")])
    world.join("a")
    old = Topology(epoch=0, subtopologies=[part("u")])
    assert world.statuses(world.join("b", topology=old)) == [STALE_TOPOLOGY]
    new = Topology(epoch=2, subtopologies=[part("t")])
    answer = world.join("c", topology=new)
    assert answer.error_code == ErrorCode.INVALID_REQUEST
    assert "c" not in world.group.members


def test_who_asks_for_a_shutdown_is_told_to_all_until_nobody_is_left() -> None:
    world = StreamsWorld()
    world.join("a")
    world.join("b")
    world.leave("b", shutdown_application=True)
    answer = world.beat("a")
    assert world.statuses(answer) == [SHUTDOWN_APPLICATION]
    assert answer.status is not None
    assert "member b " in answer.status[0].status_detail
    world.leave("a")
    assert world.statuses(world.join("a")) == []


def test_endpoints_are_told_when_they_changed() -> None:
    world = StreamsWorld()
    world.join("a", user_endpoint=EndpointRequest(host="h", port=7))
    answer = world.join("b")
    assert answer.partitions_by_user_endpoint is None
    answer = world.beat("a")
    assert (answer.endpoint_information_epoch, world.has("a")[0]) == (1, ["0_0", "0_1"])
    answer = world.beat("b", endpoint_information_epoch=0)
    assert answer.endpoint_information_epoch == 1
    (row,) = answer.partitions_by_user_endpoint or ()
    assert (row.user_endpoint.host, row.user_endpoint.port) == ("h", 7)
    assert [(one.topic, one.partitions) for one in row.active_partitions] == [("t", [0, 1])]
    assert world.beat("b", endpoint_information_epoch=1).partitions_by_user_endpoint is None


def test_a_refused_append_changes_nothing() -> None:
    world = StreamsWorld()
    world.refuse = ErrorCode.NOT_ENOUGH_REPLICAS
    assert world.join("a").error_code == ErrorCode.NOT_ENOUGH_REPLICAS
    assert "g" not in world.shard.groups
    assert world.shard.deadlines.get(("session", "g", "a")) is None
    world.join("a")
    world.set_topics({"t": 5})
    world.refuse = ErrorCode.NOT_ENOUGH_REPLICAS
    world.beat("a")
    assert len(world.has("a")[0]) == 4
    world.beat("a")
    assert len(world.has("a")[0]) == 5
    assert world.why() == ["a joined", "topics changed"]
    world.set_topics({"t": 6})
    world.refuse = ErrorCode.NOT_ENOUGH_REPLICAS
    world.beat("a")
    world.set_topics({"t": 5})
    world.beat("a")
    assert describe.describe(world.shard, "g").group_epoch == 3
    assert world.code("a", active_tasks=[TaskIdsRequest(subtopology_id="0", partitions=[5])]) is (
        ErrorCode.INVALID_REQUEST
    )


def test_members_come_sooner_while_the_group_settles_and_its_topics_are_there() -> None:
    world = StreamsWorld(topics={}, delay_ms=3_000)
    assert world.join("a").heartbeat_interval_ms == 5_000
    world.set_topics({"t": 4})
    assert world.beat("a").heartbeat_interval_ms == 500
    world.advance(3_000)
    assert world.beat("a").heartbeat_interval_ms == 500
    world.advance(4_999)
    assert world.beat("a").heartbeat_interval_ms == 500, "others may still come"
    world.advance(1)
    assert world.beat("a").heartbeat_interval_ms == 5_000
    world.join("b")
    assert world.beat("a").heartbeat_interval_ms == 500


def test_an_epoch_that_was_counts_only_when_the_answer_was_lost() -> None:
    world = StreamsWorld()
    world.join("a")
    world.join("b")
    world.beat("a", says=False)
    world.beat("a")
    assert world.epochs["a"] == 3
    world.epochs["a"] = 2
    assert world.code("a") is ErrorCode.NONE
    world.epochs["a"] = 2
    assert world.code("a", says=False) is ErrorCode.FENCED_MEMBER_EPOCH
    world.epochs["a"] = 9
    assert world.code("a") is ErrorCode.FENCED_MEMBER_EPOCH


def commit(world: StreamsWorld, epoch: int, partition: int, **rest: Any) -> ErrorCode:
    request = OffsetCommitRequest(
        group_id="g",
        member_id="a",
        generation_id_or_member_epoch=epoch,
        topics=[
            OffsetCommitRequestTopic(
                name="t",
                partitions=[
                    OffsetCommitRequestPartition(partition_index=partition, committed_offset=1)
                ],
            )
        ],
    )
    caller = Caller("a", "/host", rest.pop("version", 9))
    world.answers.clear()
    world.decide("a", lambda w: commits.commit(world.shard, request, caller, w, 0, **rest))
    (answer,) = world.answers
    return answer.code if isinstance(answer, ApiError) else ErrorCode.NONE


def test_late_commits_count_for_tasks_held_since_then() -> None:
    world = StreamsWorld()
    world.join("a")
    world.join("b")
    world.settle("a", "b")
    assert world.epochs["a"] == 3
    assert commit(world, 3, 3) is ErrorCode.NONE
    assert commit(world, 2, 0) is ErrorCode.NONE
    assert commit(world, 2, 3) is ErrorCode.STALE_MEMBER_EPOCH
    assert commit(world, 1, 0) is ErrorCode.STALE_MEMBER_EPOCH
    assert commit(world, 4, 0) is ErrorCode.STALE_MEMBER_EPOCH
    assert commit(world, 3, 0, version=8) is ErrorCode.UNSUPPORTED_VERSION
    assert commit(world, 3, 0, version=5, producer=(1, 0)) is ErrorCode.NONE
    assert commit(world, 2, 3, version=5, producer=(1, 0)) is ErrorCode.STALE_MEMBER_EPOCH
    assert commit(world, -1, 0) is ErrorCode.STALE_MEMBER_EPOCH


def test_the_log_says_it_all() -> None:
    world = StreamsWorld(part("t", **STATEFUL), topics={"t": 4, "log": 4}, standbys=1)
    world.join("a", rack_id="r", user_endpoint=EndpointRequest(host="h", port=7))
    world.join("b")
    world.beat("a", says=False)
    again = world.replay()
    group = again.groups["g"]
    assert isinstance(group, StreamsGroup)
    for name in ("members", "targets", "epoch", "target_epoch", "validated_epoch", "topology"):
        assert getattr(group, name) == getattr(world.group, name), name
    assert group.assignment_configs == {"num.standby.replicas": "1"}
    assert again.deadlines.get(("rebalance", "g", "a")) is not None
    world.shard = again
    world.settle("a", "b")
    assert world.group.epoch == 3, "loading alone is no reason to rebalance"
    assert world.group.state_name == "Stable"


def test_an_empty_group_can_be_deleted_and_then_leaves_nothing() -> None:
    world = StreamsWorld()
    world.join("a")
    world.run("delete-group")
    assert world.lines == ["admin <- g NON_EMPTY_GROUP"]
    world.leave("a")
    world.run("delete-group")
    assert "g" not in world.shard.groups
    assert "g" not in world.replay().groups


def test_a_group_is_listed_and_described() -> None:
    world = StreamsWorld(part("t", **STATEFUL))
    world.join("a", client_tags=[])
    (row,) = administration.list_groups(world.shard, lambda state, kind: kind == "streams")
    assert (row.group_state, row.protocol_type) == ("NotReady", "streams")
    group = describe.describe(world.shard, "g")
    assert group.topology is not None
    assert group.topology.subtopologies is not None
    assert group.topology.subtopologies[0].state_changelog_topics[0].partitions == 0
    world.set_topics({"t": 4, "log": 4})
    world.beat("a")
    group = describe.describe(world.shard, "g")
    assert group.topology is not None
    assert group.topology.subtopologies is not None
    assert group.topology.subtopologies[0].state_changelog_topics[0].partitions == 4
    assert group.members[0].assignment.active_tasks[0].partitions == [0, 1, 2, 3]
    with pytest.raises(ApiError):
        describe.describe(world.shard, "h")


def test_deadlines_of_a_group_whose_place_was_taken_mean_nothing() -> None:
    world = StreamsWorld(delay_ms=30)
    for what in ("join", "sync", "regex", "downgrade"):
        world.shard.deadlines.set((what, "g"), 10)
    world.join("a")
    world.advance(40)
    world.settle("a")
    assert len(world.has("a")[0]) == 4


def test_an_empty_streams_group_may_become_a_classic_one() -> None:
    world = StreamsWorld()
    world.join("a")
    world.run("join c")
    assert world.shard.classic("g") is None
    world.leave("a")
    world.run("join c")
    world.run("join c")
    assert world.shard.classic("g") is not None
    assert world.replay().classic("g") is not None
