"""A directory that may hold no more: produce is refused, reads go on, and it heals."""

import asyncio

from tests.simulation.test_directories import produce
from tests.simulation.test_disk_errors import described_space, values
from tests.support.simulated_world import World, simulate
from tests.support.witness import create_topic

from ottla.broker.broker import TEND_LOGS_MS
from ottla.model.errors import ErrorCode
from ottla.wire.generated.delete_topics import DeleteTopicsRequest, DeleteTopicState

LIMIT = 2_000
FOR_EVER = {"retention.ms": "-1"}


async def tend(world: World) -> None:
    """Let the upkeep of a second happen, and its jobs end."""
    world.clock.advance(TEND_LOGS_MS)
    await asyncio.sleep(0.1)


def test_what_may_not_be_deleted_is_not_and_nothing_is_added_to_it() -> None:
    async def fill(world: World) -> None:
        await world.start()
        client = await world.client()
        for topic in ("rides", "others"):
            assert await create_topic(client, topic, **FOR_EVER) == 0
        assert await produce(client, "others", b"x" * 300) == 0
        written = 0
        while (offset := await produce(client, "rides", b"x" * 200)) >= 0:
            assert written < LIMIT // 200
            assert offset == written
            written += 1
            await tend(world)
        assert offset == -ErrorCode.KAFKA_STORAGE_ERROR
        assert written > 3
        assert await values(client, "rides") == [b"x" * 200] * written
        assert await produce(client, "others", b"x" * 200) == -ErrorCode.KAFKA_STORAGE_ERROR
        total, usable = await described_space(client)
        assert total == LIMIT
        assert 0 <= usable < 300
        await client.call(
            DeleteTopicsRequest(topics=[DeleteTopicState(name="rides")], timeout_ms=1000), 6
        )
        for _ in range(3):
            await tend(world)
        assert await produce(client, "others", b"x" * 200) == 1
        await world.stop()

    simulate(fill, seed=1, **{"log.dir.max.bytes": str(LIMIT)})


def test_a_start_knows_at_once_that_there_is_no_room() -> None:
    async def fill(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, "rides", **FOR_EVER) == 0
        for _ in range(LIMIT // 200):
            await produce(client, "rides", b"x" * 200)
        await world.stop()

    async def again(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await produce(client, "rides", b"x" * 200) == -ErrorCode.KAFKA_STORAGE_ERROR
        assert len(await values(client, "rides")) > 3
        await world.stop()

    simulate(fill, again, seed=1, **{"log.dir.max.bytes": str(LIMIT)})
