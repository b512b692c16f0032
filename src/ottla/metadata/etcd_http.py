"""HTTP/1.1, as much of it as etcd's JSON gateway needs: POST, one exchange at a time.

An answer has a `Content-Length`, or comes in chunks; a stream is chunks of JSON
objects, each ended by a newline. Behind the last chunk there may be trailers,
which nobody needs. Redirects and compression do not occur.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ottla.metadata.etcd_options import Endpoint
from ottla.model.errors import PeerError
from ottla.net.network import Network

if TYPE_CHECKING:
    from ssl import SSLContext

MAX_HEAD_BYTES = 65_536
MAX_MESSAGE_BYTES = 64 << 20
"""One answer, or one message of a stream: far above etcd's limits for a request."""


class NotSentError(PeerError):
    """The connection could not be made: nothing was asked for."""


class LostError(PeerError):
    """The connection broke before the answer was complete."""


class Head(NamedTuple):
    status: int
    headers: Mapping[bytes, bytes]
    """Names in lower case."""


class HttpConnection:
    """A connection to an endpoint. Whoever is cancelled while using it must `abort` it."""

    def __init__(
        self, endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.endpoint = endpoint
        self._reader = reader
        self._writer = writer
        self._length: int | None = None

    @classmethod
    async def open(
        cls, network: Network, endpoint: Endpoint, tls: "SSLContext | None"
    ) -> "HttpConnection":
        """Connect; with TLS if the endpoint has it.

        Raises:
            NotSentError: it cannot be reached, or does not prove who it is.
        """
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_HEAD_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport: asyncio.Transport | None = None
        try:
            transport, _ = await network.connect(endpoint.host, endpoint.port, lambda: protocol)
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            if tls is not None and endpoint.is_tls:
                await writer.start_tls(tls, server_hostname=endpoint.host)
            return cls(endpoint, reader, writer)
        except OSError as error:
            if transport is not None:
                transport.abort()
            raise NotSentError(f"cannot connect to etcd at {endpoint}: {error}") from error
        except BaseException:
            if transport is not None:
                transport.abort()
            raise

    @property
    def is_usable(self) -> bool:
        """Whether the peer has kept it open, as far as is known."""
        return not self._writer.is_closing() and not self._reader.at_eof()

    def abort(self) -> None:
        """End it at once; who reads from it gets LostError. Harmless twice."""
        self._writer.transport.abort()

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Head:
        """Send a request, and return once the head of its answer is here.

        Raises:
            LostError: the connection broke.
            PeerError: the answer is not HTTP.
        """
        lines = [
            f"POST {path} HTTP/1.1",
            f"Host: {self.endpoint.authority}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        try:
            self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            await self._writer.drain()
            text = await self._reader.readuntil(b"\r\n\r\n")
        except (OSError, EOFError) as error:
            raise self._lost(error) from error
        except asyncio.LimitOverrunError as error:
            raise PeerError(f"{self.endpoint} does not answer in HTTP") from error
        head = _head(self.endpoint, text)
        length = head.headers.get(b"content-length")
        if length is not None and not length.isdigit():
            raise PeerError(f"{self.endpoint} answers with a length of {length!r}")
        self._length = None if length is None else int(length)
        return head

    async def read(self) -> bytes:
        """Return the whole body; the connection may be used again.

        Raises:
            LostError: the connection broke.
            PeerError: it is not HTTP, or too long.
        """
        if self._length is None:
            return b"".join([chunk async for chunk in self._chunks()])
        if self._length > MAX_MESSAGE_BYTES:
            raise PeerError(f"{self.endpoint} answers with {self._length} bytes")
        return await self._exactly(self._length)

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield what each newline ends, until the answer ends.

        Raises:
            LostError, PeerError: as `read`.
        """
        if self._length is not None:
            yield await self.read()
            return
        parts: list[bytes] = []
        size = 0
        async for chunk in self._chunks(in_all=False):
            *ended, rest = chunk.split(b"\n")
            for line in ended:
                yield b"".join([*parts, line])
                parts, size = [], 0
            parts.append(rest)
            size += len(rest)
            if size > MAX_MESSAGE_BYTES:
                raise PeerError(f"{self.endpoint} sends a message of over {size} bytes")
        if size:
            yield b"".join(parts)

    async def _chunks(self, *, in_all: bool = True) -> AsyncIterator[bytes]:
        """Yield the chunks of the body; `in_all` bounds their sum, too."""
        total = 0
        while True:
            line = await self._line()
            try:
                size = int(line.split(b";")[0], 16)
            except ValueError as error:
                raise PeerError(f"{self.endpoint} sends a chunk of size {line!r}") from error
            total = total + size if in_all else size
            if size < 0 or total > MAX_MESSAGE_BYTES:
                raise PeerError(f"{self.endpoint} sends an answer of over {total} bytes")
            if size == 0:
                while await self._line():
                    pass
                return
            yield (await self._exactly(size + 2))[:-2]

    async def _line(self) -> bytes:
        try:
            return (await self._reader.readuntil(b"\r\n"))[:-2]
        except (OSError, EOFError) as error:
            raise self._lost(error) from error
        except asyncio.LimitOverrunError as error:
            raise PeerError(f"{self.endpoint} does not answer in HTTP") from error

    async def _exactly(self, size: int) -> bytes:
        try:
            return await self._reader.readexactly(size)
        except (OSError, EOFError) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> LostError:
        why = "it was closed" if isinstance(error, EOFError) else error
        return LostError(f"lost the connection to etcd at {self.endpoint}: {why}")


def _head(endpoint: Endpoint, text: bytes) -> Head:
    first, *lines = text[:-4].split(b"\r\n")
    words = first.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise PeerError(f"{endpoint} does not answer in HTTP: {first[:100]!r}")
    fields = (line.partition(b":") for line in lines)
    return Head(int(words[1]), {name.lower(): value.strip() for name, _, value in fields})
