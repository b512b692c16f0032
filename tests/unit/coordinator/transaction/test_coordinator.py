"""The coordinator as handlers use it, over a log in memory and markers that wait to be told."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.support.log_port import MemoryPort

from ottla.coordinator.transaction.coordinator import TransactionCoordinator
from ottla.coordinator.transaction.markers import Written
from ottla.coordinator.transaction.settings import TransactionSettings
from ottla.coordinator.transaction.shard import MARKERS_AGAIN_MS
from ottla.coordinator.transaction.state import Transaction
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition
from ottla.record.control import EndTxnMarker
from ottla.testing.clock import ManualClock

TXN = "t"
P0, P1 = TopicPartition("out", 0), TopicPartition("out", 1)


class HeldMarkers:
    """What is to be written, until `done` says that it is, or is not."""

    def __init__(self) -> None:
        self.asked: list[tuple[Transaction, int]] = []
        self.one: list[tuple[Any, ...]] = []
        self._written: list[Callable[[Written], None]] = []

    def write(
        self, prepared: Transaction, coordinator_epoch: int, written: Callable[[Written], None]
    ) -> None:
        self.asked.append((prepared, coordinator_epoch))
        self._written.append(written)

    def write_one(self, *arguments: Any) -> None:
        self.one.append(arguments)

    def done(self, how: Written = Written.ALL) -> None:
        self._written.pop(0)(how)


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.transport = ManualClock()
        self.settings = TransactionSettings()
        self.markers = HeldMarkers()
        self.ids = 99
        self.port = MemoryPort(leader_epoch=4)
        self.coordinator = TransactionCoordinator(
            self.settings,
            self.clock,
            self.transport,
            self.markers,
            self.next_id,
            partition_count=1,
        )

    async def next_id(self) -> int:
        await asyncio.sleep(0)
        self.ids += 1
        return self.ids

    async def load(self) -> None:
        self.coordinator.load(0, self.port)
        for _ in range(20):
            await asyncio.sleep(0)

    async def opened(self, *partitions: TopicPartition) -> tuple[int, int]:
        """A producer with an open transaction."""
        producer = await self.coordinator.init_producer_id(TXN, 60_000, None)
        await self.coordinator.add_partitions(TXN, producer, partitions or (P0,), 2)
        return producer

    async def state(self) -> str:
        return (await self.coordinator.describe(TXN)).state.label


def run(life: Callable[[World], Coroutine[Any, Any, None]], loaded: bool = True) -> None:
    async def whole() -> None:
        world = World()
        if loaded:
            await world.load()
        await life(world)
        world.coordinator.close()

    asyncio.run(whole())


async def refused(asked: Coroutine[Any, Any, Any]) -> ErrorCode:
    with pytest.raises(ApiError) as caught:
        await asked
    return caught.value.code


def test_a_new_id_takes_one_producer_id() -> None:
    async def life(world: World) -> None:
        assert await world.coordinator.init_producer_id(TXN, 60_000, None) == (100, 0)
        assert await world.coordinator.init_producer_id(TXN, 60_000, None) == (100, 1)
        assert world.ids == 100

    run(life)


@pytest.mark.parametrize("timeout_ms", [0, -1, 900_001])
def test_a_time_out_out_of_bounds_is_refused(timeout_ms: int) -> None:
    async def life(world: World) -> None:
        asked = world.coordinator.init_producer_id(TXN, timeout_ms, None)
        assert await refused(asked) is ErrorCode.INVALID_TRANSACTION_TIMEOUT
        assert not world.port.batches

    run(life)


def test_before_the_partition_is_led_nobody_is_served() -> None:
    async def life(world: World) -> None:
        coordinator = world.coordinator
        assert await refused(coordinator.describe(TXN)) is ErrorCode.NOT_COORDINATOR
        with pytest.raises(ApiError):
            coordinator.check_now(TXN, (100, 0), P0)
        coordinator.load(0, world.port)
        assert await refused(coordinator.list()) is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS

    run(life, loaded=False)


def test_an_end_is_answered_when_decided_and_complete_when_the_markers_are_written() -> None:
    async def life(world: World) -> None:
        producer = await world.opened(P0, P1)
        assert await world.coordinator.end(TXN, producer, True, 2) == (100, 1)
        ((prepared, epoch),) = world.markers.asked
        assert (prepared.partitions, prepared.commits, epoch) == ({P0, P1}, True, 4)
        assert await world.state() == "PrepareCommit"
        world.markers.done()
        assert await world.state() == "CompleteCommit"

    run(life)


def test_a_decision_that_is_not_committed_has_no_markers() -> None:
    async def life(world: World) -> None:
        producer = await world.opened()
        world.port.holds = True
        end = asyncio.create_task(world.coordinator.end(TXN, producer, True, 2))
        await asyncio.sleep(0)
        assert not world.markers.asked
        assert not end.done()
        world.port.commit()
        assert await end == (100, 1)
        assert len(world.markers.asked) == 1

    run(life)


def test_markers_that_failed_are_tried_again_and_never_twice_at_once() -> None:
    async def life(world: World) -> None:
        producer = await world.opened()
        await world.coordinator.end(TXN, producer, True, 2)
        world.clock.advance(5 * MARKERS_AGAIN_MS)
        assert len(world.markers.asked) == 1
        world.markers.done(Written.NOT_ALL)
        assert await world.state() == "PrepareCommit"
        world.clock.advance(MARKERS_AGAIN_MS)
        assert len(world.markers.asked) == 2
        world.markers.done()
        assert await world.state() == "CompleteCommit"
        world.clock.advance(5 * MARKERS_AGAIN_MS)
        assert len(world.markers.asked) == 2

    run(life)


def test_markers_written_for_an_earlier_life_of_the_shard_do_no_harm() -> None:
    async def life(world: World) -> None:
        producer = await world.opened()
        await world.coordinator.end(TXN, producer, True, 2)
        world.coordinator.unload(0)
        world.markers.done()  # nobody is there to hear it
        world.port.leader_epoch = 5
        await world.load()
        assert await world.state() == "PrepareCommit"
        assert [epoch for _, epoch in world.markers.asked] == [4, 5]
        world.markers.done()
        assert await world.state() == "CompleteCommit"

    run(life)


def test_a_transaction_is_verified_by_its_id_producer_and_partition() -> None:
    async def life(world: World) -> None:
        producer = await world.opened(P0)
        coordinator = world.coordinator
        await coordinator.verify(TXN, producer, P0)
        coordinator.check_now(TXN, producer, P0)
        code = await refused(coordinator.verify(TXN, producer, P1))
        assert code is ErrorCode.TRANSACTION_ABORTABLE
        code = await refused(coordinator.verify(TXN, (producer[0], 7), P0))
        assert code is ErrorCode.PRODUCER_FENCED
        code = await refused(coordinator.verify("other", producer, P0))
        assert code is ErrorCode.INVALID_PRODUCER_ID_MAPPING
        await coordinator.end(TXN, producer, True, 2)
        with pytest.raises(ApiError):
            coordinator.check_now(TXN, producer, P0)

    run(life)


def test_what_is_known_is_listed_and_described() -> None:
    async def life(world: World) -> None:
        await world.opened()
        await world.coordinator.init_producer_id("u", 60_000, None)
        listed = await world.coordinator.list()
        assert sorted(known.transactional_id for known in listed) == [TXN, "u"]
        assert await world.state() == "Ongoing"
        code = await refused(world.coordinator.describe("no"))
        assert code is ErrorCode.TRANSACTIONAL_ID_NOT_FOUND

    run(life)


def test_a_partition_given_up_while_all_are_listed_is_passed_over() -> None:
    async def life(world: World) -> None:
        await world.opened()
        world.port.holds = True
        writing = asyncio.ensure_future(world.coordinator.init_producer_id("u", 60_000, None))
        await asyncio.sleep(0)
        listing = asyncio.ensure_future(world.coordinator.list())
        await asyncio.sleep(0)
        assert not listing.done()
        world.coordinator.unload(0)
        assert await listing == []
        assert await refused(writing) is ErrorCode.NOT_COORDINATOR

    run(life)


def test_a_marker_from_outside_goes_to_the_partition() -> None:
    async def life(world: World) -> None:
        marker = EndTxnMarker(False, 7)
        world.coordinator.write_marker(P0, 100, 3, marker, 2, print)
        assert world.markers.one == [(P0, 100, 3, marker, 2, print)]

    run(life)


def test_an_id_is_coordinated_in_the_epoch_of_its_partition_until_that_is_unloaded() -> None:
    async def life(world: World) -> None:
        coordinator = world.coordinator
        assert coordinator.is_coordinated(TXN, world.port.leader_epoch)
        assert not coordinator.is_coordinated(TXN, world.port.leader_epoch - 1)
        coordinator.unload(0)
        assert not coordinator.is_coordinated(TXN, world.port.leader_epoch)

    run(life)
