"""Builds of several levels in one cluster, on virtual time: who is let in, and what is finalized."""

import asyncio
from typing import Any

import pytest
from tests.simulation.test_cluster import BROKERS
from tests.simulation.test_operations import ask
from tests.support.cluster_world import ClusterWorld, simulate

from ottla.client.admin import Admin
from ottla.metadata import changes
from ottla.metadata.features import (
    COUNTS_DECISIONS,
    EARLIER,
    OTTLA_VERSION,
    SAFE_DOWNGRADE,
    SUPPORTED,
    UPGRADE,
    finalized,
    newest,
)
from ottla.metadata.image import BrokerImage, Endpoint, KnownBroker
from ottla.model.errors import ErrorCode, StorageError
from ottla.wire.generated.update_features import FeatureUpdateKey, UpdateFeaturesRequest

INVALID = ErrorCode.INVALID_UPDATE_VERSION
CLUSTER_ID = "ZLDnbx7nRTqfO8x1SzUqzg"


async def made_before_levels(world: ClusterWorld) -> None:
    """A store that a build from before levels made."""
    await world.store.store.transact([], [changes.cluster_key(CLUSTER_ID)])


async def finalize(world: ClusterWorld, level: int, kind: int = UPGRADE) -> Any:
    row = FeatureUpdateKey(feature=OTTLA_VERSION, max_version_level=level, upgrade_type=kind)
    return await ask(
        world, min(world.brokers), UpdateFeaturesRequest(feature_updates=[row], timeout_ms=5_000)
    )


async def level_is(world: ClusterWorld, level: int) -> None:
    await world.until(
        f"all know level {level}",
        lambda: all(
            finalized(world.image(b).features)[OTTLA_VERSION] == level for b in world.brokers
        ),
    )


def test_a_new_cluster_begins_with_the_newest_levels() -> None:
    async def program(world: ClusterWorld) -> None:
        await world.start(*BROKERS)
        assert world.image(1).features == newest()
        assert all(each.features == SUPPORTED for each in world.image(1).known_brokers.values())

    simulate(program)


def test_levels_rise_when_no_broker_is_older_and_fall_before_one_is() -> None:
    async def program(world: ClusterWorld) -> None:
        await made_before_levels(world)
        world.supports[3] = {}  # it says nothing: it is from before
        await world.start(*BROKERS)
        await level_is(world, 1)
        refused = await finalize(world, 2)
        assert refused.error_code == INVALID
        assert "Broker 3 only supports versions 1-1" in refused.error_message
        await world.stop(3)
        assert (await finalize(world, 2)).error_code == INVALID, "it may come back"
        world.supports[3] = SUPPORTED
        await world.start(3)
        assert (await finalize(world, 2)).error_code == 0
        await level_is(world, 2)

        await world.stop(3)
        world.supports[3] = EARLIER
        with pytest.raises(StorageError, match=r"ottla\.version 1 to 1, and 2 is finalized"):
            await world.start(3)
        await world.brokers.pop(3).stop()
        assert (await finalize(world, 1)).error_code == INVALID, "nobody asked for a downgrade"
        assert (await finalize(world, 1, SAFE_DOWNGRADE)).error_code == 0
        await world.start(3)
        await level_is(world, 1)

    simulate(program)


def test_a_build_from_before_levels_is_put_out_where_they_were_raised() -> None:
    async def program(world: ClusterWorld) -> None:
        await world.start(1, 2)
        at = (Endpoint("PLAINTEXT", "10.0.0.9", 9092),)
        old = [
            changes.broker_key(BrokerImage(9, 0, None, at)),
            changes.known_broker_key(KnownBroker(9, None, at)),
        ]
        await world.store.store.transact([], old)
        await world.until("it was seen", lambda: 9 in world.image(1).known_brokers)
        await world.until("it is gone", lambda: 9 not in world.image(1).brokers)
        assert set(world.image(1).brokers) == {1, 2}

    simulate(program)


def test_nobody_controls_who_is_from_before_the_level() -> None:
    async def program(world: ClusterWorld) -> None:
        at = (Endpoint("PLAINTEXT", "10.0.0.9", 9092),)
        await world.store.store.transact(
            [],
            [
                changes.cluster_key(CLUSTER_ID),
                changes.features_key(newest()),
                changes.broker_key(BrokerImage(9, 0, None, at)),
                changes.known_broker_key(KnownBroker(9, None, at)),
                changes.controller_key(9),
            ],
        )
        await world.start(1, 2)
        await world.until(
            "one of the others controls", lambda: world.image(1).controller_id in (1, 2)
        )

    simulate(program)


def test_who_lives_where_a_level_is_finalized_beyond_it_stops() -> None:
    """The controller lets nobody do that; a store that was written to by hand does."""

    async def program(world: ClusterWorld) -> None:
        await made_before_levels(world)
        world.supports[2] = EARLIER
        await world.start(1, 2)
        await world.store.store.transact([], [changes.features_key({OTTLA_VERSION: 2})])
        await world.until("it stops", lambda: world.failures)
        (said,) = world.failures
        assert "supports ottla.version 1 to 1, and 2 is finalized" in said
        world.failures.clear()
        await world.stop(2)

    simulate(program)


def test_a_level_finalized_while_a_broker_comes_is_not_missed() -> None:
    async def program(world: ClusterWorld) -> None:
        await made_before_levels(world)
        await world.start(1)
        world.supports[2] = EARLIER
        world.store_delay_s = 1.0  # its registration is on its way for so long
        coming = asyncio.create_task(world.start(2))
        await world.until("it is about to register", lambda: 2 in world.brokers)
        assert (await finalize(world, 2)).error_code == 0
        with pytest.raises(StorageError, match="2 is finalized"):
            await coming
        await world.brokers.pop(2).stop()
        await world.until("it left", lambda: 2 not in world.image(1).brokers)

    simulate(program)


def test_decisions_are_counted_at_their_level_only() -> None:
    async def decide(world: ClusterWorld, name: str) -> int:
        async with world.view() as view:
            await Admin(view).create_topic(name, partitions=1, replication_factor=1)
        await world.until("all know", lambda: all(name in world.image(b).topics for b in BROKERS))
        return world.image(1).decisions

    async def program(world: ClusterWorld) -> None:
        await made_before_levels(world)
        await world.start(*BROKERS)
        assert await decide(world, "one") == 0
        assert (await finalize(world, COUNTS_DECISIONS)).error_code == 0
        counted = await decide(world, "two")
        assert counted > 0
        assert (await finalize(world, COUNTS_DECISIONS - 1, SAFE_DOWNGRADE)).error_code == 0
        stopped = await decide(world, "three")
        assert await decide(world, "four") == stopped >= counted, "never less: copies know it"

    simulate(program)
