"""Members of a group, with a whole broker in memory behind them."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from tests.support.simulated_world import BROKER, PORT, World, simulate
from tests.support.witness import PRODUCE_VERSION, batch, create_topic, produce_request

from ottla.client.cluster_view import ClusterView
from ottla.client.group_member import GroupMember
from ottla.client.groups import Groups
from ottla.model.ids import Offset, TopicPartition
from ottla.wire.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData

GROUP = "readers"
BOTH = [TopicPartition("t", number) for number in range(2)]


async def from_the_start(partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Offset]:
    return dict.fromkeys(partitions, 0)


async def produce(world: World, *values: bytes) -> None:
    """One record of each value to each of the two partitions."""
    client = await world.client()
    for place in BOTH:
        request: ProduceRequest = produce_request("t", batch(*values))
        data = PartitionProduceData(
            index=place.partition, records=request.topic_data[0].partition_data[0].records
        )
        request.topic_data = [TopicProduceData(name="t", partition_data=[data])]
        answer = await client.call(request, PRODUCE_VERSION)
        assert answer.responses[0].partition_responses[0].error_code == 0
    client.close()


def member(view: ClusterView) -> GroupMember:
    return GroupMember(
        view, GROUP, ["t"], first_offsets=from_the_start, session_timeout_ms=10_000, commit_ms=1_000
    )


async def take(reader: GroupMember, count: int, *, settle: bool = True) -> Counter[bytes]:
    """Poll until `count` records came; with `settle` they count as dealt with."""
    seen: Counter[bytes] = Counter()
    while seen.total() < count:
        for fetched in await reader.poll(500):
            last = 0
            for record in fetched.records:
                seen[bytes(record.value or b"")] += 1
                last = record.offset
            if settle:
                reader.read_up_to(fetched.partition, last + 1)
    return seen


async def until_shared(first: GroupMember, second: GroupMember) -> None:
    """Let the second join the first's group, until each has one partition."""
    await first.poll(100)
    joining = asyncio.ensure_future(second.poll(100))
    while not joining.done():
        await first.poll(100)
    await joining
    while not all(each.stable and len(each.positions()) == 1 for each in (first, second)):
        for each in (first, second):
            await each.poll(100)


def view_of(world: World) -> ClusterView:
    return ClusterView(world.network.host("10.0.0.2"), [(BROKER, PORT)])


def with_a_topic(case: Callable[[World], Awaitable[None]]) -> None:
    async def program(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, "t", partitions=2) == 0
        client.close()
        await case(world)
        await world.stop()

    simulate(program, seed=1)


def test_who_leaves_has_committed_what_was_dealt_with_and_no_more() -> None:
    async def case(world: World) -> None:
        await produce(world, b"a", b"b")
        async with view_of(world) as view:
            async with member(view) as first:
                assert await take(first, 4) == {b"a": 2, b"b": 2}
                await produce(world, b"c")
                assert await take(first, 2, settle=False) == {b"c": 2}
            committed = await Groups(view).committed(GROUP)
            assert {place: each.offset for place, each in committed.items()} == {
                BOTH[0]: 2,
                BOTH[1]: 2,
            }
            async with member(view) as second:
                assert await take(second, 2) == {b"c": 2}

    with_a_topic(case)


def test_two_members_share_the_partitions_and_one_takes_over_what_the_other_leaves() -> None:
    async def case(world: World) -> None:
        async with view_of(world) as one, view_of(world) as other, member(one) as first:
            async with member(other) as second:
                await until_shared(first, second)
                assert sorted([*first.positions(), *second.positions()]) == BOTH
            while len(first.positions()) < 2:
                await first.poll(100)
            await produce(world, b"x")
            assert await take(first, 2) == {b"x": 2}

    with_a_topic(case)
