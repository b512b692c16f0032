"""The store in memory: for `--memory`, tests and simulation.

What it holds (`MemoryDatabase`) is apart from the store that serves it, so that
it outlives a broker that is stopped and started again.
"""

from collections.abc import AsyncIterator, Iterable, Mapping

from ottla.metadata.store import (
    NO_LIMIT,
    Changes,
    Compare,
    KeyVersion,
    LeaseId,
    LeaseNotFoundError,
    Put,
    Revision,
    RevisionKind,
    Snapshot,
    TransactResult,
)
from ottla.metadata.store_feed import Feed
from ottla.metadata.store_leases import Leases
from ottla.metadata.store_request import Request
from ottla.model.clock import Clock
from ottla.model.errors import StorageError


class MemoryDatabase:
    """The keys, and the leases by their time to live."""

    def __init__(self) -> None:
        self.revision: Revision = 0
        self.items: dict[str, bytes] = {}
        self.versions: dict[str, KeyVersion] = {}
        self.lease_of: dict[str, LeaseId] = {}
        self.leases: dict[LeaseId, int] = {}
        self.last_lease: LeaseId = 0

    def holds(self, compare: Compare) -> bool:
        version = self.versions.get(compare.key)
        if version is None:
            return compare.revision == 0
        if compare.kind is RevisionKind.CREATED:
            return version.create_revision == compare.revision
        return version.mod_revision == compare.revision

    def apply(self, request: Request) -> Changes | None:
        """Change the keys; None when there was nothing to do."""
        deletes = tuple(key for key in request.deletes if key in self.items)
        if not request.puts and not deletes:
            return None
        self.revision += 1
        for key in deletes:
            del self.items[key], self.versions[key]
            self.lease_of.pop(key, None)
        return Changes(
            self.revision,
            tuple(self._put(key, value, request.leases.get(key)) for key, value in request.puts),
            deletes,
        )

    def _put(self, key: str, value: bytes, lease: LeaseId | None) -> Put:
        old = self.versions.get(key)
        created = self.revision if old is None else old.create_revision
        self.items[key] = value
        self.versions[key] = KeyVersion(created, self.revision)
        if lease is None:
            self.lease_of.pop(key, None)
        else:
            self.lease_of[key] = lease
        return Put(key, value, created)


class MemoryStore:
    """A `Store` over a database that nobody else changes while it is open."""

    max_keys = NO_LIMIT
    identity = ""

    def __init__(self, clock: Clock, database: MemoryDatabase | None = None) -> None:
        self._database = database if database is not None else MemoryDatabase()
        self._feed = Feed(self._database.revision)
        self._leases = Leases(clock, self._end_lease)
        for lease, ttl_ms in self._database.leases.items():
            self._leases.start(lease, ttl_ms)
        self._closed = False

    async def load(self) -> Snapshot:
        self._check_open()
        database = self._database
        keys = sorted(database.items)
        return Snapshot(
            database.revision,
            {key: database.items[key] for key in keys},
            {key: database.versions[key] for key in keys},
        )

    def watch(self, after_revision: Revision, /) -> AsyncIterator[Changes]:
        return self._feed.watch(after_revision)

    async def transact(
        self,
        compare: Iterable[Compare],
        puts: Iterable[tuple[str, bytes]],
        deletes: Iterable[str] = (),
        *,
        leases: Mapping[str, LeaseId] | None = None,
    ) -> TransactResult:
        self._check_open()
        request = Request.checked(compare, puts, deletes, leases)
        return self._transact(request)

    async def compact(self, revision: Revision, /) -> None:
        self._check_open()
        self._feed.forget(revision)

    async def grant_lease(self, ttl_ms: int, /) -> LeaseId:
        self._check_open()
        self._database.last_lease += 1
        lease = self._database.last_lease
        self._database.leases[lease] = ttl_ms
        self._leases.start(lease, ttl_ms)
        return lease

    async def keep_alive(self, lease: LeaseId, /) -> None:
        self._check_open()
        self._leases.keep_alive(lease)

    async def revoke_lease(self, lease: LeaseId, /) -> None:
        self._check_open()
        self._leases.end(lease)
        self._end_lease(lease)

    async def close(self) -> None:
        self._closed = True
        self._leases.close()
        self._feed.close()

    def _transact(self, request: Request) -> TransactResult:
        database = self._database
        if not all(database.holds(compare) for compare in request.compare):
            return TransactResult(False, database.revision)
        for lease in request.leases.values():
            if lease not in database.leases:
                raise LeaseNotFoundError(f"lease {lease} has run out or was revoked")
        changes = database.apply(request)
        if changes is not None:
            self._feed.publish(changes)
        return TransactResult(True, database.revision)

    def _end_lease(self, lease: LeaseId) -> None:
        if self._database.leases.pop(lease, None) is None:
            return
        keys = sorted(key for key, held in self._database.lease_of.items() if held == lease)
        self._transact(Request((), (), tuple(keys), {}))

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError("the metadata store is closed")
