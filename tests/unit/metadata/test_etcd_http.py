"""Answers as HTTP cuts them, however the network cuts that again, and what is not HTTP."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ottla.metadata.etcd_http import HttpConnection, LostError, NotSentError
from ottla.metadata.etcd_options import Endpoint
from ottla.model.errors import PeerError
from ottla.testing.loop import run
from ottla.testing.network import MemoryNetwork

ENDPOINT = Endpoint("10.0.0.2", 2379, False)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b'{"result":1}\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def asked(
    answers: list[bytes], use: Callable[[HttpConnection], Awaitable[object]], seed: int = 0
) -> object:
    """Return what `use` does with a connection whose peer answers each request as listed."""

    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        for answer in answers:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"POST /v3/kv/range HTTP/1.1\r\nHost: 10.0.0.2:2379\r\n")
            length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            assert await reader.readexactly(length) == b"{}"
            writer.write(answer)
        writer.close()

    async def case() -> object:
        network = MemoryNetwork(seed, max_piece=7)
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.StreamReaderProtocol:
            return asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), serve, loop=loop)

        await network.host("10.0.0.2").listen("10.0.0.2", 2379, protocol)
        connection = await HttpConnection.open(network.host("10.0.0.1"), ENDPOINT, None)
        try:
            return await use(connection)
        finally:
            connection.abort()
            for writer in writers:
                writer.transport.abort()

    return run(case(), seed)


async def read(connection: HttpConnection) -> bytes:
    await connection.post("/v3/kv/range", {"Grpc-Metadata-hasleader": "true"}, b"{}")
    return await connection.read()


@pytest.mark.parametrize("seed", range(5))
def test_one_connection_carries_answers_of_every_kind(seed: int) -> None:
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
        CHUNKED + chunk(BODY[:5]) + chunk(BODY[5:]) + b"0\r\n\r\n",
        CHUNKED + chunk(BODY) + b"0\r\nGrpc-Trailer-A: b\r\nGrpc-Trailer-C: d\r\n\r\n",
        CHUNKED + b"D;extension=1\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n",
    ]

    async def use(connection: HttpConnection) -> list[bytes]:
        return [await read(connection) for _ in answers]

    assert asked(answers, use, seed) == [BODY] * 4 + [b""]


@pytest.mark.parametrize("seed", range(5))
def test_the_messages_of_a_stream_end_with_newlines(seed: int) -> None:
    stream = CHUNKED + chunk(b"one\n") + chunk(b"t") + chunk(b"wo\nthree\n\nfo") + chunk(b"ur")

    async def use(connection: HttpConnection) -> list[bytes]:
        await connection.post("/v3/kv/range", {}, b"{}")
        return [message async for message in connection.messages()]

    messages = asked([stream + b"0\r\n\r\n"], use, seed)
    assert messages == [b"one", b"two", b"three", b"", b"four"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 O",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123",
        CHUNKED,
        CHUNKED + chunk(BODY),
        CHUNKED + chunk(BODY) + b"0\r\n",
        CHUNKED + b"10\r\n123",
    ],
)
def test_an_answer_that_is_cut_off_is_lost(answer: bytes) -> None:
    with pytest.raises(LostError, match=r"10\.0\.0\.2:2379"):
        asked([answer], read)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        CHUNKED + b"x\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"fffffffff\r\n",
        CHUNKED + b"0" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"a" * 100_000,
    ],
)
def test_what_is_not_http_is_refused(answer: bytes) -> None:
    with pytest.raises(PeerError) as caught:
        asked([answer], read)
    assert not isinstance(caught.value, LostError)


def test_where_nobody_listens_nothing_was_sent() -> None:
    async def case() -> None:
        with pytest.raises(NotSentError, match="cannot connect"):
            await HttpConnection.open(MemoryNetwork(0).host("10.0.0.1"), ENDPOINT, None)

    run(case())


def test_a_connection_that_the_peer_closed_is_not_used_again() -> None:
    async def use(connection: HttpConnection) -> tuple[bool, bool]:
        await read(connection)
        at_once = connection.is_usable
        await asyncio.sleep(1)
        return at_once, connection.is_usable

    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert asked([answer], use) in ((True, False), (False, False))
