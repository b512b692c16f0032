"""A whole broker in memory: its disk, store, network, workers, randomness and both clocks.

The world outlives the broker, which can be stopped, or cut from its power, and
started again on what it left. Everything that travels and every line logged is
written down in `trace`.
"""

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum

from tests.support.no_real_world import no_real_world
from tests.support.raw_client import RawClient

from ottla.broker.broker import Broker
from ottla.config.broker_config import BrokerConfig
from ottla.metadata.store_memory import MemoryDatabase, MemoryStore
from ottla.model.clock import Clock
from ottla.storage.memory_disk import MemoryDisk
from ottla.testing.clock import START_MS, ManualClock
from ottla.testing.loop import VirtualLoop
from ottla.testing.network import MemoryNetwork
from ottla.testing.simulated import simulated_system

BROKER = "127.0.0.1"
PORT = 9092
SETTINGS = {
    "node.id": "1",
    "log.dirs": "/data",
    "listeners": f"PLAINTEXT://{BROKER}:{PORT}",
    "offsets.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.streams.initial.rebalance.delay.ms": "0",
}


@dataclass
class World:
    seed: int
    clock: ManualClock
    """The domain clock; the test moves it. The transport clock is the loop's."""

    network: MemoryNetwork
    disk: MemoryDisk
    database: MemoryDatabase = field(default_factory=MemoryDatabase)
    settings: dict[str, str] = field(default_factory=dict)
    starts: int = 0
    broker: Broker | None = None
    steady_clock: Clock | None = None
    """Where `clock` is set, what nobody sets; else it is `clock`."""
    failures: list[str] = field(default_factory=list)
    """Why a broker said that it cannot go on."""

    async def start(self) -> None:
        """Start a broker on what there is."""
        assert self.broker is None
        self.starts += 1
        system = simulated_system(
            self.seed + self.starts,
            clock=self.clock,
            steady_clock=self.steady_clock,
            network=self.network,
            host=BROKER,
        )
        self.broker = Broker(
            BrokerConfig({**SETTINGS, **self.settings}),
            system,
            self.disk,
            lambda directory: MemoryStore(system.transport_clock, self.database),
            failed=self.failures.append,
            poison=True,
        )
        await self.broker.start()

    async def stop(self) -> None:
        broker, self.broker = self.broker, None
        assert broker is not None
        await broker.stop()

    async def client(self) -> RawClient:
        return await RawClient.connect(self.network.host("10.0.0.2"), BROKER, PORT)


Program = Callable[[World], Awaitable[None]]


class Death(Enum):
    """What ends a life whose program returns without stopping the broker."""

    PROCESS = "kill -9: what was written is there"
    POWER = "power cut: what was synced is there"


class _Tracer(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(f"log {record.name} {record.levelname} {record.getMessage()}")


def simulate(
    *lives: Program, seed: int, death: Death = Death.PROCESS, **settings: str
) -> list[str]:
    """Run each program in a process of its own, without the real world; return the trace.

    What one life leaves on the disk and in the store is there for the next. One
    that returns while its broker runs ends in `death`, between two steps.
    """
    trace: list[str] = []
    disk = MemoryDisk()
    disk.tracks_durability = death is Death.POWER
    database = MemoryDatabase()
    named = {name.replace("_", "."): value for name, value in settings.items()}
    start_ms = START_MS
    with _traced(trace):
        for number, program in enumerate(lives):
            world = _live(program, seed + 1_000 * number, disk, database, named, start_ms, trace)
            start_ms = world.clock.now_ms() + 1_000
            disk, database = world.disk, world.database
            if death is Death.POWER:
                disk.power_cut()
            else:
                disk.process_death()
    return trace


def _live(
    program: Program,
    seed: int,
    disk: MemoryDisk,
    database: MemoryDatabase,
    settings: dict[str, str],
    start_ms: int,
    trace: list[str],
) -> World:
    """Return the world as the program left it; nothing that ends later touches it."""

    async def main() -> World:
        clock = ManualClock(start_ms, asyncio.get_running_loop())
        disk.now_ms = clock.now_ms
        network = MemoryNetwork(seed, trace=trace.append)
        world = World(seed, clock, network, disk, database, settings)
        await program(world)
        disk.now_ms = lambda: 0  # what else it knows stays behind
        return replace(world, disk=copy.deepcopy(disk), database=copy.deepcopy(database))

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed)) as runner:
        runner.get_loop()
        with no_real_world():
            return runner.run(main())


@contextmanager
def _traced(trace: list[str]) -> Iterator[None]:
    tracer = _Tracer(trace)
    logger = logging.getLogger("ottla")
    level = logger.level
    logger.addHandler(tracer)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(tracer)
        logger.setLevel(level)
