"""What goes wrong in a world, and when: chosen by its seed."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tools.simulation.disk import SimulatedDisk
from tools.simulation.world import BROKER, World

PHASE_S = 3.0
"""Faults begin within so many seconds; then everything heals."""

LINKS = (
    "reset",
    "half-open, broker gone",
    "half-open, client gone",
    "cut",
    "one-way to the broker",
    "one-way from the broker",
    "slow link",
)
DEATHS = ("death", "death in a write", "power cut", "power cut in a sync", "clean restart")
DISK = ("disk full", "EIO on write", "EIO on sync", "EIO on read")
OTHER = ("election", "garbled files")


class Fault(NamedTuple):
    at: float
    kind: str
    length: float
    number: int


def plan(seed: int, clients: int, durable: bool) -> list[Fault]:
    """The faults of a seed, by time; one to six."""
    chance = random.Random(f"faults {seed}")
    pools = [LINKS, DEATHS, DISK, OTHER]
    found = []
    for _ in range(chance.randint(1, 6)):
        kind = chance.choice(chance.choices(pools, (4, 6, 2, 3))[0])
        if kind == "election" and not durable:
            kind = "death"
        length = chance.choice((0.05, 0.3, 1.0, 2.5))
        found.append(Fault(chance.uniform(0.1, PHASE_S), kind, length, chance.randrange(clients)))
    return sorted(found)


def survivable(faults: list[Fault], durable: bool) -> list[Fault]:
    """Where not all is flushed, the process dies instead of the machine."""
    instead = {"power cut": "death", "power cut in a sync": "death in a write"}
    return faults if durable else [f._replace(kind=instead.get(f.kind, f.kind)) for f in faults]


class Faults:
    """Lets the faults of a plan happen, and heals."""

    def __init__(self, world: World, clients: list[str]) -> None:
        self._world = world
        self._clients = clients
        self._chance = random.Random(f"happening {world.seed}")
        self.healing = False
        self.garble = False

    async def run(self, faults: list[Fault]) -> None:
        """All of them, each at its time; at the end nothing is broken any more."""
        world = self._world
        keeper = asyncio.create_task(self._keep_running())
        happening = []
        for fault in faults:
            await asyncio.sleep(max(0.0, fault.at - world.loop.time()))
            world.trace(f"{world.loop.time():.6f} fault {fault.kind}")
            happening.append(asyncio.create_task(self._happen(fault)))
        await asyncio.gather(*happening)
        await self._heal()
        while world.broker is None:
            await asyncio.sleep(0.1)
            if world.loop.time() > 600:
                world.history.stuck.append("the broker does not start any more")
                break
        keeper.cancel()

    async def keep(self) -> None:
        """Start the broker again whenever it is dead, for ever."""
        await self._keep_running()

    async def _keep_running(self) -> None:
        world = self._world
        while True:
            if world.life is None:
                await asyncio.sleep(self._chance.choice((0.01, 0.2, 1.0)))
                if self.garble and not world.stopped_cleanly:
                    garble(world.disk, self._chance)
                self.garble = False
                if world.life is None:
                    await world.start()
            else:
                await world.died.wait()

    async def _heal(self) -> None:
        world = self._world
        world.disk.full = False
        world.disk.failing = None
        world.disk.dies = None
        for client in self._clients:
            world.network.heal(client, BROKER)
            world.network.slow(client, BROKER, None)
        if world.broker is not None and world.broker.logs.some_are_offline:
            world.kill(power=False)

    async def _happen(self, fault: Fault) -> None:
        happen = getattr(self, "_" + _identifier(fault.kind))
        step: Callable[[Fault], Awaitable[None]] = happen
        await step(fault)

    # Links

    def _links(self, fault: Fault) -> tuple[str, list]:  # type: ignore[type-arg]
        client = self._clients[fault.number]
        return client, self._world.network.between(client, BROKER)

    async def _reset(self, fault: Fault) -> None:
        for link in self._links(fault)[1]:
            link.reset()

    async def _half_open_broker_gone(self, fault: Fault) -> None:
        for link in self._links(fault)[1]:
            link.leave_half_open(link.server)

    async def _half_open_client_gone(self, fault: Fault) -> None:
        for link in self._links(fault)[1]:
            link.leave_half_open(link.client)

    async def _cut(self, fault: Fault) -> None:
        client = self._clients[fault.number]
        self._world.network.cut(client, BROKER)
        await asyncio.sleep(fault.length)
        self._world.network.heal(client, BROKER)

    async def _one_way_to_the_broker(self, fault: Fault) -> None:
        client = self._clients[fault.number]
        self._world.network.cut_one_way(client, BROKER)
        await asyncio.sleep(fault.length)
        self._world.network.heal(client, BROKER)

    async def _one_way_from_the_broker(self, fault: Fault) -> None:
        client = self._clients[fault.number]
        self._world.network.cut_one_way(BROKER, client)
        await asyncio.sleep(fault.length)
        self._world.network.heal(client, BROKER)

    async def _slow_link(self, fault: Fault) -> None:
        client = self._clients[fault.number]
        self._world.network.slow(client, BROKER, 500.0)
        await asyncio.sleep(fault.length)
        self._world.network.slow(client, BROKER, None)

    # Deaths

    async def _death(self, fault: Fault) -> None:
        self._world.kill(power=False)

    async def _death_in_a_write(self, fault: Fault) -> None:
        self._die_in(frozenset({"pwrite", "write", "rename", "truncate"}), power=False)

    async def _power_cut(self, fault: Fault) -> None:
        self._world.kill(power=True)

    async def _power_cut_in_a_sync(self, fault: Fault) -> None:
        self._die_in(frozenset({"sync", "sync_directory", "sync_file_system"}), power=True)

    def _die_in(self, operations: frozenset[str], *, power: bool) -> None:
        world = self._world
        world.disk.dies = (
            self._chance.randrange(5),
            operations,
            lambda: world.kill(power=power),
        )

    async def _clean_restart(self, fault: Fault) -> None:
        await self._world.stop()

    # The disk

    async def _disk_full(self, fault: Fault) -> None:
        self._world.disk.full = True
        await asyncio.sleep(fault.length)
        self._world.disk.full = False

    async def _eio_on_write(self, fault: Fault) -> None:
        await self._fail("pwrite", fault)

    async def _eio_on_sync(self, fault: Fault) -> None:
        await self._fail("sync", fault)

    async def _eio_on_read(self, fault: Fault) -> None:
        await self._fail("pread", fault)

    async def _fail(self, operation: str, fault: Fault) -> None:
        disk = self._world.disk
        disk.failing = operation
        await asyncio.sleep(fault.length)
        if disk.failing == operation:
            disk.failing = None

    # Others

    async def _election(self, fault: Fault) -> None:
        """At a moment when something waits to be flushed, if there is one."""
        world = self._world
        for _ in range(200):
            if any(log.log_end_offset > log.flushed_end_offset for _, log in world.topic_logs()):
                break
            await asyncio.sleep(0.005)
        await world.elect()

    async def _garbled_files(self, fault: Fault) -> None:
        """The process dies, and files beside the log are not what they were."""
        self.garble = True
        self._world.kill(power=False)


def garble(disk: SimulatedDisk, chance: random.Random) -> None:
    """Files beside the logs are not what they were; all of them can be made anew from the logs."""
    for path in sorted(disk.files):
        if path.endswith((".index", ".timeindex", ".snapshot", "leader-epoch-checkpoint")):
            content = disk.files[path]
            how = chance.randrange(4)
            if how == 0:
                content.data = bytearray(len(content.data))
            elif how == 1:
                del content.data[chance.randrange(len(content.data) + 1) :]
            elif how == 2:
                disk.remove(path)
            else:
                content.data = bytearray(chance.randbytes(len(content.data)))


def _identifier(kind: str) -> str:
    return kind.replace(",", "").replace("-", "_").replace(" ", "_").lower()
