"""One machine of a cluster: a disk, a host, and a broker that comes and goes."""

import asyncio
import random
from typing import TYPE_CHECKING, Any

from tools.simulation.cluster.store import StoreLink
from tools.simulation.disk import SimulatedDisk

from ottla.broker.broker import Broker
from ottla.config.broker_config import BrokerConfig
from ottla.model.errors import ApiError, PeerError, StorageError
from ottla.storage.roots import LogsError
from ottla.testing.clock import LoopClock
from ottla.testing.lives import Life
from ottla.testing.simulated import simulated_system
from ottla.testing.workers import SimulatedWorkers

if TYPE_CHECKING:
    from tools.simulation.cluster.world import ClusterWorld

PORT = 9092
TOPIC = "t"
START_LIMIT_S = 60.0
STOP_LIMIT_S = 90.0


class Machine:
    """Made on a virtual loop."""

    def __init__(self, world: "ClusterWorld", broker_id: int) -> None:
        self.id = broker_id
        self.host = f"10.0.0.{broker_id}"
        self.world = world
        self.chance = random.Random(f"machine {broker_id} {world.seed}")
        self.disk = SimulatedDisk(self.chance)
        self.clock = LoopClock(world.loop)
        """What the machine takes for the time of day."""
        self._steady_clock = LoopClock(world.loop)
        self.disk.now_ms = self.clock.now_ms
        self.store: StoreLink | None = None
        self.broker: Broker | None = None
        self._starting: Broker | None = None
        """It may be in sync before its start is over."""
        self.life: Life | None = None
        self.died = asyncio.Event()
        self.died.set()
        self.starts = 0
        self.left: dict[int, int | None] = {}
        """Where each log of the topic ended when the broker was last there; None: nobody knows."""
        self.is_stopping = False

    async def start(self) -> bool:
        """Start a broker on what there is; False if it died or failed meanwhile."""
        assert self.life is None
        world = self.world
        self.starts += 1
        life = self.life = Life(world.loop)
        self.died.clear()
        world.network.boot(self.host)
        starting = world.loop.create_task(self._start(), context=life.context.copy())
        if await self._or_death(starting, START_LIMIT_S) and not life.ended:
            try:
                starting.result()
            except (LogsError, StorageError, PeerError, ApiError, OSError) as error:
                world.trace(f"broker {self.id} did not start: {error}")
            else:
                return True
        self.kill(power=False, life=life)
        return False

    async def _or_death(self, task: "asyncio.Task[Any]", limit_s: float) -> bool:
        dying = self.world.loop.create_task(self.died.wait())
        await asyncio.wait((task, dying), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        dying.cancel()
        return task.done()

    async def _start(self) -> None:
        world, shape = self.world, self.world.shape
        seed = world.seed * 1_000 + self.id * 100 + self.starts
        system = simulated_system(
            seed,
            clock=self.clock,
            steady_clock=self._steady_clock,
            network=world.network,
            host=self.host,
        )
        system.workers = SimulatedWorkers(world.loop, seed, max_duration_ms=shape.job_ms)
        store = self.store = StoreLink(world.store, self.chance)
        if world.store_is_down:
            store.cut()
        self._starting = broker = Broker(
            BrokerConfig(
                {
                    "node.id": str(self.id),
                    "log.dirs": "/data",
                    "listeners": f"PLAINTEXT://{self.host}:{PORT}",
                    **shape.settings,
                }
            ),
            system,
            self.disk,
            lambda directory: store,
            failed=self._failed,
            poison=True,
            clustered=True,
        )
        await broker.start()
        self.broker = broker

    def _failed(self, reason: str) -> None:
        self.world.trace(f"broker {self.id} gives up: {reason}")
        self.world.loop.call_later(0.01, self.kill, False, self.life)

    def kill(self, power: bool, life: Life | None = None, *, clean: bool = False) -> None:
        """End the process, or the whole machine, at once; harmless when it is not running."""
        if self.life is None or (life is not None and life is not self.life):
            return
        world = self.world
        world.trace(f"{world.loop.time():.6f} broker {self.id} {'power cut' if power else 'death'}")
        for number, log in self.logs().items():
            self.left[number] = log.log_end_offset
            if power:
                # Within a truncation the recovery point is lower than what is on disk.
                flushed = log.flushed_end_offset
                known = world.shape.durable and flushed >= log.high_watermark
                self.left[number] = flushed if known else None
        if not clean:
            world.history.deaths.append(world.loop.time())
        self.life.end()
        world.network.die(self.host, silently=power)
        self.disk.dies = None
        if power:
            self.disk.power_cut()
        else:
            self.disk.process_death()
        self.life = self.broker = self._starting = self.store = None
        self.died.set()

    async def stop(self) -> bool:
        """Stop the broker in good order; False if it died instead."""
        broker, life = self.broker, self.life
        if broker is None or life is None or self.is_stopping:
            return False
        self.is_stopping = True
        stopping = self.world.loop.create_task(broker.stop(), context=life.context.copy())
        ended = await self._or_death(stopping, STOP_LIMIT_S)
        self.is_stopping = False
        clean = ended and not life.ended and stopping.exception() is None
        if not ended and not life.ended and not life.is_stopped:
            self.world.history.stuck.append(f"broker {self.id} did not stop")
        self.kill(power=False, life=life, clean=clean)
        return clean

    def logs(self) -> dict[int, Any]:
        """The logs of the topic, by partition."""
        if self._starting is None or not hasattr(self._starting, "replicas"):
            return {}
        return {each.partition: each.log for each in self._starting.replicas.of_topic(TOPIC)}

    def ends(self) -> dict[int, int | None]:
        """Where they end, of a broker that is not there, too."""
        logs = self.logs()
        if self.broker is None and not logs:
            return dict(self.left)
        return {number: log.log_end_offset for number, log in logs.items()}
