"""The coordinator as handlers use it, over a log in memory."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.support.group_conversation import beat, commit, join, leave, sync
from tests.support.group_world import CountingRandomness
from tests.support.log_port import MemoryPort

from ottla.coordinator.group.coordinator import GATHER_QUIET_MS, GroupCoordinator
from ottla.coordinator.group.history import Why
from ottla.coordinator.group.settings import Caller, GroupSettings
from ottla.model.errors import ApiError, ErrorCode
from ottla.record.builder import build_batch
from ottla.record.records import Record
from ottla.testing.clock import ManualClock
from ottla.wire.generated.offset_fetch import OffsetFetchRequestGroup, OffsetFetchRequestTopics

GOLDENS = Path(__file__).parents[3] / "goldens" / "groups" / "consumer_offsets"
CALLER = Caller("me", "/127.0.0.1", 9)


class World:
    def __init__(self, **settings: int) -> None:
        self.clock = ManualClock()
        self.transport = ManualClock()
        self.settings = GroupSettings(group_initial_rebalance_delay_ms=0)
        for name, value in settings.items():
            setattr(self.settings, name, value)
        self.groups = GroupCoordinator(
            self.settings, self.clock, self.transport, CountingRandomness(), partition_count=1
        )
        self.port = MemoryPort()

    async def load(self) -> None:
        self.groups.load(0, self.port)
        for _ in range(20):
            await asyncio.sleep(0)

    async def join(self, group: str = "g", member: str = "", **options: Any) -> Any:
        return await self.groups.join_group(join(group, member, **options), CALLER)

    async def stable(self, group: str = "g") -> tuple[str, int]:
        """One member of a stable group, and its generation."""
        member = (await self.join(group)).member_id
        generation = (await self.join(group, member)).generation_id
        await self.groups.sync_group(sync(group, member, generation, assignments={member: b"x"}))
        return member, generation

    async def offset(
        self, group: str, partition: int = 0, require_stable: bool = False
    ) -> tuple[int, int]:
        """What is committed for a partition of topic t, and the error."""
        topics = [OffsetFetchRequestTopics(name="t", partition_indexes=[partition])]
        request = OffsetFetchRequestGroup(group_id=group, topics=topics)
        found = await self.groups.fetch_offsets(request, require_stable)
        row = found.topics[0].partitions[0]
        return row.committed_offset, row.error_code


def play(scenario: Callable[[World], Coroutine[Any, Any, None]], **settings: int) -> None:
    asyncio.run(scenario(World(**settings)))


async def started(asking: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    task = asyncio.get_running_loop().create_task(asking)
    await asyncio.sleep(0)
    return task


def kafka_port(partition: int) -> MemoryPort:
    """A log as a real Kafka left it."""
    port = MemoryPort()
    data = (GOLDENS / f"{partition}.log").read_bytes()
    port.end = port.high_watermark = 1_000
    port.batches = [(0, 1_000, data)]
    port.read = lambda offset, max_bytes: data if offset == 0 else b""  # type: ignore[method-assign]
    return port


async def loaded_from_kafka(partition: int) -> World:
    world = World()
    world.port = kafka_port(partition)
    await world.load()
    return world


def test_a_member_expires_when_the_domain_clock_is_moved() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        member, generation = await world.stable()
        world.transport.advance(1_000_000)
        assert not (await world.groups.heartbeat(beat("g", member, generation))).error_code
        world.clock.advance(29_999)
        assert not (await world.groups.heartbeat(beat("g", member, generation))).error_code
        world.clock.advance(30_000)
        answer = await world.groups.heartbeat(beat("g", member, generation))
        assert answer.error_code == ErrorCode.UNKNOWN_MEMBER_ID
        why = [rebalance.causes[0].why for rebalance in world.groups.rebalances("g")]
        assert why == [Why.JOINED, Why.SESSION_EXPIRED]

    play(scenario)


def test_members_and_offsets_survive_a_restart() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        member, generation = await world.stable()
        await world.groups.commit_offsets(
            commit("g", {"t": {0: 7}}, member, generation, "note"), CALLER
        )
        world.groups.unload(0)
        loading = await world.groups.heartbeat(beat("g", member, generation))
        assert loading.error_code == ErrorCode.NOT_COORDINATOR
        await world.load()
        assert not (await world.groups.heartbeat(beat("g", member, generation))).error_code
        assert await world.offset("g") == (7, 0)
        described = (await world.groups.describe_groups(["g"], 6))[0]
        assert described.group_state == "Stable"
        assert described.members[0].member_assignment == b"x"

    play(scenario)


def test_a_heartbeat_while_loading_is_fine_and_a_join_is_not() -> None:
    async def scenario(world: World) -> None:
        world.port.append(build_batch([Record(key=b"\0\x63")] * 1_000))
        world.groups.load(0, world.port)
        assert not (await world.groups.heartbeat(beat("g", "m", 1))).error_code
        assert (await world.join()).error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        listed = await world.groups.list_groups()
        assert listed.error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS

    play(scenario)


def test_a_generation_is_one_record_and_a_heartbeat_none() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        member, generation = await world.stable()
        assert world.port.end == 2  # the group exists; its first generation
        for _ in range(100):
            await world.groups.heartbeat(beat("g", member, generation))
        assert world.port.end == 2

    play(scenario)


def test_no_offset_is_appended_behind_the_end_of_its_transaction() -> None:
    """It is looked at in the turn of the append, however long the commit waited for its turn."""

    async def scenario(world: World) -> None:
        await world.load()

        def over() -> None:
            raise ApiError(ErrorCode.INVALID_TXN_STATE)

        before = world.port.end
        with pytest.raises(ApiError) as refused:
            await world.groups.commit_in_transaction(
                commit("g", {"t": {0: 5}}), CALLER, (7, 0), over
            )
        assert refused.value.code is ErrorCode.INVALID_TXN_STATE
        assert world.port.end == before
        assert await world.offset("g") == (-1, 0)

    play(scenario)


def test_offsets_of_a_transaction_are_seen_when_its_marker_is_committed() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        await world.groups.commit_in_transaction(
            commit("g", {"t": {0: 5}}), CALLER, (7, 0), lambda: None
        )
        world.port.holds = True
        world.port.end += 1  # the marker
        world.groups.marked(0, 7, True, world.port.end)
        asking = await started(world.offset("g"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not asking.done()
        world.port.commit()
        assert await asking == (5, 0)

    play(scenario)


def test_offsets_in_a_transaction_are_pending_until_its_end() -> None:
    async def scenario() -> None:
        committed_then_aborted = await loaded_from_kafka(6)
        assert await committed_then_aborted.offset("txn") == (3, 0)
        still_open = await loaded_from_kafka(24)
        assert await still_open.offset("open") == (-1, 0)
        assert await still_open.offset("open", require_stable=True) == (
            -1,
            ErrorCode.UNSTABLE_OFFSET_COMMIT,
        )

    asyncio.run(scenario())


def test_the_offsets_of_a_newer_protocols_group_can_be_read_and_reset() -> None:
    async def scenario() -> None:
        world = await loaded_from_kafka(5)
        assert await world.offset("newer") == (10, 0)
        listed = (await world.groups.list_groups([], ["Consumer"])).groups
        assert [(row.group_id, row.group_state, row.group_type) for row in listed] == [
            ("newer", "Empty", "consumer")
        ]
        described = (await world.groups.describe_groups(["newer"], 6))[0]
        assert described.error_message == "Group newer is not a classic group."
        await world.groups.commit_offsets(commit("newer", {"t": {0: 3}}), CALLER)
        assert await world.offset("newer") == (3, 0)

    asyncio.run(scenario())


def test_a_newer_protocols_group_turns_classic_when_a_classic_member_joins() -> None:
    async def scenario() -> None:
        world = await loaded_from_kafka(5)
        await world.stable("newer")
        assert await world.offset("newer") == (10, 0)
        listed = (await world.groups.list_groups()).groups
        assert [(row.group_id, row.group_type) for row in listed] == [("newer", "classic")]
        written = world.port.read(0, 1 << 20)
        again = World()
        again.port.batches = [(0, 1_000, written), *world.port.batches[1:]]
        again.port.end = again.port.high_watermark = world.port.end
        await again.load()
        assert await again.offset("newer") == (10, 0)

    asyncio.run(scenario())


def test_a_newer_protocols_group_can_be_deleted() -> None:
    async def scenario() -> None:
        world = await loaded_from_kafka(5)
        (result,) = await world.groups.delete_groups(["newer"])
        assert not result.error_code
        assert await world.offset("newer") == (-1, 0)
        assert (await world.groups.list_groups()).groups == []

    asyncio.run(scenario())


def test_members_that_start_together_begin_together() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        for connection_id in range(3):
            world.groups.looked_for("g", connection_id)
        ids = [(await world.join()).member_id for _ in range(3)]
        joins = []
        for member in ids:
            joins.append(await started(world.join("g", member)))
            world.transport.advance(GATHER_QUIET_MS - 1)
            await asyncio.sleep(0)
        assert not any(task.done() for task in joins)
        world.transport.advance(1)
        answers = [await task for task in joins]
        assert {answer.generation_id for answer in answers} == {1}
        assert len(answers[0].members) == 3

    play(scenario)


def test_a_member_that_is_alone_does_not_wait() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        world.groups.looked_for("g", 1)
        member = (await world.join()).member_id
        assert (await world.join("g", member)).generation_id == 1

    play(scenario)


def test_with_an_initial_delay_the_group_waits_itself() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        for connection_id in range(3):
            world.groups.looked_for("g", connection_id)
        member = (await world.join()).member_id
        joining = await started(world.join("g", member))
        world.clock.advance(3_000)
        assert (await joining).generation_id == 1

    play(scenario, group_initial_rebalance_delay_ms=3_000)


def test_offsets_of_deleted_topics_are_gone() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        await world.groups.commit_offsets(commit("g", {"t": {0: 7}, "u": {0: 8}}), CALLER)
        world.groups.topics_deleted(["t", "never"])
        assert await world.offset("g") == (-1, 0)
        assert world.port.end == 3

    play(scenario)


def test_an_append_that_is_refused_is_told_in_the_terms_of_each_api() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        member, _ = await world.stable()
        world.port.refuse = ApiError(ErrorCode.NOT_ENOUGH_REPLICAS)
        unavailable = ErrorCode.COORDINATOR_NOT_AVAILABLE
        assert (await world.join("other")).error_code == unavailable
        assert (
            await world.groups.leave_group(leave("g", (member, None)))
        ).error_code == unavailable
        with pytest.raises(ApiError) as refused:
            await world.groups.commit_offsets(commit("other", {"t": {0: 1}}), CALLER)
        assert refused.value.code is unavailable

    play(scenario)


def test_thousands_of_members_heartbeat_in_constant_time() -> None:
    async def scenario(world: World) -> None:
        await world.load()
        count = 2_000
        ids = [(await world.join()).member_id for _ in range(count)]
        answers = await asyncio.gather(*(world.join("g", member) for member in ids))
        assert {answer.generation_id for answer in answers} == {1}
        group = world.groups.peek("g")
        assert group is not None
        looked_at = 0
        iterate = type(group.members).__iter__

        def counting(members: Any) -> Any:
            nonlocal looked_at
            looked_at += 1
            return iterate(members)

        try:
            type(group.members).__iter__ = counting  # type: ignore[method-assign]
            for member in ids[:100]:
                await world.groups.heartbeat(beat("g", member, group.generation))
        finally:
            type(group.members).__iter__ = iterate  # type: ignore[method-assign]
        assert looked_at == 0

    play(scenario)
