"""A few bytes that stand for very much, from producers: memory stays bounded, others are served."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support.raw_client import RawClient
from tests.support.target import Site, Target, running_target
from tests.support.witness import PRODUCE_VERSION, batch, create_topic, produce_request
from tests.unit.record.bombs import BOMBS

from ottla.model.errors import ErrorCode
from ottla.model.isolation import CompressionType, TimestampType
from ottla.record.batch import HEADER_SIZE, LOG_OVERHEAD, set_crc
from ottla.record.builder import assemble_batch, build_batch
from ottla.record.records import Record, append_record
from ottla.wire.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData

SOUND = build_batch([Record(timestamp=1_700_000_000_000, key=b"key", value=b"value")])

TAKEN = 256 << 20
"""What expanding takes at most: the limit of 64 MiB, in each of two workers, and copies."""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with running_target(tmp_path_factory.mktemp("hostile")) as target:
        if target.is_kafka:
            pytest.skip("Kafka expands what it is given, until its heap is full")
        yield target


def with_block(block: bytes, kind: CompressionType, count: int = 1) -> bytes:
    """A sound header over these bytes instead of compressed records."""
    data = bytearray(batch(b"x")[:HEADER_SIZE]) + block
    data[8:12] = (len(data) - LOG_OVERHEAD).to_bytes(4, "big")
    data[21:23] = int(kind).to_bytes(2, "big")
    data[23:27] = (count - 1).to_bytes(4, "big")
    data[57:61] = count.to_bytes(4, "big")
    set_crc(data)
    return bytes(data)


def alike(count: int, kind: CompressionType, timestamp_ms: int = 1_700_000_000_000) -> bytes:
    """A batch of `count` records of seven bytes, all the same: without key, value and order."""
    record = bytearray()
    append_record(record, 0, 0, None, None)
    return assemble_batch(
        bytes(record) * count,
        count,
        base_offset=0,
        last_offset_delta=count - 1,
        leader_epoch=-1,
        base_timestamp=timestamp_ms,
        max_timestamp=timestamp_ms,
        compression=kind,
        level=None,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        transactional=False,
        control=False,
        timestamp_type=TimestampType.CREATE_TIME,
    )


def one_header_too_many() -> bytes:
    """A record that says it has 2^31-1 headers."""
    body = b"\x00\x00\x00\x01\x01" + b"\xfe\xff\xff\xff\x0f"
    return bytes([len(body) << 1]) + body


async def produce(client: RawClient, topic: str, *records: bytes) -> list[ErrorCode]:
    """Produce each of the batches to a partition of its own, in one request."""
    request = ProduceRequest(
        acks=-1,
        timeout_ms=30_000,
        topic_data=[
            TopicProduceData(
                name=topic,
                partition_data=[
                    PartitionProduceData(index=index, records=each)
                    for index, each in enumerate(records)
                ],
            )
        ],
    )
    response = await client.call(request, PRODUCE_VERSION)
    return [ErrorCode(row.error_code) for row in response.responses[0].partition_responses]


async def topic_of(site: Site, name: str, partitions: int = 1, **configs: Any) -> RawClient:
    """A client, and a topic that it may produce large batches to."""
    client = await site.connect()
    settings = {"max.message.bytes": str(100 << 20), **configs}
    await create_topic(client, name, partitions, **settings)
    while await produce(client, name, SOUND) != [ErrorCode.NONE]:
        pass
    return client


@pytest.mark.parametrize("name", BOMBS)
def test_every_bomb_is_withstood(target: Target, name: str) -> None:
    """Read as they are, and where the topic has another codec."""
    kind, make = BOMBS[name]
    data = with_block(make(), kind)

    async def case(site: Site) -> None:
        as_it_is = await topic_of(site, "bombs")
        converted = await topic_of(site, "converted", **{"compression.type": "uncompressed"})
        for client, topic in ((as_it_is, "bombs"), (converted, "converted")):
            target.forget_peak_memory()
            before = target.memory()
            client.send(produce_request(topic, data), PRODUCE_VERSION)
            await site.witness.check()
            response = await client.receive()
            assert response.responses[0].partition_responses[0].error_code != ErrorCode.NONE
            assert target.peak_memory() - before < TAKEN

    target.withstands(case, log_lines=0)


MANY = 2_000_000
BATCHES: list[tuple[str, Callable[[], bytes], dict[str, str], ErrorCode]] = [
    ("too late", lambda: alike(MANY, CompressionType.ZSTD, 4_102_444_800_000), {},
     ErrorCode.INVALID_TIMESTAMP),
    ("without keys", lambda: alike(MANY, CompressionType.ZSTD), {"cleanup.policy": "compact"},
     ErrorCode.INVALID_RECORD),
    ("out of order", lambda: alike(MANY, CompressionType.GZIP), {},
     ErrorCode.UNKNOWN_SERVER_ERROR),
    ("headers", lambda: with_block(one_header_too_many(), CompressionType.NONE),
     {"compression.type": "gzip"}, ErrorCode.NONE),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "configs", "expected"),
    [pytest.param(make, configs, code, id=name) for name, make, configs, code in BATCHES],
)
def test_few_bytes_may_stand_for_millions_of_records(
    target: Target, make: Callable[[], bytes], configs: dict[str, str], expected: ErrorCode
) -> None:
    """Each of them wrong; the answer names some, and not all."""
    data = make()
    assert len(data) < 50_000
    name = "records-" + "-".join((*configs, *configs.values(), "x"))

    async def case(site: Site) -> None:
        client = await topic_of(site, name, **configs)
        target.forget_peak_memory()
        before = target.memory()
        client.send(produce_request(name, data), PRODUCE_VERSION)
        asked = client.receive()
        await site.witness.check()
        response = await asked
        (row,) = response.responses[0].partition_responses
        assert row.error_code == expected
        assert len(row.record_errors) <= 1_000
        assert target.peak_memory() - before < TAKEN // 2

    target.withstands(case, log_lines=0)


def test_many_bombs_in_one_request_expand_one_after_the_other(target: Target) -> None:
    """200 batches of a megabyte each once they are expanded, and 200 too large for that."""

    async def case(site: Site) -> None:
        partitions = 200
        configs = {"compression.type": "uncompressed", "max.message.bytes": "1100000"}
        client = await topic_of(site, "expanding", partitions, **configs)
        sound = batch(bytes(1_000_000), compression=CompressionType.ZSTD)
        large = batch(bytes(8_000_000), compression=CompressionType.ZSTD)
        while ErrorCode.UNKNOWN_TOPIC_OR_PARTITION in await produce(
            client, "expanding", *[batch(b"x")] * partitions
        ):
            pass
        for data, expected in ((sound, ErrorCode.NONE), (large, ErrorCode.MESSAGE_TOO_LARGE)):
            target.forget_peak_memory()
            before = target.memory()
            assert await produce(client, "expanding", *[data] * partitions) == (
                [expected] * partitions
            )
            assert target.peak_memory() - before < TAKEN // 2

    target.withstands(case, log_lines=0)
