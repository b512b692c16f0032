"""Share groups together with what is stored of their partitions."""

import asyncio

import pytest
from tests.support.share_world import GROUP, ShareWorld, play, topic_id, turns

from ottla.coordinator.group.shard import RETRY_MS
from ottla.coordinator.share.groups import INITIALIZED_AT_ONCE
from ottla.model.errors import ApiError, ErrorCode

SESSION_MS = 45_000
HERE = ((topic_id(), "t", 0, 5), (topic_id(), "t", 1, 6))


def test_partitions_have_state_before_they_are_assigned() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        assert world.group.initialized == {topic_id(): ("t", (0, 1))}
        assert world.group.initializing == {}
        assert (await world.stored(1)).start_offset == -1

    play(scenario)


def test_without_the_state_topic_a_member_waits_for_its_partitions() -> None:
    async def scenario(world: ShareWorld) -> None:
        world.state.unload(0)
        await world.beat("a", "t")
        assert not any(world.has["a"].values())
        await world.restart()
        await world.beat("a")
        assert world.has["a"] == {topic_id(): [0, 1]}

    play(scenario)


def test_a_topic_of_many_partitions_gets_its_state_over_several_heartbeats() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        assert len(world.has["a"][topic_id()]) == INITIALIZED_AT_ONCE
        await world.beat("a")
        assert len(world.has["a"][topic_id()]) == INITIALIZED_AT_ONCE + 1

    play(scenario, {"t": INITIALIZED_AT_ONCE + 1})


def test_offsets_are_altered_while_nobody_is_a_member() -> None:
    async def scenario(world: ShareWorld) -> None:
        groups = world.shares.groups
        await world.beat("a", "t")
        with pytest.raises(ApiError) as taken:
            await groups.check_empty(GROUP)
        assert taken.value.code is ErrorCode.NON_EMPTY_GROUP
        await world.beat("a", epoch=-1)
        await groups.check_empty(GROUP)
        assert await groups.alter(GROUP, HERE) == [ErrorCode.NONE, ErrorCode.NONE]
        assert (await world.stored(1)).start_offset == 6
        assert not groups.is_member(GROUP, "a")

    play(scenario)


def test_offsets_are_not_altered_when_a_member_came_since_it_was_looked() -> None:
    async def scenario(world: ShareWorld) -> None:
        groups = world.shares.groups
        await groups.check_empty(GROUP, must_exist=False)
        await world.beat("a", "t")
        with pytest.raises(ApiError) as taken:
            await groups.alter(GROUP, HERE)
        assert taken.value.code is ErrorCode.NON_EMPTY_GROUP
        assert (await world.stored(1)).start_offset == -1

    play(scenario)


def test_offsets_of_a_group_that_is_not_there_make_it() -> None:
    async def scenario(world: ShareWorld) -> None:
        groups = world.shares.groups
        with pytest.raises(ApiError) as absent:
            await groups.check_empty(GROUP)
        assert absent.value.code is ErrorCode.GROUP_ID_NOT_FOUND
        with pytest.raises(ApiError) as nameless:
            await groups.check_empty("", must_exist=False)
        assert nameless.value.code is ErrorCode.INVALID_GROUP_ID
        await groups.check_empty(GROUP, must_exist=False)
        assert await groups.alter(GROUP, HERE) == [ErrorCode.NONE, ErrorCode.NONE]
        await world.restart()
        assert (world.group.initialized, world.group.initializing) == (
            {topic_id(): ("t", (0, 1))},
            {},
        )
        await world.beat("a", "t")
        assert (world.has["a"], (await world.stored()).start_offset) == ({topic_id(): [0, 1]}, 5)

    play(scenario)


def test_an_offset_that_could_not_be_stored_is_answered_by_itself() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        await world.beat("a", epoch=-1)
        world.state_port.refuse = ApiError(ErrorCode.NOT_COORDINATOR)
        codes = await world.shares.groups.alter(GROUP, HERE)
        assert codes == [ErrorCode.NOT_COORDINATOR] * 2

    play(scenario)


def test_deleted_state_is_gone_and_made_anew_for_the_next_member() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        await world.beat("a", epoch=-1)
        await world.shares.groups.delete_state(GROUP, [topic_id()])
        assert await world.shares.groups.topics_with_state(GROUP) == {}
        assert await world.stored() is None
        world.epochs.clear()
        await world.beat("b", "t")
        assert world.has["b"] == {topic_id(): [0, 1]}
        assert await world.stored() is not None

    play(scenario)


def test_who_comes_while_another_gives_partitions_their_state_does_not_begin_anew() -> None:
    async def scenario(world: ShareWorld) -> None:
        world.state_port.holds = True
        first = asyncio.create_task(world.beat("a", "t"))
        await turns()
        second = asyncio.create_task(world.beat("b", "t"))
        await turns()
        world.state_port.holds = False
        world.state_port.commit()
        await asyncio.gather(first, second)
        assert len(world.state_port.batches) == 2  # one for each partition
        assert world.has["a"].keys() | world.has["b"].keys() == {topic_id()}

    play(scenario)


@pytest.mark.parametrize("leaves", [True, False])
def test_who_could_not_be_let_go_is_thrown_out_later(leaves: bool) -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        world.group_port.refuse = ApiError(ErrorCode.KAFKA_STORAGE_ERROR)
        if leaves:
            with pytest.raises(ApiError):
                await world.beat("a", epoch=-1)
        else:
            world.clock.advance(SESSION_MS)
            await turns()
        assert world.shares.groups.is_member(GROUP, "a")
        world.group_port.refuse = None
        world.clock.advance(SESSION_MS if leaves else RETRY_MS)
        await turns()
        assert not world.shares.groups.is_member(GROUP, "a")

    play(scenario)
