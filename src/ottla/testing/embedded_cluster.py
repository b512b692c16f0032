"""Several brokers inside the process of a test: real sockets, nothing on disk, clocks that leap.

    with EmbeddedCluster(topics={"rides": 3}) as cluster:
        producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all"})
        ...
        cluster.kill(cluster.leader("rides", 0))  # another broker leads by now
        ...
        cluster.restart(1)
        cluster.wait_in_sync()

They share one metadata store in memory and one thread, so that clients that block may be used;
in a test on a loop `async with` does not hold it up, and what waits goes by `asyncio.to_thread`.
The defaults are those of `ottla serve --dev`.
"""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextvars import Context
from types import TracebackType
from typing import Any, TypeVar

from ottla.broker.broker import Broker
from ottla.broker.system import MonotonicClock, System
from ottla.config.broker_config import BrokerConfig
from ottla.config.development import DEVELOPMENT
from ottla.coordinator.group.history import Rebalance
from ottla.handlers.topics import create_missing
from ottla.metadata.controller import NewTopic
from ottla.metadata.image import Image, PartitionImage
from ottla.model.clock import Clock, Timer
from ottla.model.ids import BrokerId, PartitionId, TopicName
from ottla.storage.memory_disk import MemoryDisk
from ottla.testing.embedded import SETTINGS
from ottla.testing.leaping_clock import LeapingClock
from ottla.testing.mortal_loop import MortalLoop, MortalProcess
from ottla.testing.shared_store import SharedStore, StoreConnection

T = TypeVar("T")

HOST = "127.0.0.1"
MOST_REPLICAS = 3
"""Of a topic that does not say how many, in a cluster that has so many brokers."""

PATIENCE_S = 30.0

log = logging.getLogger("ottla.testing")


class EmbeddedCluster:
    """A context manager, for `with` and `async with`.

    Brokers have ids from 1 on. `settings` are by Kafka's names, `settings_of` those of one
    broker alone, `topics` partition counts.
    """

    def __init__(
        self,
        brokers: int = 3,
        settings: Mapping[str, str] | None = None,
        topics: Mapping[str, int] | None = None,
        *,
        settings_of: Mapping[BrokerId, Mapping[str, str]] | None = None,
    ) -> None:
        shared = {
            **DEVELOPMENT,
            **SETTINGS,
            "default.replication.factor": str(min(brokers, MOST_REPLICAS)),
            **(settings or {}),
        }
        own = settings_of or {}
        self._members = {
            broker_id: _Member(broker_id, {**shared, **own.get(broker_id, {})})
            for broker_id in range(1, brokers + 1)
        }
        self._topics = [NewTopic(name, count, -1, (), {}) for name, count in (topics or {}).items()]
        self._thread = threading.Thread(target=self._run, name="ottla", daemon=True)
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._ahead_ms = 0
        self._burials: set[asyncio.Task[None]] = set()
        self._loop: MortalLoop
        self._store: SharedStore
        self._stopping: asyncio.Event
        self._changed: asyncio.Event

    # Coming and going

    def __enter__(self) -> "EmbeddedCluster":
        """Raises what a broker's start raised."""
        self._thread.start()
        self._started.wait()
        if isinstance(self._failure, BaseExceptionGroup):
            raise self._failure.exceptions[0]
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def __aenter__(self) -> "EmbeddedCluster":
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)

    # What there is

    @property
    def bootstrap(self) -> str:
        """host:port of every broker, those that do not run as well."""
        return ",".join(f"{HOST}:{member.port}" for member in self._members.values())

    @property
    def running(self) -> list[BrokerId]:
        return [member.broker_id for member in self._members.values() if member.broker is not None]

    def address(self, broker_id: BrokerId) -> str:
        """host:port of one broker; it keeps them when it is started again."""
        return f"{HOST}:{self._members[broker_id].port}"

    def leader(self, topic: TopicName, partition: PartitionId = 0) -> BrokerId:
        """Who leads a partition; -1 while nobody does. KeyError if there is no such partition."""
        return self._on_loop(self._partition(topic, partition)).leader

    def in_sync(self, topic: TopicName, partition: PartitionId = 0) -> list[BrokerId]:
        """The ISR of a partition. KeyError if there is no such partition."""
        return sorted(self._on_loop(self._partition(topic, partition)).isr)

    def controller(self) -> BrokerId:
        """Whose broker decides on metadata; -1 while nobody's does."""
        return self._on_loop(self._newest()).controller_id

    # What may happen

    def stop(self, broker_id: BrokerId) -> None:
        """Stop a broker in good order: others lead first."""
        self._on_loop(self._stop(self._members[broker_id]))

    def kill(self, broker_id: BrokerId, *, noticed: bool = True) -> None:
        """End a broker at once; its disk keeps what was written.

        The others know at once that it is gone; if not `noticed`, when its session is over
        (`broker.session.timeout.ms`).
        """
        self._on_loop(self._kill(self._members[broker_id], noticed=noticed))

    def restart(self, broker_id: BrokerId) -> None:
        """Start a broker again, on the same port and disk; stop it first if it runs."""
        self._on_loop(self._restart(self._members[broker_id]))

    def advance(self, by_ms: int) -> None:
        """Let `by_ms` pass on the brokers' clocks: what falls due has been decided on return.

        The leases by which brokers live go by the real clock.
        """
        self._on_loop(self._advance(by_ms))

    def now_ms(self) -> int:
        """The time by the brokers' clocks."""

        async def now_ms() -> int:
            return next(member.clock.now_ms() for member in self._running())

        return self._on_loop(now_ms())

    def rebalances(self, group_id: str) -> list[Rebalance]:
        """The last rebalances of a group and their causes, oldest first, as its coordinator knows."""

        async def found() -> list[Rebalance]:
            for member in self._running():
                assert member.broker is not None
                known = member.call(member.broker.groups.rebalances, group_id)
                if known:
                    return known
            return []

        return self._on_loop(found())

    def wait_in_sync(self, timeout_s: float = PATIENCE_S) -> None:
        """Return when every partition has a leader and all its replicas in the ISR, and every
        broker knows.

        Raises:
            TimeoutError: not in time; replicas on brokers that do not run never are.
        """
        self._on_loop(asyncio.wait_for(self._in_sync(), timeout_s))

    # On the loop

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _run(self) -> None:
        loop = self._loop = MortalLoop()
        try:
            loop.run_until_complete(self._main())
        except BaseException as failure:
            self._failure = failure
        finally:
            loop.close()
            self._started.set()

    async def _main(self) -> None:
        self._store = SharedStore(_NobodysClock(MonotonicClock(self._loop)))
        self._stopping, self._changed = asyncio.Event(), asyncio.Event()
        members = self._members.values()
        try:
            for member in members:
                member.take_port()
            async with asyncio.TaskGroup() as together:
                for member in members:
                    together.create_task(self._start(member))
            await self._create_topics()
            self._started.set()
            await self._stopping.wait()
        finally:
            # Nothing is left that a stop in good order would be good for.
            for member in members:
                await member.kill()
                member.give_port_back()

    async def _start(self, member: "_Member") -> None:
        await member.start(self._loop, self._store, self._ahead_ms, self._failed)
        assert member.broker is not None
        member.broker.follower.add(self._follow)
        self._changed.set()

    def _follow(self, image: Image, delta: object) -> None:
        self._changed.set()

    def _failed(self, member: "_Member", reason: str) -> None:
        """A broker cannot go on: its process ends, as `ottla serve` does."""
        log.error("broker %d gives up: %s", member.broker_id, reason)
        burial = self._loop.create_task(self._kill(member, noticed=True), context=Context())
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)

    async def _create_topics(self) -> None:
        if self._topics:
            member = next(iter(self._running()))
            assert member.broker is not None
            assert member.process is not None
            await member.broker.follower.newest()
            await member.process.begin(create_missing(member.broker.views, self._topics))

    async def _stop(self, member: "_Member") -> None:
        await member.stop()
        self._changed.set()

    async def _kill(self, member: "_Member", *, noticed: bool) -> None:
        lease = await member.kill()
        if noticed and lease:
            await self._store.store.revoke_lease(lease)
            await asyncio.wait_for(self._led_without(member.broker_id), PATIENCE_S)
        self._changed.set()

    async def _restart(self, member: "_Member") -> None:
        await self._stop(member)
        await self._start(member)

    async def _advance(self, by_ms: int) -> None:
        self._ahead_ms += by_ms
        for member in self._running():
            member.call(member.clock.advance, by_ms)

    async def _newest_of_all(self) -> list[Image]:
        """What each broker makes of all that is in the store by now."""
        followers = [m.broker.follower for m in self._members.values() if m.broker is not None]
        return [await follower.newest() for follower in followers]

    async def _newest(self) -> Image:
        images = await self._newest_of_all()
        if not images:
            raise RuntimeError("no broker runs")
        return images[0]

    async def _partition(self, topic: TopicName, partition: PartitionId) -> PartitionImage:
        partitions = (await self._newest()).topics[topic].partitions
        if not 0 <= partition < len(partitions):
            raise KeyError(f"{topic}-{partition}")
        return partitions[partition]

    async def _in_sync(self) -> None:
        while True:
            self._changed.clear()
            images = await self._newest_of_all()
            running = set(self.running)
            if all(
                set(state.replicas) <= set(state.isr) & running and state.leader in running
                for image in images
                for topic in image.topics.values()
                for state in topic.partitions
            ):
                return
            await self._changed.wait()

    async def _led_without(self, dead: BrokerId) -> None:
        """Return once every broker knows that a dead one leads nothing."""
        while True:
            self._changed.clear()
            images = await self._newest_of_all()
            if not any(
                state.leader == dead
                for image in images
                for topic in image.topics.values()
                for state in topic.partitions
            ):
                return
            await self._changed.wait()

    def _running(self) -> "Iterable[_Member]":
        return [member for member in self._members.values() if member.broker is not None]


class _Member:
    """One broker that comes and goes, its disk and its port, which stay."""

    def __init__(self, broker_id: BrokerId, settings: dict[str, str]) -> None:
        self.broker_id = broker_id
        self.port = 0
        self.broker: Broker | None = None
        self.process: MortalProcess | None = None
        self.clock: LeapingClock
        self._settings = settings
        self._disk = MemoryDisk()
        self._held: socket.socket | None = None
        self._system: System
        self._connection: StoreConnection

    def take_port(self) -> None:
        """Have a port that nobody else gets while the broker is away."""
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind((HOST, 0))
        self.port = self._held.getsockname()[1]

    def give_port_back(self) -> None:
        if self._held is not None:
            self._held.close()

    async def start(
        self,
        loop: MortalLoop,
        store: SharedStore,
        ahead_ms: int,
        failed: "Callable[[_Member, str], None]",
    ) -> None:
        """Start on what the disk has. Raises: as `Broker.start`."""
        process = self.process = MortalProcess(loop)
        self._system = System.real(loop)
        self.clock = LeapingClock(self._system.clock)
        self._system.clock = self._system.steady_clock = self.clock
        self.clock.advance(ahead_ms)
        connection = self._connection = store.connect()
        broker = Broker(
            BrokerConfig(
                {
                    **self._settings,
                    "node.id": str(self.broker_id),
                    "listeners": f"PLAINTEXT://{HOST}:{self.port}",
                }
            ),
            self._system,
            self._disk,
            lambda directory: connection,
            failed=lambda reason: failed(self, reason),
            clustered=True,
        )
        await process.begin(broker.start())
        self.broker = broker

    async def stop(self) -> None:
        broker, process = self.broker, self.process
        if broker is not None and process is not None:
            self.broker = None
            await process.begin(broker.stop())
            process.kill()

    async def kill(self) -> int:
        """Return the lease that the broker lived by; 0, it did not run."""
        broker, process = self.broker, self.process
        self.broker = None
        if process is None or process.is_dead:
            return 0
        self._connection.cut()
        self._disk = self._disk.left_by_the_dead()
        process.kill()
        await self._system.workers.close()
        return 0 if broker is None or broker.cluster is None else broker.cluster.membership.lease

    def call(self, work: Callable[..., T], *arguments: Any) -> T:
        """Have the broker's process do this now."""
        assert self.process is not None
        return self.process.call(lambda: work(*arguments))


class _NobodysClock:
    """Timers outlive the process that set them: a lease runs out when its broker is dead."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def call_at(self, when_ms: int, callback: Callable[[], None], /) -> Timer:
        return Context().run(self._clock.call_at, when_ms, callback)
