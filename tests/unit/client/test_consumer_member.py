"""Members of the newer protocol, with a whole broker in memory behind them."""

import pytest
from tests.support.simulated_world import World
from tests.unit.client.test_group_member import (
    BOTH,
    GROUP,
    from_the_start,
    produce,
    view_of,
    with_a_topic,
)

from ottla.client.cluster_view import ClusterView
from ottla.client.consumer_member import ConsumerMember
from ottla.client.groups import Groups
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition

SESSION_MS = 45_000


def member(view: ClusterView, number: int, *, instance_id: str | None = None) -> ConsumerMember:
    return ConsumerMember(
        view,
        GROUP,
        ["t"],
        first_offsets=from_the_start,
        commit_ms=1_000,
        instance_id=instance_id,
        new_id=lambda: bytes([number]) * 16,
    )


async def settle(world: World, *members: ConsumerMember) -> None:
    """Heartbeats until each has its share, and no two the same."""
    for _ in range(20):
        for each in members:
            await each.poll(10)
        world.clock.advance(5_000)
        for each in members:
            each._next_heartbeat = 0.0
        held = [partition for each in members for partition in each.positions()]
        if sorted(held) == BOTH and len({len(each.positions()) for each in members}) == 1:
            return
    raise AssertionError([each.positions() for each in members])


async def take(world: World, reader: ConsumerMember, count: int) -> list[bytes]:
    values: list[bytes] = []
    while len(values) < count:
        world.clock.advance(10)
        for fetched in await reader.poll(500):
            values += [bytes(record.value or b"") for record in fetched.records]
            reader.read_up_to(fetched.partition, fetched.header.next_offset)
    return values


async def committed(view: ClusterView) -> dict[TopicPartition, int]:
    found = await Groups(view).committed(GROUP)
    return {place: each.offset for place, each in found.items()}


def test_one_member_has_everything_and_commits_what_was_dealt_with() -> None:
    async def case(world: World) -> None:
        await produce(world, b"a", b"b")
        async with view_of(world) as view:
            async with member(view, 1) as only:
                assert sorted(await take(world, only, 4)) == [b"a", b"a", b"b", b"b"]
                assert only.stable
            assert await committed(view) == dict.fromkeys(BOTH, 2)
            described = await Groups(view).describe(GROUP)
            assert (described.kind, described.members) == ("consumer", ())

    with_a_topic(case)


def test_two_share_and_one_takes_over_where_the_other_left() -> None:
    async def case(world: World) -> None:
        await produce(world, b"a")
        async with view_of(world) as one, view_of(world) as other, member(one, 1) as first:
            await take(world, first, 2)
            async with member(other, 2) as second:
                await settle(world, first, second)
                await produce(world, b"b")
                assert await take(world, second, 1) == [b"b"]
            first._next_heartbeat = 0.0
            assert await take(world, first, 1) == [b"b"]  # the other one is committed

    with_a_topic(case)


def test_who_was_silent_too_long_joins_again() -> None:
    async def case(world: World) -> None:
        await produce(world, b"a")
        async with view_of(world) as view, member(view, 1) as only:
            await take(world, only, 2)
            epoch = only._epoch
            world.clock.advance(2 * SESSION_MS)
            only._next_heartbeat = 0.0
            await only.poll(0)
            assert not only.stable
            assert not only.positions()
            await settle(world, only)
            assert only._epoch > epoch

    with_a_topic(case)


def test_a_static_member_comes_back_to_what_it_had() -> None:
    async def case(world: World) -> None:
        async with view_of(world) as one, view_of(world) as other:
            async with member(one, 1, instance_id="x") as first:
                await settle(world, first)
                epoch = first._epoch
                late = member(other, 2, instance_id="x")
                assert await late.poll(0) == []  # the place is taken
                assert not late.stable
            async with late:
                await settle(world, late)
                assert late._epoch == epoch

    with_a_topic(case)


def test_an_answer_that_was_lost_is_given_again() -> None:
    async def case(world: World) -> None:
        async with view_of(world) as view, member(view, 1) as only:
            await only._send(0, is_full=True)  # nobody hears of it
            await settle(world, only)
            assert only.positions().keys() == set(BOTH)
            only._told = None
            only._next_heartbeat = 0.0
            await only.poll(0)
            assert only.positions().keys() == set(BOTH)

    with_a_topic(case)


def test_what_time_does_not_heal_is_raised() -> None:
    async def case(world: World) -> None:
        async with view_of(world) as view:
            odd = member(view, 1)
            odd._assignor = "astrology"
            with pytest.raises(ApiError) as refused:
                await odd.poll(0)
            assert refused.value.code is ErrorCode.UNSUPPORTED_ASSIGNOR

    with_a_topic(case)
