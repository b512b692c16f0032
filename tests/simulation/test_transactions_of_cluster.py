"""Transactions over partitions that several brokers lead, on virtual time."""

import asyncio
from typing import Any

import pytest
from tests.simulation.test_cluster import BROKERS, three
from tests.support.cluster_world import ClusterWorld, simulate

from ottla.client.admin import Admin
from ottla.client.cluster_view import ClusterView
from ottla.coordinator.routing import partition_for
from ottla.net.peer import Link
from ottla.wire.generated.add_partitions_to_txn import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnTopic,
)
from ottla.wire.generated.end_txn import EndTxnRequest
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest
from ottla.wire.generated.init_producer_id import InitProducerIdRequest

PARTITIONS = 6


async def ask(link: Link, request: Any, version: int) -> Any:
    return await link.request(request, timeout_ms=30_000, version=version)


async def id_coordinated_by(world: ClusterWorld, view: ClusterView, broker_id: int) -> str:
    """A transactional id whose coordinator is that broker."""
    await view.refresh([])
    link = await view.link(1)
    await ask(link, FindCoordinatorRequest(key_type=1, key="first"), 2)
    await world.until(
        "the coordinators' topic is known",
        lambda: all("__transaction_state" in world.image(each).topics for each in BROKERS),
    )
    states = world.image(1).topics["__transaction_state"].partitions
    names = (f"id{number}" for number in range(100))
    return next(n for n in names if states[partition_for(n, len(states))].leader == broker_id)


async def begin(link: Link, transactional_id: str) -> tuple[int, int]:
    """Open a transaction in every partition of the topic; who its producer is."""
    init = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=60_000)
    producer = await ask(link, init, 4)
    while producer.error_code:
        producer = await ask(link, init, 4)
    topic = AddPartitionsToTxnTopic(name="t", partitions=list(range(PARTITIONS)))
    added = await ask(
        link,
        AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=transactional_id,
            v3_and_below_producer_id=producer.producer_id,
            v3_and_below_producer_epoch=producer.producer_epoch,
            v3_and_below_topics=[topic],
        ),
        3,
    )
    (row,) = added.results_by_topic_v3_and_below
    assert {each.partition_error_code for each in row.results_by_partition} == {0}
    return producer.producer_id, producer.producer_epoch


async def end(link: Link, transactional_id: str, producer: tuple[int, int]) -> None:
    request = EndTxnRequest(
        transactional_id=transactional_id,
        producer_id=producer[0],
        producer_epoch=producer[1],
        committed=True,
    )
    answer = await ask(link, request, 3)
    assert answer.error_code == 0


def ends(world: ClusterWorld) -> list[int]:
    return [
        each.log.log_end_offset
        for broker in world.brokers.values()
        for each in broker.replicas.of_topic("t")
    ]


def state_of(world: ClusterWorld, broker_id: int, transactional_id: str) -> str:
    transactions = world.brokers[broker_id].transactions
    shard = transactions._runtime.peek(transactions.partition_for(transactional_id))
    return shard.transactions[transactional_id].state.label if shard is not None else "not here"


@pytest.mark.parametrize("coordinator", BROKERS)
def test_a_transaction_ends_in_the_partitions_of_all_brokers(coordinator: int) -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=PARTITIONS, replication_factor=1)
            name = await id_coordinated_by(world, view, coordinator)
            link = await view.link(coordinator)
            await end(link, name, await begin(link, name))
            await world.until(
                "it is complete",
                lambda: state_of(world, coordinator, name) == "CompleteCommit",
            )
        assert ends(world) == [1] * PARTITIONS

    simulate(program, transaction_state_log_replication_factor="1")


def test_a_marker_waits_for_the_broker_that_leads_its_partition() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=PARTITIONS, replication_factor=1)
            name = await id_coordinated_by(world, view, 1)
            link = await view.link(1)
            producer = await begin(link, name)
            await world.stop(3)
            await end(link, name, producer)
            await world.until("the others have theirs", lambda: min(ends(world)) > 0)
            await asyncio.sleep(20)
            assert state_of(world, 1, name) == "PrepareCommit"
            assert ends(world) == [1] * 4, "markers again while another broker is away"
            await world.start(3)
            await world.until(
                "it is complete", lambda: state_of(world, 1, name) == "CompleteCommit"
            )
        assert ends(world) == [1] * PARTITIONS

    simulate(program, transaction_state_log_replication_factor="1")
