"""A broker inside the process of a test: real sockets, nothing on disk, a clock that leaps.

    with EmbeddedBroker(topics={"rides": 3}) as broker:
        consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "billing"})
        ...
        broker.advance(45_000)  # sessions and transactions time out now
        broker.rebalances("billing")[-1].causes

It runs in a thread of its own, so that clients that block may be used. The defaults are those of
`ottla serve --dev`.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TypeVar

from ottla.broker.broker import Broker
from ottla.broker.system import System
from ottla.config.broker_config import BrokerConfig
from ottla.config.development import DEVELOPMENT
from ottla.coordinator.group.history import Rebalance
from ottla.metadata.controller import NewTopic
from ottla.metadata.store_memory import MemoryStore
from ottla.storage.memory_disk import MemoryDisk
from ottla.testing.leaping_clock import LeapingClock

T = TypeVar("T")

SETTINGS = {
    "log.dirs": "/ottla-memory",
    "listeners": "PLAINTEXT://127.0.0.1:0",
    # Few of the internal topics' partitions are ever used.
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.num.partitions": "1",
}


class EmbeddedBroker:
    """A context manager. `settings` are by Kafka's names, `topics` are partition counts."""

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        topics: Mapping[str, int] | None = None,
    ) -> None:
        self._settings = {**DEVELOPMENT, **SETTINGS, **(settings or {})}
        self._topics = [NewTopic(name, count, -1, (), {}) for name, count in (topics or {}).items()]
        self._thread = threading.Thread(target=self._run, name="ottla", daemon=True)
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._broker: Broker
        self._clock: LeapingClock

    def __enter__(self) -> "EmbeddedBroker":
        """Raises what the broker's start raised."""
        self._thread.start()
        self._started.wait()
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

    @property
    def bootstrap(self) -> str:
        """host:port for clients."""
        host, port = self._broker.listening[0].address
        return f"{host}:{port}"

    def advance(self, by_ms: int) -> None:
        """Let `by_ms` pass on the broker's clock: what falls due has been decided on return."""
        self._on_loop(lambda: self._clock.advance(by_ms))

    def now_ms(self) -> int:
        """The time by the broker's clock."""
        return self._on_loop(lambda: self._clock.now_ms())

    def rebalances(self, group_id: str) -> list[Rebalance]:
        """The last rebalances of a group and their causes, oldest first."""
        return self._on_loop(lambda: self._broker.groups.rebalances(group_id))

    def _on_loop(self, work: Callable[[], T]) -> T:
        async def task() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(task(), self._loop).result()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as failure:
            self._failure = failure
        finally:
            self._started.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        system = System.real(self._loop)
        self._clock = system.clock = system.steady_clock = LeapingClock(system.clock)
        self._broker = Broker(
            BrokerConfig(self._settings),
            system,
            MemoryDisk(),
            lambda directory: MemoryStore(system.transport_clock),
            topics=self._topics,
        )
        try:
            await self._broker.start()
            self._started.set()
            await self._stopping.wait()
        finally:
            await self._broker.stop()
