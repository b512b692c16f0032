"""Record batches that cannot be: each gets Kafka's error, and nothing of them is stored.

The expectations are what Kafka 4.3.1 answers to the same bytes.
"""

import struct
from collections.abc import Callable, Iterator

import cramjam
import pytest
from tests.support.raw_client import RawClient
from tests.support.target import Site, Target, running_target
from tests.support.witness import (
    PRODUCE_VERSION,
    batch,
    create_topic,
    fetch_request,
    produce_request,
)

from ottla.model.errors import ErrorCode
from ottla.model.isolation import CompressionType
from ottla.record.batch import HEADER_SIZE, LOG_OVERHEAD, set_crc

NONE = ErrorCode.NONE
CORRUPT = ErrorCode.CORRUPT_MESSAGE
INVALID = ErrorCode.INVALID_RECORD
TOO_LARGE = ErrorCode.MESSAGE_TOO_LARGE
UNREADABLE = (ErrorCode.UNKNOWN_SERVER_ERROR, INVALID, CORRUPT)
"""Kafka answers UNKNOWN_SERVER_ERROR: an exception it did not foresee. We name the problem."""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with running_target(tmp_path_factory.mktemp("hostile")) as target:
        yield target


def patched(position: int, format: str, value: int, *, crc: bool = True) -> bytes:
    """A batch of three records with one field overwritten; the CRC fits unless told otherwise."""
    data = bytearray(batch(b"one", b"two", b"three"))
    struct.pack_into(format, data, position, value)
    if crc:
        set_crc(data)
    return bytes(data)


def with_records(records: bytes, count: int, attributes: int = 0) -> bytes:
    """A sound header over these bytes instead of records."""
    data = bytearray(batch(b"x")[:HEADER_SIZE]) + records
    struct.pack_into(">i", data, 8, len(data) - LOG_OVERHEAD)
    struct.pack_into(">hi", data, 21, attributes, count - 1)
    struct.pack_into(">i", data, 57, count)
    set_crc(data)
    return bytes(data)


def bomb(kind: CompressionType) -> bytes:
    """A batch whose block becomes 1 GiB of zeroes (snappy: 64 MiB, at 20 to 1)."""
    compress = {
        CompressionType.GZIP: cramjam.gzip.compress,
        CompressionType.LZ4: cramjam.lz4.compress,
        CompressionType.ZSTD: cramjam.zstd.compress,
        CompressionType.SNAPPY: cramjam.snappy.compress_raw,
    }[kind]
    size = 64 << 20 if kind is CompressionType.SNAPPY else 1 << 30
    return with_records(bytes(compress(bytes(size))), 1, kind)


BATCHES: list[tuple[str, Callable[[], bytes], tuple[ErrorCode, ...]]] = [
    ("no bytes", lambda: b"", (INVALID,)),
    ("shorter than a header", lambda: batch(b"x")[:40], (INVALID,)),
    ("shorter than its length says", lambda: batch(b"x")[:-1], (INVALID,)),
    ("bytes after it", lambda: batch(b"x") + b"abc", (NONE, INVALID)),
    ("two batches", lambda: batch(b"x") + batch(b"y"), (INVALID,)),
    ("bad crc", lambda: patched(17, ">I", 0x12345678, crc=False), (CORRUPT,)),
    ("a bit flipped", lambda: patched(65, ">B", 0x7F, crc=False), (CORRUPT,)),
    ("length 0", lambda: patched(8, ">i", 0, crc=False), (CORRUPT,)),
    ("length 13", lambda: patched(8, ">i", 13, crc=False), (CORRUPT,)),
    ("length 48", lambda: patched(8, ">i", 48, crc=False), (CORRUPT,)),
    ("length -1", lambda: patched(8, ">i", -1, crc=False), (CORRUPT,)),
    ("length 2^31-1", lambda: patched(8, ">i", 2**31 - 1, crc=False), UNREADABLE),
    ("magic 0", lambda: patched(16, ">b", 0, crc=False), (INVALID,)),
    ("magic 1", lambda: patched(16, ">b", 1, crc=False), (INVALID,)),
    ("magic 3", lambda: patched(16, ">b", 3, crc=False), (CORRUPT,)),
    ("magic -1", lambda: patched(16, ">b", -1, crc=False), (CORRUPT,)),
    ("last offset delta too small", lambda: patched(23, ">i", 1), (INVALID,)),
    ("last offset delta too large", lambda: patched(23, ">i", 3), (INVALID,)),
    ("last offset delta -1", lambda: patched(23, ">i", -1), (INVALID,)),
    ("count 0", lambda: patched(57, ">i", 0), (INVALID,)),
    ("count 2", lambda: patched(57, ">i", 2), (INVALID,)),
    ("count 4", lambda: patched(57, ">i", 4), (INVALID,)),
    ("count -1", lambda: patched(57, ">i", -1), (INVALID,)),
    ("count 2^31-1", lambda: patched(57, ">i", 2**31 - 1), (INVALID,)),
    (
        "count and delta 2^31-1",
        lambda: with_records(bytes(10), 2**31 - 1),
        (INVALID,),
    ),
    ("count 0, no records", lambda: with_records(b"", 0), (INVALID,)),
    ("a record's length negative", lambda: with_records(b"\x01\x00\x00\x00", 1), (INVALID,)),
    ("a record's length too long", lambda: with_records(b"\x7e\x00\x00\x00", 1), (INVALID,)),
    ("a record's length without end", lambda: with_records(b"\xff" * 12, 1), UNREADABLE),
    ("compression type 5", lambda: patched(21, ">h", 5), UNREADABLE),
    ("compression type 7", lambda: patched(21, ">h", 7), UNREADABLE),
    ("control batch", lambda: batch(b"x", control=True), (INVALID,)),
    ("unused attribute bits", lambda: patched(21, ">h", 0x7F00), (NONE,)),
    ("negative base offset", lambda: patched(0, ">q", -5, crc=False), (INVALID, NONE)),
    ("gzip of nothing", lambda: patched(21, ">h", 1), UNREADABLE),
    ("snappy of nothing", lambda: patched(21, ">h", 2), UNREADABLE),
    ("lz4 of nothing", lambda: patched(21, ">h", 3), UNREADABLE),
    ("zstd of nothing", lambda: patched(21, ">h", 4), UNREADABLE),
    ("too large", lambda: batch(bytes(1_048_588)), (TOO_LARGE,)),
    ("epoch without producer", lambda: patched(51, ">h", 3), (NONE,)),
    ("sequence without producer", lambda: patched(53, ">i", 3), (NONE,)),
    ("producer without sequence", lambda: patched(43, ">q", 7), (INVALID,)),
    ("producer id -2", lambda: patched(43, ">q", -2), (NONE,)),
    (
        "transactional without a transactional id",
        lambda: batch(b"x", transactional=True, producer_id=1, producer_epoch=0, base_sequence=0),
        (ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,),
    ),
    ("timestamp -1", lambda: batch(b"x", timestamp_ms=-1), (NONE,)),
    ("timestamp -2", lambda: batch(b"x", timestamp_ms=-2), (NONE,)),
    ("timestamp in 2100", lambda: batch(b"x", timestamp_ms=4_102_444_800_000), (ErrorCode.INVALID_TIMESTAMP,)),
]  # fmt: skip


async def produce(client: RawClient, topic: str, records: bytes) -> int:
    response = await client.call(produce_request(topic, records), PRODUCE_VERSION)
    code: int = response.responses[0].partition_responses[0].error_code
    return code


async def end_of(client: RawClient, topic: str) -> int:
    response = await client.call(fetch_request(topic, 0), 12)
    high_watermark: int = response.responses[0].partitions[0].high_watermark
    return high_watermark


@pytest.mark.parametrize(
    ("make", "expected"), [pytest.param(make, codes, id=name) for name, make, codes in BATCHES]
)
def test_a_batch_that_cannot_be_is_answered_as_kafka_answers(
    target: Target, make: Callable[[], bytes], expected: tuple[ErrorCode, ...]
) -> None:
    async def case(site: Site) -> None:
        client = await site.connect()
        await create_topic(client, "batches")
        while await produce(client, "batches", batch(b"sound")) != NONE:
            pass
        before = await end_of(client, "batches")
        code = ErrorCode(await produce(client, "batches", make()))
        assert code in expected, code.name
        after = await end_of(client, "batches")
        if code is not NONE:
            assert after == before
        assert await produce(client, "batches", batch(b"sound")) == NONE

    target.withstands(case)


@pytest.mark.parametrize("kind", list(CompressionType)[1:])
def test_a_bomb_is_refused_within_bounded_memory(target: Target, kind: CompressionType) -> None:
    data = bomb(kind)

    async def case(site: Site) -> None:
        client = await site.connect()
        await create_topic(client, "bombs", **{"max.message.bytes": str(100 << 20)})
        while await produce(client, "bombs", batch(b"sound")) != NONE:
            pass
        target.forget_peak_memory()
        code = ErrorCode(await produce(client, "bombs", data))
        assert code is not NONE
        if not target.is_kafka:
            assert target.peak_memory() - target.memory() < 256 << 20
        assert await produce(client, "bombs", batch(b"sound")) == NONE

    target.withstands(case)


def test_a_null_key_in_a_compacted_topic_is_invalid(target: Target) -> None:
    async def case(site: Site) -> None:
        client = await site.connect()
        await create_topic(client, "compacted", **{"cleanup.policy": "compact"})
        code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        while code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            code = ErrorCode(await produce(client, "compacted", batch(b"no key")))
        assert code is INVALID

    target.withstands(case)
