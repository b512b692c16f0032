"""One seed: members of a share group come, stall, renew and die while a cluster fails.

The faults and the machines are those of `run`, members and checkers those of the world of share
groups on one broker. Here who hands out records, who keeps what became of them, and who knows the
members are leaders of three topics, each of which moves: locks are gone with the leader of a
partition, words that were taken stay.
"""

import asyncio
import random
from dataclasses import dataclass, replace
from typing import Any

from tools.simulation.checkers import violations
from tools.simulation.cluster.checkers import CHECKERS
from tools.simulation.cluster.clients import Mover, Watched
from tools.simulation.cluster.faults import Faults, plan
from tools.simulation.cluster.history import ClusterHistory
from tools.simulation.cluster.machine import TOPIC
from tools.simulation.cluster.run import SETTLE_LIMIT_S, SHORT_PHASE_S, Shape, created
from tools.simulation.cluster.world import LOOKS_EVERY_S, ClusterWorld
from tools.simulation.faults import Fault
from tools.simulation.groups.members import Lives
from tools.simulation.life import Ran, finished, live_through
from tools.simulation.producers import LibraryProducer
from tools.simulation.shares import checkers as shares
from tools.simulation.shares.history import ShareHistory
from tools.simulation.shares.members import LOCK_S, Last, Life
from tools.simulation.shares.run import PLACES, SETTINGS, begin_at_the_earliest

from ottla.model.names import CONSUMER_OFFSETS, SHARE_GROUP_STATE


@dataclass(frozen=True)
class SharedShape(Shape):
    """A cluster's shape, with short phases, and locks and sessions of seconds."""

    limit: int = 5
    updates_per_snapshot: int = 500
    write_timeout_ms: int = 5_000

    @classmethod
    def of(cls, seed: int) -> "SharedShape":
        chance = random.Random(f"shared shape {seed}")
        shape = super().of(seed)
        assert isinstance(shape, SharedShape)
        return replace(
            shape,
            phase_s=SHORT_PHASE_S,
            partitions=chance.randint(1, 3),
            limit=chance.choice((2, 3, 5, 10)),
            updates_per_snapshot=chance.choice((0, 2, 10, 500)),
            write_timeout_ms=chance.choice((500, 1_000, 5_000)),
        )

    @property
    def settings(self) -> dict[str, str]:
        return {
            **super().settings,
            **SETTINGS,
            "group.share.delivery.count.limit": str(self.limit),
            "share.coordinator.snapshot.update.records.per.snapshot": str(
                self.updates_per_snapshot
            ),
            "share.coordinator.write.timeout.ms": str(self.write_timeout_ms),
        }


@dataclass
class SharedHistory(ClusterHistory, ShareHistory):
    """What members of the group saw, and what a cluster's clients do."""


OF_MEMBERS: dict[str, Any] = {
    checker.__name__: checker
    for checker in (
        shares.delivered_again,
        shares.two_holders,
        shares.strangers,
        shares.delivery_counts,
        shares.undelivered,
        shares.forgotten,
    )
}


def run(seed: int, *, trace: list[str] | None = None, traced: bool = True) -> Ran:
    """Live through a seed; `trace` and `traced` as for `live_through`."""
    shape = SharedShape.of(seed)
    history = SharedHistory(lock_s=LOCK_S, limit=shape.limit)
    return live_through(
        seed,
        shape,
        history,
        lambda world, faults: _lived(seed, world, history, faults),
        lambda: violations(history, {**OF_MEMBERS, **CHECKERS}),
        make=ClusterWorld,
        trace=trace,
        traced=traced,
    )


async def _lived(
    seed: int, world: ClusterWorld, history: SharedHistory, faults: list[Fault]
) -> None:
    shape = world.shape
    history.produced = Watched(world)
    topics = (TOPIC, SHARE_GROUP_STATE, CONSUMER_OFFSETS)
    world.aimed_at = random.Random(f"shared {world.seed}").choice(topics)
    hosts = [f"10.0.1.{number}" for number in range(9)]
    await created(world, hosts[8])
    await begin_at_the_earliest(world, hosts[8])  # type: ignore[arg-type]
    running: dict[str, asyncio.Task[Any]] = {}
    for number in range(2):
        producer = LibraryProducer(
            world,  # type: ignore[arg-type]
            f"idem{number}",
            hosts[6 + number],
            idempotent=True,
            count=14,
            pauses_s=(0.0, 0.2, 1.0),
        )
        running[f"idem{number}"] = asyncio.create_task(producer.run())
    for at, name in enumerate(PLACES):
        lives = _place(world, history, name, hosts[2 * at : 2 * at + 2])
        running[name] = asyncio.create_task(lives.run())
    running["mover"] = asyncio.create_task(Mover(world, hosts[8]).run())
    happening = Faults(world, hosts)
    watching = [
        asyncio.create_task(each)
        for each in (world.look(), _note_elections(world), happening.keep())
    ]
    faults += plan(seed, shape.phase_s, durable=shape.durable, replicated=shape.replicas > 2)
    await happening.run(faults)
    await finished(history, running)
    await world.settled(SETTLE_LIMIT_S)
    last = Last(world, history, "last", hosts[0])  # type: ignore[arg-type]
    await finished(history, {"last": asyncio.create_task(last.run())})
    for each in watching:
        each.cancel()
    await world.settled(SETTLE_LIMIT_S)
    await world.finish()


def _place(world: ClusterWorld, history: SharedHistory, name: str, hosts: list[str]) -> Lives:
    def life(number: int) -> Life:
        return Life(world, history, f"{name}.{number}", hosts[number % 2])  # type: ignore[arg-type]

    return Lives(world, name, life)  # type: ignore[arg-type]


async def _note_elections(world: ClusterWorld) -> None:
    """Take down, for ever, since when a partition of either topic may have another leader."""
    epochs: dict[tuple[str, int], int] = {}
    before = world.loop.time()
    while True:
        topics = (await world.image()).topics
        for name in (TOPIC, SHARE_GROUP_STATE):
            for number, state in enumerate(topics[name].partitions if name in topics else ()):
                if epochs.get((name, number), state.leader_epoch) != state.leader_epoch:
                    world.history.elections.append(before)
                epochs[name, number] = state.leader_epoch
        before = world.loop.time()
        await asyncio.sleep(LOOKS_EVERY_S)
