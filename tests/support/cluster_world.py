"""Several whole brokers in memory, over one metadata store, with hosts of their own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.support.no_real_world import no_real_world

from ottla.broker.broker import Broker
from ottla.client.cluster_view import ClusterView
from ottla.config.broker_config import BrokerConfig
from ottla.metadata.features import SUPPORTED, Ranges
from ottla.metadata.image import Image
from ottla.model.ids import NO_BROKER, BrokerId
from ottla.storage.memory_disk import MemoryDisk
from ottla.testing.clock import LoopClock
from ottla.testing.loop import VirtualLoop
from ottla.testing.network import MemoryNetwork
from ottla.testing.shared_store import SharedStore, StoreConnection
from ottla.testing.simulated import simulated_system

PORT = 9092
CLIENT = "10.0.1.1"


def host_of(broker_id: BrokerId) -> str:
    return f"10.0.0.{broker_id}"


@dataclass
class ClusterWorld:
    seed: int
    network: MemoryNetwork
    store: SharedStore
    settings: dict[str, str]
    disks: dict[BrokerId, MemoryDisk] = field(default_factory=dict)
    brokers: dict[BrokerId, Broker] = field(default_factory=dict)
    stores: dict[BrokerId, StoreConnection] = field(default_factory=dict)
    """Each broker's way to the store."""
    store_delay_s: float = 0.0
    """How long a transaction takes of a broker that is started from now on."""

    supports: dict[BrokerId, Ranges] = field(default_factory=dict)
    """Feature levels of the build that a broker is of, where it is not this one."""

    starts: int = 0
    failures: list[str] = field(default_factory=list)

    async def start(self, *ids: BrokerId) -> None:
        """Start brokers side by side, each on what its disk has."""
        await asyncio.gather(*(self._start(broker_id) for broker_id in ids))

    async def begin(self, *ids: BrokerId) -> None:
        """Start them, and wait until all know each other and who controls."""
        await self.start(*ids)
        await self.until(
            "all follow one controller",
            lambda: all(
                len(self.image(each).brokers) == len(ids)
                and self.image(each).controller_id != NO_BROKER
                for each in ids
            ),
        )

    async def _start(self, broker_id: BrokerId) -> None:
        assert broker_id not in self.brokers
        self.starts += 1
        host = host_of(broker_id)
        system = simulated_system(self.seed + self.starts, network=self.network, host=host)
        store = self.stores[broker_id] = self.store.connect()
        store.delay_s = self.store_delay_s
        self.brokers[broker_id] = broker = Broker(
            BrokerConfig(
                {
                    "node.id": str(broker_id),
                    "log.dirs": "/data",
                    "listeners": f"PLAINTEXT://{host}:{PORT}",
                    "offsets.topic.num.partitions": "4",
                    "transaction.state.log.num.partitions": "4",
                    **self.settings,
                }
            ),
            system,
            self.disks.setdefault(broker_id, MemoryDisk()),
            lambda directory: store,
            failed=self.failures.append,
            poison=True,
            clustered=True,
        )
        broker.supports = self.supports.get(broker_id, SUPPORTED)
        await broker.start()

    async def stop(self, broker_id: BrokerId) -> None:
        await self.brokers.pop(broker_id).stop()

    def view(self) -> ClusterView:
        """A client's view of the cluster."""
        bootstrap = [(host_of(broker_id), PORT) for broker_id in self.brokers]
        return ClusterView(self.network.host(CLIENT), bootstrap, client_id="test")

    async def until(self, what: str, holds: Callable[[], object], limit_s: float = 60) -> None:
        """Let virtual time pass until something is so."""
        loop = asyncio.get_running_loop()
        end = loop.time() + limit_s
        while not holds():
            assert loop.time() < end, f"never in {limit_s:g} s: {what}"
            await asyncio.sleep(0.02)

    def image(self, broker_id: BrokerId) -> Image:
        return self.brokers[broker_id].follower.image


def simulate(
    program: Callable[[ClusterWorld], Awaitable[None]], *, seed: int = 1, **settings: str
) -> None:
    """Run a program on virtual time, without the real world."""
    named = {name.replace("_", "."): value for name, value in settings.items()}

    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop(), start_ms=0)
        world = ClusterWorld(seed, MemoryNetwork(seed), SharedStore(clock), named)
        await program(world)
        for broker_id in list(world.brokers):
            await world.stop(broker_id)
        assert not world.failures

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed)) as runner:
        runner.get_loop()
        with no_real_world():
            runner.run(main())
