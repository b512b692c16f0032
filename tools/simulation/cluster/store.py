"""A broker's way to the metadata store, and all that goes wrong on it.

A call travels there, happens, and its answer travels back; it can be lost on either way, and
then nobody here knows what happened. The store itself lives on whoever dies here.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextvars import Context
from enum import Enum
from typing import Any, TypeVar

from ottla.metadata.store import (
    Changes,
    CompactedError,
    Compare,
    LeaseId,
    Revision,
    Snapshot,
    TransactResult,
)
from ottla.metadata.store_memory import MemoryStore
from ottla.model.errors import PeerError

T = TypeVar("T")

GIVES_UP_S = 1.0
"""How long a call waits at most for a store that does not answer."""


class Doubt(Enum):
    """What became of a transaction whose caller is not told."""

    DONE = "done"
    NOT_DONE = "not done"


class StoreLink:
    """A `Store` as one broker reaches it."""

    def __init__(self, store: MemoryStore, chance: random.Random) -> None:
        self.lease: LeaseId = 0
        """The newest that was granted by way of here."""
        self.delay_s = 0.001
        """What a way takes at most."""
        self.doubts: list[Doubt] = []
        """What becomes of the next transactions."""
        self._store = store
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._reaches = asyncio.Event()
        self._reaches.set()
        self._gap = False
        self._held_back: list[Changes] = []

    # Faults

    def cut(self) -> None:
        self._reaches.clear()

    def heal(self) -> None:
        self._reaches.set()
        self.doubts.clear()
        self.delay_s = 0.001

    def forget_changes(self) -> None:
        """The next changes are forgotten before they come here."""
        self._gap = True

    # The store

    @property
    def identity(self) -> str:
        return self._store.identity

    @property
    def max_keys(self) -> int:
        return self._store.max_keys

    async def load(self) -> Snapshot:
        return await self._call(self._store.load)

    async def watch(self, after_revision: Revision, /) -> AsyncIterator[Changes]:
        async for changes in self._store.watch(after_revision):
            await asyncio.sleep(self._chance.random() * self.delay_s)
            await self._reaches.wait()
            if self._gap:
                self._gap = False
                raise CompactedError(f"revision {changes.revision} is forgotten")
            yield changes

    async def transact(
        self,
        compare: Iterable[Compare],
        puts: Iterable[tuple[str, bytes]],
        deletes: Iterable[str] = (),
        *,
        leases: Mapping[str, LeaseId] | None = None,
    ) -> TransactResult:
        doubt = self.doubts.pop(0) if self.doubts else None
        if doubt is Doubt.NOT_DONE:
            await self._way()
            raise PeerError("the metadata store has not answered")
        compare, puts, deletes = tuple(compare), tuple(puts), tuple(deletes)
        result = await self._call(
            lambda: self._store.transact(compare, puts, deletes, leases=leases)
        )
        if doubt is Doubt.DONE:
            raise PeerError("the metadata store has not answered")
        return result

    async def compact(self, revision: Revision, /) -> None:
        await self._call(lambda: self._store.compact(revision))

    async def grant_lease(self, ttl_ms: int, /) -> LeaseId:
        self.lease = await self._call(lambda: self._store.grant_lease(ttl_ms))
        return self.lease

    async def keep_alive(self, lease: LeaseId, /) -> None:
        await self._call(lambda: self._store.keep_alive(lease))

    async def revoke_lease(self, lease: LeaseId, /) -> None:
        await self._call(lambda: self._store.revoke_lease(lease))

    async def close(self) -> None:
        pass

    async def _call(self, what: Callable[[], Coroutine[Any, Any, T]]) -> T:
        await self._way()
        # Timers of leases, and what is under way, are not the caller's: they live on.
        happening = self._loop.create_task(what(), context=Context())
        happening.add_done_callback(_looked_at)
        result = await asyncio.shield(happening)
        await self._way()
        return result

    async def _way(self) -> None:
        await asyncio.sleep(self._chance.random() * self.delay_s)
        if not self._reaches.is_set():
            await asyncio.sleep(self._chance.random() * GIVES_UP_S)
            raise PeerError("the metadata store cannot be reached")


def _looked_at(task: "asyncio.Task[Any]") -> None:
    """Whoever asked may be dead."""
    if not task.cancelled():
        task.exception()
