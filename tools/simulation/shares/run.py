"""One seed of a share group: members come, stall, die and come back while records are produced."""

import asyncio
import random
from dataclasses import dataclass, replace
from typing import Any

from tools.simulation.faults import Fault, Faults, plan, survivable
from tools.simulation.groups.members import Lives
from tools.simulation.life import Ran, finished, live_through
from tools.simulation.producers import LibraryProducer, PipelineProducer
from tools.simulation.readers import view_of
from tools.simulation.run import Shape
from tools.simulation.shares.checkers import violations
from tools.simulation.shares.history import ShareHistory
from tools.simulation.shares.members import GROUP, LOCK_S, SESSION_S, Last, Life
from tools.simulation.world import TOPIC, World

from ottla.client.admin import Admin, ConfigChange, ConfigOperation
from ottla.model.errors import ApiError, PeerError
from ottla.model.isolation import ResourceType
from ottla.model.names import SHARE_GROUP_STATE

PLACES = ("x", "y", "z")
SETTINGS = {
    "group.share.session.timeout.ms": str(round(SESSION_S * 1000)),
    "group.share.min.session.timeout.ms": str(round(SESSION_S * 1000)),
    "group.share.heartbeat.interval.ms": "500",
    "group.share.min.heartbeat.interval.ms": "500",
    "group.share.record.lock.duration.ms": str(round(LOCK_S * 1000)),
    "group.share.min.record.lock.duration.ms": str(round(LOCK_S * 1000)),
    "group.share.min.delivery.count.limit": "2",
    "share.coordinator.state.topic.num.partitions": "1",
}
"""Sessions and locks of seconds."""


@dataclass(frozen=True)
class ShareShape(Shape):
    """As any other world's, but nothing is ever lost: power is cut only where all is flushed."""

    limit: int = 5
    updates_per_snapshot: int = 500
    write_timeout_ms: int = 5_000

    @classmethod
    def of(cls, seed: int) -> "ShareShape":
        chance = random.Random(f"share shape {seed}")
        shape = super().of(seed)
        assert isinstance(shape, ShareShape)
        return replace(
            shape,
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
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.snapshot.update.records.per.snapshot": str(
                self.updates_per_snapshot
            ),
            "share.coordinator.write.timeout.ms": str(self.write_timeout_ms),
        }


def run(seed: int, *, trace: list[str] | None = None, traced: bool = True) -> Ran:
    """Live through a seed; `trace` and `traced` as for `live_through`."""
    shape = ShareShape.of(seed)
    history = ShareHistory(lock_s=LOCK_S, limit=shape.limit)

    async def live(world: World, faults: list[Fault]) -> None:
        await _live(seed, world, history, faults)

    return live_through(
        seed,
        shape,
        history,
        live,
        lambda: violations(history),
        trace=trace,
        traced=traced,
    )


async def _live(seed: int, world: World, history: ShareHistory, faults: list[Fault]) -> None:
    chance = random.Random(f"shares {seed}")
    world.elected = chance.choice(((TOPIC,), (SHARE_GROUP_STATE,), (TOPIC, SHARE_GROUP_STATE)))
    hosts = [f"10.0.1.{number}" for number in range(8)]
    await begin_at_the_earliest(world, hosts[7])

    def place(name: str, mine: list[str]) -> Lives:
        return Lives(
            world,
            name,
            lambda number: Life(world, history, f"{name}.{number}", mine[number % 2]),
        )

    writers: dict[str, Any] = {
        "idem": LibraryProducer(world, "idem", hosts[6], idempotent=True, count=12),
        "pipe": PipelineProducer(world, "pipe", hosts[7], count=16),
    }
    tasks = {name: asyncio.create_task(each.run()) for name, each in writers.items()}
    for at, name in enumerate(PLACES):
        lives = place(name, hosts[2 * at : 2 * at + 2])
        tasks[name] = asyncio.create_task(lives.run())
    faults += survivable(plan(seed, len(hosts), world.shape.durable), world.shape.durable)
    happening = Faults(world, hosts)
    await happening.run(faults)
    keeper = asyncio.create_task(happening.keep())
    await finished(history, tasks)
    last = Last(world, history, "last", hosts[0])
    await finished(history, {"last": asyncio.create_task(last.run())})
    keeper.cancel()
    await world.finish()


async def begin_at_the_earliest(world: World, host: str) -> None:
    """The group reads what was there before it came."""
    change = ConfigChange(ConfigOperation.SET, "share.auto.offset.reset", "earliest")
    async with view_of(world, host) as view:
        while True:
            try:
                await Admin(view).alter_configs(ResourceType.GROUP, GROUP, [change])
                return
            except (ApiError, PeerError):
                await asyncio.sleep(0.1)
