"""A broker that starts waits for the metadata store, as long as somebody wants it to."""

import asyncio

import pytest
from tests.support.cluster_world import ClusterWorld, simulate

from ottla.broker.broker import STORE_PATIENCE_MS
from ottla.metadata.store import Snapshot
from ottla.model.errors import PeerError
from ottla.testing.shared_store import StoreConnection

PATIENCE_S = STORE_PATIENCE_MS / 1_000


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """While there is something in it, nobody reaches the store."""
    found = [True]
    load = StoreConnection.load

    async def tried(self: StoreConnection) -> Snapshot:
        if found:
            raise PeerError("nobody there")
        return await load(self)

    monkeypatch.setattr(StoreConnection, "load", tried)
    return found


def test_it_starts_once_the_store_is_there(
    away: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    async def program(world: ClusterWorld) -> None:
        starting = asyncio.ensure_future(world.start(1))
        await asyncio.sleep(PATIENCE_S - 1)
        assert not starting.done()
        away.clear()
        await starting
        assert world.image(1).brokers[1].is_usable

    simulate(program)
    waits = [record for record in caplog.records if "waiting for the metadata" in record.message]
    assert len(waits) == 1


def test_its_patience_ends(away: list[bool]) -> None:
    async def program(world: ClusterWorld) -> None:
        before = asyncio.get_running_loop().time()
        with pytest.raises(PeerError, match="nobody there"):
            await world.start(1)
        waited_s = asyncio.get_running_loop().time() - before
        assert PATIENCE_S <= waited_s < PATIENCE_S + 1

    simulate(program)


def test_who_wants_it_to_stop_need_not_wait_for_that(away: list[bool]) -> None:
    async def program(world: ClusterWorld) -> None:
        before = asyncio.get_running_loop().time()
        starting = asyncio.ensure_future(world.start(1))
        await asyncio.sleep(5)
        world.brokers[1].give_up()
        with pytest.raises(PeerError, match="nobody there"):
            await starting
        assert asyncio.get_running_loop().time() - before < 6

    simulate(program)
