"""Rebuilt metadata in a store: interrupted anywhere, it is begun anew; somebody else is noticed."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping

import pytest

from ottla.broker.restoring import look, write
from ottla.metadata import changes
from ottla.metadata.image import PartitionImage
from ottla.metadata.rebuild import Rebuilt, rebuild
from ottla.metadata.store import Compare, LeaseId, TransactResult
from ottla.metadata.store_memory import MemoryDatabase, MemoryStore
from ottla.model.errors import PeerError, StorageError
from ottla.model.holdings import HeldLog, Holdings
from ottla.testing.clock import LoopClock

TOPIC = bytes([1] * 16)


class Portioned(MemoryStore):
    """Takes as few keys as etcd, and fails when it has taken enough transactions."""

    max_keys = 6

    def __init__(self, database: MemoryDatabase, transactions: int = 1_000) -> None:
        super().__init__(LoopClock(asyncio.get_running_loop(), start_ms=0), database)
        self.transactions = transactions

    async def transact(
        self,
        compare: Iterable[Compare],
        puts: Iterable[tuple[str, bytes]],
        deletes: Iterable[str] = (),
        *,
        leases: Mapping[str, LeaseId] | None = None,
    ) -> TransactResult:
        if not self.transactions:
            raise PeerError("gone")
        self.transactions -= 1
        compare, puts, deletes = list(compare), list(puts), list(deletes)
        assert max(len(compare), len(puts), len(deletes)) <= self.max_keys
        return await super().transact(compare, puts, deletes, leases=leases)


def held(partitions: int = 20) -> list[Holdings]:
    logs = tuple(HeldLog("t", n, TOPIC, 1, 1, 0, n, 0) for n in range(partitions))
    return [Holdings("/d", "c", 1, bytes(16), "", False, -1, logs, None, ())]


def run(case: Awaitable[None]) -> None:
    async def main() -> None:
        await case

    asyncio.run(main())


async def rebuilt_in(database: MemoryDatabase, transactions: int = 1_000) -> Rebuilt:
    store = Portioned(database, transactions)
    found = await look(store)
    rebuild(held(), found.copy)  # what is there can be read, wherever the last one stopped
    rebuilt = rebuild(held())
    await write(store, found, rebuilt)
    return rebuilt


async def put_topic(database: MemoryDatabase, partitions: int) -> None:
    """A topic of a cluster that no directory has."""
    store, topic_id = Portioned(database), bytes([9] * 16)
    state = PartitionImage(1, 0, 0, (1,), (1,))
    for number in range(partitions):
        await store.transact([], [changes.partition_key(topic_id, number, state)])
    await store.transact(
        [], [changes.cluster_key("c"), changes.topic_key(topic_id, "o", partitions)]
    )


def test_exactly_what_was_rebuilt_is_there() -> None:
    async def case() -> None:
        database = MemoryDatabase()
        rebuilt = await rebuilt_in(database)
        assert database.items == rebuilt.keys

    run(case())


def test_interrupted_anywhere_there_is_no_cluster_and_the_next_one_ends_it() -> None:
    async def case() -> None:
        for transactions in range(1, 100):
            database = MemoryDatabase()
            await put_topic(database, 20)
            try:
                await rebuilt_in(database, transactions)
                break
            except PeerError:
                assert changes.CLUSTER not in database.items
                assert (await look(Portioned(database))).is_unfinished
            assert (await rebuilt_in(database)).keys == database.items
        assert 5 < transactions < 99

    run(case())


def test_what_was_there_before_and_is_not_rebuilt_goes() -> None:
    async def case() -> None:
        database = MemoryDatabase()
        await put_topic(database, 1)
        store = Portioned(database)
        found = await look(store)
        assert found.copy is not None
        rebuilt = rebuild(held())
        await write(store, found, rebuilt)
        assert database.items == rebuilt.keys

    run(case())


def test_a_broker_that_comes_meanwhile_is_noticed() -> None:
    async def case() -> None:
        database = MemoryDatabase()
        store = Portioned(database)
        found = await look(store)
        await store.transact([], [changes.cluster_key("another")])
        with pytest.raises(StorageError, match="somebody else wrote"):
            await write(store, found, rebuild(held()))

    run(case())


def test_living_brokers_and_strangers_keys_are_seen() -> None:
    async def case() -> None:
        store = Portioned(MemoryDatabase())
        await store.transact([], [("broker/3", b"{}"), ("something", b"{}")])
        found = await look(store)
        assert (found.alive, found.foreign, found.copy) == ((3,), 2, None)

    run(case())
