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
