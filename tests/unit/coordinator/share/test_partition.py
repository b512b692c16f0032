"""A share partition with its log, its state and its clock."""

import asyncio
from dataclasses import replace

import pytest
from tests.support.share_world import GROUP, Replica, ShareWorld, play, turns

from ottla.coordinator.share.partition import SharePartition
from ottla.coordinator.share.state import RETRY_MS, Acknowledgement, AcknowledgeType
from ottla.model.errors import ApiError, ErrorCode, StorageError

ACCEPT, RELEASE = AcknowledgeType.ACCEPT, AcknowledgeType.RELEASE
EARLIEST = {"auto_offset_reset": "earliest"}


def ack(first: int, last: int, kind: int = ACCEPT) -> list[Acknowledgement]:
    return [Acknowledgement(first, last, [kind])]


def test_what_is_accepted_is_stored_before_it_counts() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        partition = await world.partition(Replica())
        assert world.take(partition, "a", 9) == [(0, 9, 1)]
        world.state_port.holds = True
        accepting = asyncio.create_task(partition.acknowledge("a", ack(0, 4)))
        await turns()
        assert (accepting.done(), partition.state.start_offset) == (False, 0)
        world.state_port.commit()
        await accepting
        assert (partition.state.start_offset, (await world.stored()).start_offset) == (5, 5)

    play(scenario, **EARLIEST)


def test_after_a_restart_what_was_not_accepted_comes_again_with_its_count() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        partition = await world.partition(Replica())
        world.take(partition, "a", 9)
        await partition.acknowledge("a", ack(0, 2))
        await partition.acknowledge("a", ack(3, 4, RELEASE))
        await world.restart()
        assert partition.is_over
        again = await world.partition(Replica())
        assert world.take(again, "b", 9) == [(3, 4, 2), (5, 9, 1)]

    play(scenario, **EARLIEST)


def test_a_write_that_is_refused_leaves_the_records_with_their_member() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        partition = await world.partition(Replica())
        world.take(partition, "a", 9)
        world.state_port.refuse = ApiError(ErrorCode.NOT_COORDINATOR)
        with pytest.raises(ApiError) as refused:
            await partition.acknowledge("a", ack(0, 9))
        assert refused.value.code is ErrorCode.COORDINATOR_NOT_AVAILABLE
        world.state_port.refuse = None
        await partition.acknowledge("a", ack(0, 9))
        assert partition.state.start_offset == 10

    play(scenario, **EARLIEST)


def test_a_lock_that_is_over_frees_the_records_and_wakes_who_waits() -> None:
    async def scenario(world: ShareWorld) -> None:
        woken: list[int] = []
        await world.beat("a", "t")
        partition = await world.partition(Replica())
        world.take(partition, "a", 9)
        partition.waiting[lambda: woken.append(1)] = None
        world.clock.advance(29_999)
        await turns()
        assert (woken, world.take(partition, "b", 9)) == ([], [])
        world.clock.advance(1)
        await turns()
        assert (woken, world.take(partition, "b", 9)) == ([1], [(0, 9, 2)])

    play(scenario, **EARLIEST)


def test_what_cannot_be_freed_is_tried_again_a_while_later() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        partition = await world.partition(Replica())
        world.take(partition, "a", 9)
        world.state_port.refuse = ApiError(ErrorCode.KAFKA_STORAGE_ERROR)
        world.clock.advance(30_000)
        await turns()
        world.state_port.refuse = None
        world.clock.advance(RETRY_MS - 1)
        await turns()
        assert world.take(partition, "b", 9) == []
        world.clock.advance(1)
        await turns()
        assert world.take(partition, "b", 9) == [(0, 9, 2)]

    play(scenario, **EARLIEST)


def test_the_last_delivery_that_comes_to_nothing_gives_the_records_up() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        partition = await world.partition(Replica())
        for count in (1, 2):
            assert world.take(partition, "a", 0) == [(0, 0, count)]
            world.clock.advance(30_000)
            await turns()
        assert (await world.stored()).start_offset == 1
        assert world.take(partition, "a", 0) == []

    play(scenario, **EARLIEST, delivery_count_limit="2")


def test_what_a_member_holds_is_free_when_its_session_is_over() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        partition = await world.partition(Replica())
        world.take(partition, "a", 9)
        partition.release_soon("a")
        await turns()
        assert world.take(partition, "b", 9) == [(0, 9, 2)]

    play(scenario, **EARLIEST)


def test_what_a_member_acquires_in_its_next_session_stays_its_own() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        partition = await world.partition(Replica())
        world.take(partition, "a", 4)
        partition.release_soon("a")
        assert world.take(partition, "a", 9) == [(5, 9, 1)]
        await turns()
        assert world.take(partition, "b", 9) == [(0, 4, 2)]

    play(scenario, **EARLIEST)


def test_who_leads_no_more_acquires_nothing() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        replica = Replica()
        partition = await world.partition(replica)
        world.take(partition, "a", 9)
        replica.is_leader = False
        partition.changed(replica)  # type: ignore[arg-type]
        with pytest.raises(ApiError) as moved:
            await partition.acknowledge("a", ack(0, 9))
        assert moved.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert not replica.watchers

    play(scenario, **EARLIEST)


def test_a_partition_without_state_is_not_known() -> None:
    async def scenario(world: ShareWorld) -> None:
        with pytest.raises(ApiError) as absent:
            await world.partition(Replica())
        assert absent.value.code is ErrorCode.UNKNOWN_SERVER_ERROR  # Kafka's word for it
        assert world.shares.partitions.peek(GROUP, Replica().topic_id, 0) is None

    play(scenario)


def test_a_partition_whose_log_cannot_be_read_is_asked_for_again() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        replica = Replica()
        replica.log.read_failed = lambda error: None
        first_offset = world.shares.partitions._first_offset

        def broken(group_id: str, replica: object) -> int:
            raise StorageError("the disk failed")

        world.shares.partitions._first_offset = broken  # type: ignore[method-assign]
        for _ in range(2):
            with pytest.raises(ApiError) as failed:
                await world.partition(replica)
            assert failed.value.code is ErrorCode.KAFKA_STORAGE_ERROR
        world.shares.partitions._first_offset = first_offset  # type: ignore[method-assign]
        assert (await world.partition(replica)).is_loaded

    play(scenario, **EARLIEST)


def test_a_lock_that_is_shorter_than_the_last_one_is_over_in_its_time() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        partition = await world.partition(Replica())
        world.take(partition, "a", 4)
        shorter = replace(partition._limits(GROUP), lock_duration_ms=15_000)
        partition._limits = lambda group_id: shorter
        taken = world.take(partition, "b", 9)
        assert taken == [(5, 9, 1)]
        world.clock.advance(15_000)
        await turns()
        assert world.take(partition, "c", 9) == [(5, 9, 2)]

    play(scenario, **EARLIEST)


async def _loading(world: ShareWorld, replica: Replica) -> "asyncio.Task[SharePartition]":
    """A share partition whose state is on its way: raising the leader epoch takes a write."""
    await world.beat("a", "t")
    world.state_port.holds = True
    loading = asyncio.create_task(world.partition(replica))
    await turns()
    assert not loading.done()
    return loading


def test_who_is_elected_again_while_it_loads_begins_anew() -> None:
    async def scenario(world: ShareWorld) -> None:
        replica = Replica()
        replica.leader_epoch = 1
        loading = await _loading(world, replica)
        replica.leader_epoch = 2
        world.state_port.commit()
        with pytest.raises(ApiError) as refused:
            await loading
        assert refused.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER
        world.state_port.holds = False
        again = await world.partition(replica)
        world.take(again, "a", 9)
        await again.acknowledge("a", ack(0, 9))
        assert (await world.stored()).leader_epoch == 2

    play(scenario, **EARLIEST)


def test_what_the_log_loses_while_it_loads_is_nobodys() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        before = await world.partition(Replica())
        world.take(before, "a", 9)
        await before.acknowledge("a", ack(0, 2))
        before.end()
        replica = Replica()
        replica.leader_epoch = 1
        loading = await _loading(world, replica)
        replica.log.log_start_offset = 7
        world.state_port.commit()
        assert world.take(await loading, "a", 9) == [(7, 9, 1)]

    play(scenario, **EARLIEST)


def test_who_looks_again_knows_its_own_writes_in_whatever_order_they_began() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        partition = await world.partition(Replica())
        world.take(partition, "a", 9)
        world.state_port.holds = True
        # The second begins while the first is under way, and does not count on it.
        words = [
            asyncio.create_task(partition.acknowledge("a", ack(first, last)))
            for first, last in ((0, 2), (5, 5))
        ]
        await turns()
        world.state_port.commit()
        await turns()
        world.state_port.commit()
        await asyncio.gather(*words)
        world.state_port.holds = False
        assert (await world.stored()).start_offset == 3
        await partition.look_again()
        assert not partition.is_over

    play(scenario, **EARLIEST)


def test_who_looks_again_knows_a_write_whose_answer_was_lost() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        partition = await world.partition(Replica())
        world.take(partition, "a", 9)
        write = partition._persister.write

        async def unheard(*row: object) -> None:
            await write(*row)  # type: ignore[arg-type]
            raise ApiError(ErrorCode.COORDINATOR_NOT_AVAILABLE)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(partition._persister, "write", unheard)
            with pytest.raises(ApiError):
                await partition.acknowledge("a", ack(0, 2))
        assert (await world.stored()).start_offset == 3
        await partition.look_again()
        assert not partition.is_over

    play(scenario, **EARLIEST)


def test_what_somebody_else_stored_is_seen_by_who_looks_again() -> None:
    async def scenario(world: ShareWorld) -> None:
        await world.beat("a", "t")
        partition = await world.partition(Replica())
        world.take(partition, "a", 9)
        await partition.acknowledge("a", ack(0, 4))
        await partition.look_again()
        assert not partition.is_over
        await world.state.initialize(partition.key, 9, 2)
        await partition.look_again()
        assert partition.is_over

    play(scenario, **EARLIEST)
