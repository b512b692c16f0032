"""Share partitions are made where they are fetched from, with their group's settings."""

import asyncio

import pytest
from tests.support.share_world import GROUP, Replica, ShareWorld, play, topic_id

from ottla.coordinator.share.partitions import duration_ms
from ottla.model.isolation import IsolationLevel


def test_one_partition_is_loaded_once() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        reads = world.state_port.end
        first, second = await asyncio.gather(world.partition(Replica()), world.partition(Replica()))
        assert first is second
        assert (len(world.shares.partitions), world.state_port.end - reads) == (1, 0)
        await world.partition(Replica(number=1))
        assert len(world.shares.partitions) == 2

    play(scenario)


def test_what_was_written_by_another_is_read_anew() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        partition = await world.partition(Replica())
        world.shares.partitions.forget(GROUP, [topic_id("u")])
        assert not partition.is_over
        world.shares.partitions.forget(GROUP, [topic_id()])
        assert partition.is_over
        assert await world.partition(Replica()) is not partition
        world.shares.partitions.close()
        assert len(world.shares.partitions) == 0

    play(scenario)


@pytest.mark.parametrize(("reset", "start"), [("earliest", 7), ("latest", 100)])
def test_a_group_begins_where_its_setting_says(reset: str, start: int) -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        replica = Replica()
        replica.log.log_start_offset = 7
        assert (await world.partition(replica)).state.start_offset == start

    play(scenario, auto_offset_reset=reset)


def test_the_settings_are_those_of_the_group() -> None:
    async def scenario(world: ShareWorld) -> None:
        limits = world.shares.partitions.limits(GROUP)
        assert (limits.delivery_count_limit, limits.lock_duration_ms) == (3, 15_000)
        assert limits.renewing_is_allowed
        assert world.shares.partitions.isolation(GROUP) is IsolationLevel.READ_COMMITTED
        others = world.shares.partitions.limits("h")
        assert (others.delivery_count_limit, others.lock_duration_ms) == (5, 30_000)
        assert world.shares.partitions.isolation("h") is IsolationLevel.READ_UNCOMMITTED

    play(
        scenario,
        delivery_count_limit="3",
        record_lock_duration_ms="15000",
        isolation_level="read_committed",
    )


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("P1D", 86_400_000),
        ("PT1H", 3_600_000),
        ("PT2M3S", 123_000),
        ("pt0.5s", 500),
        ("P1DT1H1M1,25S", 90_061_250),
    ],
)
def test_durations_are_read(text: str, expected_ms: int) -> None:
    assert duration_ms(text) == expected_ms
