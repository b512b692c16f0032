"""Markers into local logs: a few in each turn of the loop, of however many transactions."""

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from ottla.broker.transactions import MARKERS_A_TURN, TURN_MS, LocalMarkers
from ottla.coordinator.transaction.markers import Written
from ottla.coordinator.transaction.state import PREPARE_ABORT, PREPARE_COMMIT, Transaction
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition
from ottla.model.names import CONSUMER_OFFSETS
from ottla.testing.clock import ManualClock


class Log:
    """A partition that is told of ends, and says when they are committed."""

    def __init__(self, world: "World", name: TopicPartition) -> None:
        self.name = name
        self.markers: list[tuple[int, int, bool, int]] = []
        self.refuses = 0
        self.error: Exception = ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        self.holds = False
        self.waiting: list[Callable[[ApiError | None], None]] = []
        self._world = world

    def append_marker(
        self, producer_id: int, epoch: int, marker: Any, version: int, now_ms: int
    ) -> int:
        if self.refuses:
            self.refuses -= 1
            raise self.error
        self.markers.append((producer_id, epoch, marker.committed, marker.coordinator_epoch))
        self._world.written += 1
        self._world.transport.advance(self._world.takes_ms)
        return len(self.markers)

    def when_committed(self, end: int, callback: Callable[[ApiError | None], None]) -> None:
        if self.holds:
            self.waiting.append(callback)
        else:
            callback(None)


class World:
    def __init__(self, partitions: int) -> None:
        self.written = 0
        self.marked: list[tuple[TopicPartition, int]] = []
        self.told: list[tuple[int, int, bool, int]] = []
        self.logs = {name: Log(self, name) for name in names(partitions)}
        self.logs[OFFSETS] = Log(self, OFFSETS)
        self.ends: list[Written] = []
        self.is_coordinated = True
        self.transport = ManualClock()
        self.takes_ms = 0
        self.markers = LocalMarkers(
            SimpleNamespace(find_by_name=lambda topic, n: self.logs.get(TopicPartition(topic, n))),  # type: ignore[arg-type]
            SimpleNamespace(marked=lambda *heard: self.told.append(heard)),  # type: ignore[arg-type]
            ManualClock(),
            self.transport,
            is_coordinated=lambda transactional_id, epoch: self.is_coordinated,
            marked=lambda *heard: self.marked.append(heard),
            image=lambda: SimpleNamespace(topics=topics),  # type: ignore[arg-type,return-value]
        )
        topics = {
            "out": SimpleNamespace(partitions=[None] * partitions),
            CONSUMER_OFFSETS: SimpleNamespace(partitions=[None]),
        }

    def end(self, *partitions: TopicPartition, commit: bool = True) -> None:
        state = PREPARE_COMMIT if commit else PREPARE_ABORT
        prepared = Transaction("t", 100, 3, 60_000, state, frozenset(partitions), 1_000)
        self.markers.write(prepared, 7, self.ends.append)


OFFSETS = TopicPartition(CONSUMER_OFFSETS, 0)
ALL, NOT_ALL, NEVER = Written


def names(count: int) -> list[TopicPartition]:
    return [TopicPartition("out", number) for number in range(count)]


def run(partitions: int, life: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(life(World(partitions)))


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_few_are_written_at_once_and_the_group_hears_of_its_own() -> None:
    async def life(world: World) -> None:
        world.end(*names(3), OFFSETS, commit=False)
        assert world.ends == [ALL]
        assert [log.markers for log in world.logs.values()] == [[(100, 3, False, 7)]] * 4
        assert world.told == [(0, 100, False, 1)]
        assert world.marked == [(name, 100) for name in sorted(world.logs)]

    run(3, life)


def test_many_are_written_over_many_turns() -> None:
    async def life(world: World) -> None:
        world.end(*names(5 * MARKERS_A_TURN))
        for turn in range(1, 6):
            assert world.written == turn * MARKERS_A_TURN
            assert world.ends == ([ALL] if turn == 5 else [])
            await turns(1)
        assert all(len(log.markers) == 1 for name, log in world.logs.items() if name != OFFSETS)

    run(5 * MARKERS_A_TURN, life)


def test_a_turn_has_fewer_where_they_take_long() -> None:
    async def life(world: World) -> None:
        world.takes_ms = 1
        world.end(*names(7))
        assert world.written == TURN_MS
        await turns(1)
        assert world.written == 2 * TURN_MS
        await turns(2)
        assert world.ends == [ALL]

    run(7, life)


def test_many_transactions_share_a_turn() -> None:
    async def life(world: World) -> None:
        for number in range(3 * MARKERS_A_TURN):
            world.end(TopicPartition("out", number % 2))
        assert world.written == len(world.ends) == MARKERS_A_TURN
        await turns(1)
        assert world.written == len(world.ends) == 2 * MARKERS_A_TURN
        await turns(2)
        assert world.ends == [ALL] * 3 * MARKERS_A_TURN

    run(2, life)


def test_a_quiet_turn_gives_the_next_its_full_share() -> None:
    async def life(world: World) -> None:
        for _ in range(3):
            world.end(*names(MARKERS_A_TURN))
            await turns(2)
        assert world.written == 3 * MARKERS_A_TURN
        assert world.ends == [ALL] * 3

    run(MARKERS_A_TURN, life)


def test_one_that_cannot_be_written_keeps_the_transaction_from_being_complete() -> None:
    async def life(world: World) -> None:
        world.logs[TopicPartition("out", 1)].refuses = 1
        world.end(*names(3))
        assert world.ends == [NOT_ALL]
        assert world.written == 2
        await turns(2)
        world.end(*names(3))
        assert world.ends == [NOT_ALL, ALL]

    run(3, life)


def test_an_error_nobody_expects_is_one_to_try_again_after() -> None:
    async def life(world: World) -> None:
        log = world.logs[TopicPartition("out", 1)]
        log.refuses, log.error = 1, ValueError("unexpected")
        world.end(*names(3))
        assert world.ends == [NOT_ALL]
        world.end(*names(3))
        assert world.ends == [NOT_ALL, ALL]

    run(3, life)


@pytest.mark.parametrize(
    "code", [ErrorCode.TRANSACTION_COORDINATOR_FENCED, ErrorCode.INVALID_PRODUCER_EPOCH]
)
def test_where_somebody_wrote_who_came_later_no_marker_is_tried_again(code: ErrorCode) -> None:
    async def life(world: World) -> None:
        fenced, other = world.logs[TopicPartition("out", 0)], world.logs[TopicPartition("out", 1)]
        fenced.refuses, fenced.error = 9, ApiError(code)
        other.refuses = 1
        world.end(*names(3))
        assert world.ends == [NOT_ALL]
        await turns(1)
        world.end(*names(3))
        assert world.ends == [NOT_ALL, NEVER]
        assert fenced.refuses == 8

    run(3, life)


def test_who_coordinates_no_more_writes_nothing_more() -> None:
    async def life(world: World) -> None:
        world.end(*names(2 * MARKERS_A_TURN))
        world.is_coordinated = False
        await turns(2)
        assert world.written == MARKERS_A_TURN
        assert world.ends == [NOT_ALL]

    run(2 * MARKERS_A_TURN, life)


def test_partitions_that_exist_no_more_need_none() -> None:
    async def life(world: World) -> None:
        world.end(TopicPartition("gone", 0), TopicPartition("out", 2), *names(2))
        assert world.ends == [ALL]
        assert world.written == 2

    run(2, life)


def test_the_end_waits_for_the_last_commit() -> None:
    async def life(world: World) -> None:
        held = world.logs[TopicPartition("out", 1)]
        held.holds = True
        world.end(*names(3))
        assert world.written == 3
        assert world.ends == []
        held.waiting.pop()(None)
        assert world.ends == [ALL]

    run(3, life)


def test_after_the_close_nothing_is_written() -> None:
    async def life(world: World) -> None:
        world.end(*names(2 * MARKERS_A_TURN))
        world.markers.close()
        await turns(3)
        assert world.written == MARKERS_A_TURN
        assert world.ends == []

    run(2 * MARKERS_A_TURN, life)
