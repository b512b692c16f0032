"""How far behind in time, with a whole broker in memory to ask."""

from collections.abc import Awaitable, Callable

import pytest
from tests.support.simulated_world import BROKER, PORT, World, simulate
from tests.support.witness import PRODUCE_VERSION, batch, create_topic, produce_request

from ottla.cli.groups import _description
from ottla.cli.lag import age_text, lag_times, write_rates
from ottla.client.cluster_view import ClusterView
from ottla.client.groups import Groups
from ottla.model.ids import TopicPartition

T = TopicPartition("t", 0)
AT_MS = 1_700_000_000_000
TIMES = (AT_MS, AT_MS + 30_000, AT_MS + 90_000)


def with_records(
    case: Callable[[ClusterView], Awaitable[None]], *, times: tuple[int, ...] = TIMES
) -> None:
    """Three records, a batch each."""

    async def program(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, "t") == 0
        for at in times:
            await client.call(produce_request("t", batch(b"v", timestamp_ms=at)), PRODUCE_VERSION)
        client.close()
        async with ClusterView(world.network.host("10.0.0.2"), [(BROKER, PORT)]) as view:
            await case(view)
        await world.stop()

    simulate(program, seed=1)


@pytest.mark.parametrize(("position", "age"), [(0, 100.0), (1, 70.0), (2, 10.0)])
def test_the_lag_in_time_is_the_age_of_the_oldest_record_not_read(
    position: int, age: float
) -> None:
    async def case(view: ClusterView) -> None:
        assert await lag_times(view, {T: position}, AT_MS + 100_000) == {T: age}

    with_records(case)


def test_what_cannot_be_read_is_left_out() -> None:
    async def case(view: ClusterView) -> None:
        assert await lag_times(view, {}, AT_MS) == {}
        assert await lag_times(view, {T: 3}, AT_MS) == {}
        assert await lag_times(view, {TopicPartition("gone", 0): 0}, AT_MS) == {}

    with_records(case)


def test_a_record_from_the_future_is_not_behind() -> None:
    async def case(view: ClusterView) -> None:
        assert await lag_times(view, {T: 2}, AT_MS) == {T: 0.0}

    with_records(case)


@pytest.mark.parametrize(("now_ms", "records"), [(90_001, 1), (90_000, 2), (500_000, 0)])
def test_the_rate_is_of_the_last_minute(now_ms: int, records: int) -> None:
    async def case(view: ClusterView) -> None:
        assert await write_rates(view, {T: 3}, AT_MS + now_ms) == {T: records / 60}

    with_records(case)


def test_a_group_is_described_with_both() -> None:
    async def case(view: ClusterView) -> None:
        await Groups(view).commit("g", {T: 1})
        (row,) = (await _description(view, "g", AT_MS + 100_000))["partitions"]
        assert (row["lag"], row["lag_time"], row["rate"]) == (2, 70.0, 0.02)
        await Groups(view).commit("g", {T: 3})
        (row,) = (await _description(view, "g", AT_MS + 100_000))["partitions"]
        assert (row["lag"], row["lag_time"]) == (0, 0.0)

    with_records(case)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.44, "0.4s"),
        (12.9, "12s"),
        (60, "1m"),
        (192, "3m12s"),
        (7_500, "2h5m"),
        (7_201, "2h"),
        (273_600, "3d4h"),
    ],
)
def test_an_age_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert age_text(seconds) == text
