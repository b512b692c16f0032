"""One seed: a cluster, its clients, its faults, and what the checkers say of it."""

import asyncio
import random
from dataclasses import dataclass
from typing import Any

from tools.simulation.checkers import violations
from tools.simulation.cluster.checkers import CHECKERS
from tools.simulation.cluster.clients import Lister, Mover, Operator, Pruner, Watched, view_of
from tools.simulation.cluster.faults import Faults, plan
from tools.simulation.cluster.history import ClusterHistory
from tools.simulation.cluster.machine import TOPIC
from tools.simulation.cluster.world import ClusterWorld
from tools.simulation.faults import Fault
from tools.simulation.life import Ran, finished, live_through
from tools.simulation.producers import LibraryProducer
from tools.simulation.readers import LibraryReader

from ottla.client.admin import Admin
from ottla.model.errors import ApiError, PeerError

SHORT_PHASE_S = 20.0
PRODUCE_LIMIT_S = 30.0
SETTLE_LIMIT_S = 60.0


@dataclass(frozen=True)
class Shape:
    """How one cluster differs from others."""

    durable: bool
    """Acknowledged after fsync (`flush.messages=1`)."""
    partitions: int
    replicas: int
    min_isr: int
    delay_ms: float
    max_piece: int
    coalesce: float
    job_ms: float
    """How long a sync, or another job of a worker, takes at most."""
    segment_ms: int
    lag_ms: int
    phase_s: float
    """Faults begin within so many seconds; then everything heals."""
    moves: int
    """How often an operator has replicas or leaders moved."""

    @classmethod
    def of(cls, seed: int) -> "Shape":
        chance = random.Random(f"shape {seed}")
        three = chance.random() < 0.8
        return cls(
            durable=chance.random() < 0.4,
            partitions=chance.randint(1, 2),
            replicas=3 if three else 2,
            min_isr=2 if three else 1,
            delay_ms=chance.choice((0.2, 2.0, 20.0)),
            max_piece=50 if chance.random() < 0.05 else 64 * 1024,
            coalesce=chance.choice((0.0, 0.5)),
            job_ms=chance.choice((1.0, 5.0, 50.0)),
            segment_ms=chance.choice((500, 3_000, 10**9)),
            lag_ms=chance.choice((1_500, 5_000)),
            phase_s=chance.choices((SHORT_PHASE_S, 100.0, 400.0), (70, 20, 10))[0],
            moves=chance.choice((0, 2, 6)),
        )

    @property
    def settings(self) -> dict[str, str]:
        named = {
            "min.insync.replicas": str(self.min_isr),
            "replica.lag.time.max.ms": str(self.lag_ms),
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.num.partitions": "1",
        }
        if self.durable:
            named["log.flush.interval.messages"] = "1"
        return named

    @property
    def topic_configs(self) -> dict[str, str]:
        return {"segment.ms": str(self.segment_ms), "segment.jitter.ms": "0"}


def run(seed: int, *, trace: list[str] | None = None, traced: bool = True) -> Ran:
    """Live through a seed; `trace` and `traced` as for `live_through`."""
    history = ClusterHistory()

    async def live(world: ClusterWorld, faults: list[Fault]) -> None:
        await lived(seed, world, faults)

    return live_through(
        seed,
        Shape.of(seed),
        history,
        live,
        lambda: violations(history, CHECKERS),
        make=ClusterWorld,
        trace=trace,
        traced=traced,
    )


async def lived(seed: int, world: ClusterWorld, faults: list[Fault]) -> None:
    """All that happens in a cluster; what becomes of it is in the history."""
    history, shape = world.history, world.shape
    history.produced = Watched(world)
    history.fetched = Watched(world)
    history.listed = Watched(world)
    hosts = [f"10.0.1.{number}" for number in range(7)]
    await created(world, hosts[6])
    writers: dict[str, Any] = {
        f"idem{number}": LibraryProducer(
            world,  # type: ignore[arg-type]
            f"idem{number}",
            hosts[number],
            idempotent=True,
            count=30,
            pauses_s=(0.0, 0.2, max(2.0, shape.phase_s / 20)),
        )
        for number in range(2)
    }
    writers["operator"] = Operator(world, hosts[2], count=2)
    writers["mover"] = Mover(world, hosts[6])
    writers["pruner"] = Pruner(world, hosts[2])
    ends: dict[int, int] | None = None
    readers = {
        f"reader{number}": LibraryReader(
            world,  # type: ignore[arg-type]
            f"reader{number}",
            hosts[3 + number],
            lambda: ends,
        )
        for number in range(2)
    }
    looking = asyncio.create_task(world.look())
    listing = asyncio.create_task(Lister(world, hosts[5]).run())
    running = {name: asyncio.create_task(each.run()) for name, each in writers.items()}
    reading = {name: asyncio.create_task(each.run()) for name, each in readers.items()}
    faults += plan(seed, shape.phase_s, durable=shape.durable, replicated=shape.replicas > 2)
    happening = Faults(world, hosts)
    keeper = asyncio.create_task(happening.keep())
    await happening.run(faults)
    # Long phases are mostly calm: clients go on, and what happens once in minutes does.
    await asyncio.sleep(max(0.0, shape.phase_s - SHORT_PHASE_S - world.loop.time()))
    await _produced(world, hosts[6])
    await finished(history, running)
    await world.settled(SETTLE_LIMIT_S)
    ends = {number: history.seen.get(number, 0) for number in range(shape.partitions)}
    await finished(history, reading)
    for each in (keeper, looking, listing):
        each.cancel()
    await world.finish()


async def created(world: ClusterWorld, host: str) -> None:
    """The topic is there, and everybody who has a replica is in sync."""
    await world.settled(SETTLE_LIMIT_S)
    async with view_of(world, host, retry_timeout_ms=30_000) as view:
        await Admin(view, timeout_ms=10_000).create_topic(
            TOPIC,
            partitions=world.shape.partitions,
            replication_factor=world.shape.replicas,
            configs=world.shape.topic_configs,
        )
    await world.settled(SETTLE_LIMIT_S)


async def _produced(world: ClusterWorld, host: str) -> None:
    """Every partition takes a record soon after all is healed."""
    probe = LibraryProducer(
        world,  # type: ignore[arg-type]
        "probe",
        host,
        idempotent=True,
        count=4,
        pauses_s=(0.0,),
    )
    try:
        async with asyncio.timeout(PRODUCE_LIMIT_S):
            await probe.run()
    except TimeoutError:
        world.history.stuck.append(
            f"nothing can be written {PRODUCE_LIMIT_S:g} s after all was healed"
        )
    except (ApiError, PeerError) as error:
        world.history.stuck.append(f"nothing can be written after all was healed: {error}")
