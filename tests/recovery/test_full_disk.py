"""A disk that is really full: a tmpfs of a few megabytes, in a namespace of the test's own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.support.raw_client import RawClient
from tests.support.small_disk import OttlaOn, SmallDisk
from tests.support.witness import (
    FETCH_VERSION,
    PRODUCE_VERSION,
    batch,
    create_topic,
    fetch_request,
    produce_request,
)

from ottla.client.sockets import Sockets
from ottla.model.errors import ErrorCode
from ottla.record.batch import verify_crc
from ottla.record.records import read_records

TOPIC = "rides"
BALLAST_BYTES = 1 << 20
PADDING = b"." * 50_000
MODES = {"default": "9223372036854775807", "durable": "1"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "small", "8m")
    yield disk
    disk.close()


@pytest.fixture(params=list(MODES))
def broker(disk: SmallDisk, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[OttlaOn]:
    """Running, with a ballast beside its data whose removal makes room."""
    flush = f"log.flush.interval.messages={MODES[request.param]}"
    broker = OttlaOn(disk, tmp_path / "broker.log", flush, "log.segment.bytes=1048576")
    broker.start()
    add_ballast(disk)
    yield broker
    broker.kill9()


def add_ballast(disk: SmallDisk) -> None:
    (disk.outside / "ballast").write_bytes(bytes(BALLAST_BYTES))


def make_room(disk: SmallDisk) -> None:
    (disk.outside / "ballast").unlink()


def run(broker: OttlaOn, program: Callable[[RawClient], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60):
            client = await RawClient.connect(Sockets(), "127.0.0.1", broker.port)
            await program(client)
            client.transport.close()

    asyncio.run(main())


def value(number: int) -> bytes:
    return b"%d" % number + PADDING


async def produce(client: RawClient, number: int) -> tuple[int, int]:
    """Return error code and offset."""
    request = produce_request(TOPIC, batch(value(number)))
    response = await client.call(request, PRODUCE_VERSION)
    (row,) = response.responses[0].partition_responses
    return row.error_code, row.base_offset


async def fill(client: RawClient, acknowledged: dict[int, bytes]) -> None:
    """Write until there is no room."""
    number = 1_000 * len(acknowledged)
    while True:
        code, offset = await produce(client, number)
        if code:
            assert code == ErrorCode.KAFKA_STORAGE_ERROR
            return
        assert offset not in acknowledged
        acknowledged[offset] = value(number)
        number += 1


async def read_all(client: RawClient) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while True:
        request = fetch_request(TOPIC, len(found), max_wait_ms=0)
        response = await client.call(request, FETCH_VERSION)
        (row,) = response.responses[0].partitions
        assert row.error_code == 0
        records = bytes(row.records or b"")
        if not records:
            assert row.high_watermark == len(found)
            return found
        position = 0
        while position < len(records):
            assert verify_crc(records, position)
            for record in read_records(records, position):
                assert record.value is not None
                found[record.offset] = record.value
            position += 12 + int.from_bytes(records[position + 8 : position + 12], "big")


def test_a_full_disk_refuses_writes_serves_reads_and_heals(
    broker: OttlaOn, disk: SmallDisk
) -> None:
    acknowledged: dict[int, bytes] = {}

    async def program(client: RawClient) -> None:
        assert await create_topic(client, TOPIC) == 0
        await fill(client, acknowledged)
        assert len(acknowledged) > 20
        assert await read_all(client) == acknowledged
        assert (await produce(client, 1))[0] == ErrorCode.KAFKA_STORAGE_ERROR
        make_room(disk)
        code, offset = await produce(client, 2)
        assert (code, offset) == (0, len(acknowledged))
        acknowledged[offset] = value(2)
        assert await read_all(client) == acknowledged

    run(broker, program)
    broker.stop()
    broker.start()
    run(broker, lambda client: _assert_held(client, acknowledged))


async def _assert_held(client: RawClient, acknowledged: dict[int, bytes]) -> None:
    assert await read_all(client) == acknowledged


def test_a_broker_killed_on_a_full_disk_starts_when_there_is_room(
    broker: OttlaOn, disk: SmallDisk
) -> None:
    """Whether or not it can start while there is none: nothing acknowledged is gone."""
    acknowledged: dict[int, bytes] = {}

    async def program(client: RawClient) -> None:
        assert await create_topic(client, TOPIC) == 0
        await fill(client, acknowledged)

    run(broker, program)
    broker.kill9()
    try:
        broker.start()
    except RuntimeError as error:
        assert "exit status 1" in str(error)  # noqa: PT017  # it may start
        assert "Traceback" not in str(error)  # noqa: PT017
    else:
        run(broker, lambda client: _assert_held(client, acknowledged))
        broker.kill9()
    make_room(disk)
    broker.start()

    async def go_on(client: RawClient) -> None:
        assert await read_all(client) == acknowledged
        assert await produce(client, 3) == (0, len(acknowledged))

    run(broker, go_on)
