"""The metadata store, as an argument: a small ordered key-value store with revisions.

It is etcd's model, because etcd is one of its implementations. The store has a
*revision*, 0 when empty. A transaction that changes anything raises it by one
and stamps the keys it wrote: `mod_revision` is the revision of a key's last
put, `create_revision` that of the put which brought it into being. A key that
was deleted and put again is new. A transaction is all or nothing, and becomes
visible as one `Changes`.

A store raises `StorageError` (a disk failed) or `PeerError` (a server could not
be reached) from any call. After either, the outcome of a transaction is
unknown: the caller loads or watches to learn it.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from enum import Enum
from typing import NamedTuple, Protocol, TypeAlias

from ottla.model.errors import PeerError

Revision: TypeAlias = int
LeaseId: TypeAlias = int


NO_LIMIT = 2**31
"""As many keys in a transaction as anybody wants."""


class RevisionKind(Enum):
    MODIFIED = "mod_revision"
    CREATED = "create_revision"


class Compare(NamedTuple):
    """Holds if the key's revision is exactly this; 0 says that there is no such key."""

    key: str
    revision: Revision
    kind: RevisionKind = RevisionKind.MODIFIED


class KeyVersion(NamedTuple):
    create_revision: Revision
    mod_revision: Revision


class Snapshot(NamedTuple):
    """Everything, as of one revision. `items` and `versions` have the same keys, ascending."""

    revision: Revision
    items: dict[str, bytes]
    versions: dict[str, KeyVersion]


class Put(NamedTuple):
    """A key as a transaction left it; its `mod_revision` is the transaction's."""

    key: str
    value: bytes
    create_revision: Revision


class Changes(NamedTuple):
    """All that one transaction did; a key is in it at most once.

    Empty changes say only that the watch has seen everything up to `revision`.
    """

    revision: Revision
    puts: tuple[Put, ...]
    deletes: tuple[str, ...]


class TransactResult(NamedTuple):
    """`ok`: every compare held, and the puts have `revision` as their `mod_revision`.

    Otherwise nothing was changed, and `revision` is the store's.
    """

    ok: bool
    revision: Revision


class CompactedError(PeerError):
    """The store no longer remembers the changes asked for: load again, then watch."""


class LeaseNotFoundError(PeerError):
    """The lease has run out or was revoked, and its keys are gone."""


class TooLargeError(ValueError):
    """More than the store takes in one transaction; nothing was changed."""


class Store(Protocol):
    @property
    def identity(self) -> str:
        """Which store this is, known once it was loaded; empty where there can be only one."""

    @property
    def max_keys(self) -> int:
        """How many keys one transaction may compare, put, and delete: so many of each."""

    async def load(self) -> Snapshot:
        """Return every key at one revision."""

    def watch(self, after_revision: Revision, /) -> AsyncIterator[Changes]:
        """Yield the changes of every revision above `after_revision`, in order, as they come.

        A transaction's changes have been handed to the watches by the time
        `transact` returns. The iteration ends when the store is closed.

        Raises:
            CompactedError: changes above `after_revision` have been forgotten.
        """

    async def transact(
        self,
        compare: Iterable[Compare],
        puts: Iterable[tuple[str, bytes]],
        deletes: Iterable[str] = (),
        *,
        leases: Mapping[str, LeaseId] | None = None,
    ) -> TransactResult:
        """If every compare holds: put and delete, all or nothing, durable on return.

        Deleting what is not there does nothing, and a transaction that does
        nothing leaves the revision. `leases` says which of the keys put vanish
        with which lease; a key put without one stays.

        Raises:
            ValueError: a key is put or deleted twice, or `leases` has a key that is not put.
            LeaseNotFoundError: a lease in `leases` is not there; nothing was changed.
            TooLargeError: only etcd has a limit: 128 compares, 128 changes, 1.5 MB.
        """

    async def compact(self, revision: Revision, /) -> None:
        """Forget the changes before `revision`, for all who watch; harmless twice."""

    async def grant_lease(self, ttl_ms: int, /) -> LeaseId:
        """Return a new lease, which runs out `ttl_ms` after its last keep-alive."""

    async def keep_alive(self, lease: LeaseId, /) -> None:
        """Let the lease run its full time again, from now.

        Raises:
            LeaseNotFoundError: it has run out.
        """

    async def revoke_lease(self, lease: LeaseId, /) -> None:
        """Delete the lease and, in one transaction, its keys. Harmless twice."""

    async def close(self) -> None:
        """Finish what was asked for, end the watches, release the file or connection."""
