"""Two brokers that follow each other, in data and in the state of transactions, on virtual time.

Each waits for the other in everything it acknowledges: what one holds back, a marker or a fetch
behind a long poll, both would wait for.
"""

import asyncio
from random import Random

from tests.support.cluster_world import ClusterWorld, simulate

from ottla.client.admin import Admin
from ottla.client.transactional_producer import TransactionalProducer
from ottla.model.ids import TopicPartition
from ottla.testing.clock import START_MS

TRANSACTIONS = 40
LONGEST_S = 0.25
"""Half of `replica.fetch.wait.max.ms`: nothing waits for a follower's poll to end by itself."""


async def copy(world: ClusterWorld, name: str) -> list[float]:
    """Transactions into every partition and a group's offsets; how long each took."""
    loop = asyncio.get_running_loop()
    took = []
    async with (
        world.view() as view,
        TransactionalProducer(
            view, name, now_ms=lambda: START_MS, below=Random(name).randrange
        ) as producer,
    ):
        await producer.init()
        for number in range(TRANSACTIONS):
            began = loop.time()
            async with producer.transaction():
                for partition in range(4):
                    await producer.send("t", b"%d" % number, partition=partition)
                await producer.send_offsets(name, {TopicPartition("t", 0): number})
            took.append(loop.time() - began)
    return took


def test_transactions_never_stall() -> None:
    async def program(world: ClusterWorld) -> None:
        await world.begin(1, 2)
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=4, replication_factor=2)
        took = await asyncio.gather(*(copy(world, f"copier-{n}") for n in range(6)))
        image = world.image(1)
        for topic in ("t", "__transaction_state", "__consumer_offsets"):
            partitions = image.topics[topic].partitions
            assert {each.leader for each in partitions} == {1, 2}
            assert all(set(each.isr) == {1, 2} for each in partitions)
        assert max(time for each in took for time in each[1:]) < LONGEST_S

    simulate(program, min_insync_replicas="2", transaction_state_log_min_isr="2")
