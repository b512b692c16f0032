"""One connection of a client that chooses itself what it sends, and when."""

import asyncio
from collections import deque
from typing import Any

from tools.simulation.world import BROKER, PORT, World

from ottla.model.errors import PeerError
from ottla.wire.apis import response_class
from ottla.wire.codec import decode, encode
from ottla.wire.headers import RequestHeader, read_response_header, request_header

TIMEOUT_S = 1.5


class Wire(asyncio.Protocol):
    """Requests go out in the order of `send`; an answer that does not come ends the connection."""

    def __init__(self) -> None:
        self.ended = False
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._waiting: deque[tuple[int, int, asyncio.Future[Any]]] = deque()

    @classmethod
    async def connect(cls, world: World, host: str) -> "Wire":
        """Raise PeerError if that does not work out in time."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                _, wire = await world.network.host(host).connect(BROKER, PORT, cls)
        except OSError as error:
            raise PeerError(str(error)) from error
        return wire

    def send(self, request: Any, version: int) -> "asyncio.Future[Any]":
        """The response, or PeerError."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        if self.ended:
            answer.set_exception(PeerError("the connection is lost"))
            return answer
        header = RequestHeader(request.API_KEY, version, len(self._waiting), "wire")
        payload = request_header(header) + encode(request, version)
        self._waiting.append((request.API_KEY, version, answer))
        self._transport.write(len(payload).to_bytes(4, "big") + payload)
        timer = loop.call_later(TIMEOUT_S, self.abort)
        answer.add_done_callback(lambda _: timer.cancel())
        return answer

    async def call(self, request: Any, version: int) -> Any:
        return await self.send(request, version)

    def abort(self) -> None:
        self._transport.abort()
        self._end()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        while len(received) >= 4:
            end = 4 + int.from_bytes(received[:4], "big")
            if len(received) < end:
                return
            frame = bytes(received[4:end])
            del received[:end]
            key, version, answer = self._waiting.popleft()
            _, position = read_response_header(frame, key, version)
            response, _ = decode(response_class(key), version, frame, position)
            if not answer.done():
                answer.set_result(response)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        self.ended = True
        waiting, self._waiting = self._waiting, deque()
        for _, _, answer in waiting:
            if not answer.done():
                answer.set_exception(PeerError("the connection is lost"))
                answer.exception()  # nobody need look at each of them
