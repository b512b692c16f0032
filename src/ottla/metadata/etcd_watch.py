"""One watch of the store: it goes on, from the revision reached, as connections come and go."""

import logging
from collections.abc import AsyncIterator
from typing import NamedTuple

from ottla.metadata.etcd_changes import WholeRevisions
from ottla.metadata.etcd_client import RETRY_PAUSE_MS, EtcdClient, EtcdStream
from ottla.metadata.etcd_errors import EtcdError
from ottla.metadata.etcd_messages import Keys, Page
from ottla.metadata.etcd_options import Endpoint
from ottla.metadata.store import Changes, CompactedError, Revision
from ottla.model.errors import PeerError

log = logging.getLogger("ottla.metadata")


class Witness(NamedTuple):
    """A put that was seen: etcd must remember it, or its history is another one."""

    key: str
    revision: Revision


class Watch:
    def __init__(self, client: EtcdClient, keys: Keys, after_revision: Revision) -> None:
        self._client = client
        self._keys = keys
        self._revisions = WholeRevisions(after_revision)
        self._witness: Witness | None = None
        self._stream: EtcdStream | None = None
        self._was_up = False
        self._is_reading = False
        self._lags_since_ms: int | None = None

    @property
    def seen(self) -> Revision:
        return self._revisions.seen

    def look(self, now_ms: int, timeout_ms: int) -> bool:
        """Return whether it waits for what etcd has had for longer than a look ago.

        A connection that brings nothing of it for `timeout_ms` is given up.
        """
        if not self._is_reading or self.seen >= self._client.lineage.revision:
            self._lags_since_ms = None
            return False
        if self._lags_since_ms is None:
            self._lags_since_ms = now_ms
            return False
        if now_ms - self._lags_since_ms >= timeout_ms:
            self.abort()
        return True

    def abort(self) -> None:
        """Give the connection up, if there is one; another is made."""
        if self._stream is not None:
            self._stream.abort()

    async def changes(self) -> AsyncIterator[Changes]:
        """Yield until the store is closed.

        Raises:
            CompactedError: what comes next is forgotten.
            StorageError: this is no longer the same etcd.
        """
        client = self._client
        while not client.is_closed:
            endpoint = client.endpoints.current
            try:
                async for changes in self._follow(endpoint):
                    yield changes
            except CompactedError:
                raise
            except PeerError as error:
                if client.is_closed:
                    return
                client.endpoints.failed(endpoint, error)
                if self._was_up:
                    self._was_up = False
                    log.info("the watch ended after revision %d: %s", self.seen, error)
            await client.pause(RETRY_PAUSE_MS)

    async def _follow(self, endpoint: Endpoint) -> AsyncIterator[Changes]:
        """Yield what one connection brings; its end is a PeerError."""
        self._revisions.restart()
        await self._recall(endpoint)
        self._stream = stream = await self._client.stream(
            endpoint, "watch", self._keys.watch(self.seen)
        )
        self._client.endpoints.answered(endpoint)
        self._was_up = True
        try:
            while True:
                self._is_reading = True
                answer = self._keys.watch_answer(await stream.next())
                self._is_reading = False
                for changes in self._revisions.take(answer):
                    self._lags_since_ms = None
                    if changes.puts:
                        self._witness = Witness(changes.puts[0].key, changes.revision)
                    yield changes
        finally:
            self._is_reading = False
            self._lags_since_ms = None
            self._stream = None
            stream.abort()

    async def _recall(self, endpoint: Endpoint) -> None:
        """Ask whether etcd still has the history that was seen; that it answers is a good sign.

        Raises:
            StorageError: it has another one.
        """
        if self._witness is None:
            await self._range(endpoint, "", 0)
            return
        key, revision = self._witness
        try:
            page = await self._range(endpoint, key, revision)
        except EtcdError as error:
            if not error.is_compacted:
                raise
            self._witness = None  # the watch may have come further, and hears if it has not
            await self._range(endpoint, "", 0)
            return
        version = page.versions.get(key)
        if version is None or version.mod_revision != revision:
            self._client.lineage.break_off(
                f"etcd's history is another one: {key!r} was put at revision {revision}, "
                "and etcd does not know it"
            )

    async def _range(self, endpoint: Endpoint, key: str, revision: Revision) -> Page:
        """Return the key as of `revision`; 0 is now."""
        body = {"key": self._keys.encode(key), "revision": str(revision)}
        answer = await self._client.call("kv/range", body, may_repeat=True, only=endpoint)
        return self._keys.page(answer)
