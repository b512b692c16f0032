"""A client that may say anything: whole requests, half of one, or noise.

It works on every `Network`: sockets, and memory on virtual time. Nothing here
has a time-out; a test that waits for real puts `asyncio.timeout` around.
"""

import asyncio
from collections import deque
from typing import Any

from ottla.net.network import Network
from ottla.wire.apis import response_class
from ottla.wire.codec import decode, encode
from ottla.wire.headers import RequestHeader, read_response_header, request_header


class ConnectionClosedError(Exception):
    """The broker closed the connection; `reason` is None if it did so in good order."""

    def __init__(self, reason: Exception | None) -> None:
        super().__init__(f"the broker closed the connection: {reason!r}")
        self.reason = reason


def request_bytes(
    request: Any, version: int, *, correlation_id: int = 0, client_id: str | None = "raw"
) -> bytes:
    """Return header and body, without the size in front."""
    header = RequestHeader(request.API_KEY, version, correlation_id, client_id)
    return request_header(header) + encode(request, version)


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


class RawClient(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self._received = bytearray()
        self._expected: deque[tuple[int, int, int]] = deque()
        self._next_id = 0
        self._ended = False
        self._reason: Exception | None = None
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    @classmethod
    async def connect(cls, network: Network, host: str, port: int) -> "RawClient":
        _, client = await network.connect(host, port, cls)
        return client

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    async def flushed(self) -> None:
        """Wait until the transport takes more, or the connection has ended."""
        await self._writable.wait()

    def send(self, request: Any, version: int, *, client_id: str | None = "raw") -> None:
        """Send a request whose response `receive` will return, in the order of sending."""
        correlation_id = self._next_id
        self._next_id += 1
        self._expected.append((correlation_id, request.API_KEY, version))
        self.write(
            framed(
                request_bytes(request, version, correlation_id=correlation_id, client_id=client_id)
            )
        )

    async def receive(self) -> Any:
        """Return the response to the oldest request sent.

        Raises:
            ConnectionClosedError: it came no more.
        """
        frame = await self.frame()
        correlation_id, key, version = self._expected.popleft()
        answered, position = read_response_header(frame, key, version)
        assert answered == correlation_id, (answered, correlation_id)
        response, end = decode(response_class(key), version, frame, position)
        assert end == len(frame), f"{len(frame) - end} bytes after the response"
        return response

    async def call(self, request: Any, version: int) -> Any:
        self.send(request, version)
        return await self.receive()

    async def frame(self) -> bytes:
        """Return the next frame, without its size.

        Raises:
            ConnectionClosedError: it came no more.
        """
        while True:
            received = self._received
            if len(received) >= 4:
                end = 4 + int.from_bytes(received[:4], "big")
                if len(received) >= end:
                    frame = bytes(received[4:end])
                    del received[:end]
                    return frame
            if self._ended:
                raise ConnectionClosedError(self._reason)
            self._changed.clear()
            await self._changed.wait()

    async def closed(self) -> bytes:
        """Wait until the broker has closed the connection; return what it had sent."""
        while not self._ended:
            self._changed.clear()
            await self._changed.wait()
        return bytes(self._received)

    @property
    def is_closed(self) -> bool:
        return self._ended

    def close(self) -> None:
        self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._changed.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._reason = exc
        self._changed.set()
        self._writable.set()
