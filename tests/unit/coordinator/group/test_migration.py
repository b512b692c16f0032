"""A classic group becomes a consumer group while members are there, and the reverse."""

import pytest
from tests.support.consumer_world import ConsumerWorld

from ottla.config.broker_config import BrokerConfig
from ottla.coordinator.group.consumer import ConsumerGroup
from ottla.model.errors import ErrorCode
from ottla.wire.generated.consumer_protocol_assignment import (
    ConsumerProtocolAssignment,
    TopicPartition,
)
from ottla.wire.generated.sync_group import SyncGroupRequest, SyncGroupRequestAssignment
from ottla.wire.prefixed import decode_versioned, encode_versioned


class MixedWorld(ConsumerWorld):
    """Classic members whose assignments are real ones."""

    def sync_all(self, leader: str, **partitions: list[int]) -> None:
        rows = [
            SyncGroupRequestAssignment(
                member_id=self.member_ids[name],
                assignment=encode_versioned(
                    ConsumerProtocolAssignment(
                        assigned_partitions=[TopicPartition(topic="t", partitions=numbers)]
                    ),
                    0,
                ),
            )
            for name, numbers in partitions.items()
        ]
        self.sync(leader, rows)

    def sync(self, name: str, rows: list[SyncGroupRequestAssignment] | None = None) -> list[int]:
        """Return what the member is assigned of `t`."""
        from ottla.coordinator.group import classic_requests

        request = SyncGroupRequest(
            group_id="g",
            generation_id=self.generations[name],
            member_id=self.member_ids[name],
            assignments=rows or [],
        )
        self.answers.clear()
        self.decide(
            name,
            lambda waiter: classic_requests.sync(self.shard, request, waiter, self.now_ms),
        )
        (answer,) = self.answers
        if not getattr(answer, "assignment", b""):
            return []
        found = decode_versioned(ConsumerProtocolAssignment, answer.assignment)
        return [number for row in found.assigned_partitions for number in row.partitions]

    def show(self, response: object, name: str) -> str:
        if type(response).__name__ == "SyncGroupResponse":
            self.answers.append(response)
            return "synced"
        return super().show(response, name)


@pytest.fixture
def world() -> MixedWorld:
    """Classic member c with all four partitions."""
    world = MixedWorld()
    world.settings.group_initial_rebalance_delay_ms = 0
    world.run("join c v=3 protocols=range:t")
    world.advance(0)
    world.sync_all("c", c=[0, 1, 2, 3])
    return world


def test_partitions_move_between_members_of_both_protocols(world: MixedWorld) -> None:
    world.beat("n", "t")
    group = world.group()
    assert group.state_name == "Reconciling"
    assert world.has("n") == []
    assert world.run("heartbeat c") == ["c <- REBALANCE_IN_PROGRESS"]
    world.run("join c v=3 protocols=range:t")
    assert len(world.sync("c")) == 2
    world.beat("n")
    assert len(world.has("n")) == 2
    assert world.group().state_name == "Stable"
    assert world.run("heartbeat c") == ["c <- NONE"]
    assert world.run("commit c t-0@5") == ["log: g t-0 5", "c <- t-0 NONE"]


def test_the_last_of_the_newer_protocol_leaves_a_classic_group_behind(world: MixedWorld) -> None:
    world.beat("n", "t")
    world.run("heartbeat c")
    world.run("join c v=3 protocols=range:t")
    world.sync("c")
    world.beat("n")
    world.beat("n", member_epoch=-1)
    world.advance(0)
    classic = world.shard.classic("g")
    assert classic is not None
    assert classic.state_name == "PreparingRebalance"
    assert world.run("heartbeat c") == ["c <- REBALANCE_IN_PROGRESS"]
    assert world.replay().classic("g") is not None
    assert any("joined" in line for line in world.run("join c v=3 protocols=range:t"))


def test_a_classic_member_leaves_and_expires(world: MixedWorld) -> None:
    world.beat("n", "t")
    world.run("leave c")
    world.settle("n")
    assert world.has("n") == [0, 1, 2, 3]
    world.run("join c id=none v=3 protocols=range:t")
    world.sync("c")
    for _ in range(3):
        world.advance(4_000)
        world.beat("n")
    assert len(world.group().members) == 1
    assert "session expired" in world.why()[-1]


def test_a_replaced_static_member_does_not_come_back_by_its_old_id(world: MixedWorld) -> None:
    world.beat("n", "t")
    world.run("join s id=none instance=s v=5 protocols=range:t")
    old = world.member_ids["s"]
    world.run("join s instance=s v=5 protocols=range:t")
    assert world.member_ids["s"] == old
    world.run("join heir id=none instance=s v=5 protocols=range:t")
    heir = world.member_ids["heir"]
    assert heir != old
    (refused,) = world.run("join s instance=s v=5 protocols=range:t")
    assert "FENCED_INSTANCE_ID" in refused
    (refused,) = world.run("join s instance=other v=5 protocols=range:t")
    assert "UNKNOWN_MEMBER_ID" in refused
    assert world.group().static_ids == {"s": heir}


def test_it_is_all_there_after_a_restart(world: MixedWorld) -> None:
    world.beat("n", "t")
    again = world.replay().groups["g"]
    assert isinstance(again, ConsumerGroup)
    assert again.members == world.group().members
    assert again.targets == world.group().targets


def test_a_refused_upgrade_leaves_the_classic_group(world: MixedWorld) -> None:
    world.run("refuse NOT_ENOUGH_REPLICAS")
    world.beat("n", "t")
    assert world.shard.classic("g") is not None
    assert world.run("heartbeat c") == ["c <- NONE"]


def test_a_policy_may_forbid_it(world: MixedWorld) -> None:
    world.surroundings.config = BrokerConfig({"group.consumer.migration.policy": "disabled"})
    assert world.code("n", "t") is ErrorCode.GROUP_ID_NOT_FOUND
    assert world.run("heartbeat c") == ["c <- NONE"]


def test_a_group_of_another_kind_of_client_is_not_upgraded() -> None:
    world = MixedWorld()
    world.settings.group_initial_rebalance_delay_ms = 0
    world.run("join c v=3 type=connect protocols=x:t")
    assert world.code("n", "t") is ErrorCode.GROUP_ID_NOT_FOUND
