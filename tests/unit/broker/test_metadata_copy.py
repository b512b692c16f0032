"""Every broker keeps a copy of the metadata, and does not start on a store that knows less."""

import asyncio

import pytest
from tests.support.cluster_world import ClusterWorld, simulate

from ottla.client.admin import Admin
from ottla.metadata import changes
from ottla.metadata.features import COUNTS_DECISIONS, OTTLA_VERSION
from ottla.model.errors import StorageError
from ottla.model.holdings import MetadataCopy
from ottla.storage.holdings import read_holdings
from ottla.storage.metadata_copy import FILE, copy_line, copy_text, read_copy
from ottla.testing.shared_store import SharedStore


async def with_topics(world: ClusterWorld, *names: str) -> None:
    async with world.view() as view:
        for name in names:
            await Admin(view).create_topic(
                name, partitions=2, replication_factor=1, configs={"retention.ms": "5"}
            )


def copy_of(world: ClusterWorld, broker: int) -> MetadataCopy | None:
    return read_copy(world.disks[broker], "/data")


def holds(world: ClusterWorld, broker: int, name: str) -> bool:
    copy = copy_of(world, broker)
    return copy is not None and any(name in value.decode() for value in copy.keys.values())


def test_every_directory_has_a_copy_of_all_that_lasts() -> None:
    async def program(world: ClusterWorld) -> None:
        await world.start(1, 2)
        await with_topics(world, "rides")
        await world.until("copied", lambda: all(holds(world, n, "rides") for n in (1, 2)))
        await asyncio.sleep(1)
        copy = copy_of(world, 1)
        assert copy is not None
        items = world.store.store._database.items
        assert copy.keys == {k: v for k, v in items.items() if changes.is_lasting(k)}
        assert copy.decisions > 0
        assert read_holdings(world.disks[1], "/data").copy == copy

    simulate(program)


def test_decisions_are_not_counted_below_their_level() -> None:
    async def program(world: ClusterWorld) -> None:
        await world.start(1)
        store = world.store.store
        await store.transact([], [changes.features_key({OTTLA_VERSION: COUNTS_DECISIONS - 1})])
        await world.until("lowered", lambda: world.image(1).features[OTTLA_VERSION] == 1)
        before = world.image(1).decisions
        await with_topics(world, "rides")
        assert world.image(1).decisions == before

    simulate(program)


def test_an_empty_store_is_refused_by_who_has_data() -> None:
    async def program(world: ClusterWorld) -> None:
        await world.start(1)
        await with_topics(world, "rides")
        await world.until("copied", lambda: holds(world, 1, "rides"))
        await world.stop(1)
        before = world.disks[1].list("/data")
        world.store = SharedStore(world.store.store._leases._clock)
        with pytest.raises(StorageError, match=r"store is empty.*rebuild-metadata"):
            await world.start(1)
        await world.stop(1)
        assert set(world.disks[1].list("/data")) - set(before) == set()

    simulate(program)


def test_a_store_set_back_is_refused_until_it_is_rebuilt() -> None:
    async def program(world: ClusterWorld) -> None:
        await world.start(1)
        await with_topics(world, "rides")
        database = world.store.store._database
        backup = dict(database.items)
        await with_topics(world, "later")
        await world.until("copied", lambda: holds(world, 1, "later"))
        await world.stop(1)
        store = world.store.store
        gone = [key for key in database.items if key not in backup]
        await store.transact([], backup.items(), gone)  # its revision runs on
        for key in ("broker/1", "controller"):
            await store.transact([], [], [key])
        with pytest.raises(StorageError, match=r"decisions.*backup.*--merge"):
            await world.start(1)
        await world.stop(1)
        cluster_id = read_holdings(world.disks[1], "/data").cluster_id
        await store.transact([], [changes.cluster_key(cluster_id, 1)])
        await world.start(1)

    simulate(program)


def test_a_partition_in_an_older_state_is_noticed_too() -> None:
    async def program(world: ClusterWorld) -> None:
        await world.start(1)
        await with_topics(world, "rides")
        await world.until("copied", lambda: holds(world, 1, "rides"))
        await asyncio.sleep(1)
        await world.stop(1)
        disk = world.disks[1]
        copy = copy_of(world, 1)
        assert copy is not None
        lines = [copy_line(k, v, copy.revisions.get(k, 0) and 10_000) for k, v in copy.keys.items()]
        disk.write(f"/data/{FILE}", copy_text(copy._replace(decisions=0), lines), sync=True)
        with pytest.raises(StorageError, match="rides-0 is in an older state"):
            await world.start(1)
        await world.stop(1)

    simulate(program)
