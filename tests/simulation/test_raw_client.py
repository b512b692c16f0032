"""The raw client and the guard against the real world, on a broker of twenty lines."""

import asyncio
import logging
import socket
import threading
import time
import uuid

import pytest
from tests.support.no_real_world import RealWorldError, no_real_world
from tests.support.raw_client import ConnectionClosedError, RawClient, framed

from ottla.testing.loop import VirtualLoop
from ottla.testing.simulated import simulated_system
from ottla.wire.codec import encode
from ottla.wire.generated.api_versions import ApiVersion, ApiVersionsRequest, ApiVersionsResponse
from ottla.wire.headers import read_request_header, response_header


class TinyBroker(asyncio.Protocol):
    """Answers every ApiVersions, and closes on a size of zero."""

    def __init__(self) -> None:
        self.received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while len(self.received) >= 4:
            size = int.from_bytes(self.received[:4], "big")
            if size == 0:
                self.transport.close()
                return
            if len(self.received) < 4 + size:
                return
            header, _ = read_request_header(bytes(self.received[4 : 4 + size]))
            del self.received[: 4 + size]
            answer = ApiVersionsResponse(api_keys=[ApiVersion(api_key=18, max_version=4)])
            head = response_header(header.correlation_id, 18, header.api_version)
            self.transport.write(framed(head + encode(answer, header.api_version)))


async def talk(seed: int) -> None:
    system = simulated_system(seed)
    await system.network.listen("localhost", 9092, TinyBroker)
    client = await RawClient.connect(system.network, "localhost", 9092)
    for version in range(5):
        client.send(ApiVersionsRequest(), version)
    for _ in range(5):
        response = await client.receive()
        assert response.api_keys[0].api_key == 18
    assert (await client.call(ApiVersionsRequest(), 4)).error_code == 0
    client.write(bytes(4))
    with pytest.raises(ConnectionClosedError):
        await client.receive()
    assert await client.closed() == b""


@pytest.mark.parametrize("seed", range(5))
def test_requests_and_their_answers_travel_without_the_real_world(seed: int) -> None:
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed)) as runner:
        runner.get_loop()
        with no_real_world():
            runner.run(talk(seed))


def test_the_guard_lets_nothing_through(caplog: pytest.LogCaptureFixture) -> None:
    with no_real_world():
        with pytest.raises(RealWorldError, match=r"socket\.socket"):
            socket.socket()
        with pytest.raises(RealWorldError, match=r"Thread\.start"):
            threading.Thread(target=print).start()
        with pytest.raises(RealWorldError, match=r"builtins\.open"):
            open("anything")  # noqa: SIM115
        with pytest.raises(RealWorldError, match=r"os\.urandom"):
            uuid.uuid4()
        with pytest.raises(RealWorldError, match=r"time\.monotonic"):
            time.monotonic()
        logging.getLogger("ottla").warning("a line")
        try:
            raise KeyError("expected")
        except KeyError:
            logging.getLogger("ottla").exception("with a trace")
    assert caplog.records[0].created == 0
    assert "in test_the_guard_lets_nothing_through" in caplog.text
    assert time.monotonic()
