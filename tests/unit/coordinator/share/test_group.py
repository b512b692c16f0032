"""A share group's members, epochs and what is assigned to them."""

import pytest
from tests.support.share_world import ShareWorld, play, topic_id

from ottla.coordinator.group.history import Why
from ottla.model.errors import ApiError, ErrorCode


def test_the_first_answer_has_partitions_and_the_members_share_them() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        assert world.has["a"] == {topic_id(): [0, 1]}
        await world.beat("b", "t")
        await world.beat("a")
        assert sorted(world.has["a"][topic_id()] + world.has["b"][topic_id()]) == [0, 1]
        assert world.group.state_name == "Stable"

    play(scenario)


def test_more_members_than_partitions_have_one_each() -> None:
    async def scenario(world: ShareWorld) -> None:
        for member in "abcde":
            await world.beat(member, "t")
        for member in "abcde":
            await world.beat(member)
        found = [world.has[member][topic_id()] for member in "abcde"]
        assert sorted(found) in ([[0], [0], [0], [1], [1]], [[0], [0], [1], [1], [1]])

    play(scenario)


def test_who_leaves_makes_room_and_the_last_leaves_an_empty_group() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        await world.beat("b", "t")
        await world.beat("b", epoch=-1)
        await world.beat("a")
        assert world.has["a"] == {topic_id(): [0, 1]}
        await world.beat("a", epoch=-1)
        assert (world.group.state_name, world.group.is_forgettable) == ("Empty", False)

    play(scenario)


def test_a_silent_member_is_out_after_its_session() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        world.clock.advance(44_999)
        await world.beat("a")
        world.clock.advance(45_000)
        with pytest.raises(ApiError) as gone:
            await world.beat("a")
        assert gone.value.code is ErrorCode.UNKNOWN_MEMBER_ID
        why = [cause.why for one in world.group.history.rebalances for cause in one.causes]
        assert why[-1] is Why.SESSION_EXPIRED

    play(scenario)


@pytest.mark.parametrize("epoch", [7, 1])
def test_an_epoch_a_member_cannot_have_is_fenced(epoch: int) -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        await world.beat("b", "t")
        await world.beat("a")
        await world.beat("b")
        with pytest.raises(ApiError) as fenced:
            await world.beat("a", epoch=epoch)
        assert fenced.value.code is ErrorCode.FENCED_MEMBER_EPOCH

    play(scenario)


def test_partitions_that_are_added_and_topics_that_come_are_assigned() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t", "u")
        before = world.group.epoch
        world.set_topics({"t": 3, "u": 1})
        await world.beat("a")
        assert world.has["a"] == {topic_id(): [0, 1, 2], topic_id("u"): [0]}
        epoch = world.group.epoch
        assert epoch > before
        for _ in range(3):
            await world.beat("a")
        assert world.group.epoch == epoch  # nothing is left to look at

    play(scenario)


def test_a_refused_write_changes_nothing() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        world.set_topics({"t": 3})
        world.group_port.refuse = ApiError(ErrorCode.NOT_COORDINATOR)
        with pytest.raises(ApiError):
            await world.beat("a")
        world.group_port.refuse = None
        await world.beat("a")
        assert world.has["a"] == {topic_id(): [0, 1, 2]}

    play(scenario)


def test_a_full_group_takes_nobody_in() -> None:
    async def scenario(world: ShareWorld) -> None:
        most = world.groups.surroundings.number("group.share.max.size")
        world.group.members.update({str(n): None for n in range(most)})  # type: ignore[misc]
        with pytest.raises(ApiError) as full:
            await world.beat("b", "t")
        assert full.value.code is ErrorCode.GROUP_MAX_SIZE_REACHED

    async def prepared(world: ShareWorld) -> None:
        await world.beat("a", "t")
        await scenario(world)

    play(prepared)


# The assignment interval


def test_a_change_is_assigned_once_the_interval_since_the_last_one_is_over() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        assert world.has["a"] == {topic_id(): [0, 1]}  # its new state waits for nothing
        epoch = world.group.target_epoch
        world.clock.advance(999)
        answer = await world.beat("b", "t")
        assert (world.has["b"], answer.member_epoch) == ({}, epoch)
        assert world.group.epoch == epoch + 1
        world.clock.advance(1)
        await world.beat("a")
        await world.beat("b")
        assert sorted(world.has["a"][topic_id()] + world.has["b"][topic_id()]) == [0, 1]
        assert world.group.target_epoch == world.group.epoch == epoch + 1  # raised but once

    play(scenario, assignment_interval_ms="1000")


def test_what_a_member_unsubscribes_from_is_taken_from_it_before_the_interval_is_over() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t", "u")
        epoch = world.group.target_epoch
        answer = await world.beat("a", "u")
        assert world.has["a"] == {topic_id("u"): [0]}
        assert answer.member_epoch == epoch

    play(scenario, {"t": 2, "u": 1}, assignment_interval_ms="1000")


def test_the_interval_counts_after_a_restart_too() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        await world.restart()
        await world.beat("b", "t")
        assert world.has["b"] == {}
        world.clock.advance(1_000)
        await world.beat("b")
        assert world.has["b"] != {}

    play(scenario, assignment_interval_ms="1000")


def test_partitions_that_wait_for_the_interval_raise_no_further_epoch() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t", "u")
        world.clock.advance(1_000)
        await world.beat("a", "t")
        await world.beat("b", "u")  # which has state, and is nobody's now
        epoch = world.group.epoch
        for _ in range(3):
            await world.beat("a")
            await world.beat("b")
        assert (world.group.epoch, world.has["b"]) == (epoch, {})
        world.clock.advance(1_000)
        await world.beat("b")
        assert world.has["b"] == {topic_id("u"): [0]}
        assert world.group.epoch == world.group.target_epoch == epoch

    play(scenario, {"t": 2, "u": 1}, assignment_interval_ms="1000")


def test_partitions_that_come_are_assigned_with_their_state() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        await world.beat("b", "t")
        world.set_topics({"t": 3})
        await world.beat("a")
        await world.beat("b")
        held = {number for member in "ab" for number in world.has[member][topic_id()]}
        assert held == {0, 1, 2}

    play(scenario, assignment_interval_ms="1000")


def test_members_come_soon_while_a_target_is_on_its_way_and_for_an_interval_behind_it() -> None:
    async def scenario(world: ShareWorld) -> None:
        async def asked(member: str, *topics: str) -> int:
            return (await world.beat(member, *topics)).heartbeat_interval_ms

        assert await asked("a", "t") == 250
        world.clock.advance(4_999)
        assert await asked("a") == 250
        world.clock.advance(1)
        assert await asked("a") == 5_000
        assert await asked("b", "t") == 250
        assert await asked("a") == 250

    play(scenario, assignment_interval_ms="1000")
