"""Frames and headers that cannot be: the connection closes, nobody else notices."""

import asyncio
import struct
import time
from collections.abc import Iterator

import pytest
from tests.support.raw_client import RawClient, framed, request_bytes
from tests.support.target import Site, Target, running_target
from tests.support.witness import PRODUCE_VERSION, batch, produce_request

from ottla.broker.log_rate import LINES
from ottla.model.errors import ErrorCode
from ottla.wire.apis import API
from ottla.wire.generated.api_versions import ApiVersionsRequest
from ottla.wire.generated.metadata import MetadataRequest

MAX_REQUEST_SIZE = 104_857_600


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with running_target(tmp_path_factory.mktemp("hostile")) as target:
        yield target


def closes_on(target: Target, data: bytes, *, log_lines: int = 1) -> None:
    """The broker answers `data` by closing the connection, and by nothing else."""

    async def case(site: Site) -> None:
        client = await site.connect()
        client.write(data)
        assert await client.closed() == b""

    target.withstands(case, log_lines=log_lines)


@pytest.mark.parametrize("size", [-1, -(2**31), 2**31 - 1, MAX_REQUEST_SIZE + 1, -4])
def test_a_size_that_cannot_be_closes_the_connection(target: Target, size: int) -> None:
    closes_on(target, struct.pack(">i", size))


@pytest.mark.parametrize("size", range(10))
def test_a_frame_too_short_for_a_header_closes_the_connection(target: Target, size: int) -> None:
    closes_on(target, framed(request_bytes(ApiVersionsRequest(), 0)[:size]))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), id="tls hello"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n", id="http get"),
        pytest.param(b"POST /topics HTTP/1.1\r\n\r\n", id="http post"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="ssh"),
        pytest.param(b"\xff" * 100, id="ones"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="http 2"),
    ],
)
def test_another_protocol_closes_the_connection(target: Target, data: bytes) -> None:
    closes_on(target, data)


def test_zeroes_are_frames_without_a_header(target: Target) -> None:
    closes_on(target, bytes(100))


@pytest.mark.parametrize("key", [-1, -32768, 4, 5, 999, 32767])
def test_an_unknown_api_closes_the_connection(target: Target, key: int) -> None:
    closes_on(target, framed(struct.pack(">hhih", key, 0, 0, -1)))


@pytest.mark.parametrize("key", [0, 1, 3, 8, 11, 19])
@pytest.mark.parametrize("beyond", ["below", "above", "far above", "negative"])
def test_an_unknown_version_closes_the_connection(target: Target, key: int, beyond: str) -> None:
    info = API[key]
    version = {
        "below": info.min_version - 1,
        "above": info.max_version + 10,
        "far above": 32767,
        "negative": -32768,
    }[beyond]
    tags = b"\0" if info.flexible_from is not None and version >= info.flexible_from else b""
    closes_on(target, framed(struct.pack(">hhih", key, version, 0, -1) + tags))


@pytest.mark.parametrize("version", [5, 99, 32767, -1])
def test_api_versions_of_the_future_is_answered_in_version_0(target: Target, version: int) -> None:
    """So that any client can learn what the broker speaks (KIP-511)."""

    async def case(site: Site) -> None:
        client = await site.connect()
        head = struct.pack(">hhih", 18, version, 77, 3) + b"raw"
        client.write(framed(head + (b"\0" if version > 2 else b"")))
        frame = await client.frame()
        correlation_id, error_code, count = struct.unpack_from(">ihi", frame)
        assert (correlation_id, error_code) == (77, ErrorCode.UNSUPPORTED_VERSION)
        assert frame[10:16] == struct.pack(">hhh", 18, 0, 4)
        assert count == 1
        assert (await client.call(ApiVersionsRequest(), 4)).error_code in (0, 42)

    target.withstands(case)


@pytest.mark.parametrize(
    "client_id", ["", "x" * 32_767, "line\nfeed", "nul\0", "\u202egnp.exe", "{}%s%n"]
)
def test_any_client_id_is_served_and_cannot_forge_the_log(target: Target, client_id: str) -> None:
    async def case(site: Site) -> None:
        client = await site.connect()
        client.send(ApiVersionsRequest(), 0, client_id=client_id)
        assert (await client.receive()).error_code == 0
        client.write(framed(struct.pack(">hhih", 999, 0, 0, -1)))
        await client.closed()

    target.withstands(case)


def test_a_client_id_that_ends_behind_its_request_closes_the_connection(target: Target) -> None:
    closes_on(target, framed(struct.pack(">hhih", 18, 0, 0, 32_767) + b"short"))


def test_unknown_tagged_fields_are_skipped(target: Target) -> None:
    async def case(site: Site) -> None:
        client = await site.connect()
        header = struct.pack(">hhih", 18, 3, 5, 3) + b"raw" + b"\x02\x05\x03abc\x7f\x00"
        body = b"\x03go\x02\x31" + b"\x01\x0a\x01z"
        client.write(framed(header + body))
        correlation_id, error_code = struct.unpack_from(">ih", await client.frame())
        assert (correlation_id, error_code) == (5, 0)

    target.withstands(case)


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param(b"\xff\xff\xff\xff\x07", id="2^31-1 fields"),
        pytest.param(b"\x01\x00\x7f", id="longer than the request"),
        pytest.param(b"\x01\x00\xff\xff\xff\xff\x07", id="2^31-1 bytes"),
        pytest.param(b"\x80\x80\x80\x80\x80\x80", id="a varint without end"),
        pytest.param(b"\x01", id="no tag"),
    ],
)
@pytest.mark.parametrize("where", ["header", "body"])
def test_tagged_fields_that_cannot_be_close_the_connection(
    target: Target, tags: bytes, where: str
) -> None:
    head = struct.pack(">hhih", 18, 3, 0, 3) + b"raw"
    body = b"\x03go\x02\x31"
    if where == "header":
        closes_on(target, framed(head + tags))
    else:
        closes_on(target, framed(head + b"\0" + body + tags))


def test_a_promised_size_costs_nothing_until_it_comes(target: Target) -> None:
    """200 clients promise 100 MB each and send 5 KB of it."""
    if target.is_kafka:
        pytest.skip("Kafka takes the memory, runs out of it and never answers again")

    async def case(site: Site) -> None:
        clients = [await site.connect() for _ in range(200)]
        start, reserved = target.memory(), target.reserved_memory()
        for client in clients:
            client.write(struct.pack(">i", MAX_REQUEST_SIZE) + bytes(5_000))
        for _ in range(10):
            await site.witness.check()
        assert target.memory() - start < 64 << 20
        assert target.reserved_memory() - reserved < 512 << 20
        assert not any(client.is_closed for client in clients)

    target.withstands(case)


def test_a_connection_cut_within_a_request_is_forgotten(target: Target) -> None:
    whole = framed(request_bytes(produce_request("witness", batch(b"x" * 100)), PRODUCE_VERSION))

    async def case(site: Site) -> None:
        for size in range(len(whole)):
            client = await site.connect()
            client.write(whole[:size])
            if size % 2:
                client.close()
            else:
                client.transport.abort()

    target.withstands(case, log_lines=0)


def test_bytes_after_the_request_within_its_frame_are_ignored(target: Target) -> None:
    """As Kafka does: it reads the fields it knows and looks no further."""

    async def case(site: Site) -> None:
        client = await site.connect()
        client.write(framed(request_bytes(ApiVersionsRequest(), 0, correlation_id=4) + b"more"))
        assert struct.unpack_from(">ih", await client.frame()) == (4, 0)

    target.withstands(case, log_lines=0)


def test_a_thousand_requests_in_one_write_are_answered_in_order(target: Target) -> None:
    async def case(site: Site) -> None:
        client = await site.connect()
        for _ in range(1_000):
            client.send(ApiVersionsRequest(), 3)
        for _ in range(1_000):
            await client.receive()  # asserts the correlation id

    target.withstands(case, log_lines=0)


def test_answers_that_nobody_reads_do_not_pile_up(target: Target) -> None:
    """Ten clients ask 20,000 times each, about 10 MB of answers a client, and read nothing."""

    async def ask(client: RawClient) -> None:
        client.transport.pause_reading()
        request = framed(request_bytes(ApiVersionsRequest(), 0))
        for _ in range(200):
            client.write(request * 100)
            await asyncio.sleep(0)

    async def case(site: Site) -> None:
        start = target.memory()
        await asyncio.gather(*[ask(await site.connect()) for _ in range(10)])
        for _ in range(20):
            await site.witness.check()
        assert target.memory() - start < 64 << 20

    target.withstands(case, log_lines=0)


def test_a_correlation_id_may_come_twice(target: Target) -> None:
    async def case(site: Site) -> None:
        client = await site.connect()
        for _ in range(3):
            client.write(framed(request_bytes(MetadataRequest(topics=[]), 1, correlation_id=9)))
        for _ in range(3):
            assert struct.unpack_from(">i", await client.frame()) == (9,)

    target.withstands(case, log_lines=0)


@pytest.mark.parametrize("raw", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
def test_a_client_id_that_is_not_utf8_closes_the_connection(target: Target, raw: bytes) -> None:
    if target.is_kafka:
        pytest.skip("Kafka reads what is not UTF-8 as U+FFFD")
    closes_on(target, framed(struct.pack(">hhih", 18, 0, 0, len(raw)) + raw))


def test_a_tagged_field_that_comes_twice_is_skipped_twice(target: Target) -> None:
    async def case(site: Site) -> None:
        client = await site.connect()
        header = struct.pack(">hhih", 18, 3, 5, 3) + b"raw" + b"\x02\x05\x01a\x05\x01b"
        client.write(framed(header + b"\x03go\x02\x31" + b"\x00"))
        assert struct.unpack_from(">ih", await client.frame()) == (5, 0)

    target.withstands(case, log_lines=0)


def test_a_flood_of_bad_connections_is_no_flood_in_the_log(target: Target) -> None:
    """A line for each at first, then one that counts the others."""

    async def case(site: Site) -> None:
        for _ in range(50):
            clients = [await site.connect() for _ in range(20)]
            for client in clients:
                client.write(b"\xff\xff\xff\xff")
            for client in clients:
                assert await client.closed() == b""

    began = time.monotonic()
    before = len(target.log())
    target.withstands(case, log_lines=1_000)
    took_s = time.monotonic() - began
    written = len(target.log()) - before
    assert target.is_kafka or written <= LINES * (2 + took_s)
