"""Where a log starts after its broker was killed: where the last checkpoint says."""

import asyncio

import pytest
from tests.support.simulated_world import World, simulate
from tests.support.witness import PRODUCE_VERSION, batch, create_topic, produce_request

from ottla.wire.generated.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)

TOPIC = "t"
MINUTE_MS = 60_000


def log_start(world: World) -> int:
    assert world.broker is not None
    (partition,) = world.broker.replicas.of_topic(TOPIC)
    start: int = partition.log.log_start_offset
    return start


@pytest.mark.parametrize(
    ("interval_ms", "waited_ms", "starts_at"),
    [
        (MINUTE_MS, MINUTE_MS - 5_000, 0),
        (MINUTE_MS, MINUTE_MS + 5_000, 5),
        (2_000, 5_000, 5),
    ],
)
def test_a_deletion_lasts_from_the_next_checkpoint_on(
    interval_ms: int, waited_ms: int, starts_at: int
) -> None:
    async def life(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, TOPIC) == 0
        await client.call(produce_request(TOPIC, batch(*[b"v"] * 10)), PRODUCE_VERSION)
        row = DeleteRecordsPartition(partition_index=0, offset=5)
        topic = DeleteRecordsTopic(name=TOPIC, partitions=[row])
        answer = await client.call(DeleteRecordsRequest(topics=[topic], timeout_ms=1_000), 2)
        assert answer.topics[0].partitions[0].low_watermark == 5
        world.clock.advance(waited_ms)
        await asyncio.sleep(1)  # until the jobs are done

    async def next_life(world: World) -> None:
        await world.start()
        assert log_start(world) == starts_at
        await world.stop()

    simulate(
        life,
        next_life,
        seed=1,
        log_flush_start_offset_checkpoint_interval_ms=str(interval_ms),
    )
