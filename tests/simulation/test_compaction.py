"""Compaction inside a whole broker: beside writers and readers, through deaths at any moment."""

import asyncio
from random import Random

import pytest
from tests.support.raw_client import RawClient
from tests.support.simulated_world import Death, World, simulate
from tests.support.witness import (
    FETCH_VERSION,
    PRODUCE_VERSION,
    create_topic,
    fetch_request,
    produce_request,
)

from ottla.record.batch import batches
from ottla.record.builder import build_batch
from ottla.record.records import Record, read_records

TOPIC = "states"
KEYS = 5
COMPACTED = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.01",
    "segment.ms": "2000",
    "delete.retention.ms": "5000",
}

Written = dict[int, tuple[bytes, bytes | None]]


async def produce(client: RawClient, key: bytes, value: bytes | None, now_ms: int) -> int:
    batch = build_batch([Record(timestamp=now_ms, key=key, value=value)])
    response = await client.call(produce_request(TOPIC, batch), PRODUCE_VERSION)
    (answer,) = response.responses[0].partition_responses
    assert answer.error_code == 0, answer
    offset: int = answer.base_offset
    return offset


async def read_all(client: RawClient) -> Written:
    """Every record there is, as a consumer reads them: skipping what lies before its offset."""
    found: Written = {}
    offset = 0
    while True:
        response = await client.call(
            fetch_request(TOPIC, offset, max_wait_ms=100, min_bytes=1), FETCH_VERSION
        )
        (data,) = response.responses[0].partitions
        assert data.error_code == 0, data
        records = memoryview(data.records or b"")
        for header in batches(records):
            for record in read_records(records[header.position : header.end_position]):
                if record.offset >= offset:
                    found[record.offset] = record.key or b"", record.value
            offset = header.next_offset
        if offset >= data.high_watermark:
            return found


def state(written: Written) -> dict[bytes, bytes]:
    """What somebody who applies the records one by one ends up with."""
    found: dict[bytes, bytes] = {}
    for _, (key, value) in sorted(written.items()):
        if value is None:
            found.pop(key, None)
        else:
            found[key] = value
    return found


async def write(world: World, client: RawClient, written: Written, count: int) -> None:
    """Write, while time passes; compaction goes on beside it."""
    choose = Random(world.seed)
    for _ in range(count):
        key = b"key %d" % choose.randrange(KEYS)
        value = None if choose.random() < 0.2 else b"%d" % choose.randrange(10**9)
        offset = await produce(client, key, value, world.clock.now_ms())
        written[offset] = key, value
        world.clock.advance(choose.choice([0, 300, 1_100]))
        if choose.random() < 0.3:
            await asyncio.sleep(choose.random() / 50)


async def settle(world: World) -> None:
    for _ in range(20):
        world.clock.advance(1_000)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("death", list(Death))
@pytest.mark.parametrize("seed", range(6))
def test_the_state_is_that_of_all_that_was_written(seed: int, death: Death) -> None:
    written: Written = {}

    async def first(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, TOPIC, **COMPACTED) == 0
        reader = await world.client()
        for _ in range(3):
            await write(world, client, written, 40)
            assert state(await read_all(reader)) == state(written)
        # Dies in the middle of something.
        await write(world, client, written, seed * 5)

    async def second(world: World) -> None:
        await world.start()
        await asyncio.sleep(1)
        client = await world.client()
        found = await read_all(client)
        assert state(found) == state(written)
        assert found.items() <= written.items()
        await write(world, client, written, 20)
        await settle(world)
        # The last record begins a segment, so that all before it are closed.
        written[await produce(client, b"end", b"", world.clock.now_ms())] = b"end", b""
        await settle(world)
        found = await read_all(client)
        assert state(found) == state(written)
        assert len(found) <= 2 * KEYS + 2
        await world.stop()

    settings = {"log_cleaner_backoff_ms": "500"}
    if death is Death.POWER:
        settings["log_flush_interval_messages"] = "1"
    trace = simulate(first, second, seed=seed, death=death, **settings)
    assert any("is compacted up to" in line for line in trace)
    assert not any("ERROR" in line for line in trace)


def test_it_repeats_itself() -> None:
    async def life(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, TOPIC, **COMPACTED) == 0
        await write(world, client, {}, 60)
        await world.stop()

    one = simulate(life, seed=3, log_cleaner_backoff_ms="500")
    assert one == simulate(life, seed=3, log_cleaner_backoff_ms="500")
    assert any("is compacted up to" in line for line in one)


def test_it_can_be_switched_off() -> None:
    async def life(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, TOPIC, **COMPACTED) == 0
        await write(world, client, {}, 60)
        await settle(world)
        await world.stop()

    trace = simulate(life, seed=3, log_cleaner_backoff_ms="500", log_cleaner_enable="false")
    assert not any("is compacted up to" in line for line in trace)


def test_a_topic_deleted_meanwhile_is_no_failure() -> None:
    from ottla.wire.generated.delete_topics import DeleteTopicsRequest

    async def life(world: World) -> None:
        await world.start()
        client = await world.client()
        for _ in range(4):
            while await create_topic(client, TOPIC, **COMPACTED) != 0:
                await asyncio.sleep(0.01)
            await write(world, client, {}, 40)
            await client.call(DeleteTopicsRequest(topic_names=[TOPIC], timeout_ms=1_000), 5)
        await settle(world)
        await world.stop()

    trace = simulate(life, seed=5, log_cleaner_backoff_ms="100")
    assert any("is compacted up to" in line for line in trace)
    assert not any("ERROR" in line or "compaction failed" in line for line in trace)
