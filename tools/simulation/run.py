"""One seed: a world, its clients, its faults, and what the checkers say of it."""

import asyncio
import random
from dataclasses import dataclass
from typing import Any

from tools.simulation.checkers import CHECKERS, violations
from tools.simulation.faults import Fault, Faults, plan
from tools.simulation.history import History
from tools.simulation.life import Ran, finished, live_through
from tools.simulation.producers import LibraryProducer, PipelineProducer
from tools.simulation.readers import GROUP, Asker, LibraryReader, Member, SessionReader, view_of
from tools.simulation.world import World

from ottla.client.groups import Groups
from ottla.model.errors import ApiError, PeerError


@dataclass(frozen=True)
class Shape:
    """How one world differs from others."""

    durable: bool
    """Acknowledged after fsync (`flush.messages=1`)."""
    partitions: int
    delay_ms: float
    max_piece: int
    coalesce: float
    job_ms: float
    """How long a sync, or another job of a worker, takes at most."""
    cold: float
    segment_ms: int
    index_interval_bytes: int
    group: bool

    @classmethod
    def of(cls, seed: int) -> "Shape":
        chance = random.Random(f"shape {seed}")
        return cls(
            durable=chance.random() < 0.6,
            partitions=chance.randint(1, 2),
            delay_ms=chance.choice((0.2, 2.0, 20.0)),
            max_piece=50 if chance.random() < 0.1 else 64 * 1024,
            coalesce=chance.choice((0.0, 0.5)),
            job_ms=chance.choice((1.0, 5.0, 50.0, 200.0)),
            cold=chance.choice((0.0, 0.0, 0.3)),
            segment_ms=chance.choice((50, 300, 10**9)),
            index_interval_bytes=chance.choice((0, 0, 200, 4096)),
            group=chance.random() < 0.4,
        )

    @property
    def settings(self) -> dict[str, str]:
        return {"log.flush.interval.messages": "1"} if self.durable else {}

    @property
    def topic_configs(self) -> dict[str, str]:
        return {
            "segment.ms": str(self.segment_ms),
            "segment.jitter.ms": "0",
            "index.interval.bytes": str(self.index_interval_bytes),
        }


def run(seed: int, *, trace: list[str] | None = None, traced: bool = True) -> Ran:
    """Live through a seed; `trace` and `traced` as for `live_through`."""
    history = History()

    async def live(world: World, faults: list[Fault]) -> None:
        await _live(seed, world, faults)

    return live_through(
        seed,
        Shape.of(seed),
        history,
        live,
        lambda: violations(history, CHECKERS),
        trace=trace,
        traced=traced,
    )


async def _live(seed: int, world: World, faults: list[Fault]) -> None:
    history, shape = world.history, world.shape
    hosts = [f"10.0.1.{number}" for number in range(7)]
    writers: dict[str, Any] = {
        "idem": LibraryProducer(world, "idem", hosts[0], idempotent=True, count=12),
        "plain": LibraryProducer(world, "plain", hosts[1], idempotent=False, count=8),
        "pipe": PipelineProducer(world, "pipe", hosts[2], count=16),
    }
    ends: dict[int, int] | None = None
    readers: dict[str, Any] = {
        "reader": LibraryReader(world, "reader", hosts[3], lambda: ends),
        "session": SessionReader(world, "session", hosts[4], lambda: ends),
    }
    if shape.group:
        readers["member"] = Member(world, "member", hosts[6], lambda: ends)
    asker = Asker(world, "asker", hosts[5], count=6)
    running = {name: asyncio.create_task(each.run()) for name, each in writers.items()}
    running["asker"] = asyncio.create_task(asker.run())
    reading = {name: asyncio.create_task(each.run()) for name, each in readers.items()}
    faults += plan(seed, len(hosts), shape.durable)
    happening = Faults(world, hosts)
    await happening.run(faults)
    keeper = asyncio.create_task(happening.keep())
    await finished(history, running)
    ends = {number: log.log_end_offset for number, log in world.topic_logs()}
    await finished(history, reading)
    if shape.group:
        await _committed(world, hosts[6])
    keeper.cancel()
    await world.finish()


async def _committed(world: World, host: str) -> None:
    """What the group has committed in the end."""
    async with view_of(world, host) as view:
        partitions = [world.partition(number) for number in range(world.shape.partitions)]
        for _ in range(20):
            try:
                found = await Groups(view).committed(GROUP, partitions)
            except (ApiError, PeerError):
                await asyncio.sleep(0.5)
                continue
            for partition, committed in found.items():
                world.history.final.committed[GROUP, partition.partition] = committed.offset
            return
        world.history.stuck.append("the committed offsets are not told")
