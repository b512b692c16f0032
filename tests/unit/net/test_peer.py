"""The link against a broker played by the test: requests are read off a transport in memory."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.net import peer
from ottla.wire.apis import request_class
from ottla.wire.codec import decode, encode
from ottla.wire.generated.api_versions import ApiVersion, ApiVersionsResponse
from ottla.wire.generated.list_groups import ListedGroup, ListGroupsRequest, ListGroupsResponse
from ottla.wire.generated.metadata import MetadataRequest, MetadataResponse
from ottla.wire.headers import read_request_header, response_header

NEWEST = {3: (0, 13), 16: (0, 5), 18: (0, 4)}


class Wire(asyncio.Transport):
    """Collects what the link writes, and feeds it what the test answers."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.asked: asyncio.Queue[tuple[Any, Any]] = asyncio.Queue()
        self.gone = False

    def write(self, data: Any) -> None:
        self.written += data
        while len(self.written) >= 4:
            size = int.from_bytes(self.written[:4], "big")
            if len(self.written) < 4 + size:
                return
            frame = bytes(self.written[4 : 4 + size])
            del self.written[: 4 + size]
            header, position = read_request_header(frame)
            request, end = decode(
                request_class(header.api_key), header.api_version, frame, position
            )
            assert end == size
            self.asked.put_nowait((header, request))

    def abort(self) -> None:
        self.gone = True

    close = abort

    def feed(self, data: bytes, *, piece: int = 1 << 20) -> None:
        while data:
            buffer = self.protocol.get_buffer(-1)
            size = min(piece, len(buffer), len(data))
            buffer[:size] = data[:size]
            self.protocol.buffer_updated(size)
            data = data[size:]

    def answer(self, header: Any, response: Any, **how: Any) -> None:
        self.feed(framed(header, response), **how)


def framed(header: Any, response: Any, version: int | None = None) -> bytes:
    head = response_header(header.correlation_id, header.api_key, header.api_version)
    body = encode(response, header.api_version if version is None else version)
    return (len(head) + len(body)).to_bytes(4, "big") + head + body


class OneBroker:
    """A `Connector` to the broker the test plays."""

    def __init__(self) -> None:
        self.wire: Wire | None = None

    async def connect(self, host: str, port: int, factory: Callable[[], Any], /) -> Any:
        protocol = factory()
        self.wire = Wire(protocol)
        protocol.connection_made(self.wire)
        return self.wire, protocol


def versions(served: dict[int, tuple[int, int]]) -> ApiVersionsResponse:
    return ApiVersionsResponse(
        api_keys=[
            ApiVersion(api_key=key, min_version=low, max_version=high)
            for key, (low, high) in served.items()
        ]
    )


async def linked(served: dict[int, tuple[int, int]] = NEWEST) -> tuple[peer.Link, Wire]:
    broker = OneBroker()
    connecting = asyncio.ensure_future(
        peer.connect(broker, "b", 1, client_id="test", timeout_ms=60_000)
    )
    await asyncio.sleep(0)
    assert broker.wire is not None
    header, request = await broker.wire.asked.get()
    assert request.client_software_name == "ottla"
    broker.wire.answer(header, versions(served))
    return await connecting, broker.wire


def played(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(main())


def ask(link: peer.Link, request: Any, timeout_ms: int = 60_000) -> "asyncio.Task[Any]":
    return asyncio.ensure_future(link.request(request, timeout_ms=timeout_ms))


def test_requests_are_pipelined_and_answers_go_to_their_own() -> None:
    async def scenario() -> None:
        link, wire = await linked()
        first = ask(link, MetadataRequest(topics=None))
        second = ask(link, ListGroupsRequest())
        headers = [(await wire.asked.get())[0] for _ in range(2)]
        assert [header.api_key for header in headers] == [3, 16]
        assert headers[0].client_id == "test"
        both = framed(headers[0], MetadataResponse(cluster_id="c")) + framed(
            headers[1], ListGroupsResponse(groups=[ListedGroup(group_id="g")])
        )
        wire.feed(both, piece=7)
        assert (await first).cluster_id == "c"
        assert (await second).groups[0].group_id == "g"
        assert not link.closed

    played(scenario)


@pytest.mark.parametrize("piece", [1, 1000, 1 << 20])
def test_an_answer_larger_than_the_scratch_buffer_arrives_whole(piece: int) -> None:
    async def scenario() -> None:
        link, wire = await linked()
        size = 3 * peer.SCRATCH_BYTES if piece > 1 else 100
        groups = [ListedGroup(group_id=f"{i:0100d}") for i in range(size // 100)]
        asked = [ask(link, ListGroupsRequest()) for _ in range(2)]
        headers = [(await wire.asked.get())[0] for _ in range(2)]
        answer = ListGroupsResponse(groups=groups)
        wire.feed(framed(headers[0], answer) + framed(headers[1], answer), piece=piece)
        assert [(await each).groups for each in asked] == [groups, groups]

    played(scenario)


def test_the_newest_version_both_know_is_used() -> None:
    async def scenario() -> None:
        link, wire = await linked({3: (0, 13), 16: (0, 2), 18: (0, 4)})
        asked = ask(link, ListGroupsRequest())
        header, _ = await wire.asked.get()
        assert header.api_version == 2
        wire.answer(header, ListGroupsResponse())
        await asked
        assert link.serves(ListGroupsRequest, 2)
        assert not link.serves(ListGroupsRequest, 3)

    played(scenario)


def test_an_api_the_broker_lacks_is_unsupported_and_the_link_lives() -> None:
    async def scenario() -> None:
        link, _ = await linked({18: (0, 4)})
        with pytest.raises(ApiError) as caught:
            await link.request(ListGroupsRequest(), timeout_ms=1000)
        assert caught.value.code is ErrorCode.UNSUPPORTED_VERSION
        assert not link.closed

    played(scenario)


def test_a_broker_that_knows_only_older_api_versions_is_asked_in_version_zero() -> None:
    async def scenario() -> None:
        broker = OneBroker()
        connecting = asyncio.ensure_future(
            peer.connect(broker, "b", 1, client_id="test", timeout_ms=60_000)
        )
        await asyncio.sleep(0)
        assert broker.wire is not None
        header, _ = await broker.wire.asked.get()
        refusal = ApiVersionsResponse(error_code=ErrorCode.UNSUPPORTED_VERSION)
        broker.wire.feed(framed(header, refusal, version=0))
        header, _ = await broker.wire.asked.get()
        assert header.api_version == 0
        broker.wire.answer(header, versions({3: (0, 5)}))
        assert (await connecting).version_of(MetadataRequest) == 5

    played(scenario)


def test_a_missed_deadline_fails_everything_that_waits() -> None:
    async def scenario() -> None:
        link, wire = await linked()
        patient = ask(link, MetadataRequest(topics=None))
        hasty = ask(link, ListGroupsRequest(), timeout_ms=1)
        for each in (hasty, patient):
            with pytest.raises(PeerError, match="b:1: no answer to LIST_GROUPS within 1 ms"):
                await each
        assert wire.gone
        assert link.closed

    played(scenario)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: frame[:4] + (9999).to_bytes(4, "big") + frame[8:],  # another correlation id
        lambda frame: (len(frame) - 5).to_bytes(4, "big") + frame[4:-1],  # cut short
        lambda frame: (-1).to_bytes(4, "big", signed=True) + frame[4:],  # no size at all
        lambda frame: (1 << 30).to_bytes(4, "big") + frame[4:],  # an absurd size
    ],
)
def test_an_answer_that_cannot_be_read_fails_the_link(spoil: Callable[[bytes], bytes]) -> None:
    async def scenario() -> None:
        link, wire = await linked()
        asked = ask(link, ListGroupsRequest())
        header, _ = await wire.asked.get()
        wire.feed(spoil(framed(header, ListGroupsResponse(groups=[ListedGroup(group_id="g")]))))
        with pytest.raises(PeerError, match="b:1"):
            await asked
        assert wire.gone

    played(scenario)


def test_an_answer_nobody_asked_for_fails_the_link() -> None:
    async def scenario() -> None:
        link, wire = await linked()
        wire.feed((8).to_bytes(4, "big") + bytes(8))
        assert link.closed
        with pytest.raises(PeerError, match="nobody asked"):
            await link.request(ListGroupsRequest(), timeout_ms=1000)

    played(scenario)


def test_a_lost_connection_fails_what_waits_and_what_comes() -> None:
    async def scenario() -> None:
        link, wire = await linked()
        asked = ask(link, ListGroupsRequest())
        await wire.asked.get()
        wire.protocol.connection_lost(None)
        for attempt in (asked, ask(link, ListGroupsRequest())):
            with pytest.raises(PeerError, match="it closed the connection"):
                await attempt

    played(scenario)


def test_an_answer_to_a_request_given_up_is_dropped_and_the_next_one_is_read() -> None:
    async def scenario() -> None:
        link, wire = await linked()
        given_up = ask(link, MetadataRequest(topics=None))
        header, _ = await wire.asked.get()
        given_up.cancel()
        asked = ask(link, ListGroupsRequest())
        wire.answer(header, MetadataResponse())
        header, _ = await wire.asked.get()
        wire.answer(header, ListGroupsResponse(groups=[ListedGroup(group_id="g")]))
        assert (await asked).groups[0].group_id == "g"

    played(scenario)


def test_nobody_there_is_a_peer_error_that_names_the_address() -> None:
    class Refusing:
        async def connect(self, host: str, port: int, factory: Any, /) -> Any:
            raise ConnectionRefusedError(111, "whatever")

    async def scenario() -> None:
        with pytest.raises(PeerError, match="b:1: Connection refused"):
            await peer.connect(Refusing(), "b", 1, client_id="test", timeout_ms=1000)

    played(scenario)
