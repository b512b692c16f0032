"""The world of a simulation: what its faults leave does not stay when all is healed."""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from tools.simulation.history import History
from tools.simulation.life import clear, remembering
from tools.simulation.run import Shape
from tools.simulation.world import NODE, TOPIC, World

from ottla.testing.loop import VirtualLoop


def live(program: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        shape = replace(Shape.of(1), durable=True, partitions=2, cold=0.0)
        world = World(1, shape, History(), lambda line: None)
        assert await world.start()
        await program(world)

    loop = VirtualLoop(1)
    tasks: list[asyncio.Task[Any]] = []
    loop.set_task_factory(remembering(tasks))
    try:
        loop.run_until_complete(main())
    finally:
        clear(loop, tasks)


def leaders(world: World) -> list[tuple[int, bool]]:
    """(leader in the metadata, whether the broker leads) of each partition."""
    assert world.broker is not None
    topic = world.broker.follower.image.topics[TOPIC]
    led = [partition.is_leader for partition in world.broker.replicas.of_topic(TOPIC)]
    return [(state.leader, leads) for state, leads in zip(topic.partitions, led, strict=True)]


def test_who_dies_in_an_election_leads_again_later() -> None:
    async def program(world: World) -> None:
        broker = world.broker
        assert broker is not None
        electing = asyncio.create_task(world.elect())
        while leaders(world)[0] != (NODE + 1, False):
            await asyncio.sleep(0)
        world.kill(power=False)
        await electing
        assert await world.start()
        assert leaders(world) == [(NODE, True)] * 2

    live(program)


def test_a_stop_that_takes_a_directory_offline_is_none_in_good_order() -> None:
    async def program(world: World) -> None:
        assert world.broker is not None
        (directory,) = world.broker.logs.directories
        directory.go_offline(f"errno {errno.EIO}")
        assert not await world.stop()
        assert len(world.history.deaths) == 1

    live(program)


def test_a_start_that_fails_leaves_the_files_of_a_clean_stop_trusted() -> None:
    async def program(world: World) -> None:
        assert await world.stop()
        assert world.stopped_cleanly
        world.disk.full = True
        await world.start()
        world.kill(power=False)
        assert world.stopped_cleanly
        world.disk.full = False
        assert await world.start()
        world.kill(power=False)
        assert not world.stopped_cleanly

    live(program)
