"""Old revisions of the store are forgotten: by the controller, an interval behind."""

import asyncio

import pytest
from tests.support.cluster_world import ClusterWorld, simulate

from ottla.broker.forgetting import Forgetting
from ottla.client.admin import Admin
from ottla.metadata.store import CompactedError, Revision
from ottla.model.errors import PeerError
from ottla.testing.shared_store import StoreConnection

INTERVAL_S = 10


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[StoreConnection]:
    """Over which connections stores were asked to forget."""
    found: list[StoreConnection] = []
    compact = StoreConnection.compact

    async def noted(self: StoreConnection, revision: Revision, /) -> None:
        found.append(self)
        await compact(self, revision)

    monkeypatch.setattr(StoreConnection, "compact", noted)
    monkeypatch.setattr(Forgetting, "interval_ms", 1_000 * INTERVAL_S)
    return found


async def create(world: ClusterWorld, name: str) -> Revision:
    async with world.view() as view:
        await Admin(view).create_topic(name, partitions=1, replication_factor=1, configs={})
    return world.store.store._database.revision


def test_the_controller_has_what_is_older_than_an_interval_forgotten(
    asked: list[StoreConnection],
) -> None:
    async def program(world: ClusterWorld) -> None:
        await world.start(1, 2)
        old = await create(world, "old")
        await asyncio.sleep(1.5 * INTERVAL_S)
        new = await create(world, "new")
        assert not asked
        await asyncio.sleep(INTERVAL_S)
        controller = world.image(1).controller_id
        assert asked == [world.stores[controller]]
        store = world.store.store
        with pytest.raises(CompactedError):
            await anext(store.watch(old - 2))
        assert (await anext(store.watch(new - 1))).revision == new

    simulate(program)


def test_a_store_that_cannot_be_reached_is_asked_again(
    asked: list[StoreConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def program(world: ClusterWorld) -> None:
        await world.start(1)
        compact = StoreConnection.compact

        async def lost(self: StoreConnection, revision: Revision, /) -> None:
            asked.append(self)
            raise PeerError("lost")

        monkeypatch.setattr(StoreConnection, "compact", lost)
        await asyncio.sleep(2.5 * INTERVAL_S)
        assert len(asked) == 1
        monkeypatch.setattr(StoreConnection, "compact", compact)
        await asyncio.sleep(INTERVAL_S)
        assert len(asked) == 2

    simulate(program)
