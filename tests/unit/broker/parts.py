"""The metadata half of a broker: a store in memory that can fail, a follower, a control."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from ottla.broker.control import Control
from ottla.broker.image_follower import ImageFollower
from ottla.metadata import changes
from ottla.metadata.store import Changes, CompactedError, Compare, TransactResult
from ottla.metadata.store_memory import MemoryDatabase, MemoryStore
from ottla.model.errors import StorageError
from ottla.testing.clock import ManualClock


class Store(MemoryStore):
    """Fails when told to, before or after the transaction was done."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(ManualClock(), database)
        self.database = database
        self.transactions = 0
        self.fails = ""
        self.forgets = False
        """What is put is forgotten before anybody sees it."""
        self.forgotten = asyncio.Event()
        self.first: list[tuple[str, bytes]] = []
        """What somebody else puts just before the next transaction."""

    async def watch(self, after_revision: int, /) -> AsyncIterator[Changes]:
        async for change in super().watch(after_revision):
            if self.forgets:
                self.forgotten.set()
                while self.forgets:
                    await asyncio.sleep(0)
                raise CompactedError("the change is forgotten")
            yield change

    async def transact(
        self,
        compare: Iterable[Compare],
        puts: Iterable[tuple[str, bytes]],
        deletes: Iterable[str] = (),
        **options: Any,
    ) -> TransactResult:
        self.transactions += 1
        if self.first:
            first, self.first = self.first, []
            await super().transact([], first)
        if self.fails == "before":
            raise StorageError("the disk failed")
        result = await super().transact(compare, puts, deletes, **options)
        if self.fails == "after":
            raise StorageError("the disk failed behind the transaction")
        return result


class Metadata:
    """Everything around one store. `await begin()` first, `await end()` last."""

    def __init__(self, database: MemoryDatabase | None = None) -> None:
        self.store = Store(database or MemoryDatabase())
        self.failures: list[BaseException] = []
        self.follower = ImageFollower(self.store, ManualClock(), self.failures.append)
        self.clock = ManualClock()
        self.control = Control(self.store, self.follower, 1, self.clock)

    async def begin(self) -> "Metadata":
        await self.store.transact([], [changes.controller_key(1)])
        self.store.transactions = 0
        await self.follower.load()
        self.follower.start()
        return self

    async def end(self) -> None:
        await self.follower.close()
        await self.store.close()


def run(scenario: Callable[[Metadata], Any]) -> None:
    """Play a scenario with a metadata half that begins and ends with it."""

    async def main() -> None:
        metadata = await Metadata().begin()
        try:
            async with asyncio.timeout(20):
                await scenario(metadata)
        finally:
            await metadata.end()

    asyncio.run(main())
