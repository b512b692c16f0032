"""A broker stops in the midst of its clients."""

import asyncio

import pytest
from tests.support.raw_client import ConnectionClosedError
from tests.support.simulated_world import World, simulate

from ottla.wire.generated.metadata import MetadataRequest


def test_a_request_that_comes_while_the_broker_stops_does_not_hold_it_up() -> None:
    async def life(world: World) -> None:
        await world.start()
        assert world.broker is not None
        client = await world.client()
        await client.call(MetadataRequest(topics=None), 9)
        # As `Broker.stop` does before it waits for the requests under way.
        world.broker.connections.drain()
        asking = asyncio.create_task(client.call(MetadataRequest(topics=None), 9))
        await asyncio.sleep(1)
        assert not asking.done()
        with pytest.raises(ConnectionClosedError):
            await (await world.client()).call(MetadataRequest(topics=None), 9)
        await world.stop()
        with pytest.raises(ConnectionClosedError):
            await asking

    simulate(life, seed=1)
