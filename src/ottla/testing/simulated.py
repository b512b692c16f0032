"""The `System` of a simulated world: virtual time, seeded randomness, a network in memory."""

import asyncio

from ottla.broker.system import System
from ottla.model.clock import Clock
from ottla.testing.clock import LoopClock
from ottla.testing.network import LOOPBACK, MemoryNetwork
from ottla.testing.randomness import SeededRandomness
from ottla.testing.workers import SimulatedWorkers


def simulated_system(
    seed: int,
    *,
    clock: Clock | None = None,
    steady_clock: Clock | None = None,
    network: MemoryNetwork | None = None,
    host: str = LOOPBACK,
) -> System:
    """Return the parts of one broker on `host`; to be called on a `VirtualLoop`.

    `clock` is the domain clock, for instance one moved by hand; without it, it
    leaps as the loop does. `steady_clock` is another where `clock` may be set.
    Brokers and clients of one simulation share `network`.
    """
    loop = asyncio.get_running_loop()
    network = network if network is not None else MemoryNetwork(seed)
    clock = clock if clock is not None else LoopClock(loop)
    return System(
        clock=clock,
        steady_clock=steady_clock if steady_clock is not None else clock,
        transport_clock=LoopClock(loop, start_ms=0),
        workers=SimulatedWorkers(loop, seed),
        randomness=SeededRandomness(seed),
        network=network.host(host),
    )
