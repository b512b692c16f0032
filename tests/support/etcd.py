"""A real etcd for tests, where there is one, a store on it, and who follows a watch."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from tools.subject.etcd import Etcd

from ottla.broker.system import MonotonicClock, SocketNetwork
from ottla.cli.etcd_binary import EtcdBinary, EtcdNotFoundError, find_etcd
from ottla.metadata.etcd_options import EtcdOptions
from ottla.metadata.store import Changes, Snapshot
from ottla.metadata.store_etcd import EtcdStore
from ottla.model.errors import PeerError

PREFIXES = count()


def etcd_or_skip(members: int = 1, *, scheme: str = "http", extra: Sequence[str] = ()) -> Etcd:
    """Return an etcd, not started yet; skip the test where none is found, but fail in CI."""
    return Etcd(members, scheme=scheme, extra=extra, binary=binary_or_skip())


def binary_or_skip() -> EtcdBinary:
    """Return which etcd is run; skip the test where none is found, but fail in CI."""
    try:
        return find_etcd()
    except EtcdNotFoundError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


def options(etcd: Etcd, **changes: Any) -> EtcdOptions:
    values: dict[str, Any] = {
        "endpoints": etcd.endpoints,
        "prefix": f"/test/{next(PREFIXES)}",
        "attempt_timeout_ms": 500,
        "progress_interval_ms": 50,
        "watch_timeout_ms": 500,
    }
    return EtcdOptions(**(values | changes))


@asynccontextmanager
async def opened(given: EtcdOptions) -> AsyncIterator[EtcdStore]:
    """A store that etcd has answered."""
    loop = asyncio.get_running_loop()
    store = EtcdStore(given, SocketNetwork(loop), MonotonicClock(loop))
    try:
        await store.load()
        yield store
    finally:
        await store.close()


class Follower:
    """What a watch brought, applied; `reached` waits for a revision."""

    def __init__(self, store: EtcdStore, snapshot: Snapshot) -> None:
        self.items = dict(snapshot.items)
        self.revisions = [snapshot.revision]
        self.changes: list[Changes] = []
        self._moved = asyncio.Event()
        self._task = asyncio.ensure_future(self._follow(store))

    async def _follow(self, store: EtcdStore) -> None:
        try:
            async for changes in store.watch(self.revisions[-1]):
                assert changes.revision > self.revisions[-1]
                self.revisions.append(changes.revision)
                self.changes.append(changes)
                for key in changes.deletes:
                    del self.items[key]
                self.items |= {put.key: put.value for put in changes.puts}
                self._moved.set()
        finally:
            self._moved.set()

    async def reached(self, revision: int) -> None:
        async with asyncio.timeout(20):
            while self.revisions[-1] < revision:
                if self._task.done():
                    self._task.result()
                    raise AssertionError("the watch ended")
                self._moved.clear()
                await self._moved.wait()

    async def failure(self) -> BaseException | None:
        async with asyncio.timeout(20):
            await asyncio.wait([self._task])
        return self._task.exception()


async def follower_of(store: EtcdStore) -> Follower:
    return Follower(store, await store.load())


async def until_done(attempt: Callable[[], Awaitable[Any]]) -> Any:
    """Try again while etcd does not answer."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await attempt()
            except PeerError:
                await asyncio.sleep(0)
