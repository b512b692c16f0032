"""One seed: members of either protocol, or both, come, stall and die while a cluster fails.

The faults and the machines are those of `run`, members and checkers those of the world of groups
on one broker: here the group's coordinator moves with the leader of its partition of
`__consumer_offsets`, and may be asked at one broker while another leads. Two groups live here: the
members of one only commit, and see who is told what; those of the other read what is produced
meanwhile, and have dealt with all of it in the end.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from tools.simulation.checkers import violations
from tools.simulation.cluster.checkers import CHECKERS
from tools.simulation.cluster.clients import Mover, Watched
from tools.simulation.cluster.dealing import Dealer, Dealt, undealt
from tools.simulation.cluster.faults import Faults, plan
from tools.simulation.cluster.history import ClusterHistory
from tools.simulation.cluster.machine import TOPIC
from tools.simulation.cluster.run import SETTLE_LIMIT_S, SHORT_PHASE_S, Shape, created
from tools.simulation.cluster.world import ClusterWorld
from tools.simulation.faults import Fault
from tools.simulation.groups import checkers as groups
from tools.simulation.groups.history import GroupHistory
from tools.simulation.groups.members import CLASSIC, NEWER, Life, Lives, Observer
from tools.simulation.groups.watched import Numbers
from tools.simulation.life import Ran, finished, live_through
from tools.simulation.producers import LibraryProducer

from ottla.model.names import CONSUMER_OFFSETS

PARTITIONS = 4
PLACES = ("x", "y", "z")
DEALERS = ("a", "b", "c")


class GroupedShape(Shape):
    """A cluster's shape, with sessions of seconds."""

    @classmethod
    def of(cls, seed: int) -> "GroupedShape":
        shape = replace(super().of(seed), partitions=PARTITIONS, phase_s=SHORT_PHASE_S)
        assert isinstance(shape, GroupedShape)
        return shape

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
    dealt: list[Dealt] = field(default_factory=list)

    @property
    def operations(self) -> int:
        return super().operations + self.members.operations + len(self.dealt)


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


def dealt(history: GroupedHistory) -> Iterator[str]:
    """G5: what was acknowledged was dealt with."""
    yield from undealt(history, history.dealt)


OF_CLUSTER: dict[str, Any] = {**CHECKERS, "dealt": dealt}


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
    history.produced = Watched(world)
    history.fetched = Watched(world)
    world.aimed_at = chance.choice((TOPIC, CONSUMER_OFFSETS))
    hosts = [f"10.0.1.{number}" for number in range(9)]
    await created(world, hosts[6])
    numbers = Numbers()
    running = {}

    def place(name: str, life: Callable[[int], Any]) -> None:
        running[name] = asyncio.create_task(Lives(world, name, life).run())  # type: ignore[arg-type]

    for at, name in enumerate(PLACES):
        place(name, _lives_of_member(world, history, name, hosts[2 * at :], protocols, numbers))
    reads_by = chance.choice(protocols)
    for at, name in enumerate(DEALERS):
        place(name, _lives_of_dealer(world, history, name, hosts[at + 6], reads_by))
    for number in range(2):
        producer = LibraryProducer(
            world,  # type: ignore[arg-type]
            f"idem{number}",
            hosts[number],
            idempotent=True,
            count=20,
            pauses_s=(0.0, 0.2, 2.0),
        )
        running[f"idem{number}"] = asyncio.create_task(producer.run())
    running["mover"] = asyncio.create_task(Mover(world, hosts[8]).run())
    observer = Observer(world, history.members, hosts[6], count=20)  # type: ignore[arg-type]
    running["observer"] = asyncio.create_task(observer.run())
    looking = asyncio.create_task(world.look())
    shape = world.shape
    faults += plan(seed, shape.phase_s, durable=shape.durable, replicated=shape.replicas > 2)
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
    ends = {number: history.seen.get(number, 0) for number in range(PARTITIONS)}
    rest = Dealer(world, history.dealt, "rest", hosts[7], reads_by, targets=lambda: ends)
    await finished(
        history,
        {"last": asyncio.create_task(last.run()), "rest": asyncio.create_task(rest.run())},
    )
    await observer.look()
    for each in (keeper, looking):
        each.cancel()
    await world.finish()


def _lives_of_member(
    world: ClusterWorld,
    history: GroupedHistory,
    name: str,
    hosts: list[str],
    protocols: tuple[str, ...],
    numbers: Numbers,
) -> Callable[[int], Life]:
    chance = random.Random(f"member {name} {world.seed}")
    protocol = chance.choice(protocols)
    instance_id = f"static {name}" if chance.random() < 0.3 else None
    return lambda number: Life(
        world,  # type: ignore[arg-type]
        history.members,
        f"{name}.{number}",
        hosts[number % 2],
        protocol,
        numbers,
        instance_id=instance_id,
    )


def _lives_of_dealer(
    world: ClusterWorld, history: GroupedHistory, name: str, host: str, protocol: str
) -> Callable[[int], Dealer]:
    return lambda number: Dealer(world, history.dealt, f"{name}.{number}", host, protocol)
