"""A disk fails under a whole broker: nothing without data is acknowledged, the rest goes on."""

import asyncio
import errno
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.simulation.test_directories import TOPICS, TWO, high_watermark, produce
from tests.support.raw_client import RawClient
from tests.support.simulated_world import World, simulate
from tests.support.witness import FETCH_VERSION, create_topic, fetch_request

from ottla.model.errors import ErrorCode
from ottla.record.records import read_records
from ottla.storage.checkpoints import HIGH_WATERMARK
from ottla.wire.generated.describe_log_dirs import DescribeLogDirsRequest

STORAGE = ErrorCode.KAFKA_STORAGE_ERROR
DURABLE = {"flush.messages": "1"}


@contextmanager
def failing(world: World, operation: str, path: str, error: int = errno.EIO) -> Iterator[list[str]]:
    """Each such operation below `path` fails; yields what was tried."""
    tried: list[str] = []

    def fault(what: str, name: str, size: int) -> int | None:
        if what == operation and name.startswith(path) and name.endswith(".log"):
            tried.append(name)
            raise OSError(error, "for this test", name)
        return None

    world.disk.fault = fault  # type: ignore[method-assign]
    yield tried
    del world.disk.fault


async def two_topics(world: World, **configs: str) -> tuple[RawClient, dict[str, str]]:
    """Start; return a client, and in which directory each topic is."""
    await world.start()
    client = await world.client()
    for topic in TOPICS:
        assert await create_topic(client, topic, **configs) == 0
        assert await produce(client, topic, b"before") == 0
    assert world.broker is not None
    places = {
        topic: world.broker.replicas.of_topic(topic)[0].log.directory.path for topic in TOPICS
    }
    assert len(set(places.values())) == 2
    return client, places


async def values(client: RawClient, topic: str) -> list[bytes | None]:
    response = await client.call(fetch_request(topic, 0, max_wait_ms=0), FETCH_VERSION)
    (row,) = response.responses[0].partitions
    assert row.error_code == 0
    records = bytes(row.records or b"")
    found, position = [], 0
    while position < len(records):
        found += [record.value for record in read_records(records, position)]
        position += 12 + int.from_bytes(records[position + 8 : position + 12], "big")
    return found


async def described(client: RawClient) -> dict[str, tuple[int, list[str]]]:
    """Error code and topics of each log directory."""
    response = await client.call(DescribeLogDirsRequest(topics=None), 4)
    return {
        row.log_dir: (row.error_code, sorted(topic.name for topic in row.topics))
        for row in response.results
    }


async def described_space(client: RawClient) -> tuple[int, int]:
    """Total and usable bytes of the first log directory."""
    response = await client.call(DescribeLogDirsRequest(topics=None), 4)
    row = response.results[0]
    return row.total_bytes, row.usable_bytes


@pytest.mark.parametrize(
    ("operation", "configs"), [("pwrite", {}), ("pwrite", DURABLE), ("sync", DURABLE)]
)
def test_a_directory_that_cannot_write_is_given_up_and_the_other_goes_on(
    operation: str, configs: dict[str, str]
) -> None:
    async def fail(world: World) -> None:
        client, places = await two_topics(world, **configs)
        lost, kept = TOPICS
        with failing(world, operation, places[lost]) as tried:
            refused = await produce(client, lost, b"never acknowledged")
            assert refused in (-STORAGE, -ErrorCode.NOT_LEADER_OR_FOLLOWER)
            assert await produce(client, kept, b"after") == 1
        assert len(tried) == 1
        # The disk is well again, which nobody believes: what it lost is not known.
        assert await produce(client, lost, b"nor this") < 0
        assert len(tried) == 1
        assert await described(client) == {
            places[lost]: (STORAGE, []),
            places[kept]: (0, [kept]),
        }
        assert await values(client, kept) == [b"before", b"after"]
        await world.stop()

    async def again(world: World) -> None:
        await world.start()
        client = await world.client()
        lost, kept = TOPICS
        found = await values(client, lost)
        assert found[:1] == [b"before"]
        assert found[1:] in ([], [b"never acknowledged"])
        assert await produce(client, lost, b"new") == len(found)
        assert await values(client, kept) == [b"before", b"after"]
        await world.stop()

    simulate(fail, again, seed=1, **TWO)


def test_a_directory_that_cannot_read_is_given_up_and_the_other_goes_on() -> None:
    async def fail(world: World) -> None:
        client, places = await two_topics(world)
        lost, kept = TOPICS
        with failing(world, "pread", places[lost]):
            assert await high_watermark(client, lost) == -STORAGE
            assert await high_watermark(client, kept) == 1
        assert await described(client) == {places[lost]: (STORAGE, []), places[kept]: (0, [kept])}
        await world.stop()

    simulate(fail, seed=1, **TWO)


def test_a_broker_without_any_directory_says_so() -> None:
    """Its process ends with status 1: `tests/recovery/test_lost_directory.py`."""
    heard: list[str] = []

    async def fail(world: World) -> None:
        client, _ = await two_topics(world)
        assert world.broker is not None
        world.broker._failed = heard.append
        with failing(world, "pwrite", "/"):
            for topic in TOPICS:
                assert await produce(client, topic, b"never acknowledged") == -STORAGE
            world.broker.log_tending.tend()
        await world.stop()

    simulate(fail, seed=1, **TWO)
    assert heard[:1] == ["every log directory is offline"]


@pytest.mark.parametrize("configs", [{}, DURABLE])
def test_a_full_disk_tears_a_write_and_heals(configs: dict[str, str]) -> None:
    """Whatever part of the batch found room, it is not there afterwards."""

    async def fill(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, "rides", **configs) == 0
        assert await produce(client, "rides", b"first") == 0
        world.disk.torn = errno.ENOSPC
        data = world.disk.files["/data/rides-0/00000000000000000000.log"].data
        size = len(data)
        for room in range(0, 80, 7):

            def fault(what: str, name: str, size: int, room: int = room) -> int | None:
                return room if what == "pwrite" and name.endswith(".log") else None

            world.disk.fault = fault  # type: ignore[method-assign]
            assert await produce(client, "rides", b"x" * 100) == -STORAGE
            assert len(data) == size
            assert await values(client, "rides") == [b"first"]
            del world.disk.fault
        assert await produce(client, "rides", b"second") == 1
        await world.stop()

    async def again(world: World) -> None:
        await world.start()
        assert await values(await world.client(), "rides") == [b"first", b"second"]
        await world.stop()

    simulate(fill, again, seed=1)


def test_a_checkpoint_that_finds_no_room_is_written_later() -> None:
    async def fill(world: World) -> None:
        await world.start()
        assert world.broker is not None
        client = await world.client()
        assert await create_topic(client, "rides") == 0
        assert await produce(client, "rides", b"first") == 0

        def fault(what: str, name: str, size: int) -> int | None:
            if what == "write" and "checkpoint" in name:
                raise OSError(errno.ENOSPC, "No space left on device")
            return None

        world.disk.fault = fault  # type: ignore[method-assign]
        for _ in range(3):
            world.broker.log_tending.checkpoint((HIGH_WATERMARK,))
        await asyncio.sleep(1)
        assert world.broker.files_jobs.for_later == 1, "the newest says it all"
        assert all(directory.is_online for directory in world.broker.logs.directories)
        assert await produce(client, "rides", b"second") == 1
        del world.disk.fault
        await asyncio.sleep(10)
        written = world.disk.read("/data/replication-offset-checkpoint")
        assert b"rides 0 1" in written
        await world.stop()

    simulate(fill, seed=1)
