"""The store of a cluster: etcd, below a prefix, through its JSON gateway.

Revisions are etcd's own, so other users of the same etcd raise them, too, and
an empty store need not be at 0. The changes of a transaction reach the watches
after `transact` returned; who needs them waits for a watch to reach the
revision. That it does, although the revision may be another user's, is what
the progress key is for: when a watch lags for longer than a look ago, the store
puts that key, and the watch sees it in order like any other change.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterable, Mapping

from ottla.metadata.etcd_client import EtcdClient
from ottla.metadata.etcd_errors import NOT_FOUND, RESOURCE_EXHAUSTED, EtcdError
from ottla.metadata.etcd_messages import (
    PROGRESS_KEY,
    JsonObject,
    Keys,
    header,
    operation_count,
    request_size,
)
from ottla.metadata.etcd_options import EtcdOptions
from ottla.metadata.etcd_quorum import quorum
from ottla.metadata.etcd_watch import Watch
from ottla.metadata.quorum import Quorum
from ottla.metadata.store import (
    Changes,
    Compare,
    KeyVersion,
    LeaseId,
    LeaseNotFoundError,
    Revision,
    Snapshot,
    TooLargeError,
    TransactResult,
)
from ottla.metadata.store_request import Request
from ottla.model.clock import Clock
from ottla.model.errors import PeerError, StorageError
from ottla.net.network import Network

MAX_OPERATIONS = 128
"""Of one transaction, compares and changes each: etcd's `--max-txn-ops`."""

MAX_REQUEST_BYTES = 1_500_000
"""Of one transaction: etcd's `--max-request-bytes` (1.5 MiB) without its own overhead."""

FIRST_PAGE_KEYS = 20
PAGE_KEYS = 1_000
PAGE_BYTES = 1 << 20
"""Loaded at once: a few keys first, then as many as, by the last page, come to so many bytes."""

KEY_BYTES = 100
"""What a key takes beside its value, roughly."""

LOADS = 5
"""How often a load begins anew because its revision was compacted meanwhile."""

_UNSOUND = re.compile(r"3\.5\.[012]$")
"""Versions of etcd whose makers warn of them: killed under load, they may lose consistency."""

log = logging.getLogger("ottla.metadata")


class EtcdStore:
    """A `Store`, used by one event loop."""

    max_keys = MAX_OPERATIONS // 2 - 1

    def __init__(
        self,
        options: EtcdOptions,
        network: Network,
        clock: Clock,
    ) -> None:
        """`clock` (transport) rules the deadlines; nothing is connected to before the first call.

        What an earlier life of this broker knew of etcd, the broker compares with what is loaded
        (`broker/metadata_copy.py`): it alone knows whether the metadata was rebuilt meanwhile.

        Raises:
            ValueError: an endpoint is not a URL, or the prefix is empty.
            StorageError: a file for TLS cannot be used.
        """
        self._options = options
        self._clock = clock
        self._keys = Keys(options.prefix)
        self._client = EtcdClient(options, network, clock)
        self._watches: set[Watch] = set()
        self._looking: asyncio.Task[None] | None = None
        self._knows_version = False

    @property
    def cluster_id(self) -> int | None:
        """etcd's id of itself, once it has answered."""
        return self._client.lineage.cluster_id

    @property
    def identity(self) -> str:
        return "" if self.cluster_id is None else f"{self.cluster_id:x}"

    @property
    def revision(self) -> Revision:
        """The highest revision that any answer told so far."""
        return self._client.lineage.revision

    @property
    def failures(self) -> Mapping[str, str]:
        """Why each endpoint that failed last time did so."""
        return {str(at): why for at, why in self._client.endpoints.failures.items()}

    async def version(self) -> str:
        """Return the version of the member of etcd that is asked at the moment."""
        answer = await self._call("maintenance/status", {}, is_linearizable=False)
        return str(answer.get("version", ""))

    async def quorum(self) -> Quorum:
        """Return etcd's members, as whichever of them is asked knows them. Raises PeerError."""
        listed = await self._call("cluster/member/list", {}, is_linearizable=False)
        status = await self._call("maintenance/status", {}, is_linearizable=False)
        return quorum(listed, status)

    async def load(self) -> Snapshot:
        for _ in range(LOADS):
            try:
                snapshot = await self._load()
            except EtcdError as error:
                if not error.is_compacted:
                    raise
                continue
            if not self._knows_version:
                await self._warn_of_version()
            return snapshot
        raise PeerError(f"etcd compacted its history {LOADS} times while it was loaded")

    async def watch(self, after_revision: Revision, /) -> AsyncIterator[Changes]:
        watch = Watch(self._client, self._keys, after_revision)
        self._watches.add(watch)
        if self._looking is None and not self._client.is_closed:
            self._looking = asyncio.get_running_loop().create_task(self._look_now_and_then())
        try:
            async for changes in watch.changes():
                yield changes
        finally:
            self._watches.discard(watch)

    async def transact(
        self,
        compare: Iterable[Compare],
        puts: Iterable[tuple[str, bytes]],
        deletes: Iterable[str] = (),
        *,
        leases: Mapping[str, LeaseId] | None = None,
    ) -> TransactResult:
        request = Request.checked(compare, puts, deletes, leases)
        _check_size(request)
        try:
            answer = await self._call("kv/txn", self._keys.transaction(request), may_repeat=False)
        except EtcdError as error:
            if error.code == NOT_FOUND and request.leases:
                raise LeaseNotFoundError("a lease has run out or was revoked") from error
            if error.is_too_large:
                raise TooLargeError(error.message) from error
            raise
        return TransactResult(answer.get("succeeded", False), header(answer).revision)

    async def grant_lease(self, ttl_ms: int, /) -> LeaseId:
        """Return a new lease. etcd counts in seconds: `ttl_ms` is rounded up, to 2 s at least."""
        answer = await self._call(
            "lease/grant", {"TTL": str(-(-ttl_ms // 1_000))}, is_linearizable=False
        )
        return int(answer["ID"])

    async def keep_alive(self, lease: LeaseId, /) -> None:
        answer = await self._call("lease/keepalive", {"ID": str(lease)}, is_linearizable=False)
        if int(answer.get("TTL", 0)) <= 0:
            raise LeaseNotFoundError(f"lease {lease} has run out or was revoked")

    async def revoke_lease(self, lease: LeaseId, /) -> None:
        try:
            await self._call("lease/revoke", {"ID": str(lease)}, is_linearizable=False)
        except EtcdError as error:
            if error.code != NOT_FOUND:
                raise

    async def compact(self, revision: Revision, /) -> None:
        """Every user of this etcd finds the changes before `revision` forgotten."""
        try:
            await self._call("kv/compaction", {"revision": str(revision)})
        except EtcdError as error:
            if not error.is_compacted:
                raise

    async def close(self) -> None:
        await self._client.close()
        if self._looking is not None:
            await self._looking

    async def _warn_of_version(self) -> None:
        try:
            version = await self.version()
        except PeerError as error:
            log.debug("etcd does not say its version: %s", error)
            return
        self._knows_version = True
        if _UNSOUND.match(version):
            log.warning(
                "etcd %s can lose consistency when it is killed: use 3.5.3 or later", version
            )

    async def _load(self) -> Snapshot:
        items: dict[str, bytes] = {}
        versions: dict[str, KeyVersion] = {}
        start, revision, limit = self._keys.encode(""), 0, FIRST_PAGE_KEYS
        while True:
            try:
                answer = await self._call("kv/range", self._keys.range(start, limit, revision))
            except EtcdError as error:
                if error.code != RESOURCE_EXHAUSTED or limit == 1:
                    raise
                limit = max(1, limit // 10)
                continue
            revision = revision or header(answer).revision
            page = self._keys.page(answer)
            items.update(page.items)
            versions.update(page.versions)
            if not page.more:
                break
            start = self._keys.after(next(reversed(page.items)))
            size = sum(map(len, page.items.values())) // len(page.items) + KEY_BYTES
            limit = max(1, min(PAGE_KEYS, PAGE_BYTES // size))
        items.pop(PROGRESS_KEY, None)
        versions.pop(PROGRESS_KEY, None)
        return Snapshot(revision, items, versions)

    async def _look_now_and_then(self) -> None:
        """Learn how far etcd is, even when nobody asks it anything, and help watches that lag."""
        answers = 0
        while not self._client.is_closed:
            revision = self._client.lineage.revision
            await self._client.pause(self._options.progress_interval_ms)
            try:
                if self._client.answers == answers:
                    await self._call("kv/range", self._keys.range(self._keys.encode(""), 1, 0))
                answers = self._client.answers
                await self._help(revision)
            except StorageError:  # each watch is to raise it, too
                for watch in self._watches:
                    watch.abort()
                return
            except PeerError as error:
                log.debug("etcd cannot be asked how far it is: %s", error)

    async def _help(self, revision: Revision) -> None:
        """Put the progress key for the watches that have not come to `revision`."""
        now_ms, timeout_ms = self._clock.now_ms(), self._options.watch_timeout_ms
        lags = [watch.look(now_ms, timeout_ms) for watch in self._watches]
        if any(lags):
            await self._call("kv/txn", self._keys.progress(revision))

    async def _call(
        self,
        path: str,
        body: JsonObject,
        *,
        may_repeat: bool = True,
        is_linearizable: bool = True,
    ) -> JsonObject:
        call = self._client.call(path, body, may_repeat=may_repeat, is_linearizable=is_linearizable)
        # A request of a client is served outside of any task, and deadlines need one.
        if asyncio.current_task() is None:
            return await asyncio.get_running_loop().create_task(call)
        return await call


def _check_size(request: Request) -> None:
    count, size = operation_count(request), request_size(request)
    if count > MAX_OPERATIONS:
        raise TooLargeError(
            f"a transaction of {count} operations: etcd takes {MAX_OPERATIONS} at most"
        )
    if size > MAX_REQUEST_BYTES:
        raise TooLargeError(f"a transaction of {size} bytes: etcd takes {MAX_REQUEST_BYTES}")
