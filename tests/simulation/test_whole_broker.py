"""The whole broker with no real socket, thread, file or clock.

Two producers write, a consumer reads, a group's member dies of a clock that was
moved, and the broker is stopped and started again on its disk in memory. The
same seed gives the same trace, byte for byte and line for line.
"""

import asyncio
import hashlib
import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from random import Random

import pytest
from tests.support.raw_client import RawClient
from tests.support.simulated_world import Death, World, simulate
from tests.support.witness import (
    FETCH_VERSION,
    PRODUCE_VERSION,
    batch,
    create_topic,
    fetch_request,
    produce_request,
)

from ottla.model.errors import ErrorCode
from ottla.record.batch import batches
from ottla.record.records import read_records
from ottla.wire.generated.describe_groups import DescribeGroupsRequest
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest
from ottla.wire.generated.heartbeat import HeartbeatRequest
from ottla.wire.generated.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from ottla.wire.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from ottla.wire.generated.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)
from ottla.wire.generated.sync_group import SyncGroupRequest, SyncGroupRequestAssignment

TOPIC = "rides"
GROUP = "drivers"
SESSION_MS = 10_000


async def produce(client: RawClient, *values: bytes) -> int:
    """Return the base offset."""
    response = await client.call(produce_request(TOPIC, batch(*values)), PRODUCE_VERSION)
    (answer,) = response.responses[0].partition_responses
    assert answer.error_code == 0, answer
    offset: int = answer.base_offset
    return offset


async def read_all(client: RawClient) -> list[tuple[int, bytes]]:
    """Every record of the topic with its offset."""
    found: list[tuple[int, bytes]] = []
    while True:
        response = await client.call(
            fetch_request(TOPIC, len(found), max_wait_ms=100, min_bytes=1), FETCH_VERSION
        )
        (data,) = response.responses[0].partitions
        assert data.error_code == 0, data
        records = memoryview(data.records or b"")
        for header in batches(records):
            for record in read_records(records[header.position : header.end_position]):
                if record.offset >= len(found):
                    found.append((record.offset, bytes(record.value or b"")))
        if len(found) == data.high_watermark:
            return found


async def group_ready(client: RawClient) -> None:
    """Wait until the group has a coordinator."""
    while True:
        found = await client.call(FindCoordinatorRequest(key=GROUP), 3)
        if found.error_code == 0:
            committed = await client.call(fetch_committed(), 8)
            if committed.groups[0].error_code == 0:
                return
        await asyncio.sleep(0.01)


def fetch_committed() -> OffsetFetchRequest:
    topics = [OffsetFetchRequestTopics(name=TOPIC, partition_indexes=[0])]
    return OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=GROUP, topics=topics)])


async def committed_offset(client: RawClient) -> int:
    response = await client.call(fetch_committed(), 8)
    offset: int = response.groups[0].topics[0].partitions[0].committed_offset
    return offset


class Member:
    """A consumer of the group, by hand."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.member_id = ""
        self.generation = -1

    async def join(self) -> None:
        while True:
            response = await self.client.call(
                JoinGroupRequest(
                    group_id=GROUP,
                    session_timeout_ms=SESSION_MS,
                    rebalance_timeout_ms=60_000,
                    member_id=self.member_id,
                    protocol_type="consumer",
                    protocols=[JoinGroupRequestProtocol(name="range", metadata=b"all")],
                ),
                5,
            )
            self.member_id = response.member_id
            if response.error_code == ErrorCode.MEMBER_ID_REQUIRED:
                continue
            assert response.error_code == 0, response
            self.generation = response.generation_id
            assignments = []
            if response.leader == self.member_id:
                assignments = [
                    SyncGroupRequestAssignment(member_id=each.member_id, assignment=b"share")
                    for each in response.members
                ]
            synced = await self.client.call(
                SyncGroupRequest(
                    group_id=GROUP,
                    generation_id=self.generation,
                    member_id=self.member_id,
                    assignments=assignments,
                ),
                3,
            )
            if synced.error_code == 0:
                assert synced.assignment == b"share"
                return
            assert synced.error_code == ErrorCode.REBALANCE_IN_PROGRESS, synced

    async def heartbeat(self) -> ErrorCode:
        response = await self.client.call(
            HeartbeatRequest(
                group_id=GROUP, generation_id=self.generation, member_id=self.member_id
            ),
            3,
        )
        return ErrorCode(response.error_code)

    async def commit(self, offset: int) -> ErrorCode:
        partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
        response = await self.client.call(
            OffsetCommitRequest(
                group_id=GROUP,
                generation_id_or_member_epoch=self.generation,
                member_id=self.member_id,
                topics=[OffsetCommitRequestTopic(name=TOPIC, partitions=[partition])],
            ),
            7,
        )
        return ErrorCode(response.topics[0].partitions[0].error_code)


async def members(client: RawClient) -> list[str]:
    response = await client.call(DescribeGroupsRequest(groups=[GROUP]), 4)
    assert response.groups[0].error_code == 0
    return [member.member_id for member in response.groups[0].members]


async def write_and_read(world: World) -> None:
    """Two producers at once, a reader that waits for them, and what each must see."""
    one, other, reader = [await world.client() for _ in range(3)]
    assert await create_topic(one, TOPIC) == 0
    waiting = asyncio.ensure_future(
        reader.call(fetch_request(TOPIC, 0, max_wait_ms=60_000, min_bytes=1), FETCH_VERSION)
    )

    async def write(client: RawClient, name: bytes) -> list[int]:
        return [await produce(client, b"%s-%d" % (name, number)) for number in range(50)]

    offsets = await asyncio.gather(write(one, b"one"), write(other, b"other"))
    assert sorted(offsets[0] + offsets[1]) == list(range(100))
    first = (await waiting).responses[0].partitions[0]
    assert first.records
    found = await read_all(reader)
    expected = dict(zip(offsets[0], [b"one-%d" % number for number in range(50)], strict=True))
    expected |= zip(offsets[1], [b"other-%d" % number for number in range(50)], strict=True)
    assert found == sorted(expected.items())


async def lose_a_member(world: World) -> None:
    """Of two members one stops its heartbeats; the clock passes its session; one is left."""
    observer = await world.client()
    await group_ready(observer)
    kept, lost = Member(await world.client()), Member(await world.client())
    await kept.join()
    joining = asyncio.ensure_future(lost.join())
    while await kept.heartbeat() is not ErrorCode.REBALANCE_IN_PROGRESS:
        pass
    await asyncio.gather(kept.join(), joining)
    assert sorted(await members(observer)) == sorted([kept.member_id, lost.member_id])
    assert await kept.commit(17) is ErrorCode.NONE

    world.clock.advance(SESSION_MS - 1)
    assert await kept.heartbeat() is ErrorCode.NONE
    assert len(await members(observer)) == 2
    world.clock.advance(1)
    assert await kept.heartbeat() is ErrorCode.REBALANCE_IN_PROGRESS
    await kept.join()
    assert await members(observer) == [kept.member_id]
    assert await lost.heartbeat() is ErrorCode.UNKNOWN_MEMBER_ID
    assert await lost.commit(18) is ErrorCode.UNKNOWN_MEMBER_ID
    assert await committed_offset(observer) == 17


async def everything(world: World) -> None:
    await world.start()
    await write_and_read(world)
    await lose_a_member(world)
    before = await read_all(await world.client())

    await world.stop()
    await world.start()
    client = await world.client()
    assert await read_all(client) == before
    assert await produce(client, b"after") == 100
    await group_ready(client)
    assert await committed_offset(client) == 17


@pytest.mark.parametrize("seed", range(5))
def test_a_whole_broker_lives_in_memory_and_repeats_itself(seed: int) -> None:
    trace = simulate(everything, seed=seed)
    assert len(trace) > 300
    again = simulate(everything, seed=seed)
    different = [(one, other) for one, other in zip(trace, again, strict=False) if one != other]
    assert not different[:1]
    assert trace == again


def test_another_seed_is_another_run() -> None:
    assert simulate(everything, seed=1) != simulate(everything, seed=2)


def test_neither_hashes_nor_addresses_order_what_the_broker_does() -> None:
    """The same trace in other processes, whose sets and dictionaries hash otherwise."""
    program = (
        "import hashlib\n"
        "from tests.simulation.test_whole_broker import everything\n"
        "from tests.support.simulated_world import simulate\n"
        "trace = '\\n'.join(simulate(everything, seed=7))\n"
        "print(hashlib.sha256(trace.encode()).hexdigest())\n"
    )
    root = Path(__file__).parents[2]
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)]),
            },
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(digests) == 1
    here = "\n".join(simulate(everything, seed=7))
    assert digests == {f"{hashlib.sha256(here.encode()).hexdigest()}\n".encode()}


@pytest.mark.parametrize("death", list(Death))
@pytest.mark.parametrize("seed", range(10))
def test_what_was_acknowledged_outlives_its_broker(seed: int, death: Death) -> None:
    """A process that dies loses nothing acknowledged; a machine, nothing that was flushed first."""
    acknowledged: dict[int, bytes] = {}

    async def write(client: RawClient, name: bytes) -> None:
        for number in count():
            value = b"%s-%d" % (name, number)
            acknowledged[await produce(client, value)] = value

    async def first(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, TOPIC) == 0
        writers = [
            asyncio.ensure_future(write(await world.client(), name)) for name in (b"one", b"other")
        ]
        await asyncio.wait(writers, timeout=Random(seed).random())

    async def second(world: World) -> None:
        await world.start()
        await asyncio.sleep(1)  # what recovery found is flushed before it is served
        found = dict(await read_all(await world.client()))
        assert list(found) == list(range(len(found)))
        assert len(found) - len(acknowledged) <= 2
        assert acknowledged.items() <= found.items()
        assert len(set(found.values())) == len(found)
        assert await produce(await world.client(), b"after") == len(found)
        await world.stop()

    flush = {"log_flush_interval_messages": "1"} if death is Death.POWER else {}
    simulate(first, second, seed=seed, death=death, **flush)
    assert len(acknowledged) > 10
