"""AlterReplicaLogDirs while clients write: nobody notices, and a restart goes on."""

import asyncio

import pytest
from tests.simulation.test_directories import TWO, produce
from tests.support.raw_client import RawClient
from tests.support.simulated_world import World, simulate
from tests.support.witness import FETCH_VERSION, create_topic, fetch_request

from ottla.model.errors import ErrorCode
from ottla.record.records import read_records
from ottla.wire.generated.alter_replica_log_dirs import (
    AlterReplicaLogDir,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirTopic,
)
from ottla.wire.generated.delete_topics import DeleteTopicsRequest, DeleteTopicState
from ottla.wire.generated.describe_log_dirs import DescribeLogDirsRequest

SLOW = {"replica.alter.log.dirs.io.max.bytes.per.second": "100"}
VALUE = b"x" * 200_000
WRITERS = 1


async def alter(client: RawClient, topic: str, path: str, partition: int = 0) -> int:
    request = AlterReplicaLogDirsRequest(
        dirs=[
            AlterReplicaLogDir(
                path=path, topics=[AlterReplicaLogDirTopic(name=topic, partitions=[partition])]
            )
        ]
    )
    response = await client.call(request, 2)
    code: int = response.results[0].partitions[0].error_code
    return code


async def places(client: RawClient, topic: str) -> dict[str, tuple[bool, int]]:
    """Directory -> (is it a copy, how many records it lacks)."""
    response = await client.call(DescribeLogDirsRequest(topics=None), 4)
    return {
        directory.log_dir: (row.is_future_key, row.offset_lag)
        for directory in response.results
        for found in directory.topics
        if found.name == topic
        for row in found.partitions
    }


async def rides(world: World, batches: int = 8, **configs: str) -> tuple[RawClient, str, str]:
    """A topic with some records; where it is, and where it is not."""
    await world.start()
    client = await world.client()
    assert await create_topic(client, "rides", **configs) == 0
    for number in range(batches):
        assert await produce(client, "rides", b"%d" % number + VALUE) == number
    (place,) = await places(client, "rides")
    (other,) = {"/one", "/two"} - {place}
    return client, place, other


async def moved(client: RawClient, place: str) -> None:
    while await places(client, "rides") != {place: (False, 0)}:
        await asyncio.sleep(0.01)


async def first_values(client: RawClient, count: int) -> None:
    """Every record is there once, in order."""
    found: list[bytes | None] = []
    while len(found) < count:
        response = await client.call(
            fetch_request("rides", len(found), max_wait_ms=0), FETCH_VERSION
        )
        (row,) = response.responses[0].partitions
        assert row.error_code == 0
        records, position = bytes(row.records), 0
        while position < len(records):
            found += [record.value for record in read_records(records, position)]
            position += 12 + int.from_bytes(records[position + 8 : position + 12], "big")
    # The last request of a writer that gave up may have been served.
    assert found[:count] == [b"%d" % number + VALUE for number in range(count)]
    assert len(found) <= count + WRITERS


@pytest.mark.parametrize("configs", [{}, {"flush.messages": "1"}])
def test_a_replica_moves_while_it_is_written_to(configs: dict[str, str]) -> None:
    async def move(world: World) -> None:
        client, _, other = await rides(world, **configs)
        writer = await world.client()
        written = 8

        async def write() -> None:
            nonlocal written
            while True:
                offset = await produce(writer, "rides", b"%d" % written + VALUE)
                assert offset == written
                written += 1

        writing = asyncio.create_task(write())
        assert await alter(client, "rides", other) == 0
        while other not in await places(client, "rides"):
            await asyncio.sleep(0.001)
        while (await places(client, "rides")).keys() != {other}:
            await asyncio.sleep(0.001)
        during = written
        while written < during + 3:
            await asyncio.sleep(0.001)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        assert during > 8
        await first_values(client, written)
        await world.stop()

    async def again(world: World) -> None:
        await world.start()
        assert world.broker is not None
        client = await world.client()
        (row,) = (await places(client, "rides")).values()
        assert row == (False, 0)
        await first_values(client, world.broker.replicas.of_topic("rides")[0].high_watermark)
        await world.stop()

    simulate(move, again, seed=1, **TWO)


@pytest.mark.parametrize("stops", [True, False])
def test_a_move_goes_on_after_a_restart(stops: bool) -> None:
    async def begin(world: World) -> None:
        client, place, other = await rides(world)
        assert await alter(client, "rides", other) == 0
        await asyncio.sleep(0.1)
        found = await places(client, "rides")
        assert found[place] == (False, 0)
        assert found[other] == (True, 3), "one slice was copied"
        if stops:
            await world.stop()

    async def go_on(world: World) -> None:
        world.settings = {name: text for name, text in world.settings.items() if name not in SLOW}
        await world.start()
        client = await world.client()
        (place,) = [path for path, row in (await places(client, "rides")).items() if not row[0]]
        (other,) = {"/one", "/two"} - {place}
        await moved(client, other)
        await first_values(client, 8)
        assert await produce(client, "rides", b"8" + VALUE) == 8
        await world.stop()

    simulate(begin, go_on, seed=1, **TWO, **SLOW)


def test_another_destination_ends_a_move() -> None:
    async def turn_back(world: World) -> None:
        client, place, other = await rides(world)
        assert await alter(client, "rides", other) == 0
        await asyncio.sleep(0.1)
        assert other in await places(client, "rides")
        assert await alter(client, "rides", place) == 0
        assert await places(client, "rides") == {place: (False, 0)}
        assert not any(name.endswith("-future") for name in world.disk.list(other))
        await world.stop()

    simulate(turn_back, seed=1, **TWO, **SLOW)


def test_a_topic_deleted_on_its_way_leaves_no_copy() -> None:
    async def delete(world: World) -> None:
        client, _, other = await rides(world)
        assert await alter(client, "rides", other) == 0
        await asyncio.sleep(0.1)
        topic = DeleteTopicState(name="rides")
        await client.call(DeleteTopicsRequest(topics=[topic], timeout_ms=1000), 6)
        assert not any(name.endswith("-future") for name in world.disk.list(other))
        await asyncio.sleep(60)
        assert world.broker is not None
        assert not world.broker.logs.futures
        await world.stop()

    simulate(delete, seed=1, **TWO, **SLOW)


def test_what_cannot_be_moved_is_said() -> None:
    async def ask(world: World) -> None:
        client, place, other = await rides(world, 1)
        assert await alter(client, "rides", "/three") == ErrorCode.LOG_DIR_NOT_FOUND
        assert await alter(client, "rides", place) == 0
        assert await alter(client, "none", place) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert world.broker is not None
        world.broker.logs.directory_at(other).go_offline("for this test")
        assert await alter(client, "rides", other) == ErrorCode.KAFKA_STORAGE_ERROR
        await world.stop()

    simulate(ask, seed=1, **TWO)


def test_a_topic_that_is_not_there_yet_is_made_where_it_was_asked_for() -> None:
    async def ask(world: World) -> None:
        await world.start()
        client = await world.client()
        for topic, path in (("a", "/two"), ("b", "/two"), ("c", "/one")):
            assert await alter(client, topic, path) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            assert await create_topic(client, topic) == 0
            assert list(await places(client, topic)) == [path]
        await world.stop()

    simulate(ask, seed=1, **TWO)
