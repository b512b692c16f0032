"""A move of replicas that takes as long as its throttle says, on virtual time."""

import asyncio
from random import Random

import pytest
from tests.simulation.test_cluster import BROKERS, three
from tests.simulation.test_operations import ask, moved, state
from tests.support.cluster_world import ClusterWorld, simulate

from ottla.client.admin import Admin, ConfigChange, ConfigOperation
from ottla.client.producer import Producer
from ottla.model.isolation import ResourceType
from ottla.testing.clock import START_MS

BYTES_PER_S = 50_000
RECORDS = 50
RECORD = bytes(10_000)
WHOLE_S = RECORDS * len(RECORD) / BYTES_PER_S
ONE_FETCH = 20_000
LEADERS, FOLLOWERS = "leader", "follower"


async def throttle(admin: Admin, world: ClusterWorld, side: str, topics: tuple[str, ...]) -> None:
    for topic in topics:
        name = f"{side}.replication.throttled.replicas"
        change = ConfigChange(ConfigOperation.SET, name, "*")
        await admin.alter_configs(ResourceType.TOPIC, topic, [change])
    for broker in world.brokers:
        name = f"{side}.replication.throttled.rate"
        change = ConfigChange(ConfigOperation.SET, name, str(BYTES_PER_S))
        await admin.alter_configs(ResourceType.BROKER, str(broker), [change])


@pytest.mark.parametrize("side", [LEADERS, FOLLOWERS])
def test_a_move_takes_its_time_and_who_is_in_sync_is_not_held_up(side: str) -> None:
    async def program(world: ClusterWorld) -> None:
        loop = asyncio.get_running_loop()
        await three(world)
        async with world.view() as view:
            admin = Admin(view)
            await admin.create_topic("t", partitions=1, replication_factor=1)
            await admin.create_topic("all", partitions=3, replication_factor=3)
            await view.refresh(["t", "all"])
            async with Producer(
                view, now_ms=lambda: START_MS, below=Random(1).randrange
            ) as producer:
                for _ in range(RECORDS):
                    await (await producer.send("t", RECORD))
                await throttle(admin, world, side, ("t", "all"))
                (before,) = state(world).replicas
                after = before % 3 + 1
                same = next(n for n in BROKERS if state(world, n - 1, "all").leader == before) - 1
                begun = loop.time()
                await ask(world, before, moved([after]))
                slowest = 0.0
                while state(world).replicas != (after,):
                    sent = loop.time()
                    assert sent < begun + 3 * WHOLE_S, "it does not come to an end"
                    await (await producer.send("all", b"x", partition=same))
                    slowest = max(slowest, loop.time() - sent)
                    await asyncio.sleep(0.1)
        took = loop.time() - begun
        # What comes in the last fetch need not be waited for, and who was held back looks late.
        early, late = ONE_FETCH / BYTES_PER_S, 2.0
        assert WHOLE_S - early <= took <= WHOLE_S + late
        assert slowest < 0.1

    simulate(program, replica_fetch_max_bytes=str(ONE_FETCH))


def test_without_a_rate_a_move_takes_no_time() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            admin = Admin(view)
            await admin.create_topic("t", partitions=1, replication_factor=1)
            async with Producer(
                view, now_ms=lambda: START_MS, below=Random(1).randrange
            ) as producer:
                for _ in range(RECORDS):
                    await (await producer.send("t", RECORD))
        (before,) = state(world).replicas
        await ask(world, before, moved([before % 3 + 1]))
        await world.until("it is moved", lambda: state(world).replicas != (before,), 2)
        await world.until(
            "it is over", lambda: state(world).replicas == (before % 3 + 1,), limit_s=2
        )

    simulate(program, replica_fetch_max_bytes=str(ONE_FETCH))
