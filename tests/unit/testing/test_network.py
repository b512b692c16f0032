"""Links in memory behave as sockets do, to the protocols on them."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.net.network import Network, ServerHandle
from ottla.testing.loop import run
from ottla.testing.network import HIGH_WATER, WINDOW, End, MemoryNetwork


class Recorder(asyncio.Protocol):
    """Keeps what happened."""

    keep_open = False

    def __init__(self) -> None:
        self.received = bytearray()
        self.events: list[str] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, End)
        self.transport = transport
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool | None:
        self.events.append("end")
        return self.keep_open

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append(f"lost {type(exc).__name__}" if exc else "lost")
        self.lost.set_result(exc)


class BufferedEcho(asyncio.BufferedProtocol):
    """Sends back what comes, through a buffer of its own of a given size."""

    def __init__(self, size: int) -> None:
        self.buffer = bytearray(size)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, End)
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self.buffer)

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(memoryview(self.buffer)[:nbytes])
        self.buffer[:nbytes] = b"\xdd" * nbytes


async def pair(
    network: MemoryNetwork, server: Callable[[], asyncio.BaseProtocol] = Recorder
) -> tuple[Recorder, asyncio.BaseProtocol]:
    """Return the protocols of a client on 10.0.0.2 and a server on 10.0.0.1."""
    handle = await network.host("10.0.0.1").listen("10.0.0.1", 9092, server)
    _, client = await network.host("10.0.0.2").connect("10.0.0.1", 9092, Recorder)
    handle.close()
    return client, network.links[-1].server.get_protocol()


async def recorders(network: MemoryNetwork) -> tuple[Recorder, Recorder]:
    client, server = await pair(network)
    assert isinstance(server, Recorder)
    return client, server


@given(
    seed=st.integers(0, 2**32),
    writes=st.lists(st.binary(max_size=300), max_size=20),
    buffer_size=st.integers(1, 500),
    max_piece=st.integers(1, 400),
)
@settings(deadline=None)
def test_bytes_arrive_in_order_whatever_the_pieces(
    seed: int, writes: list[bytes], buffer_size: int, max_piece: int
) -> None:
    async def main() -> None:
        network = MemoryNetwork(seed, max_piece=max_piece)
        client, _ = await pair(network, lambda: BufferedEcho(buffer_size))
        for data in writes:
            client.transport.write(data)
        client.transport.write_eof()
        assert await client.lost is None
        assert client.received == b"".join(writes)
        assert client.events == ["made", "end", "lost"]

    run(main())


@given(seed=st.integers(0, 2**32), size=st.integers(WINDOW, 4 * WINDOW))
@settings(deadline=None, max_examples=20)
def test_a_reader_that_pauses_stops_its_writer(seed: int, size: int) -> None:
    async def main() -> None:
        network = MemoryNetwork(seed)
        client, server = await recorders(network)
        server.transport.pause_reading()
        sent = 0
        while "pause" not in client.events:
            client.transport.write(bytes(10_000))
            sent += 10_000
        await asyncio.sleep(10)
        assert server.received == b""
        assert sent - client.transport.get_write_buffer_size() == WINDOW
        assert HIGH_WATER < client.transport.get_write_buffer_size() <= HIGH_WATER + 10_000
        server.transport.resume_reading()
        await asyncio.sleep(10)
        assert server.received == bytes(sent)
        assert client.events == ["made", "pause", "resume"]

    run(main())


def test_a_buffered_protocol_that_pauses_midway_gets_no_more() -> None:
    class One(BufferedEcho):
        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            self.transport.pause_reading()

    async def main() -> None:
        network = MemoryNetwork(0)
        client, server = await pair(network, lambda: One(10))
        client.transport.write(b"0123456789abcdefghij")
        await asyncio.sleep(10)
        assert client.received == b"0123456789"
        assert isinstance(server, One)
        server.transport.resume_reading()
        await asyncio.sleep(10)
        assert client.received == b"0123456789abcdefghij"

    run(main())


def test_closing_flushes_what_was_written_first() -> None:
    async def main() -> None:
        client, server = await recorders(MemoryNetwork(3))
        server.transport.write(bytes(1_000_000))
        server.transport.close()
        server.transport.write(b"too late")
        assert await client.lost is None
        assert client.received == bytes(1_000_000)
        assert server.events == ["made", "pause", "resume", "lost"]

    run(main())


def test_writing_to_a_closed_peer_resets_the_connection() -> None:
    async def main() -> None:
        client, server = await recorders(MemoryNetwork(3))
        client.keep_open = True
        server.transport.close()
        await asyncio.sleep(1)
        assert client.events == ["made", "end"]
        client.transport.write(b"nobody reads this")
        assert isinstance(await client.lost, ConnectionResetError)

    run(main())


def test_closing_with_bytes_unread_resets_the_connection() -> None:
    async def main() -> None:
        client, server = await recorders(MemoryNetwork(3))
        server.transport.pause_reading()
        client.transport.write(b"unread")
        await asyncio.sleep(1)
        server.transport.write(b"answer")
        server.transport.close()
        assert isinstance(await client.lost, ConnectionResetError)
        assert client.received == b"answer"

    run(main())


def test_abort_tells_the_peer() -> None:
    async def main() -> None:
        client, server = await recorders(MemoryNetwork(3))
        client.transport.write(b"x" * 1_000_000)
        client.transport.abort()
        assert await client.lost is None
        assert isinstance(await server.lost, ConnectionResetError)

    run(main())


def test_a_cut_link_delivers_when_it_heals() -> None:
    async def main() -> None:
        network = MemoryNetwork(3, max_piece=7)
        client, server = await recorders(network)
        client.transport.write(b"before ")
        network.cut("10.0.0.1", "10.0.0.2")
        client.transport.write(b"during " * 100)
        await asyncio.sleep(100)
        assert server.received == b""
        network.heal("10.0.0.1", "10.0.0.2")
        client.transport.write(b"after")
        await asyncio.sleep(1)
        assert server.received == b"before " + b"during " * 100 + b"after"

    run(main())


def test_nobody_connects_across_a_cut() -> None:
    async def main() -> None:
        network = MemoryNetwork(3)
        network.cut("10.0.0.1", "10.0.0.2")
        with pytest.raises(TimeoutError):
            await pair(network)

    run(main())


def test_a_reset_reaches_both_ends() -> None:
    async def main() -> None:
        network = MemoryNetwork(3)
        client, server = await recorders(network)
        network.links[0].reset()
        assert isinstance(await client.lost, ConnectionResetError)
        assert isinstance(await server.lost, ConnectionResetError)

    run(main())


def test_half_open_the_other_end_never_hears() -> None:
    async def main() -> None:
        network = MemoryNetwork(3)
        client, server = await recorders(network)
        network.links[0].leave_half_open(client.transport)
        await client.lost
        server.transport.write(b"anybody there?")
        await asyncio.sleep(3600)
        assert server.events == ["made"]

    run(main())


def test_an_exception_in_a_protocol_ends_its_connection_alone() -> None:
    class Broken(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            raise RuntimeError("broken")

    async def main() -> None:
        reported: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(repr(context["exception"])))
        client, _ = await pair(MemoryNetwork(3), Broken)
        client.transport.write(b"x")
        assert isinstance(await client.lost, ConnectionResetError)
        assert reported == ["RuntimeError('broken')"]

    run(main())


def test_addresses() -> None:
    async def main() -> None:
        client, server = await recorders(MemoryNetwork(3))
        assert client.transport.get_extra_info("peername") == ("10.0.0.1", 9092)
        assert client.transport.get_extra_info("sockname")[0] == "10.0.0.2"
        assert server.transport.get_extra_info("sockname") == ("10.0.0.1", 9092)
        assert server.transport.get_extra_info("peername") == client.transport.get_extra_info(
            "sockname"
        )

    run(main())


async def listen(network: Network, host: str, port: int) -> ServerHandle:
    return await network.listen(host, port, Recorder)


def test_listening() -> None:
    async def main() -> None:
        host = MemoryNetwork(3).host()
        free = (await listen(host, "localhost", 0)).addresses[0]
        assert free.host == "127.0.0.1"
        assert free.port != 0
        server = await listen(host, "127.0.0.1", 9092)
        with pytest.raises(OSError, match="in use"):
            await listen(host, "localhost", 9092)
        await host.connect("localhost", 9092, Recorder)
        server.close()
        server.close()
        with pytest.raises(ConnectionRefusedError):
            await host.connect("localhost", 9092, Recorder)
        await listen(host, "0.0.0.0", 9092)
        await host.connect("127.0.0.1", 9092, Recorder)

    run(main())


def test_the_same_seed_gives_the_same_trace_and_others_do_not() -> None:
    def trace(seed: int) -> list[str]:
        lines: list[str] = []

        async def main() -> None:
            network = MemoryNetwork(seed, trace=lines.append)
            client, _ = await pair(network, lambda: BufferedEcho(100))
            for number in range(10):
                client.transport.write(b"%d" % number * 100)
                await asyncio.sleep(0.001)
            client.transport.write_eof()
            await client.lost

        run(main())
        return lines

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)
    assert trace(1)[0] == f"{trace(1)[0].split()[0]} link 0 open 40001 9092"


def test_what_a_dead_host_had_sent_arrives_and_then_the_end() -> None:
    async def main() -> None:
        network = MemoryNetwork(1, max_delay_ms=50)
        client, server = await pair(network)
        assert isinstance(server, Recorder)
        server.transport.write(b"sent before")
        network.die("10.0.0.1", silently=False)
        server.transport.write(b"sent by the dead")
        assert await client.lost is None
        assert client.received == b"sent before"
        assert "lost" not in server.events

    run(main())


def test_a_host_whose_machine_died_says_nothing_until_it_boots() -> None:
    async def main() -> None:
        network = MemoryNetwork(1)
        client, _ = await pair(network)
        network.die("10.0.0.1", silently=True)
        client.transport.write(b"anybody there?")
        await asyncio.sleep(3_600)
        assert not client.lost.done()
        network.boot("10.0.0.1")
        client.transport.write(b"anybody there?")
        assert isinstance(await client.lost, ConnectionResetError)

    run(main())


def test_a_link_cut_one_way_carries_the_other_way() -> None:
    async def main() -> None:
        network = MemoryNetwork(1)
        client, server = await pair(network)
        assert isinstance(server, Recorder)
        network.cut_one_way("10.0.0.2", "10.0.0.1")
        client.transport.write(b"question")
        server.transport.write(b"news")
        await asyncio.sleep(10)
        assert (bytes(server.received), bytes(client.received)) == (b"", b"news")
        network.heal("10.0.0.2", "10.0.0.1")
        await asyncio.sleep(10)
        assert server.received == b"question"

    run(main())


def test_a_slow_link_takes_its_time_and_the_others_do_not() -> None:
    async def main() -> None:
        network = MemoryNetwork(1, max_delay_ms=1)
        loop = asyncio.get_running_loop()
        network.slow("10.0.0.2", "10.0.0.1", 10_000)
        client, server = await pair(network)
        network.slow("10.0.0.2", "10.0.0.1", None)
        assert loop.time() > 0.1
        began = loop.time()
        client.transport.write(b"x")
        await asyncio.sleep(0.01)
        assert isinstance(server, Recorder)
        assert server.received == b"x"
        assert loop.time() - began < 0.1

    run(main())


def test_pieces_that_have_arrived_are_read_together_if_asked_for() -> None:
    def reads(coalesce: float) -> int:
        async def main() -> int:
            network = MemoryNetwork(1, max_piece=10, coalesce=coalesce)
            client, server = await pair(network)
            assert isinstance(server, Recorder)
            count = 0
            real = server.data_received

            def data_received(data: bytes) -> None:
                nonlocal count
                count += 1
                real(data)

            server.data_received = data_received  # type: ignore[method-assign]
            server.transport.pause_reading()
            client.transport.write(bytes(range(200)))
            await asyncio.sleep(1)
            server.transport.resume_reading()
            await asyncio.sleep(1)
            assert server.received == bytes(range(200))
            return count

        return run(main())

    assert reads(0.0) >= 20
    assert reads(1.0) == 1
