"""What an operator asks of three brokers, on virtual time."""

import asyncio
from typing import Any

import pytest
from tests.simulation.test_cluster import BROKERS, three
from tests.support.cluster_world import ClusterWorld, host_of, simulate

from ottla.client.admin import Admin
from ottla.metadata.controller import is_cordoned
from ottla.metadata.image import PartitionImage
from ottla.model.ids import NO_BROKER, TopicPartition
from ottla.wire.generated.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    ReassignablePartition,
    ReassignableTopic,
)
from ottla.wire.generated.describe_cluster import DescribeClusterRequest
from ottla.wire.generated.describe_log_dirs import DescribeLogDirsRequest
from ottla.wire.generated.elect_leaders import ElectLeadersRequest
from ottla.wire.generated.incremental_alter_configs import AlterableConfig, AlterConfigsResource
from ottla.wire.generated.incremental_alter_configs import (
    IncrementalAlterConfigsRequest as SetRequest,
)
from ottla.wire.generated.list_partition_reassignments import ListPartitionReassignmentsRequest
from ottla.wire.generated.metadata import MetadataRequest
from ottla.wire.generated.unregister_broker import UnregisterBrokerRequest
from ottla.wire.generated.update_features import FeatureUpdateKey, UpdateFeaturesRequest


async def ask(world: ClusterWorld, broker: int, request: Any, version: int | None = None) -> Any:
    async with world.view() as view:
        view.bootstrap = ((host_of(broker), 9092),)
        link = await view.link()
        return await link.request(request, version=version, timeout_ms=10_000)


def state(world: ClusterWorld, number: int = 0, topic: str = "t") -> PartitionImage:
    found = world.image(next(iter(world.brokers))).partition(topic, number)
    assert found is not None
    return found


def moved(target: list[int] | None, number: int = 0) -> AlterPartitionReassignmentsRequest:
    return AlterPartitionReassignmentsRequest(
        topics=[
            ReassignableTopic(
                name="t",
                partitions=[ReassignablePartition(partition_index=number, replicas=target)],
            )
        ]
    )


def set_one(resource: tuple[int, str], key: str, value: str) -> AlterConfigsResource:
    kind, name = resource
    return AlterConfigsResource(
        resource_type=kind,
        resource_name=name,
        configs=[AlterableConfig(name=key, config_operation=0, value=value)],
    )


async def with_topic(world: ClusterWorld, factor: int = 1) -> None:
    await three(world)
    async with world.view() as view:
        await Admin(view).create_topic("t", partitions=3, replication_factor=factor)
    await world.until(
        "everybody knows the topic", lambda: all("t" in world.image(b).topics for b in BROKERS)
    )


def holders(world: ClusterWorld, number: int = 0) -> set[int]:
    return {
        broker_id
        for broker_id, broker in world.brokers.items()
        for partition in broker.replicas
        if (partition.topic, partition.partition) == ("t", number)
    }


@pytest.mark.parametrize("asked", BROKERS)
def test_whoever_is_asked_replicas_go_and_their_logs_with_them(asked: int) -> None:
    async def program(world: ClusterWorld) -> None:
        await with_topic(world, factor=3)
        assert holders(world) == set(BROKERS)
        left = state(world).replicas[-1]
        answer = await ask(world, asked, moved([left]))
        assert answer.responses[0].partitions[0].error_code == 0
        await world.until("one leads alone", lambda: state(world).replicas == (left,))
        assert (state(world).leader, state(world).isr) == (left, (left,))
        await world.until("the other logs are gone", lambda: holders(world) == {left})
        assert holders(world, 1) == set(BROKERS)
        listed = await ask(world, asked, ListPartitionReassignmentsRequest())
        assert not listed.topics

    simulate(program)


def test_who_was_away_when_its_replica_went_does_not_open_the_log_again() -> None:
    async def program(world: ClusterWorld) -> None:
        await with_topic(world, factor=3)
        away = state(world).replicas[-1]
        stay = [broker for broker in BROKERS if broker != away]
        await world.stop(away)
        await ask(world, stay[0], moved(stay))
        await world.until("it is out", lambda: away not in state(world).replicas)
        await world.start(away)
        logs = world.brokers[away].logs
        assert logs.get(TopicPartition("t", 0)) is None
        assert logs.get(TopicPartition("t", 1)) is not None

    simulate(program)


def test_what_waits_for_a_dead_broker_is_listed_and_can_be_cancelled() -> None:
    async def program(world: ClusterWorld) -> None:
        await with_topic(world)
        (leader,) = state(world).replicas
        dead = leader % 3 + 1
        await world.stop(dead)
        await ask(world, leader, moved([dead]))
        listed = await ask(world, leader, ListPartitionReassignmentsRequest())
        row = listed.topics[0].partitions[0]
        assert (row.replicas, row.adding_replicas, row.removing_replicas) == (
            [dead, leader],
            [dead],
            [leader],
        )
        answer = await ask(world, leader, moved(None))
        assert answer.responses[0].partitions[0].error_code == 0
        assert state(world).replicas == (leader,)
        assert state(world).leader == leader

    simulate(program)


def test_another_replica_is_preferred_and_leads_when_that_is_asked_for() -> None:
    async def program(world: ClusterWorld) -> None:
        await with_topic(world, factor=3)
        leader, *others = state(world).replicas
        await ask(world, others[0], moved([*others, leader]))
        assert (state(world).replicas, state(world).leader) == ((*others, leader), leader)
        answer = await ask(world, others[1], ElectLeadersRequest(topic_partitions=None))
        results = {row.topic: row.partition_result for row in answer.replica_election_results}
        assert [(row.partition_id, row.error_code) for row in results["t"]] == [(0, 0)]
        assert state(world).leader == others[0]

    simulate(program, auto_leader_rebalance_enable="false")


def test_preferred_replicas_lead_again_by_themselves() -> None:
    async def program(world: ClusterWorld) -> None:
        await with_topic(world, factor=3)
        leader, *others = state(world).replicas
        await ask(world, 1, moved([*others, leader]))
        assert state(world).leader == leader
        await world.until("the preferred one leads", lambda: state(world).leader == others[0], 30)

    simulate(program, leader_imbalance_check_interval_seconds="20")


def test_a_broker_that_is_gone_is_fenced_offline_and_can_be_removed() -> None:
    async def program(world: ClusterWorld) -> None:
        await with_topic(world, factor=3)
        alive = await ask(world, 1, UnregisterBrokerRequest(broker_id=3))
        assert alive.error_code == 42
        await world.stop(3)
        await world.until(
            "the others lead", lambda: all(state(world, n).leader != 3 for n in range(3))
        )
        told = await ask(world, 1, DescribeClusterRequest(include_fenced_brokers=True))
        assert [(each.broker_id, each.is_fenced) for each in told.brokers] == [
            (1, False),
            (2, False),
            (3, True),
        ]
        told = await ask(world, 2, MetadataRequest(topics=None))
        assert sorted(each.node_id for each in told.brokers) == [1, 2]
        assert all(row.offline_replicas == [3] for row in told.topics[0].partitions)
        gone = await ask(world, 2, UnregisterBrokerRequest(broker_id=3))
        assert gone.error_code == 0
        told = await ask(world, 1, DescribeClusterRequest(include_fenced_brokers=True))
        assert [each.broker_id for each in told.brokers] == [1, 2]
        again = await ask(world, 1, UnregisterBrokerRequest(broker_id=3))
        assert again.error_code == 102

    simulate(program)


def test_a_level_that_one_broker_is_told_all_know() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        row = FeatureUpdateKey(feature="transaction.version", max_version_level=1, upgrade_type=2)
        for asked in BROKERS:
            answer = await ask(world, asked, UpdateFeaturesRequest(feature_updates=[row]))
            assert answer.error_code == 0
        await world.until(
            "all know",
            lambda: all(world.image(b).features.get("transaction.version") == 1 for b in BROKERS),
        )

    simulate(program)


def test_a_brokers_settings_are_changed_by_asking_it() -> None:
    async def program(world: ClusterWorld) -> None:
        from ottla.client.admin import ConfigChange, ConfigOperation
        from ottla.model.isolation import ResourceType

        await three(world)
        async with world.view() as view:
            await view.refresh()
            admin = Admin(view)
            for broker in BROKERS:
                change = ConfigChange(ConfigOperation.SET, "log.cleaner.threads", "2")
                await admin.alter_configs(ResourceType.BROKER, str(broker), [change])
                entries = await admin.describe_configs(ResourceType.BROKER, str(broker))
                assert {e.name: e.value for e in entries}["log.cleaner.threads"] == "2"

    simulate(program)


@pytest.mark.parametrize("resource", [(2, "t"), (4, "")], ids=["topic", "all"])
def test_an_unclean_election_is_made_as_soon_as_it_is_allowed(resource: tuple[int, str]) -> None:
    async def program(world: ClusterWorld) -> None:
        await with_topic(world, factor=2)
        old, last = state(world).replicas
        (other,) = set(BROKERS) - {old, last}
        await world.stop(old)
        await world.until("it is out", lambda: state(world).isr == (last,))
        await world.stop(last)
        await world.start(old)
        await world.until("it is usable", lambda: world.image(other).brokers[old].is_usable)
        await asyncio.sleep(1)
        assert (state(world).leader, state(world).elr) == (NO_BROKER, (last,))
        asked = SetRequest(resources=[set_one(resource, "unclean.leader.election.enable", "true")])
        answer = await ask(world, other, asked)
        assert answer.responses[0].error_code == 0
        await world.until("it leads", lambda: state(world).leader == old, limit_s=1)

    simulate(program)


def test_who_is_cordoned_says_so_and_gets_no_replicas() -> None:
    async def program(world: ClusterWorld) -> None:
        await with_topic(world)
        asked = SetRequest(resources=[set_one((4, "2"), "cordoned.log.dirs", "*")])
        answer = await ask(world, 1, asked)
        assert answer.responses[0].error_code == 0
        await world.until("all know", lambda: all(is_cordoned(world.image(b), 2) for b in BROKERS))
        for each in BROKERS:
            (row,) = (await ask(world, each, DescribeLogDirsRequest(topics=None))).results
            assert row.is_cordoned == (each == 2)
        async with world.view() as view:
            await Admin(view).create_topic("u", partitions=6, replication_factor=1)
        assert {each.leader for each in world.image(1).topics["u"].partitions} == {1, 3}

    simulate(program)


def test_who_is_cordoned_by_its_file_gets_no_replicas_whoever_controls() -> None:
    async def program(world: ClusterWorld) -> None:
        world.settings["cordoned.log.dirs"] = "*"
        await world.start(3)
        del world.settings["cordoned.log.dirs"]
        await world.start(1, 2)
        await world.until("all are there", lambda: len(world.image(3).brokers) == 3)
        await world.until(
            "none is fenced",
            lambda: (
                not any(each.fenced for b in BROKERS for each in world.image(b).brokers.values())
            ),
        )
        async with world.view() as view:
            await Admin(view).create_topic("u", partitions=6, replication_factor=1)
        await world.stop(3)
        await world.start(3)  # Its file says nothing any more.
        async with world.view() as view:
            await Admin(view).create_topic("v", partitions=6, replication_factor=1)
        leaders = {
            name: {each.leader for each in world.image(1).topics[name].partitions} for name in "uv"
        }
        assert leaders == {"u": {1, 2}, "v": {1, 2, 3}}

    simulate(program)
