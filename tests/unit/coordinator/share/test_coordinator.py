"""What is stored of share partitions, over a log in memory."""

import asyncio

import pytest
from tests.support.log_port import MemoryPort
from tests.support.share_world import topic_id, turns

from ottla.coordinator.share.coordinator import ShareCoordinator
from ottla.coordinator.share.records import ShareKey
from ottla.coordinator.share.runs import StateBatch
from ottla.model.errors import ApiError, ErrorCode
from ottla.testing.clock import ManualClock

KEY = ShareKey("g", topic_id(), 0)
OTHER = ShareKey("g", topic_id("u"), 0)


async def served(port: MemoryPort) -> ShareCoordinator:
    state = ShareCoordinator(ManualClock(), ManualClock(), partition_count=1)
    state.load(0, port)
    await turns()
    return state


def test_what_was_written_is_read_by_the_next_leader() -> None:
    async def scenario() -> None:
        port = MemoryPort()
        state = await served(port)
        await state.initialize(KEY, 1, 10)
        await state.write(KEY, 1, 0, 12, 1, [StateBatch(13, 14, 2, 1)])
        await state.initialize(OTHER, 1, -1)
        again = await served(port)
        read = await again.read(KEY, 3)
        assert (read.start_offset, read.complete_count, read.leader_epoch) == (12, 1, 3)
        assert read.batches == (StateBatch(13, 14, 2, 1),)
        with pytest.raises(ApiError) as fenced:
            await again.write(KEY, 1, 0, 12, 1, [])
        assert fenced.value.code is ErrorCode.FENCED_LEADER_EPOCH

    asyncio.run(scenario())


def test_what_is_deleted_is_not_there() -> None:
    async def scenario() -> None:
        state = await served(MemoryPort())
        for key in (KEY, OTHER):
            await state.initialize(key, 1, 0)
        await state.delete(KEY)
        assert await state.summary(KEY) is None
        state.topics_deleted([OTHER.topic_id])
        assert await state.summary(OTHER) is None
        with pytest.raises(ApiError) as absent:
            await state.read(KEY, 0)
        assert absent.value.code is ErrorCode.INVALID_REQUEST

    asyncio.run(scenario())


def test_a_partition_not_led_here_is_asked_for_elsewhere() -> None:
    async def scenario() -> None:
        state = await served(MemoryPort())
        state.unload(0)
        assert (state.partitions(), state.needed_from(0)) == ([], None)
        with pytest.raises(ApiError) as elsewhere:
            await state.initialize(KEY, 1, 0)
        assert elsewhere.value.code is ErrorCode.NOT_COORDINATOR

    asyncio.run(scenario())


def test_what_no_longer_changes_is_written_anew_so_that_older_records_can_go() -> None:
    async def scenario() -> None:
        state = await served(MemoryPort())
        await state.initialize(KEY, 1, 0)
        await state.initialize(OTHER, 1, 0)
        await state.write(OTHER, 1, 0, 5, 0, [])
        assert state.needed_from(0) == 0
        state.write_anew(0)
        assert state.needed_from(0) == 3

    asyncio.run(scenario())


def test_keys_are_found_by_group_topic_and_partition() -> None:
    state = ShareCoordinator(ManualClock(), ManualClock(), partition_count=50)
    assert KEY.text == "g:dF9fX19fX19fX19fX19fXw:0"
    assert 0 <= state.partition_for(KEY.text) < 50
    state.set_partition_count(1)
    assert state.partition_for(KEY.text) == 0
