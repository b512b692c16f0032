"""Registration: what one start of a broker writes, on whatever the store holds."""

import asyncio

import pytest
from tests.unit.broker.parts import Store

from ottla.broker.lifecycle import register
from ottla.metadata.changes import from_snapshot
from ottla.metadata.image import Endpoint, Image
from ottla.metadata.store_memory import MemoryDatabase
from ottla.model.errors import StorageError

CLUSTER = "cluster-of-the-test"


async def registered(database: MemoryDatabase, *, cluster_id: str = CLUSTER) -> Image:
    """The image once a broker has registered on what is in `database`."""
    store = Store(database)
    try:
        await register(
            store,
            from_snapshot(await store.load()),
            broker_id=1,
            cluster_id=cluster_id,
            rack="r1",
            advertised={"PLAINTEXT": ("localhost", 9092)},
            clean=True,
            highest_producer_id=-1,
        )
        return from_snapshot(await store.load())
    finally:
        await store.close()


def test_a_registration_says_where_the_broker_is_and_that_it_controls() -> None:
    image = asyncio.run(registered(MemoryDatabase()))
    assert image.cluster_id == CLUSTER
    assert image.controller_id == 1
    assert image.brokers[1].rack == "r1"
    assert image.brokers[1].endpoints == (Endpoint("PLAINTEXT", "localhost", 9092),)


def test_every_registration_has_a_greater_epoch() -> None:
    """What an earlier incarnation still has under way must be told from what this one does."""
    database = MemoryDatabase()
    epochs = [asyncio.run(registered(database)).brokers[1].epoch for _ in range(3)]
    assert epochs[0] > 0
    assert epochs == sorted(set(epochs))


def test_a_store_of_another_cluster_is_refused_and_left_alone() -> None:
    database = MemoryDatabase()
    asyncio.run(registered(database))
    before = dict(database.versions)
    with pytest.raises(StorageError, match="belong together"):
        asyncio.run(registered(database, cluster_id="another"))
    assert database.versions == before
