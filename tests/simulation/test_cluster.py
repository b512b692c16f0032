"""Several brokers over one store, on virtual time: who is there, who controls, who leads."""

import asyncio
import errno
import os
from contextlib import nullcontext as nothing_raised
from functools import partial
from random import Random
from typing import Any
from unittest import mock

import pytest
from tests.support.cluster_world import ClusterWorld, host_of, simulate
from tests.support.witness import batch, produce_request

from ottla.broker.membership import Membership
from ottla.client.admin import Admin, ConfigChange, ConfigOperation
from ottla.client.cluster_view import ClusterView
from ottla.client.producer import Producer
from ottla.metadata import changes
from ottla.metadata.image import PartitionImage
from ottla.metadata.store import TransactResult
from ottla.metadata.store_memory import MemoryDatabase
from ottla.model.errors import ApiError, ErrorCode, PeerError, StorageError
from ottla.model.ids import NO_BROKER
from ottla.model.isolation import Acks, ResourceType
from ottla.storage.roots import LogsError
from ottla.testing.clock import START_MS
from ottla.wire.generated.alter_configs import AlterConfigsRequest
from ottla.wire.generated.alter_configs import AlterConfigsResource as Resource
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest
from ottla.wire.generated.incremental_alter_configs import (
    AlterConfigsResource as IncrementalResource,
)
from ottla.wire.generated.incremental_alter_configs import IncrementalAlterConfigsRequest
from ottla.wire.generated.init_producer_id import InitProducerIdRequest
from ottla.wire.generated.list_partition_reassignments import ListPartitionReassignmentsRequest
from ottla.wire.generated.metadata import MetadataRequest

BROKERS = (1, 2, 3)


async def three(world: ClusterWorld) -> None:
    await world.begin(*BROKERS)


def test_three_brokers_find_each_other_and_one_controls() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        images = [world.image(each) for each in BROKERS]
        assert {image.cluster_id for image in images} == {images[0].cluster_id}
        assert {image.controller_id for image in images} == {images[0].controller_id}
        assert all(broker.is_usable for broker in images[0].brokers.values())

    simulate(program)


@pytest.mark.parametrize("asked", BROKERS)
def test_whoever_is_asked_topics_are_created_and_led_all_over(asked: int) -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            view.bootstrap = ((host_of(asked), 9092),)
            await view.refresh([])
            link = await view.link(asked)
            from ottla.wire.generated.create_topics import CreatableTopic, CreateTopicsRequest

            request = CreateTopicsRequest(
                topics=[CreatableTopic(name="t", num_partitions=6, replication_factor=1)],
                timeout_ms=5_000,
            )
            answer = await link.request(request, timeout_ms=10_000)
            assert answer.topics[0].error_code == 0, answer
            topic = await view.topic("t")
            assert sorted(each.leader for each in topic.partitions) == [1, 1, 2, 2, 3, 3]
            async with Producer(
                view, now_ms=lambda: START_MS, below=Random(1).randrange
            ) as producer:
                for number in range(30):
                    await producer.send("t", b"%d" % number, partition=number % 6)
        ends = [
            partition.log.log_end_offset
            for each in BROKERS
            for partition in world.brokers[each].replicas
            if partition.topic == "t"
        ]
        assert ends == [5] * 6

    simulate(program)


def test_when_the_controller_stops_another_controls_and_nothing_leads_in_its_place() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        first = world.image(1).controller_id
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=3, replication_factor=1)
        await world.stop(first)
        (left, other) = [each for each in BROKERS if each != first]
        await world.until(
            "another controls",
            lambda: (
                world.image(left).controller_id in (left, other)
                and first not in world.image(other).brokers
            ),
        )
        leaders = {state.leader for state in world.image(left).topics["t"].partitions}
        assert leaders == {NO_BROKER, left, other}
        await world.start(first)
        await world.until(
            "it leads again, in a later epoch",
            lambda: any(
                state.leader == first and state.leader_epoch == 2
                for state in world.image(left).topics["t"].partitions
            ),
        )

    simulate(program)


def test_an_id_that_is_alive_elsewhere_is_refused() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        first = world.brokers.pop(2)
        disk = world.disks.pop(2)
        world.settings["listeners"] = "PLAINTEXT://10.0.0.20:9092"
        with pytest.raises(StorageError, match=r"node\.id 2 is alive"):
            await world.start(2)
        del world.settings["listeners"]
        await world.stop(2)
        world.brokers[2], world.disks[2] = first, disk
        assert world.image(1).brokers[2].epoch == world.brokers[2].cluster.membership.epoch  # type: ignore[union-attr]

    simulate(program)


def test_a_copy_of_a_living_brokers_directory_is_refused() -> None:
    """Its ids are those of the original, whose place it may not take: it listens elsewhere."""

    async def program(world: ClusterWorld) -> None:
        await three(world)
        first, disk = world.brokers.pop(2), world.disks[2]
        assert first.cluster is not None
        epoch = first.cluster.membership.epoch
        world.disks[2] = disk.left_by_the_dead()
        world.settings["listeners"] = "PLAINTEXT://10.0.0.20:9092"
        with pytest.raises(StorageError, match=r"node\.id 2 is alive"):
            await world.start(2)
        del world.settings["listeners"]
        world.brokers.pop(2)
        world.brokers[2], world.disks[2] = first, disk
        assert world.image(1).brokers[2].epoch == epoch == first.cluster.membership.epoch

    simulate(program)


def test_a_copy_that_would_listen_where_the_original_does_leaves_it_alone() -> None:
    """It would take the place, as of an earlier life of its own, and then not get the address."""

    async def program(world: ClusterWorld) -> None:
        await three(world)
        first, disk = world.brokers.pop(2), world.disks[2]
        assert first.cluster is not None
        epoch = first.cluster.membership.epoch
        world.disks[2] = disk.left_by_the_dead()
        with pytest.raises(OSError, match="Address already in use"):
            await world.start(2)
        world.brokers.pop(2)
        world.brokers[2], world.disks[2] = first, disk
        await asyncio.sleep(1)
        assert world.image(1).brokers[2].epoch == epoch == first.cluster.membership.epoch

    simulate(program)


def test_whose_registration_is_taken_away_leads_nothing_and_registers_anew() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=3, replication_factor=3)
        cluster = world.brokers[2].cluster
        assert cluster is not None
        epoch = cluster.membership.epoch
        await world.store.connect().transact([], [], [changes.broker_name(2)])
        await world.until("it is another", lambda: cluster.membership.epoch > epoch, limit_s=2)
        await world.until(
            "it is in sync",
            lambda: all(2 in each.isr for each in world.image(1).topics["t"].partitions),
            limit_s=2,
        )

    simulate(program)


@pytest.mark.parametrize("lost", [1, 2], ids=["registering", "unfencing"])
def test_whose_registration_was_not_answered_knows_it_as_its_own(lost: int) -> None:
    """It does not wait for itself to go: the lease, which it keeps alive, would not run out."""

    async def program(world: ClusterWorld) -> None:
        await three(world)
        cluster, store = world.brokers[2].cluster, world.stores[2]
        assert cluster is not None
        transact = store.transact
        puts, unanswered_at = 0, -1

        async def unanswered(*args: Any, **keywords: Any) -> TransactResult:
            nonlocal puts, unanswered_at
            result = await transact(*args, **keywords)
            puts += changes.broker_name(2) in (keywords.get("leases") or ())
            if puts == lost and unanswered_at < 0:
                unanswered_at = result.revision
                raise PeerError("the metadata store has not answered")
            return result

        with mock.patch.object(store, "transact", unanswered):
            await world.store.connect().transact([], [], [changes.broker_name(2)])
            await world.until("no answer came", lambda: unanswered_at >= 0, limit_s=2)
            await world.until(
                "it is there anew",
                lambda: (
                    (mine := world.image(1).brokers.get(2)) is not None
                    and not mine.fenced
                    and mine.epoch == cluster.membership.epoch > unanswered_at
                ),
                limit_s=1,
            )

    simulate(program)


def test_who_dies_before_it_left_its_sets_is_in_doubt_again_at_its_next_start() -> None:
    """After a power cut, and a start that did not get beyond its registration."""

    async def program(world: ClusterWorld) -> None:
        await three(world)
        await world.stop(2)
        before = world.image(1).known_brokers[2].boot_id
        world.disks[2].boot = "another"
        with mock.patch.object(Membership, "_leave_sets", side_effect=PeerError("it dies")):
            with pytest.raises(PeerError, match="it dies"):
                await world.start(2)
            await world.stop(2)
        await world.until("it was there", lambda: 2 not in world.image(1).brokers)
        assert world.image(1).known_brokers[2].boot_id == before
        await world.start(2)
        await world.until("it is known", lambda: world.image(1).known_brokers[2].boot_id != before)

    simulate(program)


def test_whatever_needs_the_store_is_answered_without_it() -> None:
    """With a code by which clients try again, and each resource by itself."""

    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            await view.refresh([])
            link = await view.link(1)
            for store in world.stores.values():
                store.cut()
            one = await link.request(
                InitProducerIdRequest(transactional_id=None), timeout_ms=20_000
            )
            assert one.error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
            assert (one.producer_id, one.producer_epoch) == (-1, -1)
            resource = IncrementalResource(resource_type=2, resource_name="t")
            for request in (
                IncrementalAlterConfigsRequest(resources=[resource]),
                AlterConfigsRequest(resources=[Resource(resource_type=2, resource_name="t")]),
            ):
                answer = await link.request(request, timeout_ms=20_000)
                (row,) = answer.responses
                assert (row.resource_name, row.error_code != 0) == ("t", True)
            for each in BROKERS:
                link = await view.link(each)
                sought = FindCoordinatorRequest(key_type=0, coordinator_keys=["g"])
                found = await link.request(sought, timeout_ms=20_000)
                assert found.coordinators[0].error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
            for store in world.stores.values():
                store.heal()

    simulate(program)


def test_what_is_moved_is_told_without_a_controller() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        controller = world.image(1).controller_id
        asked = next(each for each in BROKERS if each != controller)
        world.network.cut(host_of(asked), host_of(controller))
        async with world.view() as view:
            await view.refresh([])
            link = await view.link(asked)
            moving = ListPartitionReassignmentsRequest(topics=None, timeout_ms=1_000)
            listed = await link.request(moving, timeout_ms=20_000)
            assert (listed.error_code, listed.topics) == (ErrorCode.NONE, [])
        world.network.heal(host_of(asked), host_of(controller))

    simulate(program)


def test_directories_of_another_cluster_are_refused() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        await world.stop(3)
        others = world.store.store
        world.store.store = type(others)(others._leases._clock, MemoryDatabase())
        await world.start(4)
        with pytest.raises(LogsError, match=r"cluster\.id"):
            await world.start(3)
        world.store.store = others
        for each in (3, 4):
            await world.stop(each)

    simulate(program)


def epoch_of(world: ClusterWorld, broker_id: int) -> int:
    cluster = world.brokers[broker_id].cluster
    assert cluster is not None
    return cluster.membership.epoch


@pytest.mark.parametrize("is_controller", [False, True])
def test_who_is_cut_from_the_store_is_taken_for_dead_and_comes_back_as_another(
    is_controller: bool,
) -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        controller = world.image(1).controller_id
        lost = controller if is_controller else next(b for b in BROKERS if b != controller)
        other = next(b for b in BROKERS if b not in (lost, controller))
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=3, replication_factor=1)
        before = epoch_of(world, lost)
        world.stores[lost].cut()
        await world.until(
            "nothing is led there any more, and another controls",
            lambda: (
                lost not in world.image(other).brokers
                and world.image(other).controller_id not in (NO_BROKER, lost)
                and all(s.leader != lost for s in world.image(other).topics["t"].partitions)
            ),
        )
        world.stores[lost].heal()
        await world.until(
            "it leads again, in a later epoch of its own and of the partition",
            lambda: (
                epoch_of(world, lost) > before
                and any(
                    state.leader == lost and state.leader_epoch == 2
                    for state in world.image(lost).topics["t"].partitions
                )
            ),
        )

    simulate(program)


def test_a_cut_shorter_than_the_lease_changes_nothing() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        before = [epoch_of(world, each) for each in BROKERS]
        world.stores[2].cut()
        await asyncio.sleep(2)
        world.stores[2].heal()
        await asyncio.sleep(20)
        assert [epoch_of(world, each) for each in BROKERS] == before

    simulate(program)


def test_what_a_controller_began_and_did_not_finish_is_swept_by_the_next() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        orphan = changes.partition_key(b"o" * 16, 0, PartitionImage(1, 0, 0, (1,), (1,)))
        await world.store.store.transact([], [orphan])
        await world.until("it is seen", lambda: world.image(1).unlisted)
        await world.stop(world.image(1).controller_id)
        left = next(iter(world.brokers))
        await world.until("it is swept", lambda: not world.image(left).unlisted)

    simulate(program)


async def send(view: ClusterView, first: int, count: int) -> None:
    below = Random(1).randrange
    async with Producer(view, idempotent=True, now_ms=lambda: START_MS, below=below) as producer:
        for number in range(first, first + count):
            await producer.send("t", b"%d" % number, partition=number % 2)


def logs_of(world: ClusterWorld) -> list[dict[int, bytes]]:
    """What each broker's logs of the topic hold, by partition."""
    return [
        {
            each.partition: bytes(each.log.read(0, 1 << 20).records)
            for each in broker.replicas.of_topic("t")
        }
        for broker in world.brokers.values()
    ]


def test_what_is_acknowledged_is_on_every_replica_and_survives_its_leader() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        configs = {"min.insync.replicas": "2"}
        async with world.view() as view:
            admin = Admin(view)
            await admin.create_topic("t", partitions=2, replication_factor=3, configs=configs)
            await send(view, 0, 40)
            first, *others = logs_of(world)
            assert len(first) == 2
            assert all(first.values())
            await world.until("all logs are the same", lambda: logs_of(world)[1:] == [first, first])
            leader = world.image(1).topics["t"].partitions[0].leader
            await world.stop(leader)
            left = next(iter(world.brokers))
            await world.until(
                "another leads",
                lambda: world.image(left).topics["t"].partitions[0].leader in world.brokers,
            )
            await send(view, 40, 40)
            # It has fetched everything before it may be in sync, and nothing more comes.
            world.store_delay_s = 2.0
            await world.start(leader)
            await world.until(
                "it is in sync again",
                lambda: all(
                    len(state.isr) == 3 for state in world.image(left).topics["t"].partitions
                ),
            )
            first, *others = logs_of(world)
            assert others == [first, first]
            ends = {each.log.log_end_offset for each in world.brokers[1].replicas.of_topic("t")}
            assert ends == {40}

    simulate(program)


@pytest.mark.parametrize("acks", [Acks.LEADER, Acks.ALL])
def test_a_leader_past_its_lease_acknowledges_nothing_by_itself(acks: Acks) -> None:
    """Cut from the store, not from its followers and clients, who go on to the next leader."""

    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=1, replication_factor=3)
            state = world.image(1).topics["t"].partitions[0]
        partition = next(iter(world.brokers[state.leader].replicas.of_topic("t")))
        world.stores[state.leader].cut()
        await asyncio.sleep(3)
        partition.check_acks(acks is Acks.ALL)
        await world.until("its lease is over", lambda: partition.is_limited)
        with nothing_raised() if acks is Acks.ALL else pytest.raises(ApiError):
            partition.check_acks(acks is Acks.ALL)
        world.stores[state.leader].heal()
        await world.until("it is sure again", lambda: not partition.is_limited)
        partition.check_acks(acks is Acks.ALL)

    simulate(program)


def test_what_was_in_a_failed_log_directory_is_led_by_others_where_there_are_any() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            admin = Admin(view)
            await admin.create_topic("alone", partitions=6, replication_factor=1)
            await admin.create_topic("t", partitions=6, replication_factor=3)
            for number in range(6):
                await send(view, number, 1)
            broker = world.brokers[2]
            (lost, left) = broker.logs.directories
            gone = {
                (partition.topic, partition.partition)
                for partition in broker.replicas
                if partition.log.directory is lost
            }
            led = [each.leader for each in world.image(1).topics["t"].partitions]
            assert any(("t", number) in gone and led[number] == 2 for number in range(6))
            lost.go_offline("for the test")
            await world.until(
                "others lead, and are in sync",
                lambda: all(
                    (2 in state.isr) == (("t", number) not in gone) and state.leader in state.isr
                    for number, state in enumerate(world.image(1).topics["t"].partitions)
                ),
                limit_s=5,
            )
            for number, state in enumerate(world.image(1).topics["alone"].partitions):
                if ("alone", number) in gone:
                    assert (state.leader, state.isr, state.elr) == (NO_BROKER, (), (2,))
            assert left.is_online
            for number in range(6):
                await send(view, number, 1)
            view.forget("t")
            told = (await view.topic("t")).partitions
            assert {each.partition for each in told if each.offline == (2,)} == {
                number for name, number in gone if name == "t"
            }
            await world.stop(2)
            await world.start(2)
            await world.until(
                "what nobody else had is led again, and all is in sync",
                lambda: all(
                    set(state.isr) == set(state.replicas) and not state.offline_replicas
                    for name in ("t", "alone")
                    for state in world.image(1).topics[name].partitions
                ),
                limit_s=10,
            )

    simulate(program, log_dirs="/data,/more")


def test_a_failed_log_directory_and_a_power_cut_elsewhere_lose_nothing() -> None:
    """Without fsync: who had it in the directory that failed has it all, and leads, when back."""

    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=2, replication_factor=3)
            await world.stop(1)
            await send(view, 0, 10)
            world.brokers[2].logs.directories[0].go_offline("for the test")
            await world.until(
                "3 is alone",
                lambda: all(s.isr == (3,) for s in world.image(3).topics["t"].partitions),
            )
            left = world.disks[3].left_by_the_dead()
            left.boot = "another"
            for name, file in left.files.items():
                if name.startswith("/data/t-"):
                    del file.data[:]
            await world.stop(3)
            await world.stop(2)
            world.disks[3] = left
            await world.start(3)
            await world.start(2)
            await world.start(1)
            await world.until(
                "all are in sync",
                lambda: all(set(s.isr) == {1, 2, 3} for s in world.image(3).topics["t"].partitions),
            )
        assert [len(each[0]) > 0 for each in logs_of(world)] == [True] * 3
        assert world.failures == ["every log directory is offline"]
        world.failures.clear()

    simulate(program, min_insync_replicas="2")


@pytest.mark.parametrize("boots", [True, False], ids=["boots anew", "goes on"])
def test_who_cannot_tell_what_its_failed_directory_lost_waits_for_who_has_it(boots: bool) -> None:
    """Offline when the broker stops, while the machine boots or is mended, and at the next start."""

    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=2, replication_factor=3)
            await world.stop(1)
            await send(view, 0, 10)
            lost = world.brokers[2].logs.directories[1]
            (number,) = (
                each.partition
                for each in world.brokers[2].replicas.of_topic("t")
                if each.log.directory is lost
            )

            def state() -> PartitionImage:
                return world.image(3).topics["t"].partitions[number]

            lost.go_offline("for the test")
            await world.until("3 is alone", lambda: state().isr == (3,))
            assert state().elr == state().offline_replicas == (2,)
            await world.stop(2)
            disk = world.disks[2]
            if boots:
                disk.boot = "another"
            for name, file in disk.files.items():
                if name.startswith(f"{lost.path}/t-"):
                    del file.data[:]
            with mock.patch.object(disk, "fault", partial(_fail_below, lost.path)):
                await world.start(2)
                await world.stop(2)
            await world.stop(3)
            await world.start(2)
            await asyncio.sleep(5)
            assert world.image(2).topics["t"].partitions[number].leader == NO_BROKER
            await world.start(3, 1)
            await world.until("all are in sync", lambda: set(state().isr) == {1, 2, 3})
        assert [len(each[number]) > 0 for each in logs_of(world)] == [True] * 3

    simulate(program, min_insync_replicas="2", log_dirs="/data,/more")


def test_a_log_directory_that_was_offline_and_never_came_back_is_missed() -> None:
    """Its broker does not begin anew what it had there: it was started without it in between."""

    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=2, replication_factor=3)
            await world.stop(1)
            await send(view, 0, 10)
            await world.stop(3)
            await world.until(
                "2 is alone",
                lambda: all(s.isr == (2,) for s in world.image(2).topics["t"].partitions),
            )
            lost = world.brokers[2].logs.directories[1]
            (number,) = (
                each.partition
                for each in world.brokers[2].replicas.of_topic("t")
                if each.log.directory is lost
            )
            lost.go_offline("for the test")
            await world.stop(2)
            with mock.patch.object(world.disks[2], "fault", partial(_fail_below, lost.path)):
                await world.start(2)
                await world.stop(2)
            with mock.patch.dict(world.settings, {"log.dirs": "/data"}):
                await world.start(2)
            await asyncio.sleep(5)
            state = world.image(2).topics["t"].partitions[number]
            assert (state.leader, state.isr, 2 in state.elr) == (NO_BROKER, (), False)
            await world.start(3)
            await world.until(
                "3 leads with what it has",
                lambda: world.image(3).topics["t"].partitions[number].leader == 3,
            )
        assert logs_of(world)[1][number]

    simulate(program, min_insync_replicas="2", log_dirs="/data,/more")


def test_who_was_eligible_is_not_elected_once_fewer_are_enough() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            admin = Admin(view)
            configs = {"min.insync.replicas": "2"}
            await admin.create_topic("t", partitions=2, replication_factor=3, configs=configs)
            await world.stop(2)
            await world.stop(3)
            states = world.image(1).topics["t"].partitions
            assert [(state.isr, len(state.elr)) for state in states] == [((1,), 1)] * 2
            change = ConfigChange(ConfigOperation.SET, "min.insync.replicas", "1")
            await admin.alter_configs(ResourceType.TOPIC, "t", [change])
            await send(view, 0, 10)
            await world.stop(1)
            await world.start(2, 3)
            await asyncio.sleep(5)
            states = world.image(2).topics["t"].partitions
            assert [(state.leader, state.elr) for state in states] == [(NO_BROKER, (1,))] * 2
            await world.start(1)
            await world.until(
                "all are in sync",
                lambda: all(len(s.isr) == 3 for s in world.image(1).topics["t"].partitions),
            )
        assert [[len(log) > 0 for log in each.values()] for each in logs_of(world)] == [
            [True, True]
        ] * 3

    simulate(program)


def _fail_below(root: str, operation: str, path: str, size: int) -> int | None:
    if path.startswith(root):
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)
    return None


def test_a_log_whose_replica_goes_while_its_broker_starts_is_dropped() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            admin = Admin(view)
            await admin.create_topic("t", partitions=3, replication_factor=3)
            await send(view, 0, 3)
            await world.stop(2)
            # Its logs are loaded at once, and it is registered two seconds later.
            world.store_delay_s = 2.0
            starting = asyncio.create_task(world.start(2))
            await asyncio.sleep(1)
            await admin.delete_topics(["t"])
            await starting
        assert [log.partition for log in world.brokers[2].logs if log.partition.topic == "t"] == []

    simulate(program)


def test_clients_are_told_of_brokers_also_when_the_leases_of_all_ran_out() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            await view.refresh([])
            link = await view.link(1)
            for store in world.stores.values():
                store.cut()
            await asyncio.sleep(10)
            # Who has heard that all are gone needs a second to come back.
            for store in world.stores.values():
                store.delay_s = 1.0
                store.heal()
            told = []
            while len(world.image(1).brokers) < 3 or not told:
                answer = await link.request(MetadataRequest(topics=[]), timeout_ms=5_000)
                if not world.image(1).brokers:
                    told.append(sorted(each.node_id for each in answer.brokers))
                await asyncio.sleep(0.05)
            assert told
            assert all(ids == [1, 2, 3] for ids in told)

    simulate(program)


async def produce_to(world: ClusterWorld, view: ClusterView, broker: int, sequence: int) -> int:
    """One batch of producer 1 to partition 0 of topic t, with acks=all; the error code."""
    link = await view.link(broker)
    records = batch(b"x", producer_id=1, producer_epoch=0, base_sequence=sequence)
    request = produce_request("t", records)
    request.topic_data[0].topic_id = world.image(broker).topics["t"].topic_id
    answer = await link.request(request, timeout_ms=30_000)
    code: int = answer.responses[0].partition_responses[0].error_code
    return code


def test_what_follows_a_batch_refused_for_want_of_replicas_is_not_out_of_order() -> None:
    """Sent one behind the other; a replica joins between the two."""

    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            configs = {"min.insync.replicas": "2", "retention.ms": "-1"}
            await Admin(view).create_topic("t", partitions=1, replication_factor=2, configs=configs)
            state = world.image(1).topics["t"].partitions[0]
            (follower,) = set(state.replicas) - {state.leader}
            await view.refresh(["t"])
            produce = partial(produce_to, world, view, state.leader)
            assert await produce(0) == 0
            await world.stop(follower)
            leader = world.brokers[state.leader]
            await world.until("it is alone", lambda: next(iter(leader.replicas)).is_limited)
            few = ErrorCode.NOT_ENOUGH_REPLICAS
            assert await produce(1) == few
            assert await produce(2) == few
            await world.start(follower)
            await world.until("it is not", lambda: not next(iter(leader.replicas)).is_limited)
            assert await produce(2) == few
            assert [await produce(1), await produce(2)] == [0, 0]

    simulate(program)


def test_what_follows_a_batch_that_came_before_the_election_is_not_out_of_order() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            configs = {"retention.ms": "-1"}
            await Admin(view).create_topic("t", partitions=1, replication_factor=2, configs=configs)
            state = world.image(1).topics["t"].partitions[0]
            (follower,) = set(state.replicas) - {state.leader}
            await view.refresh(["t"])
            assert await produce_to(world, view, state.leader, 0) == 0
            produce = partial(produce_to, world, view, follower)
            assert await produce(1) == ErrorCode.NOT_LEADER_OR_FOLLOWER
            await world.stop(state.leader)
            elected = next(iter(world.brokers[follower].replicas.of_topic("t")))
            await world.until("it leads", lambda: elected.is_leader)
            assert await produce(2) == ErrorCode.NOT_LEADER_OR_FOLLOWER
            assert [await produce(1), await produce(2)] == [0, 0]

    simulate(program)


def test_a_follower_its_leader_has_not_heard_of_yet_asks_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=3, replication_factor=3)
            controller = world.image(1).controller_id
            partition = next(
                each
                for broker in BROKERS
                for each in world.brokers[broker].replicas.of_topic("t")
                if each.is_leader and broker != controller
            )
            leadership = partition.leadership
            assert leadership is not None
            again = next(b for b in BROKERS if b not in (controller, leadership.me))
            before = epoch_of(world, again)
            known = leadership.followers[again]
            await world.until("it follows", lambda: known.broker_epoch == before)
            world.stores[leadership.me].cut()
            await world.store.connect().transact([], [], [changes.broker_name(again)])
            await world.until("it is another", lambda: epoch_of(world, again) > before, limit_s=2)
            await asyncio.sleep(1)
            assert known.broker_epoch == before
            world.stores[leadership.me].heal()
            await world.until(
                "it follows and is in sync",
                lambda: (
                    known.broker_epoch > before
                    and all(again in s.isr for s in world.image(again).topics["t"].partitions)
                ),
                limit_s=3,
            )

    with caplog.at_level("INFO", "ottla.replica"):
        simulate(program)
    assert not [each for each in caplog.records if "not copied" in each.getMessage()]
