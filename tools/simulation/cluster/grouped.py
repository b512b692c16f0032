"""One seed: members of either protocol, or both, come, stall and die while a cluster fails.

The faults and the machines are those of `run`, members and checkers those of the world of groups
on one broker: here the group's coordinator moves with the leader of its partition of
`__consumer_offsets`, and may be asked at one broker while another leads.
"""

import asyncio
import random
from dataclasses import dataclass, field, replace
from typing import Any

from tools.simulation import checkers as alone
from tools.simulation.checkers import violations
from tools.simulation.cluster import checkers
from tools.simulation.cluster.faults import Faults, plan
from tools.simulation.cluster.history import ClusterHistory
from tools.simulation.cluster.run import SETTLE_LIMIT_S, Shape, created
from tools.simulation.cluster.world import ClusterWorld
from tools.simulation.faults import Fault
from tools.simulation.groups import checkers as groups
from tools.simulation.groups.history import GroupHistory
from tools.simulation.groups.members import CLASSIC, NEWER, Life, Lives, Observer
from tools.simulation.groups.watched import Numbers
from tools.simulation.life import Ran, finished, live_through

PARTITIONS = 4
PLACES = ("x", "y", "z")
PHASE_S = 20.0
"""Faults begin within so many seconds."""


class GroupedShape(Shape):
    """A cluster's shape, with sessions of seconds."""

    @classmethod
    def of(cls, seed: int) -> "GroupedShape":
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


@dataclass
class GroupedHistory(ClusterHistory):
    members: GroupHistory = field(default_factory=GroupHistory)

    @property
    def operations(self) -> int:
        return self.members.operations


OF_MEMBERS = {
    checker.__name__: checker
    for checker in (
        groups.two_owners,
        groups.overlaps,
        groups.static_members,
        groups.old_generations,
        groups.offsets_lost,
    )
}
OF_CLUSTER: dict[str, Any] = {
    checker.__name__: checker
    for checker in (
        checkers.two_leaders,
        checkers.unclean,
        alone.files,
        alone.liveness,
        alone.unexpected,
    )
}


def run(seed: int, *, trace: list[str] | None = None, traced: bool = True) -> Ran:
    """Live through a seed; `trace` and `traced` as for `live_through`."""
    history = GroupedHistory()
    return live_through(
        seed,
        GroupedShape.of(seed),
        history,
        lambda world, faults: _lived(seed, world, history, faults),
        lambda: violations(history.members, OF_MEMBERS) + violations(history, OF_CLUSTER),
        make=ClusterWorld,
        trace=trace,
        traced=traced,
    )


async def _lived(
    seed: int, world: ClusterWorld, history: GroupedHistory, faults: list[Fault]
) -> None:
    chance = random.Random(f"grouped {seed}")
    protocols = chance.choice(((CLASSIC,), (NEWER,), (CLASSIC, NEWER)))
    history.members.changes_kind = len(protocols) > 1
    hosts = [f"10.0.1.{number}" for number in range(7)]
    await created(world, hosts[6])
    numbers = Numbers()

    def place(name: str, mine: list[str], protocol: str, instance_id: str | None) -> Lives:
        def life(number: int) -> Life:
            return Life(
                world,  # type: ignore[arg-type]
                history.members,
                f"{name}.{number}",
                mine[number % 2],
                protocol,
                numbers,
                instance_id=instance_id,
            )

        return Lives(world, name, life)  # type: ignore[arg-type]

    running = {}
    for at, name in enumerate(PLACES):
        instance_id = f"static {name}" if chance.random() < 0.3 else None
        lives = place(name, hosts[2 * at : 2 * at + 2], chance.choice(protocols), instance_id)
        running[name] = asyncio.create_task(lives.run())
    observer = Observer(world, history.members, hosts[6], count=20)  # type: ignore[arg-type]
    running["observer"] = asyncio.create_task(observer.run())
    looking = asyncio.create_task(world.look())
    faults += plan(seed, PHASE_S, durable=world.shape.durable, replicated=world.shape.replicas > 2)
    happening = Faults(world, hosts)
    keeper = asyncio.create_task(happening.keep())
    await happening.run(faults)
    await finished(history, running)
    await world.settled(SETTLE_LIMIT_S)
    # Whoever is gone without leaving is thrown out, and the last one has everything.
    last = Life(
        world,  # type: ignore[arg-type]
        history.members,
        "last",
        hosts[0],
        chance.choice(protocols),
        numbers,
        until=lambda has: len(has) == PARTITIONS,
    )
    await finished(history, {"last": asyncio.create_task(last.run())})
    await observer.look()
    for each in (keeper, looking):
        each.cancel()
    await world.finish()
