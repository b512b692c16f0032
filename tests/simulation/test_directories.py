"""Log directories that are lost, of another broker, or that Kafka wrote."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.support.raw_client import RawClient
from tests.support.simulated_world import World, simulate
from tests.support.witness import (
    FETCH_VERSION,
    PRODUCE_VERSION,
    batch,
    create_topic,
    fetch_request,
    produce_request,
)

from ottla.metadata.store_memory import MemoryDatabase
from ottla.model.errors import ErrorCode
from ottla.storage.roots import BOOT_ID, LogsError
from ottla.wire.generated.delete_topics import DeleteTopicsRequest, DeleteTopicState
from ottla.wire.generated.init_producer_id import InitProducerIdRequest

TWO = {"log.dirs": "/one,/two", "offsets.topic.num.partitions": "1"}
TOPICS = ("rides", "drivers")
"""One partition each: one has its log in the first directory, the other in the second."""


async def produce(client: RawClient, topic: str, value: bytes, **options: object) -> int:
    """Return the offset, or minus the error code."""
    response = await client.call(produce_request(topic, batch(value, **options)), PRODUCE_VERSION)
    (row,) = response.responses[0].partition_responses
    return -row.error_code if row.error_code else int(row.base_offset)


async def high_watermark(client: RawClient, topic: str) -> int:
    """Return it, or minus the error code."""
    response = await client.call(fetch_request(topic, 0, max_wait_ms=0), FETCH_VERSION)
    (row,) = response.responses[0].partitions
    return -row.error_code if row.error_code else int(row.high_watermark)


async def write(world: World) -> None:
    await world.start()
    client = await world.client()
    for topic in TOPICS:
        assert await create_topic(client, topic) == 0
        assert await produce(client, topic, b"before") == 0
    await world.stop()


@contextmanager
def lost_directory(world: World, path: str) -> Iterator[None]:
    """Whatever is done in it fails."""

    def fault(operation: str, name: str, size: int) -> int | None:
        if name == path or name.startswith(path + "/"):
            raise OSError(errno.EIO, "lost", name)
        return None

    world.disk.fault = fault  # type: ignore[method-assign]
    yield
    del world.disk.fault


def test_a_partition_of_a_lost_directory_is_not_begun_anew_in_another() -> None:
    async def lost(world: World) -> None:
        with lost_directory(world, "/two"):
            await world.start()
            client = await world.client()
            offsets = [await produce(client, topic, b"after") for topic in TOPICS]
            assert sorted(offsets) == [-ErrorCode.NOT_LEADER_OR_FOLLOWER, 1]
            assert await create_topic(client, "new") == 0
            assert await produce(client, "new", b"elsewhere") == 0
            await world.stop()

    async def back(world: World) -> None:
        await world.start()
        client = await world.client()
        assert sorted([await high_watermark(client, topic) for topic in TOPICS]) == [1, 2]
        assert await high_watermark(client, "new") == 1
        await world.stop()

    simulate(write, lost, back, seed=1, **TWO)


def test_without_the_directory_of_the_metadata_the_broker_does_not_start() -> None:
    async def lost(world: World) -> None:
        with (
            lost_directory(world, "/one"),
            pytest.raises(LogsError, match="first log directory has the metadata"),
        ):
            await world.start()

    simulate(write, lost, seed=1, **TWO)


def test_partitions_of_ours_without_metadata_are_left_alone() -> None:
    """An unmounted first directory is empty; what the others hold must not become stray."""

    async def unmounted(world: World) -> None:
        world.database = MemoryDatabase()
        with pytest.raises(LogsError, match="no metadata about them"):
            await world.start()
        assert not any("-stray" in name for name in world.disk.list("/two"))

    simulate(write, unmounted, seed=1, **TWO)


def test_directories_without_metadata_of_ours_are_adopted() -> None:
    """As Kafka leaves them, but for its metadata log: topics keep ids, records and everything."""

    async def write_as_a_producer(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, "rides", **{"retention.ms": "86400000"}) == 0
        for sequence in range(3):
            offset = await produce(
                client, "rides", b"old", producer_id=4711, producer_epoch=0, base_sequence=sequence
            )
            assert offset == sequence
        await world.stop()
        world.disk.remove(f"/data/{BOOT_ID}")

    async def go_on(world: World) -> None:
        world.database = MemoryDatabase()
        await world.start()
        client = await world.client()
        assert not any("-stray" in name for name in world.disk.list("/data"))
        assert await high_watermark(client, "rides") == 3
        again = {"producer_id": 4711, "producer_epoch": 0}
        assert await produce(client, "rides", b"old", **again, base_sequence=2) == 2
        assert await produce(client, "rides", b"new", **again, base_sequence=3) == 3
        given = await client.call(InitProducerIdRequest(transactional_id=None), 4)
        assert given.producer_id > 4711
        await world.stop()

    simulate(write_as_a_producer, go_on, seed=1)


def test_a_deleted_topic_is_forgotten_once_its_files_are_set_aside() -> None:
    async def delete(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, "rides") == 0
        topic = DeleteTopicState(name="rides")
        await client.call(DeleteTopicsRequest(topics=[topic], timeout_ms=1000), 6)
        assert world.broker is not None
        assert len(world.broker.follower.image.deleting) == 1
        await world.stop()

    async def forget(world: World) -> None:
        await world.start()
        assert world.broker is not None
        assert not world.broker.follower.image.deleting
        await world.stop()

    simulate(delete, forget, seed=1)


@contextmanager
def no_room_for(world: World, ending: str) -> Iterator[None]:
    """The disk is full whenever a file of this name is made."""

    def fault(operation: str, name: str, size: int) -> int | None:
        if name.endswith(ending):
            raise OSError(errno.ENOSPC, "full", name)
        return None

    world.disk.fault = fault  # type: ignore[method-assign]
    yield
    del world.disk.fault


@pytest.mark.parametrize("stops", [False, True])
def test_a_log_that_found_no_room_is_made_when_there_is_some(stops: bool) -> None:
    """A full disk heals by itself, also when only half of a log's directory was made."""

    async def fill(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, "others") == 0
        assert await produce(client, "others", b"before") == 0
        with no_room_for(world, "partition.metadata"):
            assert await create_topic(client, "rides") == 0
            assert await produce(client, "rides", b"lost") == -ErrorCode.KAFKA_STORAGE_ERROR
            assert await produce(client, "rides", b"lost") == -ErrorCode.KAFKA_STORAGE_ERROR
            assert await produce(client, "others", b"served") == 1
            if stops:
                await world.stop()
        if not stops:
            assert await produce(client, "rides", b"kept") == 0

    async def heal(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await produce(client, "rides", b"more") == (0 if stops else 1)
        assert await high_watermark(client, "others") == 2
        await world.stop()

    simulate(fill, heal, seed=1)
