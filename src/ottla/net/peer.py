"""A pipelined link to one broker.

Requests are written at once, each with its correlation id; Kafka answers in
order, so the oldest waiting request is the one an answer belongs to. A link
fails as a whole: a lost connection, an answer that cannot be read, an answer
to nobody, or a missed deadline closes it, and every waiting request gets
`PeerError`. A failed link is never repaired; the caller connects anew, after a
back-off of its own choosing.

A missed deadline closes the link because the answers behind the missing one
could not be told from it: nothing after it would ever arrive either.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

from ottla.model.errors import ApiError, ErrorCode, PeerError, ProtocolError
from ottla.wire.apis import API, response_class
from ottla.wire.codec import decode, encode_parts
from ottla.wire.headers import RequestHeader, read_response_header, request_header

API_VERSIONS_KEY = 18
SCRATCH_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 512 * 1024 * 1024
SOFTWARE_NAME = "ottla"
_NO_SIZE = bytes(4)

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Connector(Protocol):
    """The half of a `Network` that a link needs."""

    async def connect(
        self, host: str, port: int, protocol_factory: Callable[[], P], /
    ) -> tuple[asyncio.Transport, P]:
        """Connect to `host`, a name or an address; OSError if nobody listens there."""


class VersionRange(NamedTuple):
    """What a broker serves of one API, both ends included."""

    low: int
    high: int


class _Waiting(NamedTuple):
    correlation_id: int
    api_key: int
    version: int
    answer: "asyncio.Future[Any]"


class _Frames(asyncio.BufferedProtocol):
    """Bytes in, whole answers out: a large one is received straight into its own buffer."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.transport: asyncio.Transport | None = None
        self._scratch = bytearray(SCRATCH_BYTES)
        self._scratch_end = 0
        self._frame: bytearray | None = None
        self._filled = 0
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.link is not None:
            self.link.fail(f"connection lost ({exc})" if exc else "it closed the connection")

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._frame is not None:
            return memoryview(self._frame)[self._filled :]
        return memoryview(self._scratch)[self._scratch_end :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._frame is not None:
            self._filled += nbytes
            if self._filled == len(self._frame):
                frame, self._frame = self._frame, None
                self._deliver(frame)
            return
        self._scratch_end += nbytes
        self._cut()

    def _cut(self) -> None:
        scratch, position, end = self._scratch, 0, self._scratch_end
        while end - position >= 4:
            size = int.from_bytes(scratch[position : position + 4], "big", signed=True)
            if not 4 <= size <= MAX_ANSWER_BYTES:
                if self.link is not None:
                    self.link.fail(f"it sent an answer of {size} bytes")
                return
            if end - position - 4 < size:
                if size + 4 > SCRATCH_BYTES:
                    self._frame = bytearray(size)
                    self._filled = end - position - 4
                    self._frame[: self._filled] = scratch[position + 4 : end]
                    position = end
                break
            self._deliver(scratch[position + 4 : position + 4 + size])
            position += 4 + size
        scratch[: end - position] = scratch[position:end]
        self._scratch_end = end - position

    def _deliver(self, frame: bytearray) -> None:
        if self.link is not None:
            self.link.take(frame)


class Link:
    """One connection to one broker; made by `connect`."""

    def __init__(self, host: str, port: int, client_id: str, frames: _Frames) -> None:
        assert frames.transport is not None
        self.host = host
        self.port = port
        self.versions: dict[int, VersionRange] = {}
        self._client_id = client_id
        self._frames = frames
        self._transport = frames.transport
        self._next_id = 0
        self._waiting: deque[_Waiting] = deque()
        self._failure: str | None = None
        frames.link = self

    @property
    def closed(self) -> bool:
        return self._failure is not None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def version_of(self, request_type: Any) -> int:
        """The newest version both sides know of this request class.

        Raises:
            ApiError: UNSUPPORTED_VERSION; there is none.
        """
        served = self.versions.get(request_type.API_KEY)
        if served is not None:
            version = min(served.high, int(request_type.MAX_VERSION))
            if version >= max(served.low, int(request_type.MIN_VERSION)):
                return version
        name = API[request_type.API_KEY].name
        raise ApiError(
            ErrorCode.UNSUPPORTED_VERSION, f"{self} serves no version of {name} known here"
        )

    def serves(self, request_type: Any, version: int = 0) -> bool:
        """Whether the broker serves this request, at least in `version`."""
        served = self.versions.get(request_type.API_KEY)
        return served is not None and served.high >= version

    async def request(
        self, request: Any, *, timeout_ms: int, version: int | None = None, answered: bool = True
    ) -> Any:
        """Send, wait, and return the decoded response.

        `records` in the response are views of the answer's own buffer, which
        nobody else touches. With `answered=False` (a produce with acks=0)
        nothing is awaited but room to write, and None comes back.

        Raises:
            PeerError: the link failed, or the answer took longer than `timeout_ms`.
            ApiError: UNSUPPORTED_VERSION; nothing was sent.
        """
        chosen = self.version_of(request) if version is None else version
        if not self._frames.writable.is_set():
            await self._room(timeout_ms)
        if self._failure is not None:
            raise PeerError(self._failure)
        correlation_id = self._next_id
        self._next_id = (correlation_id + 1) & 0x7FFFFFFF
        header = RequestHeader(request.API_KEY, chosen, correlation_id, self._client_id)
        parts = encode_parts(request, chosen, _NO_SIZE + request_header(header))
        size = sum(len(part) for part in parts) - len(_NO_SIZE)
        parts[0][:4] = size.to_bytes(4, "big")  # type: ignore[index]
        self._transport.writelines(parts)
        if not answered:
            return None
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(correlation_id, request.API_KEY, chosen, answer))
        timer = answer.get_loop().call_later(
            timeout_ms / 1000, self._missed, API[request.API_KEY].name, timeout_ms
        )
        try:
            return await answer
        finally:
            timer.cancel()

    async def _room(self, timeout_ms: int) -> None:
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await self._frames.writable.wait()
        except TimeoutError:
            self.fail(f"it read nothing for {timeout_ms} ms")

    def _missed(self, name: str, timeout_ms: int) -> None:
        self.fail(f"no answer to {name} within {timeout_ms} ms")

    def take(self, frame: bytearray) -> None:
        """Give an answer to the request it belongs to."""
        if self._failure is not None:
            return
        if not self._waiting:
            self.fail("it answered a question nobody asked")
            return
        expected = self._waiting[0]
        try:
            correlation_id, body = read_response_header(frame, expected.api_key, expected.version)
            if correlation_id != expected.correlation_id:
                raise ProtocolError(
                    f"correlation id {correlation_id} instead of {expected.correlation_id}"
                )
            version = _answered_version(expected, frame, body)
            response, _ = decode(response_class(expected.api_key), version, frame, body)
        except ProtocolError as error:
            name = API[expected.api_key].name
            self.fail(f"its answer to {name} version {expected.version} cannot be read: {error}")
            return
        self._waiting.popleft()
        if not expected.answer.done():
            expected.answer.set_result(response)

    def fail(self, why: str) -> None:
        """Drop the connection, and tell every waiting request why. Harmless once closed."""
        self._end(why, self._transport.abort)

    def close(self) -> None:
        """Close, once what was written has left; harmless twice."""
        self._end("closed here", self._transport.close)

    def _end(self, why: str, end_transport: Callable[[], None]) -> None:
        if self._failure is not None:
            return
        self._failure = f"{self}: {why}"
        end_transport()
        self._frames.writable.set()
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            if not each.answer.done():
                each.answer.set_exception(PeerError(self._failure))


def _answered_version(expected: _Waiting, frame: bytearray, body: int) -> int:
    """A broker that does not know our version of ApiVersions says so in version 0."""
    if expected.api_key == API_VERSIONS_KEY:
        code = int.from_bytes(frame[body : body + 2], "big", signed=True)
        if code == ErrorCode.UNSUPPORTED_VERSION:
            return 0
    return expected.version


async def connect(
    network: Connector, host: str, port: int, *, client_id: str, timeout_ms: int
) -> Link:
    """Connect and learn which versions the broker serves.

    Raises:
        PeerError: nobody is there, or it does not speak Kafka's protocol in time.
    """
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            _, frames = await network.connect(host, port, _Frames)
    except TimeoutError:
        raise PeerError(f"{host}:{port}: no connection within {timeout_ms} ms") from None
    except OSError as error:
        why = (
            os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        )
        raise PeerError(f"{host}:{port}: {why}") from error
    link = Link(host, port, client_id, frames)
    try:
        await _negotiate(link, timeout_ms)
    except BaseException:
        link.close()
        raise
    return link


async def _negotiate(link: Link, timeout_ms: int) -> None:
    from ottla import __version__
    from ottla.wire.generated.api_versions import ApiVersionsRequest

    request = ApiVersionsRequest(
        client_software_name=SOFTWARE_NAME, client_software_version=__version__
    )
    try:
        response = await link.request(request, version=3, timeout_ms=timeout_ms)
    except PeerError as error:
        raise PeerError(f"{error} (is it a Kafka broker without TLS?)") from error
    if response.error_code == ErrorCode.UNSUPPORTED_VERSION:
        response = await link.request(ApiVersionsRequest(), version=0, timeout_ms=timeout_ms)
    code = ErrorCode(response.error_code)
    if code is not ErrorCode.NONE:
        raise PeerError(f"{link}: {code.name} to API_VERSIONS")
    link.versions = {
        each.api_key: VersionRange(each.min_version, each.max_version) for each in response.api_keys
    }
