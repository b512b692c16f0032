"""One metadata store for several brokers in one process, as etcd is for several machines."""

from collections.abc import AsyncIterator, Iterable, Mapping

from ottla.metadata.store import Changes, Compare, LeaseId, Revision, Snapshot, TransactResult
from ottla.metadata.store_memory import MemoryStore
from ottla.model.clock import Clock


class SharedStore:
    """What all of them share; `connect` gives each its own `Store`, which it may close."""

    def __init__(self, clock: Clock) -> None:
        """`clock` is the transport clock, which ends leases."""
        self.store = MemoryStore(clock)

    def connect(self) -> "StoreConnection":
        return StoreConnection(self.store)


class StoreConnection:
    """A `Store` over one that others use, too."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._watches: list[AsyncIterator[Changes]] = []

    @property
    def max_keys(self) -> int:
        return self._store.max_keys

    async def load(self) -> Snapshot:
        return await self._store.load()

    def watch(self, after_revision: Revision, /) -> AsyncIterator[Changes]:
        return self._store.watch(after_revision)

    async def transact(
        self,
        compare: Iterable[Compare],
        puts: Iterable[tuple[str, bytes]],
        deletes: Iterable[str] = (),
        *,
        leases: Mapping[str, LeaseId] | None = None,
    ) -> TransactResult:
        return await self._store.transact(compare, puts, deletes, leases=leases)

    async def grant_lease(self, ttl_ms: int, /) -> LeaseId:
        return await self._store.grant_lease(ttl_ms)

    async def keep_alive(self, lease: LeaseId, /) -> None:
        await self._store.keep_alive(lease)

    async def revoke_lease(self, lease: LeaseId, /) -> None:
        await self._store.revoke_lease(lease)

    async def close(self) -> None:
        pass
