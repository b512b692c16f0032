"""What goes wrong in a cluster, and when: chosen by its seed."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from tools.simulation.cluster.machine import Machine
from tools.simulation.cluster.store import Doubt
from tools.simulation.cluster.world import BROKERS, ClusterWorld
from tools.simulation.faults import Fault, garble

from ottla.metadata.changes import partition_key
from ottla.metadata.store import Compare
from ottla.storage.checkpoints import CLEAN_SHUTDOWN

DEATHS = (
    "death",
    "death",
    "death in a write",
    "power cut",
    "power cut in a sync",
    "power cut of all",
    "death of all",
    "clean restart",
    "rolling restart",
)
STORE = (
    "store cut from one",
    "store cut from all",
    "store slow",
    "watch gap",
    "lease lost",
    "conflicts",
    "doubts",
)
NETWORK = (
    "brokers cut",
    "one way cut",
    "isolated from brokers",
    "isolated and then dead",
    "flapping",
    "slow links",
    "clients cut",
    "resets",
)
PAUSE = ("pause", "pause of the leader")
DISK = ("disk full", "EIO on write", "EIO on sync", "EIO on read")
OTHER = ("clock set", "clock set", "garbled files", "flipped bit")

CLOCK_MS = 50 * 60_000
"""Records of clients whose clock is an hour ahead of the broker's are refused."""

LENGTHS_S = (0.05, 0.5, 2.0, 5.0, 10.0)
"""The lease lasts four seconds."""


def plan(seed: int, phase_s: float, *, durable: bool, replicated: bool) -> list[Fault]:
    """The faults of a seed, by time; one to eight, within `phase_s` seconds. `number`: whom they meet.

    Where not every batch is synced, one machine alone loses power, and none where the others
    need not have everything. That machine alone has bits flipped, under the same condition.
    """
    chance = random.Random(f"faults {seed}")
    pools = [DEATHS, STORE, NETWORK, PAUSE, DISK]
    weak = chance.choice(BROKERS)
    found = []
    for _ in range(chance.randint(1, 8)):
        kind = chance.choice(chance.choices(pools, (5, 5, 5, 3, 2))[0])
        broker = chance.choice(BROKERS)
        if "power" in kind and not durable:
            kind = "power cut" if kind == "power cut" and replicated else "death"
            broker = weak if kind == "power cut" else broker
        length = chance.choice(LENGTHS_S)
        found.append(Fault(chance.uniform(0.1, phase_s), kind, length, broker))
    # Drawn apart, so that a seed has the others it always had.
    chance = random.Random(f"other faults {seed}")
    for _ in range(chance.choice((0, 0, 1, 2))):
        kind, at = chance.choice(OTHER), chance.uniform(0.1, phase_s)
        length, broker = chance.choice(LENGTHS_S), chance.choice(BROKERS)
        if kind == "flipped bit":
            kind, broker = (kind, weak) if replicated else ("garbled files", broker)
        found.append(Fault(at, kind, length, broker))
    return sorted(found)


class Faults:
    """Lets the faults of a plan happen, and heals."""

    def __init__(self, world: ClusterWorld, clients: list[str]) -> None:
        self._world = world
        self._clients = clients
        self._chance = random.Random(f"happening {world.seed}")

    async def run(self, faults: list[Fault]) -> None:
        """All of them, each at its time; at the end nothing is broken any more."""
        world = self._world
        happening = []
        for fault in faults:
            await asyncio.sleep(max(0.0, fault.at - world.loop.time()))
            world.trace(f"{world.loop.time():.6f} fault {fault}")
            step: Callable[[Fault], Awaitable[None]] = getattr(
                self, "_" + fault.kind.replace(" ", "_").lower()
            )
            happening.append(asyncio.create_task(self._happen(step, fault)))
        await asyncio.gather(*happening)
        self._heal()

    async def _happen(self, step: Callable[[Fault], Awaitable[None]], fault: Fault) -> None:
        await step(fault)

    async def keep(self) -> None:
        """Start dead brokers again, for ever."""
        await asyncio.gather(*(self._keep(machine) for machine in self._world.machines.values()))

    async def _keep(self, machine: Machine) -> None:
        while True:
            await machine.died.wait()
            await asyncio.sleep(self._chance.choice((0.01, 0.3, 2.0, 6.0)))
            if machine.life is None:
                await machine.start()

    def _heal(self) -> None:
        world, network = self._world, self._world.network
        world.trace(f"{world.loop.time():.6f} all is healed")
        world.store_is_down = False
        hosts = [*self._clients, *(machine.host for machine in world.machines.values())]
        for number, one in enumerate(hosts):
            for other in hosts[number + 1 :]:
                network.heal(one, other)
                network.slow(one, other, None)
        for machine in world.machines.values():
            machine.clock.put(0)
            machine.disk.full = False
            machine.disk.failing = None
            machine.disk.dies = None
            if machine.life is not None and machine.life.is_stopped:
                machine.life.go_on()
            if machine.store is not None:
                machine.store.heal()
            if machine.broker is not None and machine.broker.logs.some_are_offline:
                machine.kill(power=False)

    def _machine(self, fault: Fault) -> Machine:
        return self._world.machines[fault.number]

    def _others(self, machine: Machine) -> list[Machine]:
        return [each for each in self._world.machines.values() if each is not machine]

    def _leader(self) -> Machine:
        """A broker that leads a partition of the topic that is aimed at, as it thinks; else any."""
        topic, machines = self._world.aimed_at, list(self._world.machines.values())
        self._chance.shuffle(machines)
        for machine in machines:
            broker = machine.broker
            if broker is not None and any(x.is_leader for x in broker.replicas.of_topic(topic)):
                return machine
        return machines[0]

    # Deaths

    async def _death(self, fault: Fault) -> None:
        self._machine(fault).kill(power=False)

    async def _death_in_a_write(self, fault: Fault) -> None:
        self._die_in(fault, frozenset({"pwrite", "write", "rename", "truncate"}), power=False)

    async def _power_cut(self, fault: Fault) -> None:
        self._machine(fault).kill(power=True)

    async def _power_cut_in_a_sync(self, fault: Fault) -> None:
        self._die_in(fault, frozenset({"sync", "sync_directory", "sync_file_system"}), power=True)

    async def _garbled_files(self, fault: Fault) -> None:
        """The process dies, and files beside the logs are not what they were."""
        machine = self._machine(fault)
        machine.kill(power=False)
        garble(machine.disk, self._chance)

    async def _flipped_bit(self, fault: Fault) -> None:
        """The process dies, and in the last batch of a log a bit is not what it was.

        Not where it had stopped in good order, and has not looked at its logs since: nothing is
        read again after that, as in Kafka.
        """
        machine = self._machine(fault)
        if machine.life is None or machine.is_stopping:
            return
        machine.kill(power=False)
        if any(path.endswith(f"/{CLEAN_SHUTDOWN}") for path in machine.disk.files):
            return
        newest = {
            path.rpartition("/")[0]: machine.disk.files[path].data
            for path in sorted(machine.disk.files)
            if f"/{self._world.aimed_at}-" in path and path.endswith(".log")
        }
        logs = [data for data in newest.values() if data]
        if logs:
            data = self._chance.choice(logs)
            # Not in its length: a batch that seems longer is taken for one that was not written out.
            position = len(data) - 1 - self._chance.randrange(min(40, len(data)))
            data[position] ^= 1 << self._chance.randrange(8)

    def _die_in(self, fault: Fault, operations: frozenset[str], *, power: bool) -> None:
        machine = self._machine(fault)
        life = machine.life
        machine.disk.dies = (
            self._chance.randrange(8),
            operations,
            lambda: machine.kill(power=power, life=life),
        )

    async def _power_cut_of_all(self, fault: Fault) -> None:
        for machine in self._world.machines.values():
            machine.kill(power=True)

    async def _death_of_all(self, fault: Fault) -> None:
        for machine in self._world.machines.values():
            machine.kill(power=False)

    async def _clean_restart(self, fault: Fault) -> None:
        await self._machine(fault).stop()

    async def _rolling_restart(self, fault: Fault) -> None:
        for machine in self._world.machines.values():
            await machine.stop()
            for _ in range(100):
                if machine.broker is not None:
                    break
                await asyncio.sleep(0.1)
            await asyncio.sleep(fault.length / 5)

    # The store

    async def _store_cut_from_one(self, fault: Fault) -> None:
        await self._cut_from_store([self._machine(fault)], fault.length)

    async def _store_cut_from_all(self, fault: Fault) -> None:
        self._world.store_is_down = True
        await self._cut_from_store(list(self._world.machines.values()), fault.length)
        self._world.store_is_down = False
        await self._cut_from_store(list(self._world.machines.values()), 0)

    async def _cut_from_store(self, machines: list[Machine], length: float) -> None:
        for machine in machines:
            if machine.store is not None:
                machine.store.cut()
        await asyncio.sleep(length)
        for machine in machines:
            if machine.store is not None:
                machine.store.heal()

    async def _store_slow(self, fault: Fault) -> None:
        machines = list(self._world.machines.values())
        some = self._chance.sample(machines, self._chance.randint(1, len(machines)))
        delay_s = self._chance.choice((0.2, 1.0, 3.0))
        for machine in some:
            if machine.store is not None:
                machine.store.delay_s = delay_s
        await asyncio.sleep(fault.length)
        for machine in some:
            if machine.store is not None:
                machine.store.delay_s = 0.001

    async def _watch_gap(self, fault: Fault) -> None:
        """Changes are forgotten while it is cut off, or simply so."""
        store = self._machine(fault).store
        if store is None:
            return
        store.forget_changes()
        if self._chance.random() < 0.5:
            await self._cut_from_store([self._machine(fault)], min(fault.length, 2.0))

    async def _lease_lost(self, fault: Fault) -> None:
        store = self._machine(fault).store
        if store is not None and store.lease:
            await self._world.store.revoke_lease(store.lease)

    async def _conflicts(self, fault: Fault) -> None:
        """Somebody else writes partitions while others are about to, and changes nothing."""
        world = self._world
        until = world.loop.time() + min(fault.length, 2.0)
        while world.loop.time() < until:
            topic = (await world.image()).topics.get(world.aimed_at)
            for number, state in enumerate(() if topic is None else topic.partitions):
                assert topic is not None
                same = state._replace(partition_epoch=state.partition_epoch + 1)
                key, value = partition_key(topic.topic_id, number, same)
                await world.store.transact([Compare(key, state.revision)], [(key, value)])
            await asyncio.sleep(self._chance.choice((0.01, 0.1)))

    async def _doubts(self, fault: Fault) -> None:
        """Of the next transactions nobody hears whether they were done."""
        for machine in self._world.machines.values():
            if machine.store is not None and self._chance.random() < 0.7:
                count = self._chance.randint(1, 6)
                machine.store.doubts = self._chance.choices(list(Doubt), k=count)

    # The network

    async def _brokers_cut(self, fault: Fault) -> None:
        one, network = self._machine(fault), self._world.network
        other = self._chance.choice(self._others(one))
        network.cut(one.host, other.host)
        await asyncio.sleep(fault.length)
        network.heal(one.host, other.host)

    async def _one_way_cut(self, fault: Fault) -> None:
        """What a broker sends to another, or to all, does not arrive."""
        one, network = self._machine(fault), self._world.network
        others = self._others(one)
        if self._chance.random() < 0.5:
            others = [self._chance.choice(others)]
        for other in others:
            pair = [one.host, other.host]
            self._chance.shuffle(pair)
            network.cut_one_way(*pair, also_new=True)
        await asyncio.sleep(fault.length)
        for other in others:
            network.heal(one.host, other.host)

    async def _isolated_from_brokers(self, fault: Fault) -> None:
        """Clients and the store still reach it."""
        machine = self._leader() if self._chance.random() < 0.7 else self._machine(fault)
        network = self._world.network
        for other in self._others(machine):
            network.cut(machine.host, other.host)
        await asyncio.sleep(fault.length)
        for other in self._others(machine):
            network.heal(machine.host, other.host)

    async def _isolated_and_then_dead(self, fault: Fault) -> None:
        """A leader goes on alone as long as it may, and is gone when the others are back."""
        machine, network = self._leader(), self._world.network
        for other in self._others(machine):
            network.cut(machine.host, other.host)
        await asyncio.sleep(max(fault.length, 2 * self._world.shape.lag_ms / 1_000))
        machine.kill(power=False)
        for other in self._others(machine):
            network.heal(machine.host, other.host)

    async def _flapping(self, fault: Fault) -> None:
        for _ in range(3):
            await self._brokers_cut(fault._replace(length=self._chance.uniform(0.5, 2.0)))
            await asyncio.sleep(self._chance.uniform(0.1, 1.0))

    async def _slow_links(self, fault: Fault) -> None:
        one, network = self._machine(fault), self._world.network
        for other in self._others(one):
            network.slow(one.host, other.host, 600.0)
        await asyncio.sleep(fault.length)
        for other in self._others(one):
            network.slow(one.host, other.host, None)

    async def _clients_cut(self, fault: Fault) -> None:
        machine, network = self._machine(fault), self._world.network
        some = [client for client in self._clients if self._chance.random() < 0.6]
        for client in some:
            network.cut(client, machine.host)
        await asyncio.sleep(fault.length)
        for client in some:
            network.heal(client, machine.host)

    async def _resets(self, fault: Fault) -> None:
        host = self._machine(fault).host
        for link in [each for each in self._world.network.links if host in each.hosts]:
            if self._chance.random() < 0.7:
                link.reset()

    # Stopped, and gone on

    async def _pause(self, fault: Fault) -> None:
        await self._stopped(self._machine(fault), fault.length)

    async def _pause_of_the_leader(self, fault: Fault) -> None:
        """Past its lease, mostly: another leads when it goes on, and it does not know."""
        await self._stopped(self._leader(), max(fault.length, self._chance.choice((1.0, 6.0))))

    async def _stopped(self, machine: Machine, length: float) -> None:
        life = machine.life
        if life is not None and not life.is_stopped:
            life.stop()
            await asyncio.sleep(length)
            if not life.ended:
                life.go_on()

    async def _clock_set(self, fault: Fault) -> None:
        """Forward or back, once and for long."""
        ahead_ms = self._chance.choice((5_000, CLOCK_MS))
        self._machine(fault).clock.put(self._chance.randint(-ahead_ms, ahead_ms))

    # The disk

    async def _disk_full(self, fault: Fault) -> None:
        disk = self._machine(fault).disk
        disk.full = True
        await asyncio.sleep(fault.length)
        disk.full = False

    async def _eio_on_write(self, fault: Fault) -> None:
        await self._fail("pwrite", fault)

    async def _eio_on_sync(self, fault: Fault) -> None:
        await self._fail("sync", fault)

    async def _eio_on_read(self, fault: Fault) -> None:
        await self._fail("pread", fault)

    async def _fail(self, operation: str, fault: Fault) -> None:
        machine = self._machine(fault)
        machine.disk.failing = operation
        await asyncio.sleep(fault.length)
        if machine.disk.failing == operation:
            machine.disk.failing = None
        # An operator sees that a directory is offline, and starts the broker again.
        if machine.broker is not None and machine.broker.logs.some_are_offline:
            machine.kill(power=False)
