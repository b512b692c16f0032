"""A member that dies is noticed when its session is over, or with its connection where that is asked for."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.support.raw_client import RawClient
from tests.support.simulated_world import World, simulate
from tests.support.witness import create_topic

from ottla.coordinator.group.history import Why
from ottla.model.errors import ErrorCode
from ottla.testing.clock import LoopClock
from ottla.wire.generated.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest
from ottla.wire.generated.heartbeat import HeartbeatRequest
from ottla.wire.generated.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from ottla.wire.generated.share_group_heartbeat import ShareGroupHeartbeatRequest
from ottla.wire.generated.streams_group_heartbeat import (
    StreamsGroupHeartbeatRequest,
    Subtopology,
    Topology,
)
from ottla.wire.generated.sync_group import SyncGroupRequest

SESSION_MS = 45_000
DROP = {"group.drop.members.on.disconnect": "true"}


async def a_client(world: World) -> RawClient:
    client = await world.client()
    await client.call(FindCoordinatorRequest(key="g"), 2)
    return client


async def join(client: RawClient, member_id: str = "", instance_id: str | None = None) -> str:
    """Join as a classic member, alone in the group, and sync; its id."""
    request = JoinGroupRequest(
        group_id="g",
        session_timeout_ms=SESSION_MS,
        rebalance_timeout_ms=60_000,
        member_id=member_id,
        group_instance_id=instance_id,
        protocol_type="consumer",
        protocols=[JoinGroupRequestProtocol(name="range", metadata=b"\0\0\0\0\0\0\0\0\0\0")],
    )
    while True:
        joined = await client.call(request, 9)
        if not joined.error_code:
            break
        assert joined.error_code in (
            ErrorCode.MEMBER_ID_REQUIRED,
            ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        )
        request.member_id = joined.member_id
    sync = SyncGroupRequest(
        group_id="g",
        generation_id=joined.generation_id,
        member_id=joined.member_id,
        group_instance_id=instance_id,
        protocol_type="consumer",
        protocol_name="range",
    )
    assert (await client.call(sync, 5)).error_code == 0
    member: str = joined.member_id
    return member


async def newer(client: RawClient) -> str:
    """Join by the newer protocol; its id."""
    request = ConsumerGroupHeartbeatRequest(
        group_id="g",
        member_id="newer",
        rebalance_timeout_ms=60_000,
        subscribed_topic_names=["rides"],
        topic_partitions=[],
    )
    while (await client.call(request, 1)).error_code:
        await asyncio.sleep(0.01)
    return "newer"


async def sharing(client: RawClient) -> str:
    """Join a share group; its id."""
    request = ShareGroupHeartbeatRequest(
        group_id="g", member_id="sharing", subscribed_topic_names=["rides"]
    )
    while (await client.call(request, 1)).error_code:
        await asyncio.sleep(0.01)
    return "sharing"


async def streaming(client: RawClient) -> str:
    """Join a streams group; its id."""
    request = StreamsGroupHeartbeatRequest(
        group_id="g",
        member_id="streaming",
        rebalance_timeout_ms=60_000,
        topology=Topology(subtopologies=[Subtopology(source_topics=["rides"])]),
        process_id="p",
        active_tasks=[],
        standby_tasks=[],
        warmup_tasks=[],
    )
    while (await client.call(request, 0)).error_code:
        await asyncio.sleep(0.01)
    return "streaming"


def state(world: World) -> str:
    assert world.broker is not None
    group = world.broker.groups.peek_any("g")
    assert group is not None
    return group.state_name


def last_cause(world: World) -> tuple[str, Why]:
    assert world.broker is not None
    cause = world.broker.groups.rebalances("g")[-1].causes[-1]
    return cause.member_id, cause.why


KINDS = {"classic": join, "consumer": newer, "share": sharing, "streams": streaming}
everywhere = pytest.mark.parametrize("enter", KINDS.values(), ids=KINDS.keys())
Enter = Callable[[RawClient], Awaitable[str]]


@everywhere
def test_who_is_silent_is_removed_when_its_session_is_over(enter: Enter) -> None:
    async def life(world: World) -> None:
        await world.start()
        client = await a_client(world)
        await create_topic(client, "rides")
        member = await enter(client)
        client.close()
        await asyncio.sleep(1)
        world.clock.advance(SESSION_MS - 1)
        assert state(world) == "Stable"
        world.clock.advance(1)
        await asyncio.sleep(0)
        assert state(world) == "Empty"
        assert last_cause(world) == (member, Why.SESSION_EXPIRED)
        await world.stop()

    simulate(life, seed=3)


@everywhere
@pytest.mark.parametrize("set_by_ms", [-3_000_000, 3_000_000])
def test_setting_the_time_of_day_neither_ends_nor_lengthens_a_session(
    enter: Enter, set_by_ms: int
) -> None:
    async def life(world: World) -> None:
        loop = asyncio.get_running_loop()
        time_of_day = LoopClock(loop)
        world.clock = time_of_day  # type: ignore[assignment]
        world.steady_clock = LoopClock(loop)
        await world.start()
        client = await a_client(world)
        await create_topic(client, "rides")
        await enter(client)
        time_of_day.put(set_by_ms)
        await asyncio.sleep(SESSION_MS / 2_000)
        assert state(world) == "Stable"
        client.close()
        await asyncio.sleep(SESSION_MS / 1_000)
        assert state(world) == "Empty"
        await world.stop()

    simulate(life, seed=3)


@everywhere
def test_where_it_is_asked_for_a_member_goes_with_its_connection(enter: Enter) -> None:
    async def life(world: World) -> None:
        world.settings.update(DROP)
        await world.start()
        client = await a_client(world)
        await create_topic(client, "rides")
        member = await enter(client)
        assert state(world) == "Stable"
        client.close()
        await asyncio.sleep(1)  # of the network's time; the clock of sessions stands still
        assert state(world) == "Empty"
        assert last_cause(world) == (member, Why.DISCONNECTED)
        await world.stop()

    simulate(life, seed=3)


def test_the_others_rebalance_when_a_member_goes_with_its_connection() -> None:
    async def life(world: World) -> None:
        world.settings.update(DROP)
        await world.start()
        stays, dies = await a_client(world), await a_client(world)
        first = await join(stays)
        waiting = asyncio.ensure_future(join(dies))
        await asyncio.sleep(1)
        assert state(world) == "PreparingRebalance"
        dies.close()
        with pytest.raises(Exception, match="closed the connection"):
            await waiting
        await asyncio.sleep(1)
        beat = HeartbeatRequest(group_id="g", generation_id=1, member_id=first)
        assert (await stays.call(beat, 4)).error_code == ErrorCode.REBALANCE_IN_PROGRESS
        assert await join(stays, first) == first
        assert world.broker is not None
        last = world.broker.groups.rebalances("g")[-1]
        assert [cause.why for cause in last.causes] == [Why.JOINED, Why.DISCONNECTED]
        await world.stop()

    simulate(life, seed=3)


def test_who_came_back_by_another_connection_stays() -> None:
    async def life(world: World) -> None:
        world.settings.update(DROP)
        await world.start()
        before, after = await a_client(world), await a_client(world)
        member = await join(before)
        beat = HeartbeatRequest(group_id="g", generation_id=1, member_id=member)
        assert (await after.call(beat, 4)).error_code == 0
        before.close()
        await asyncio.sleep(1)
        assert state(world) == "Stable"
        after.close()
        await asyncio.sleep(1)
        assert state(world) == "Empty"
        await world.stop()

    simulate(life, seed=3)


def test_a_static_member_is_to_be_back() -> None:
    async def life(world: World) -> None:
        world.settings.update(DROP)
        await world.start()
        client = await a_client(world)
        await join(client, instance_id="me")
        client.close()
        await asyncio.sleep(1)
        assert state(world) == "Stable"
        await world.stop()

    simulate(life, seed=3)
