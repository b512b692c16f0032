"""No id is given twice, whatever fails and whoever restarts."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.broker.parts import Metadata

from ottla.broker.producer_ids import BLOCK, ProducerIds
from ottla.metadata.changes import from_snapshot
from ottla.metadata.store_memory import MemoryDatabase
from ottla.model.errors import ApiError


def run(scenario: Callable[[MemoryDatabase], Any]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await scenario(MemoryDatabase())

    asyncio.run(main())


async def durable_end(metadata: Metadata) -> int:
    """The first id outside of every block that the store knows to be given out."""
    return from_snapshot(await metadata.store.load()).next_producer_id


def test_an_id_is_durable_before_it_is_given() -> None:
    async def scenario(database: MemoryDatabase) -> None:
        metadata = await Metadata(database).begin()
        ids = ProducerIds(metadata.store, metadata.follower)
        for expected in range(2 * BLOCK + 1):
            given = await ids.next()
            assert given == expected
            if given % BLOCK in (0, BLOCK - 1):
                assert given < await durable_end(metadata)
        assert metadata.store.transactions == 3
        await metadata.end()

    run(scenario)


def test_who_asks_at_once_shares_a_block() -> None:
    async def scenario(database: MemoryDatabase) -> None:
        metadata = await Metadata(database).begin()
        ids = ProducerIds(metadata.store, metadata.follower)
        given = await asyncio.gather(*(ids.next() for _ in range(100)))
        assert sorted(given) == list(range(100))
        assert metadata.store.transactions == 1
        await metadata.end()

    run(scenario)


def test_a_restart_loses_the_rest_of_a_block_and_repeats_nothing() -> None:
    async def scenario(database: MemoryDatabase) -> None:
        given: list[int] = []
        for _ in range(3):
            metadata = await Metadata(database).begin()
            ids = ProducerIds(metadata.store, metadata.follower)
            given += [await ids.next() for _ in range(3)]
            await metadata.end()
        assert given == [start + i for start in (0, BLOCK, 2 * BLOCK) for i in range(3)]

    run(scenario)


@pytest.mark.parametrize("fails", ["before", "after"])
def test_a_store_that_fails_gives_no_id_away_twice(fails: str) -> None:
    async def scenario(database: MemoryDatabase) -> None:
        metadata = await Metadata(database).begin()
        ids = ProducerIds(metadata.store, metadata.follower)
        given = [await ids.next() for _ in range(BLOCK)]
        metadata.store.fails = fails
        for _ in range(3):
            with pytest.raises(ApiError):
                await ids.next()
        metadata.store.fails = ""
        given += [await ids.next() for _ in range(BLOCK + 1)]
        assert len(set(given)) == len(given)
        assert max(given) < await durable_end(metadata)
        await metadata.end()

    run(scenario)


def test_who_gives_up_asking_takes_nobodys_id() -> None:
    async def scenario(database: MemoryDatabase) -> None:
        metadata = await Metadata(database).begin()
        ids = ProducerIds(metadata.store, metadata.follower)
        asking = [asyncio.ensure_future(ids.next()) for _ in range(3)]
        await asyncio.sleep(0)
        asking[0].cancel()
        given = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(given[0], asyncio.CancelledError)
        assert len({*given[1:], await ids.next()}) == 3
        await metadata.end()

    run(scenario)
