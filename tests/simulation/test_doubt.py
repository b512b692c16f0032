"""A broker that finds itself wrong about its own state stops, and writes no doubt to disk."""

import asyncio
from typing import Any, NoReturn

import pytest
from tests.support.raw_client import ConnectionClosedError, RawClient
from tests.support.simulated_world import World, simulate
from tests.support.witness import PRODUCE_VERSION, batch, create_topic, produce_request

from ottla.broker import control
from ottla.replica.partition import Partition
from ottla.storage.checkpoints import CLEAN_SHUTDOWN


def wrong(*arguments: Any) -> NoReturn:
    raise AssertionError("an end below its start")


async def end_of(world: World, client: RawClient, request: Any, version: int) -> None:
    """Have the broker find it out while it serves `request`."""
    with pytest.raises(ConnectionClosedError):
        await client.call(request, version)
    assert world.failures == ["a check of the broker's own state failed: an end below its start"]


@pytest.mark.parametrize("name", ["append", "advance_high_watermark"])
def test_a_contradiction_in_a_produce_stops_the_broker(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async def life(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, "t") == 0
        other = await world.client()
        await other.call(produce_request("t", batch(b"kept")), PRODUCE_VERSION)
        with monkeypatch.context() as patched:
            patched.setattr(Partition, name, wrong)
            await end_of(world, client, produce_request("t", batch(b"lost")), PRODUCE_VERSION)
        # Nobody else is served any more, before the process ends either.
        asking: asyncio.Task[Any] = asyncio.create_task(
            other.call(produce_request("t", batch(b"later")), PRODUCE_VERSION)
        )
        await asyncio.sleep(1)
        assert not asking.done()
        await world.stop()
        with pytest.raises(ConnectionClosedError):
            await asking
        assert not world.disk.exists(f"/data/{CLEAN_SHUTDOWN}")

    async def next_life(world: World) -> None:
        await world.start()
        assert world.broker is not None
        assert not world.broker.logs.stopped_cleanly
        partition = world.broker.replicas.of_topic("t")[0]
        assert partition.log.log_end_offset == (1 if name == "append" else 2)
        client = await world.client()
        await client.call(produce_request("t", batch(b"again")), PRODUCE_VERSION)
        await world.stop()

    simulate(life, next_life, seed=1)


def test_a_contradiction_in_a_change_of_topics_stops_the_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def life(world: World) -> None:
        await world.start()
        client = await world.client()
        with monkeypatch.context() as patched:
            patched.setattr(control, "merge", wrong)
            with pytest.raises(ConnectionClosedError):
                await create_topic(client, "t")
        assert len(world.failures) == 1
        await world.stop()
        assert not world.disk.exists(f"/data/{CLEAN_SHUTDOWN}")

    simulate(life, seed=2)


def test_a_contradiction_in_upkeep_stops_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    async def life(world: World) -> None:
        await world.start()
        assert world.broker is not None
        with monkeypatch.context() as patched:
            patched.setattr(world.broker.logs, "removal_jobs", wrong)
            world.clock.advance(2_000)
        assert len(world.failures) == 1
        await world.stop()
        assert not world.disk.exists(f"/data/{CLEAN_SHUTDOWN}")

    simulate(life, seed=3)
