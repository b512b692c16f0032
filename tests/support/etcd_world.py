"""A store, a client and etcds played by the test, on virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.support.fake_etcd import FakeEtcd, ok

from ottla.metadata.etcd_client import EtcdClient
from ottla.metadata.etcd_messages import Keys
from ottla.metadata.etcd_options import EtcdOptions
from ottla.metadata.etcd_watch import Watch
from ottla.metadata.store_etcd import EtcdStore
from ottla.testing.clock import LoopClock
from ottla.testing.loop import run
from ottla.testing.network import MemoryNetwork

T = TypeVar("T")

HERE = "10.0.0.1"
PREFIX = "/ottla/"

MAX_SECONDS = 10_000
"""Of virtual time: timers that come again and again would let a test hang otherwise."""


class EtcdWorld:
    """Members at 10.0.0.11, 12, ... on a network that cuts bytes as `seed` says."""

    def __init__(self, members: int, seed: int) -> None:
        self.network = MemoryNetwork(seed, max_piece=100)
        self.loop = asyncio.get_running_loop()
        self.clock = LoopClock(self.loop)
        self.hosts = [f"10.0.0.{11 + n}" for n in range(members)]
        self._to_close: list[EtcdClient | EtcdStore] = []
        self.etcds = [FakeEtcd(lambda path, body: None) for _ in self.hosts]

    async def begin(self) -> None:
        for host, etcd in zip(self.hosts, self.etcds, strict=True):
            await etcd.listen(self.network.host(host), host, 2379)

    async def end(self) -> None:
        for each in self._to_close:
            await each.close()
        for etcd in self.etcds:
            etcd.end()

    def options(self, **changes: Any) -> EtcdOptions:
        return EtcdOptions(**({"endpoints": self.hosts, "prefix": PREFIX} | changes))

    def client(self, **changes: Any) -> EtcdClient:
        client = EtcdClient(self.options(**changes), self.network.host(HERE), self.clock)
        self._to_close.append(client)
        return client

    def store(self, **changes: Any) -> EtcdStore:
        store = EtcdStore(self.options(**changes), self.network.host(HERE), self.clock)
        self._to_close.append(store)
        return store

    def watch(self, client: EtcdClient, after_revision: int) -> Watch:
        return Watch(client, Keys(PREFIX), after_revision)

    def seconds(self) -> float:
        return self.loop.time()


def play(
    case: Callable[[EtcdWorld], Coroutine[Any, Any, T]], *, members: int = 1, seed: int = 0
) -> T:
    """Run a case in a world of its own."""

    async def begun() -> T:
        world = EtcdWorld(members, seed)
        await world.begin()
        try:
            async with asyncio.timeout(MAX_SECONDS):
                return await case(world)
        finally:
            await world.end()

    return run(begun(), seed)


def always(answer: dict[str, Any]) -> Callable[[str, Any], bytes]:
    return lambda path, body: ok(answer)
