"""Share groups over several brokers on virtual time: leaders here, the state there, the group elsewhere."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
from tests.simulation.test_cluster import BROKERS, three
from tests.support.cluster_world import ClusterWorld, simulate

from ottla.client.admin import Admin, ConfigChange, ConfigOperation
from ottla.client.cluster_view import ClusterView
from ottla.client.producer import Producer
from ottla.client.share_member import Ack, Delivery, Place, ShareMember
from ottla.client.share_offsets import alter_share_offsets, forget_share_topics, share_offsets
from ottla.model.errors import ApiError, PeerError
from ottla.model.ids import TopicPartition
from ottla.model.isolation import Acks, ResourceType
from ottla.model.names import SHARE_GROUP_STATE
from ottla.testing.clock import START_MS

PARTITIONS = 6
EACH = 4
SETTINGS = {
    "share_coordinator_state_topic_num_partitions": "6",
    "share_coordinator_state_topic_replication_factor": "3",
    "share_coordinator_state_topic_min_isr": "2",
    "offsets_topic_replication_factor": "3",
}

Program = Callable[[ClusterWorld, ClusterView], Awaitable[None]]


def play(program: Program, **settings: str) -> None:
    """Three brokers, a topic that all of them lead, and a group that begins with its first record."""

    async def whole(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            admin = Admin(view)
            await admin.create_topic("t", partitions=PARTITIONS, replication_factor=3)
            await earliest(view, "g")
            await produce(view)
            await program(world, view)

    simulate(whole, **{**SETTINGS, **settings})


async def earliest(view: ClusterView, group: str) -> None:
    change = ConfigChange(ConfigOperation.SET, "share.auto.offset.reset", "earliest")
    await Admin(view).alter_configs(ResourceType.GROUP, group, [change])


async def produce(view: ClusterView) -> None:
    async with Producer(
        view, acks=Acks.ALL, now_ms=lambda: START_MS, below=Random(1).randrange
    ) as producer:
        for number in range(PARTITIONS * EACH):
            await producer.send("t", b"%d" % number, partition=number % PARTITIONS)


ALL = {
    Place(TopicPartition("t", number), offset)
    for number in range(PARTITIONS)
    for offset in range(EACH)
}


def member(view: ClusterView, name: bytes = b"m") -> ShareMember:
    return ShareMember(view, "g", ["t"], new_id=lambda: name.ljust(16, b"_"))


async def take(one: ShareMember, wanted: set[Place], ack: Ack = Ack.ACCEPT) -> list[Delivery]:
    """Have all that is wanted, and say of each what became of it until that is heard."""
    taken: list[Delivery] = []
    done: set[Place] = set()
    async with asyncio.timeout(120):
        while not wanted <= done:
            found = [each for each in await one.fetch(500) if each.place in wanted]
            taken += found
            verdicts = await said(one, {each.place: ack for each in found})
            done |= {each.place for each in found if verdicts[each.place.partition] is None}
    return taken


async def said(one: ShareMember, acks: dict[Place, Ack]) -> dict[TopicPartition, Any]:
    """What was answered; where nothing was, that."""
    try:
        return await one.acknowledge(acks)
    except (ApiError, PeerError) as error:
        return {place.partition: error for place in acks}


def state_leaders(world: ClusterWorld) -> set[int]:
    partitions = world.image(1).topics[SHARE_GROUP_STATE].partitions
    return {each.leader for each in partitions}


def test_what_was_acknowledged_at_any_leader_stays_so() -> None:
    async def program(world: ClusterWorld, view: ClusterView) -> None:
        async with member(view) as one:
            await take(one, ALL)
        assert state_leaders(world) == set(BROKERS)
        assert {each.leader for each in world.image(1).topics["t"].partitions} == set(BROKERS)
        found = await share_offsets(view, "g")
        assert found == {TopicPartition("t", n): (EACH, 0) for n in range(PARTITIONS)}
        async with member(view, b"n") as one:
            assert not await one.fetch(2_000)

    play(program)


@pytest.mark.parametrize("seed", range(3))
def test_a_leader_goes_and_nothing_is_delivered_again(seed: int) -> None:
    async def program(world: ClusterWorld, view: ClusterView) -> None:
        first = {place for place in ALL if place.offset < 2}
        async with member(view) as one:
            await take(one, first)
            gone = BROKERS[seed]
            await world.stop(gone)
            rest = await take(one, ALL - first)
            assert not {each.place for each in rest} & first
            await world.start(gone)
            await produce(view)
            later = {Place(each.partition, each.offset + EACH) for each in ALL}
            again = await take(one, later)
            assert not {each.place for each in again} & ALL

    play(program)


def test_delivery_counts_go_along_to_the_next_leader() -> None:
    async def program(world: ClusterWorld, view: ClusterView) -> None:
        async with member(view) as one:
            counts = {e.place: e.delivery_count for e in await take(one, ALL, Ack.RELEASE)}
        for broker in BROKERS:
            await world.stop(broker)
            await world.start(broker)
        async with member(view) as one:
            for each in await take(one, ALL):
                assert each.delivery_count == counts[each.place] + 1

    play(program)


def test_offsets_are_altered_and_forgotten_wherever_the_state_is() -> None:
    async def program(world: ClusterWorld, view: ClusterView) -> None:
        async with member(view) as one:
            await take(one, ALL)
        await alter_share_offsets(view, "g", {TopicPartition("t", n): 1 for n in range(PARTITIONS)})
        found = await share_offsets(view, "g")
        assert found == {TopicPartition("t", n): (1, EACH - 1) for n in range(PARTITIONS)}
        async with member(view, b"n") as one:  # no leader goes on from what it had
            again = await take(one, {place for place in ALL if place.offset >= 1})
            assert all(each.place.offset >= 1 for each in again)
        await forget_share_topics(view, "g", ["t"])
        assert await share_offsets(view, "g") == {}
        async with member(view, b"o") as one:
            await take(one, ALL)

    play(program)


def test_a_coordinator_that_is_cut_off_is_waited_for() -> None:
    """It is replaced when its session is over; until then what is acknowledged is not lost."""

    async def program(world: ClusterWorld, view: ClusterView) -> None:
        async with member(view) as one:
            await take(one, {place for place in ALL if place.offset < 1})
            for broker in BROKERS:
                world.stores[broker].delay_s = 0.2
            held = await one.fetch(500)
            stopping = asyncio.create_task(world.stop(2))
            verdicts: dict[Any, Any] = {}
            for each in held:
                verdicts |= await said(one, {each.place: Ack.ACCEPT})
            await stopping
            accepted = {e.place for e in held if verdicts[e.place.partition] is None}
            done = {place for place in ALL if place.offset < 1}
            rest = await take(one, ALL - done - accepted)
            assert not {each.place for each in rest} & done

    play(program)
