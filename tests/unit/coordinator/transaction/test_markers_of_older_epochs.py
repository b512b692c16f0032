"""Markers that an older epoch of the coordinator asked for."""

import asyncio

from tests.support.log_port import MemoryPort
from tests.unit.coordinator.transaction.test_coordinator import P0, TXN, World, run

from ottla.coordinator.transaction.markers import Written


def test_what_an_older_epoch_was_told_does_not_end_the_newer_ones_tries() -> None:
    async def life(world: World) -> None:
        producer = await world.opened(P0)
        await world.coordinator.end(TXN, producer, True, 0)
        assert len(world.markers.asked) == 1  # under way, epoch 4
        world.coordinator.unload(0)
        # Another coordinates meanwhile (epoch 5), and reaches the partition's leader; then we do.
        port = MemoryPort(leader_epoch=6)
        port.batches, port.end, port.high_watermark = (
            world.port.batches,
            world.port.end,
            world.port.high_watermark,
        )
        world.port = port
        await world.load()
        assert await world.state() == "PrepareCommit"
        world.markers.done(Written.NEVER)  # the old epoch's markers are fenced
        for _ in range(20):
            world.clock.advance(1_000)
            await asyncio.sleep(0)
        assert [epoch for _, epoch in world.markers.asked] == [4, 6]

    run(life)
