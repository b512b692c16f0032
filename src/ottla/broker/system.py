"""The real world, as the broker's arguments: clocks, threads, randomness, network.

Nothing else in the broker reads a clock, starts a thread, asks the operating
system for randomness or opens a socket. `ottla.testing.simulated` has the same
`System` of virtual parts.
"""

import asyncio
import errno
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ottla.broker.kernel_sync import KernelSyncs
from ottla.broker.slices import run_in_slices
from ottla.broker.thread_lane import ThreadLane
from ottla.model.clock import Clock, Timer
from ottla.model.ids import Uuid
from ottla.model.randomness import Randomness
from ottla.model.workers import FileSyncs, Lane, SteppedJob, StepWorkers
from ottla.net.network import Address, Network, ServerHandle
from ottla.storage.disk import sync_data

if TYPE_CHECKING:
    from ottla.broker.worker_process import WorkerProcess

T = TypeVar("T")
P = TypeVar("P", bound=asyncio.BaseProtocol)

THREADS = {Lane.FSYNC: 32, Lane.READ: 4, Lane.UPKEEP: 1, Lane.CODEC: 2}
"""At most; a lane's threads start when there is work for them."""

BACKLOG = 1_024
"""Connections that wait to be accepted."""

HOSTS = {
    "localhost": ("127.0.0.1", "::1"),
    "": ("0.0.0.0", "::"),
}
"""What a host to listen on stands for; the second is left out where there is no IPv6."""

MOST_SLOW_NS = 3_600 * 10**9
"""A steady clock is slow by no more."""

_NO_SUCH_FAMILY = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_PORT_TRIES = 10


class ClosableWorkers(StepWorkers, Protocol):
    async def close(self) -> None:
        """Take no more jobs, and wait for those under way."""


@dataclass(slots=True)
class System:
    """What a broker needs of the world, disk and metadata store apart."""

    clock: Clock
    """The domain clock: the age of records, transactions."""

    steady_clock: Clock
    """The domain clock as if nobody ever set it: sessions, locks, what is done again and again."""

    transport_clock: Clock
    """The transport clock: time-outs of I/O, idle connections, leases."""

    workers: ClosableWorkers
    randomness: Randomness
    network: Network
    file_syncs: FileSyncs | None = None
    """Syncs files that are descriptors; None: the workers' lane does, as it does anything else."""

    @classmethod
    def real(cls, loop: asyncio.AbstractEventLoop) -> "System":
        workers = ThreadWorkers(loop)
        return cls(
            clock=WallClock(loop),
            steady_clock=SteadyClock(loop),
            transport_clock=MonotonicClock(loop),
            workers=workers,
            randomness=SystemRandomness(),
            network=SocketNetwork(loop),
            file_syncs=workers,
        )


class _LoopTimer:
    """Sleeps for what remains, and looks at the clock again: it may have been set back."""

    __slots__ = ("_callback", "_handle", "_loop", "_now_ms", "_when_ms")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        now_ms: Callable[[], int],
        when_ms: int,
        callback: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._now_ms = now_ms
        self._when_ms = when_ms
        self._callback = callback
        self._arm(when_ms - now_ms())

    def cancel(self) -> None:
        self._handle.cancel()

    def _arm(self, remaining_ms: int) -> None:
        self._handle = self._loop.call_later(max(0, remaining_ms) / 1000, self._fire)

    def _fire(self) -> None:
        remaining_ms = self._when_ms - self._now_ms()
        if remaining_ms > 0:
            self._arm(remaining_ms)
        else:
            self._callback()


class WallClock:
    """Milliseconds since 1970."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def call_at(self, when_ms: int, callback: Callable[[], None], /) -> Timer:
        return _LoopTimer(self._loop, self.now_ms, when_ms, callback)


class SteadyClock:
    """Milliseconds since 1970 by the time of day when it was made, and what has passed since.

    Setting the machine's clock moves no deadline. But where it was more than an hour slow, as at
    the start of a machine that keeps no time, it is followed: what is kept with its time, as
    committed offsets are, would be too old for whoever finds it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ahead_ns = time.time_ns() - time.monotonic_ns()

    def now_ms(self) -> int:
        ahead_ns = time.time_ns() - time.monotonic_ns()
        if ahead_ns - self._ahead_ns > MOST_SLOW_NS:
            self._ahead_ns = ahead_ns
        return (self._ahead_ns + time.monotonic_ns()) // 1_000_000

    def call_at(self, when_ms: int, callback: Callable[[], None], /) -> Timer:
        return _LoopTimer(self._loop, self.now_ms, when_ms, callback)


class MonotonicClock:
    """Milliseconds since some fixed moment; never set back."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def call_at(self, when_ms: int, callback: Callable[[], None], /) -> Timer:
        return _LoopTimer(self._loop, self.now_ms, when_ms, callback)


class ThreadWorkers:
    """A few threads for each lane; a process for what would starve the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lanes: dict[Lane, ThreadLane] = {}
        self._closed = False
        self._process: WorkerProcess | None = None
        self._syncs: KernelSyncs | None = None
        self._kernel_may_sync = True

    def sync(self, fd: int, done: Callable[[OSError | None], object], /) -> None:
        """By the kernel where it does that, else by a thread."""
        if self._closed:
            raise RuntimeError("the workers are closed")
        if self._syncs is None:
            if self._kernel_may_sync:
                try:
                    self._syncs = KernelSyncs(self._loop, self._sync_in_thread)
                except (OSError, NotImplementedError):
                    self._kernel_may_sync = False
            if self._syncs is None:
                self._sync_in_thread(fd, done)
                return
        self._syncs.sync(fd, done)

    def _sync_in_thread(self, fd: int, done: Callable[[OSError | None], object]) -> None:
        def ended(future: asyncio.Future[None]) -> None:
            error = future.exception()
            assert error is None or isinstance(error, OSError), error
            done(error)

        self._lane(Lane.FSYNC).submit(partial(sync_data, fd)).add_done_callback(ended)

    def run_steps(
        self, job: SteppedJob, told: Callable[[Any], bool], bytes_per_second: float, /
    ) -> asyncio.Future[None]:
        if self._closed:
            raise RuntimeError("the workers are closed")
        if not job.may_run_elsewhere:
            return self._loop.create_task(run_in_slices(job, told, bytes_per_second))
        if self._process is None:
            from ottla.broker.worker_process import WorkerProcess  # many brokers never need it

            self._process = WorkerProcess()
        return self._loop.create_task(self._process.run(job, told, bytes_per_second))

    def submit(self, lane: Lane, job: Callable[[], T], /) -> asyncio.Future[T]:
        if self._closed:
            raise RuntimeError("the workers are closed")
        return self._lane(lane).submit(job)

    def _lane(self, lane: Lane) -> ThreadLane:
        threads = self._lanes.get(lane)
        if threads is None:
            name = f"ottla-{lane.value}"
            threads = self._lanes[lane] = ThreadLane(self._loop, THREADS[lane], name)
        return threads

    async def close(self) -> None:
        self._closed = True
        if self._process is not None:
            await self._process.close()
        if self._syncs is not None:
            await self._syncs.close()
        lanes, self._lanes = list(self._lanes.values()), {}
        for threads in lanes:
            await threads.close()


class SystemRandomness:
    """The operating system's."""

    def uuid(self) -> Uuid:
        while True:
            value = bytearray(os.urandom(16))
            value[6] = value[6] & 0x0F | 0x40
            value[8] = value[8] & 0x3F | 0x80
            if value[0] >> 2 != 0b111110:  # its text would begin with a dash
                return bytes(value)

    def below(self, bound: int, /) -> int:
        size = (bound.bit_length() + 7) // 8 + 8  # 8 bytes more: the bias is below 2**-64
        return int.from_bytes(os.urandom(size), "big") % bound


class SocketNetwork:
    """TCP. asyncio sets TCP_NODELAY on every connection, accepted or made."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def listen(
        self, host: str, port: int, protocol_factory: Callable[[], asyncio.BaseProtocol], /
    ) -> ServerHandle:
        hosts = HOSTS.get(host, (host,))
        for _ in range(_PORT_TRIES):
            try:
                return await self._listen(hosts, port, protocol_factory)
            except OSError as error:
                if port != 0 or error.errno != errno.EADDRINUSE:
                    raise
        raise OSError(errno.EADDRINUSE, f"no port is free on all of {', '.join(hosts)}")

    async def connect(
        self, host: str, port: int, protocol_factory: Callable[[], P], /
    ) -> tuple[asyncio.Transport, P]:
        return await self._loop.create_connection(protocol_factory, host, port)

    async def _listen(
        self,
        hosts: tuple[str, ...],
        port: int,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
    ) -> "SocketServer":
        """Listen on every host at one port, the first one's if `port` is 0."""
        server = SocketServer()
        try:
            for host in hosts:
                try:
                    part = await self._loop.create_server(
                        protocol_factory, host, port, backlog=BACKLOG, reuse_address=True
                    )
                except OSError as error:
                    if server.addresses and error.errno in _NO_SUCH_FAMILY:
                        continue
                    raise
                server.add(part)
                port = server.addresses[0].port
        except BaseException:
            server.close()
            raise
        return server


class SocketServer:
    """One port, perhaps on an address of each family."""

    def __init__(self) -> None:
        self._parts: list[asyncio.Server] = []
        self._addresses: list[Address] = []

    @property
    def addresses(self) -> Sequence[Address]:
        return self._addresses

    def add(self, part: asyncio.Server) -> None:
        self._parts.append(part)
        self._addresses += (Address(*sock.getsockname()[:2]) for sock in part.sockets)

    def close(self) -> None:
        for part in self._parts:
            part.close()
