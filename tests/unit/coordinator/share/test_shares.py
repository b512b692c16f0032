"""Sessions, members and partitions together."""

import pytest
from tests.support.share_world import GROUP, Replica, ShareWorld, play, turns

from ottla.coordinator.share.partition import SharePartition
from ottla.coordinator.share.sessions import MAX_PARTS, SessionKey, ShareSession, ShareSessions
from ottla.model.errors import ApiError, ErrorCode

KEY = SessionKey(GROUP, "a")
EARLIEST = {"auto_offset_reset": "earliest"}


async def holding(world: ShareWorld) -> tuple[ShareSession, SharePartition]:
    """Member a has a session, and records 0 to 9."""
    await world.beat("a", "t")
    session = world.shares.begin_session(KEY, 1)
    partition = await world.partition(Replica())
    world.take(partition, "a", 9)
    session.touched[partition.key.topic_id, 0] = None
    return session, partition


def test_what_a_member_held_is_free_when_its_session_ends() -> None:
    async def scenario(world: ShareWorld) -> None:
        session, partition = await holding(world)
        world.shares.end_session(session)
        world.shares.end_session(session)
        await turns()
        assert session.is_over
        assert world.take(partition, "b", 9) == [(0, 9, 2)]

    play(scenario, **EARLIEST)


def test_a_new_session_begins_with_nothing() -> None:
    async def scenario(world: ShareWorld) -> None:
        old, partition = await holding(world)
        world.shares.begin_session(KEY, 2)
        await turns()
        assert old.is_over
        assert world.take(partition, "b", 9) == [(0, 9, 2)]

    play(scenario, **EARLIEST)


def test_the_session_of_a_member_that_fell_silent_ends_with_it() -> None:
    async def scenario(world: ShareWorld) -> None:
        session, partition = await holding(world)
        world.clock.advance(45_000)
        await turns()
        assert session.is_over
        assert world.take(partition, "b", 9) == [(0, 9, 2)]

    play(scenario, **EARLIEST, record_lock_duration_ms="60000")


def test_a_group_that_is_deleted_takes_what_is_stored_with_it() -> None:
    async def scenario(world: ShareWorld) -> None:
        _, partition = await holding(world)
        await world.groups.delete_groups([GROUP])
        assert await world.stored() is not None  # it has a member
        await world.beat("a", epoch=-1)
        (row,) = await world.groups.delete_groups([GROUP])
        assert not row.error_code
        assert partition.is_over
        assert await world.stored() is None

    play(scenario, **EARLIEST)


def test_a_group_whose_state_cannot_be_deleted_stays() -> None:
    async def scenario(world: ShareWorld) -> None:
        await holding(world)
        await world.beat("a", epoch=-1)

        async def refuse(key: object) -> None:
            raise ApiError(ErrorCode.NOT_COORDINATOR)

        delete, world.shares.groups.state.delete = world.shares.groups.state.delete, refuse  # type: ignore[method-assign]
        (row,) = await world.groups.delete_groups([GROUP])
        assert row.error_code == ErrorCode.NOT_COORDINATOR
        assert await world.stored() is not None
        world.shares.groups.state.delete = delete  # type: ignore[method-assign]
        (row,) = await world.groups.delete_groups([GROUP])
        assert not row.error_code
        assert await world.stored() is None

    play(scenario, **EARLIEST)


def test_all_sessions_together_hold_so_many_partitions() -> None:
    sessions = ShareSessions()
    first = sessions.begin(SessionKey(GROUP, "a"), 1, 10)
    many = [(b"t" * 16, number) for number in range(MAX_PARTS)]
    sessions.update(first, many, [])
    second = sessions.begin(SessionKey(GROUP, "b"), 1, 10)
    with pytest.raises(ApiError) as refused:
        sessions.update(second, many[:1], [])
    assert refused.value.code is ErrorCode.SHARE_SESSION_LIMIT_REACHED
    sessions.begin(SessionKey(GROUP, "a"), 1, 10)
    assert not first.parts
    sessions.update(second, many, [])
