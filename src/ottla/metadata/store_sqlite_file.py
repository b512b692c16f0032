"""The file of the SQLite store: synchronous, used by one thread.

Tables: `keys`, one row a key, with a CRC-32 over the row, because SQLite itself
does not notice a flipped bit in a value; `leases`; and `store`, one row with
the revision. The file says whose it is in its header (`application_id`) and
which layout it has (`user_version`).

It is in WAL mode with `synchronous=FULL`: a commit has been flushed when it
returns. The exclusive lock keeps a second process out.
"""

import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from ottla.metadata.store import (
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
from ottla.metadata.store_request import Request
from ottla.model.errors import StorageError

APPLICATION_ID = 0x4F74746C  # "Ottl"
LAYOUT = 1

KEYS_PER_QUERY = 500
"""Below 999, the least that an SQLite may be built to take."""

_SCHEMA = f"""
CREATE TABLE keys (
  key TEXT PRIMARY KEY,
  value BLOB NOT NULL,
  create_revision INTEGER NOT NULL,
  mod_revision INTEGER NOT NULL,
  lease INTEGER NOT NULL,
  checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX leased ON keys (lease) WHERE lease != 0;
CREATE TABLE leases (id INTEGER PRIMARY KEY AUTOINCREMENT, ttl_ms INTEGER NOT NULL);
CREATE TABLE store (revision INTEGER NOT NULL);
INSERT INTO store VALUES (0);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {LAYOUT};
"""


class MetadataFile:
    """The open file. What changes it is called between `begin` and `commit` or `roll_back`.

    Every method raises StorageError for what SQLite raises; `is_full` then
    tells a full disk, after which the file is as it was, from worse.
    """

    def __init__(self, path: str) -> None:
        """Open the file, or make it.

        Raises:
            StorageError: it is corrupt, not ours, of a newer Ottla, in use, or cannot be opened.
        """
        import sqlite3  # 15 ms that `--memory` and the command line need not pay

        self.path = path
        self.is_full = False
        self._error = sqlite3.Error
        self._full_code = sqlite3.SQLITE_FULL
        with self._storage_errors("cannot open"):
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=0)
        try:
            with self._storage_errors("cannot open"):
                self._prepare()
                self.revision: Revision = self._one("SELECT revision FROM store")
        except StorageError:
            self._connection.close()
            raise

    def leases(self) -> dict[LeaseId, int]:
        """Every lease and its time to live in milliseconds."""
        with self._storage_errors("cannot read"):
            return dict(self._connection.execute("SELECT id, ttl_ms FROM leases"))

    def load(self) -> Snapshot:
        items: dict[str, bytes] = {}
        versions: dict[str, KeyVersion] = {}
        with self._storage_errors("cannot read"):
            rows = self._connection.execute(
                "SELECT key, value, create_revision, mod_revision, lease, checksum"
                " FROM keys ORDER BY key"
            )
            for key, value, created, modified, lease, checksum in rows:
                if checksum != _checksum(key, value, created, modified, lease):
                    raise StorageError(f"{self.path} is corrupt: bad checksum of the key {key!r}")
                items[key] = value
                versions[key] = KeyVersion(created, modified)
        return Snapshot(self.revision, items, versions)

    def begin(self) -> None:
        with self._storage_errors("cannot begin"):
            self._before = self.revision
            self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """All since `begin` is on disk on return."""
        with self._storage_errors("cannot commit"):
            if self.revision != self._before:
                self._connection.execute("UPDATE store SET revision = ?", (self.revision,))
            self._connection.execute("COMMIT")

    def roll_back(self) -> None:
        self.revision = self._before
        if self._connection.in_transaction:
            with self._storage_errors("cannot roll back"):
                self._connection.execute("ROLLBACK")

    def transact(self, request: Request) -> tuple[TransactResult, Changes | None]:
        """Raise LeaseNotFoundError, with nothing changed, if a lease is not there."""
        with self._storage_errors("cannot write"):
            if not all(map(self._holds, request.compare)):
                return TransactResult(False, self.revision), None
            for lease in request.leases.values():
                if not self._one("SELECT count(*) FROM leases WHERE id = ?", lease):
                    raise LeaseNotFoundError(f"lease {lease} has run out or was revoked")
            changes = self._apply(request)
            return TransactResult(True, self.revision), changes

    def grant_lease(self, ttl_ms: int) -> LeaseId:
        with self._storage_errors("cannot write"):
            done = self._connection.execute("INSERT INTO leases (ttl_ms) VALUES (?)", (ttl_ms,))
            lease = done.lastrowid
            assert lease is not None
            return lease

    def end_lease(self, lease: LeaseId) -> Changes | None:
        """Delete the lease and its keys."""
        with self._storage_errors("cannot write"):
            self._connection.execute("DELETE FROM leases WHERE id = ?", (lease,))
            rows = self._connection.execute(
                "SELECT key FROM keys WHERE lease = ? AND lease != 0 ORDER BY key", (lease,)
            )
            return self._apply(Request((), (), tuple(key for (key,) in rows), {}))

    def close(self) -> None:
        with self._storage_errors("cannot close"):
            self._connection.close()

    def _prepare(self) -> None:
        """Check that the file is ours, and sound, before anything is written to it."""
        execute = self._connection.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        application_id = self._one("PRAGMA application_id")
        layout = self._one("PRAGMA user_version")
        is_new = application_id == 0 and not self._one("SELECT count(*) FROM sqlite_master")
        if not is_new and application_id != APPLICATION_ID:
            raise StorageError(f"{self.path} is not a metadata store of Ottla")
        if not is_new and layout != LAYOUT:
            raise StorageError(
                f"{self.path} has layout {layout}, and this Ottla reads layout {LAYOUT}"
            )
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA fullfsync = ON")
        if is_new:
            self._connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
            _sync_directory(self.path)
            return
        verdict = self._one("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise StorageError(f"{self.path} is corrupt: {verdict}")

    def _holds(self, compare: Compare) -> bool:
        version = self._version(compare.key)
        if version is None:
            return compare.revision == 0
        if compare.kind is RevisionKind.CREATED:
            return version.create_revision == compare.revision
        return version.mod_revision == compare.revision

    def _apply(self, request: Request) -> Changes | None:
        there = self._created(request.deletes)
        deletes = tuple(key for key in request.deletes if key in there)
        if not request.puts and not deletes:
            return None
        self.revision += 1
        self._connection.executemany("DELETE FROM keys WHERE key = ?", ((key,) for key in deletes))
        created = self._created(key for key, _ in request.puts)
        puts = tuple(
            Put(key, value, created.get(key, self.revision)) for key, value in request.puts
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?, ?)",
            (self._row(put, request.leases.get(put.key, 0)) for put in puts),
        )
        return Changes(self.revision, puts, deletes)

    def _row(self, put: Put, lease: LeaseId) -> tuple[object, ...]:
        checksum = _checksum(put.key, put.value, put.create_revision, self.revision, lease)
        return (put.key, put.value, put.create_revision, self.revision, lease, checksum)

    def _created(self, keys: Iterable[str]) -> dict[str, Revision]:
        """The create-revisions of those of `keys` that are there, asked for many at a time."""
        created: dict[str, Revision] = {}
        rest = iter(keys)
        while some := tuple(islice(rest, KEYS_PER_QUERY)):
            places = ",".join("?" * len(some))
            created.update(
                self._connection.execute(
                    f"SELECT key, create_revision FROM keys WHERE key IN ({places})", some
                )
            )
        return created

    def _version(self, key: str) -> KeyVersion | None:
        row = self._connection.execute(
            "SELECT create_revision, mod_revision FROM keys WHERE key = ?", (key,)
        ).fetchone()
        return None if row is None else KeyVersion(*row)

    def _one(self, query: str, *arguments: object) -> Any:
        (value,) = self._connection.execute(query, arguments).fetchone()
        return value

    @contextmanager
    def _storage_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            self.is_full = getattr(error, "sqlite_errorcode", None) == self._full_code
            raise StorageError(f"{what} {self.path}: {error}") from error


def _checksum(key: str, value: bytes, created: Revision, modified: Revision, lease: LeaseId) -> int:
    return zlib.crc32(value, zlib.crc32(f"{created} {modified} {lease} {key}\0".encode()))


def _sync_directory(path: str) -> None:
    descriptor = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
