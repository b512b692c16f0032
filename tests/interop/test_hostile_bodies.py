"""Bodies that cannot be: cut at every byte, counts that nothing can hold, noise."""

import asyncio
import random
import struct
from collections.abc import Iterator

import pytest
from tests.messages import random_message
from tests.support.raw_client import framed, request_bytes
from tests.support.target import Site, Target, running_target

from ottla.model.errors import ErrorCode
from ottla.wire.apis import API, request_class
from ottla.wire.generated.api_versions import ApiVersionsRequest
from ottla.wire.generated.create_partitions import CreatePartitionsRequest, CreatePartitionsTopic
from ottla.wire.generated.create_topics import CreatableTopic, CreateTopicsRequest
from ottla.wire.generated.metadata import MetadataRequest, MetadataRequestTopic

AT_ONCE = 40
MAX_PREFIXES = 120
"""Of one request; a longer one is cut at positions chosen evenly."""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with running_target(tmp_path_factory.mktemp("hostile")) as target:
        yield target


def sample(key: int, version: int, seed: int) -> bytes:
    """A request with random values in every field."""
    chance = random.Random(seed)
    while True:
        message = random_message(request_class(key), version, chance)
        encoded = request_bytes(message, version)
        if len(encoded) < 4_000:
            return encoded


async def served(site: Site) -> list[tuple[int, int]]:
    """Every API and version the broker offers."""
    client = await site.connect()
    response = await client.call(ApiVersionsRequest(), 0)
    return [
        (each.api_key, version)
        for each in response.api_keys
        if each.api_key in API
        for version in range(
            max(each.min_version, API[each.api_key].min_version),
            min(each.max_version, API[each.api_key].max_version) + 1,
        )
    ]


async def send_and_see_it_closed(site: Site, data: bytes, gate: asyncio.Semaphore) -> bytes:
    """Send, say that no more comes, and return what was answered."""
    async with gate:
        client = await site.connect()
        client.write(framed(data))
        client.transport.write_eof()
        return await client.closed()


def skip_on_kafka(target: Target) -> None:
    """Its APIs for clusters take some noise to heart, and then it answers nobody."""
    if target.is_kafka:
        pytest.skip("noise is for us alone")


def test_every_request_cut_at_every_byte_closes_the_connection(target: Target) -> None:
    skip_on_kafka(target)

    async def case(site: Site) -> int:
        gate = asyncio.Semaphore(AT_ONCE)
        cuts = 0
        for key, version in await served(site):
            whole = sample(key, version, seed=key * 100 + version)
            step = max(1, len(whole) // MAX_PREFIXES)
            prefixes = [whole[:size] for size in range(0, len(whole), step)]
            answers = await asyncio.gather(
                *(send_and_see_it_closed(site, prefix, gate) for prefix in prefixes)
            )
            cuts += len(prefixes)
            answered = [size * step for size, answer in enumerate(answers) if answer]
            assert not answered, (key, version, answered, whole.hex())
            site.close()
        await site.witness.check()
        return cuts

    cuts = target.withstands(case, log_lines=100_000)
    assert cuts > 1_000


@pytest.mark.parametrize("seed", range(20))
def test_requests_with_noise_in_them_harm_nobody(target: Target, seed: int) -> None:
    """Runs of bytes become the greatest, the smallest or any number: counts, lengths, ids."""
    skip_on_kafka(target)

    async def case(site: Site) -> None:
        gate = asyncio.Semaphore(AT_ONCE)
        chance = random.Random(seed)
        noisy = []
        for key, version in await served(site):
            data = bytearray(sample(key, version, chance.randrange(2**32)))
            body = data.index(b"raw") + 3
            for _ in range(chance.randint(1, 3)):
                position = chance.randint(body, max(body, len(data) - 1))
                noise = chance.choice(NOISE) or chance.randbytes(4)
                data[position : position + len(noise)] = noise
            noisy.append(bytes(data))
        start = target.memory()
        await asyncio.gather(*(send_and_see_it_closed(site, data, gate) for data in noisy))
        assert target.is_kafka or target.memory() - start < 64 << 20

    target.withstands(case, log_lines=100_000)


NOISE = [
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xfe",
    b"\x80\x00\x00\x00",
    b"\xff\xff\xff\xff\x07",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\x80\x80\x80\x80\x01",
    b"\x7f\xff",
    b"\xff\xfe",
    b"\x00",
    b"",
]


def head(key: int, version: int, *, flexible: bool) -> bytes:
    return struct.pack(">hhih", key, version, 0, 3) + b"raw" + (b"\0" if flexible else b"")


BOMBS = [
    pytest.param(head(3, 1, flexible=False) + b"\x7f\xff\xff\xff", id="metadata 2^31-1 topics"),
    pytest.param(head(3, 1, flexible=False) + b"\x00\x0f\x42\x40" + bytes(99), id="metadata count"),
    pytest.param(head(3, 9, flexible=True) + b"\xff\xff\xff\xff\x07", id="compact 2^31-2"),
    pytest.param(head(3, 9, flexible=True) + b"\xff\xff\xff\xff\x0f", id="compact 2^32-2"),
    pytest.param(head(3, 9, flexible=True) + b"\x80\x80\x80\x80\x80\x01", id="varint of 6 bytes"),
    pytest.param(head(3, 9, flexible=True) + b"\x02\xff\xff\xff\xff\x07abc", id="compact string"),
    pytest.param(
        head(0, 3, flexible=False)
        + b"\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01t\x7f\xff\xff\xff",
        id="produce 2^31-1 partitions",
    ),
    pytest.param(
        head(0, 3, flexible=False)
        + b"\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01t"
        + b"\x00\x00\x00\x01\x00\x00\x00\x00\x7f\xff\xff\xff",
        id="produce 2^31-1 bytes of records",
    ),
    pytest.param(
        head(1, 4, flexible=False)
        + struct.pack(">iiiibi", -1, 0, 0, 1 << 20, 0, 1)
        + b"\x00\x01t\x7f\xff\xff\xff",
        id="fetch 2^31-1 partitions",
    ),
    pytest.param(
        head(11, 0, flexible=False) + b"\x00\x01g\x00\x00\x27\x10\x00\x00\x00\x08consumer"
        + b"\x7f\xff\xff\xff",
        id="join 2^31-1 protocols",
    ),
    pytest.param(
        head(11, 0, flexible=False) + b"\x00\x01g\x00\x00\x27\x10\x00\x00\x00\x08consumer"
        + b"\x00\x00\x00\x01\x00\x05range\x7f\xff\xff\xff",
        id="join 2^31-1 bytes of metadata",
    ),
]  # fmt: skip


@pytest.mark.parametrize("data", BOMBS)
def test_a_count_beyond_the_request_closes_the_connection(target: Target, data: bytes) -> None:
    async def case(site: Site) -> None:
        client = await site.connect()
        target.forget_peak_memory()
        client.write(framed(data))
        assert await client.closed() == b""
        if not target.is_kafka:
            assert target.peak_memory() - target.memory() < 16 << 20

    target.withstands(case)


def test_200_000_topics_in_one_request_do_not_starve_the_others(target: Target) -> None:
    """Names the broker does not know, and need not create."""

    async def case(site: Site) -> None:
        client = await site.connect()
        topics = [MetadataRequestTopic(name=f"unknown-{number}") for number in range(200_000)]
        client.send(MetadataRequest(topics=topics, allow_auto_topic_creation=False), 4)
        asked = asyncio.ensure_future(client.receive())
        # Served at all before that answer: how often depends on the machine.
        await site.witness.check()
        assert not asked.done()
        response = await asked
        assert len(response.topics) == 200_000
        unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert {topic.error_code for topic in response.topics} == {unknown}

    target.withstands(case)


REFUSED = (ErrorCode.POLICY_VIOLATION, ErrorCode.INVALID_PARTITIONS, -1)
"""Kafka's answer to a million more is -1, after some seconds."""


@pytest.mark.parametrize("partitions", [2**31 - 1, 1_000_000, 10_001])
def test_too_many_partitions_are_refused(target: Target, partitions: int) -> None:
    async def case(site: Site) -> None:
        client = await site.connect()
        target.forget_peak_memory()
        topic = CreatableTopic(name="enormous", num_partitions=partitions, replication_factor=1)
        created = await client.call(CreateTopicsRequest(topics=[topic], timeout_ms=9_000), 5)
        assert created.topics[0].error_code == ErrorCode.POLICY_VIOLATION, created.topics[0]
        count = min(partitions + 1, 2**31 - 1)
        grown = await client.call(
            CreatePartitionsRequest(
                topics=[CreatePartitionsTopic(name="witness", count=count, assignments=None)],
                timeout_ms=9_000,
            ),
            2,
        )
        assert grown.results[0].error_code in REFUSED, grown.results[0]
        if not target.is_kafka:
            assert target.peak_memory() - target.memory() < 64 << 20

    target.withstands(case)
