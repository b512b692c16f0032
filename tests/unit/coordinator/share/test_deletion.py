"""Share groups that are deleted while others come, and beginnings that are asked for twice."""

import asyncio

from tests.support.share_world import GROUP, Replica, ShareWorld, play, topic_id, turns

from ottla.coordinator.group.settings import Caller
from ottla.coordinator.share.records import ShareKey
from ottla.coordinator.share.state import Acknowledgement
from ottla.model.errors import ApiError, ErrorCode
from ottla.wire.generated.share_group_heartbeat import ShareGroupHeartbeatRequest

EARLIEST = {"auto_offset_reset": "earliest"}


async def _come_and_go(world: ShareWorld, group_id: str) -> None:
    """A group that is empty and has state."""
    for epoch in (0, -1):
        await world.shares.groups.heartbeat(
            ShareGroupHeartbeatRequest(
                group_id=group_id,
                member_id="x",
                member_epoch=epoch,
                subscribed_topic_names=["t"] if epoch == 0 else None,
            ),
            Caller("x", "/host", 1),
        )


def test_a_delete_that_stops_half_way_leaves_a_group_that_can_be_used() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        await world.beat("a", epoch=-1)
        delete = world.shares.groups.state.delete

        async def half(key: ShareKey) -> None:
            if key.partition == 1:
                raise ApiError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
            await delete(key)

        world.shares.groups.state.delete = half  # type: ignore[method-assign]
        (row,) = await world.groups.delete_groups([GROUP])
        assert row.error_code
        world.shares.groups.state.delete = delete  # type: ignore[method-assign]
        world.epochs.clear()
        for _ in range(3):
            await world.beat("a", *([] if "a" in world.epochs else ["t"]))
        assert world.has["a"][topic_id()] == [0, 1]
        await world.partition(Replica())

    play(scenario, **EARLIEST)


def test_a_beginning_asked_for_again_does_not_begin_anew() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        partition = await world.partition(Replica())
        world.take(partition, "a", 9)
        await partition.acknowledge("a", [Acknowledgement(0, 9, [1])])
        stored = await world.stored()
        assert stored.start_offset == 10
        await world.state.initialize(ShareKey(GROUP, topic_id(), 0), stored.state_epoch, -1)
        assert (await world.stored()).start_offset == 10

    play(scenario, **EARLIEST)


def test_no_group_is_deleted_without_its_state() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        await _come_and_go(world, "h")
        delete, gate = world.shares.groups.state.delete, asyncio.Event()

        async def slow(key: ShareKey) -> None:
            await gate.wait()
            await delete(key)

        world.shares.groups.state.delete = slow  # type: ignore[method-assign]
        deleting = asyncio.ensure_future(world.groups.delete_groups([GROUP, "h"]))
        await turns()
        await world.beat("a", epoch=-1)
        gate.set()
        results = {row.group_id: row.error_code for row in await deleting}
        assert not results["h"]
        assert results[GROUP] == ErrorCode.NON_EMPTY_GROUP
        assert await world.stored() is not None

    play(scenario, **EARLIEST)


def test_a_group_made_again_may_begin() -> None:
    """Its state would have a later epoch than the new group."""

    async def scenario(world: ShareWorld) -> None:
        for _ in range(3):
            await world.beat("a", "t", epoch=0)
            await world.beat("a", epoch=-1)
        await world.shares.groups.alter(GROUP, [(topic_id(), "t", 0, 5)])
        await world.beat("a", "t", epoch=0)
        delete, gate = world.shares.groups.state.delete, asyncio.Event()
        await _come_and_go(world, "h")

        async def slow(key: ShareKey) -> None:
            await gate.wait()
            await delete(key)

        world.shares.groups.state.delete = slow  # type: ignore[method-assign]
        deleting = asyncio.ensure_future(world.groups.delete_groups([GROUP, "h"]))
        await turns()
        await world.beat("a", epoch=-1)
        gate.set()
        await deleting
        world.shares.groups.state.delete = delete  # type: ignore[method-assign]
        world.epochs.clear()
        world.has.clear()
        await world.beat("b", "t")
        for _ in range(3):
            await world.beat("b")
        assert world.has["b"][topic_id()] == [0, 1]

    play(scenario, **EARLIEST)
