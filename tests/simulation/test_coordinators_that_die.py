"""Groups and transactions go on when their coordinator dies, on virtual time."""

import asyncio

import pytest
from tests.simulation.test_cluster import BROKERS, three
from tests.simulation.test_transactional_writes_of_cluster import (
    PARTITIONS,
    a_producer,
    committed_values,
)
from tests.support.cluster_world import ClusterWorld, simulate

from ottla.client.admin import Admin
from ottla.client.cluster_view import ClusterView, check
from ottla.client.transactional_producer import TransactionalProducer
from ottla.model.ids import BrokerId, TopicPartition
from ottla.model.isolation import CoordinatorType
from ottla.wire.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from ottla.wire.generated.offset_fetch import OffsetFetchRequest, OffsetFetchRequestTopic

INTERNAL = ("__consumer_offsets", "__transaction_state")


async def commit(view: ClusterView, group: str, offset: int) -> None:
    part = OffsetCommitRequestPartition(partition_index=1, committed_offset=offset)
    request = OffsetCommitRequest(
        group_id=group, topics=[OffsetCommitRequestTopic(name="t", partitions=[part])]
    )

    async def attempt() -> None:
        link = await view.link(await view.coordinator(group))
        answer = await link.request(request, timeout_ms=10_000, version=8)
        code = answer.topics[0].partitions[0].error_code

        check(code)

    await view.ask(attempt)


async def offsets_of(view: ClusterView, group: str) -> list[int]:
    topic = OffsetFetchRequestTopic(name="t", partition_indexes=[0, 1])
    request = OffsetFetchRequest(group_id=group, topics=[topic], require_stable=True)

    async def attempt() -> list[int]:
        link = await view.link(await view.coordinator(group))
        answer = await link.request(request, timeout_ms=10_000, version=7)

        check(answer.error_code)
        rows = answer.topics[0].partitions
        for row in rows:
            check(row.error_code)
        return [row.committed_offset for row in sorted(rows, key=lambda row: row.partition_index)]

    return await view.ask(attempt)


async def write(producer: TransactionalProducer, transaction: int, group: str) -> None:
    for number in range(PARTITIONS):
        await producer.send("t", b"%d-%d" % (transaction, number), partition=number)
    await producer.send_offsets(group, {TopicPartition("t", 0): transaction})
    await producer.flush()


def replicated(world: ClusterWorld, broker_id: BrokerId) -> bool:
    topics = world.image(broker_id).topics
    return all(
        name in topics and all(len(each.isr) == 3 for each in topics[name].partitions)
        for name in (*INTERNAL, "t")
    )


@pytest.mark.parametrize("kind", [CoordinatorType.TRANSACTION, CoordinatorType.GROUP])
@pytest.mark.parametrize("comes_back", [True, False])
def test_what_its_coordinator_knew_somebody_else_knows_when_it_is_gone(
    kind: CoordinatorType, comes_back: bool
) -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=PARTITIONS, replication_factor=3)
            producer = a_producer(view, "p")
            await producer.init()
            await commit(view, "g", 7)
            producer.begin()
            await write(producer, 0, "g")
            await producer.commit()
            await world.until("all is replicated", lambda: replicated(world, 1))
            producer.begin()
            await write(producer, 1, "g")
            victim = await view.coordinator(
                "p" if kind is CoordinatorType.TRANSACTION else "g", kind
            )
            await world.stop(victim)
            await producer.commit()
            if comes_back:
                await world.start(victim)
            producer.begin()
            await write(producer, 2, "g")
            await producer.commit()
            values = await committed_values(view, 3 * PARTITIONS)
            assert values == sorted(f"{t}-{n}" for t in range(3) for n in range(PARTITIONS))
            assert await offsets_of(view, "g") == [2, 7]

    simulate(program)


def test_a_coordinator_that_lost_the_cluster_is_followed_by_another() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=PARTITIONS, replication_factor=3)
            producer = a_producer(view, "p")
            await producer.init()
            producer.begin()
            await write(producer, 0, "g")
            await producer.commit()
            await world.until("all is replicated", lambda: replicated(world, 1))
            producer.begin()
            await write(producer, 1, "g")
            victim = await view.coordinator("p", CoordinatorType.TRANSACTION)
            world.stores[victim].cut()
            committing = asyncio.create_task(producer.commit())
            await world.until(
                "another coordinates",
                lambda: all(
                    each.leader != victim
                    for other in set(BROKERS) - {victim}
                    for each in world.image(other).topics["__transaction_state"].partitions
                ),
            )
            world.stores[victim].heal()
            await committing
            producer.begin()
            await write(producer, 2, "g")
            await producer.commit()
            assert len(await committed_values(view, 3 * PARTITIONS)) == 3 * PARTITIONS
            assert (await offsets_of(view, "g"))[0] == 2

    simulate(program)
