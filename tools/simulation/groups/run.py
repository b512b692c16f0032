"""One seed of groups: members of either protocol, or both, come, stall, die and come back."""

import asyncio
import random
from dataclasses import replace
from typing import Any

from tools.simulation.faults import Fault, Faults, plan, survivable
from tools.simulation.groups.checkers import violations
from tools.simulation.groups.history import GroupHistory
from tools.simulation.groups.late import Latecomer
from tools.simulation.groups.members import CLASSIC, NEWER, Life, Lives, Observer
from tools.simulation.groups.watched import Numbers
from tools.simulation.life import Ran, finished, live_through
from tools.simulation.run import Shape
from tools.simulation.world import OFFSETS, TOPIC, World

PARTITIONS = 4
PLACES = ("x", "y", "z")


class GroupShape(Shape):
    """As any other world's, but nothing is ever lost: power is cut only where all is flushed."""

    @classmethod
    def of(cls, seed: int) -> "GroupShape":
        return replace(super().of(seed), partitions=PARTITIONS)  # type: ignore[return-value]

    @property
    def settings(self) -> dict[str, str]:
        return {
            **super().settings,
            "group.consumer.session.timeout.ms": "6000",
            "group.consumer.min.session.timeout.ms": "6000",
            "group.consumer.heartbeat.interval.ms": "500",
            "group.consumer.min.heartbeat.interval.ms": "500",
        }


def run(seed: int, *, trace: list[str] | None = None, traced: bool = True) -> Ran:
    """Live through a seed; `trace` and `traced` as for `live_through`."""
    history = GroupHistory()

    async def live(world: World, faults: list[Fault]) -> None:
        await _live(seed, world, history, faults)

    return live_through(
        seed,
        GroupShape.of(seed),
        history,
        live,
        lambda: violations(history),
        trace=trace,
        traced=traced,
    )


async def _live(seed: int, world: World, history: GroupHistory, faults: list[Fault]) -> None:
    chance = random.Random(f"groups {seed}")
    world.elected = chance.choice(((TOPIC,), (OFFSETS,)))
    protocols = chance.choice(((CLASSIC,), (NEWER,), (CLASSIC, NEWER)))
    history.changes_kind = len(protocols) > 1
    hosts = [f"10.0.1.{number}" for number in range(7)]
    numbers = Numbers()

    def place(name: str, mine: list[str], protocol: str, instance_id: str | None) -> Lives:
        return Lives(
            world,
            name,
            lambda number: Life(
                world,
                history,
                f"{name}.{number}",
                mine[number % 2],
                protocol,
                numbers,
                instance_id=instance_id,
            ),
        )

    tasks: dict[str, asyncio.Task[Any]] = {}
    for at, name in enumerate(PLACES):
        instance_id = f"static {name}" if chance.random() < 0.3 else None
        lives = place(name, hosts[2 * at : 2 * at + 2], chance.choice(protocols), instance_id)
        tasks[name] = asyncio.create_task(lives.run())
    late = Latecomer(world, history, hosts[6], numbers, count=12)
    observer = Observer(world, history, hosts[6], count=8)
    tasks["late"] = asyncio.create_task(late.run())
    tasks["observer"] = asyncio.create_task(observer.run())

    faults += survivable(plan(seed, len(hosts), world.shape.durable), world.shape.durable)
    happening = Faults(world, hosts)
    await happening.run(faults)
    keeper = asyncio.create_task(happening.keep())
    await finished(history, tasks)
    # Whoever is gone without leaving is thrown out, and the last one has everything.
    last = Life(
        world,
        history,
        "last",
        hosts[0],
        chance.choice(protocols),
        numbers,
        until=lambda has: len(has) == PARTITIONS,
    )
    await finished(history, {"last": asyncio.create_task(last.run())})
    await observer.look()
    keeper.cancel()
    await world.finish()
