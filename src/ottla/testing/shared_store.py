"""One metadata store for several brokers in one process, as etcd is for several machines."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping

from ottla.metadata.store import Changes, Compare, LeaseId, Revision, Snapshot, TransactResult
from ottla.metadata.store_memory import MemoryStore
from ottla.model.clock import Clock
from ottla.model.errors import PeerError


class SharedStore:
    """What all of them share; `connect` gives each its own `Store`, which it may close."""

    def __init__(self, clock: Clock) -> None:
        """`clock` is the transport clock, which ends leases."""
        self.store = MemoryStore(clock)

    def connect(self) -> "StoreConnection":
        return StoreConnection(self.store)


class StoreConnection:
    """A `Store` over one that others use, too; it can be cut off from it."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._reaches = asyncio.Event()
        self._reaches.set()
        self.delay_s = 0.0
        """How long a transaction takes."""

    def cut(self) -> None:
        """Reach the store no more: every call fails, and the watches are silent."""
        self._reaches.clear()

    def heal(self) -> None:
        """Reach it again; the watches go on where they were."""
        self._reaches.set()

    @property
    def identity(self) -> str:
        return self._store.identity

    @property
    def max_keys(self) -> int:
        return self._store.max_keys

    async def load(self) -> Snapshot:
        self._reach()
        return await self._store.load()

    async def watch(self, after_revision: Revision, /) -> AsyncIterator[Changes]:
        async for changes in self._store.watch(after_revision):
            await self._reaches.wait()
            yield changes

    async def transact(
        self,
        compare: Iterable[Compare],
        puts: Iterable[tuple[str, bytes]],
        deletes: Iterable[str] = (),
        *,
        leases: Mapping[str, LeaseId] | None = None,
    ) -> TransactResult:
        self._reach()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        return await self._store.transact(compare, puts, deletes, leases=leases)

    async def compact(self, revision: Revision, /) -> None:
        self._reach()
        await self._store.compact(revision)

    async def grant_lease(self, ttl_ms: int, /) -> LeaseId:
        self._reach()
        return await self._store.grant_lease(ttl_ms)

    async def keep_alive(self, lease: LeaseId, /) -> None:
        self._reach()
        await self._store.keep_alive(lease)

    async def revoke_lease(self, lease: LeaseId, /) -> None:
        self._reach()
        await self._store.revoke_lease(lease)

    async def close(self) -> None:
        pass

    def _reach(self) -> None:
        if not self._reaches.is_set():
            raise PeerError("the metadata store cannot be reached")
