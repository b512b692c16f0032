"""Processes on a real loop: what is dead does nothing more, and its peers see it."""

import asyncio
from collections.abc import Awaitable, Callable

from ottla.testing.mortal_loop import MortalLoop, MortalProcess


def on_loop(program: Callable[[MortalProcess], Awaitable[None]]) -> None:
    loop = MortalLoop()
    errors: list[object] = []
    loop.set_exception_handler(lambda loop, context: errors.append(context))

    async def main() -> None:
        await program(MortalProcess(loop))

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert not errors


def test_what_the_dead_waited_for_wakes_nobody() -> None:
    async def program(process: MortalProcess) -> None:
        loop = asyncio.get_running_loop()
        given: asyncio.Future[str] = loop.create_future()
        done: list[str] = []

        async def live() -> None:
            loop.call_later(0, done.append, "a timer")
            loop.call_soon(done.append, "a callback")
            done.append(await given)

        process.begin(live())
        await asyncio.sleep(0)
        process.kill()
        given.set_result("what was waited for")
        await asyncio.sleep(0.001)
        assert done == []

    on_loop(program)


def test_whoever_was_connected_loses_the_connection() -> None:
    async def program(process: MortalProcess) -> None:
        loop = asyncio.get_running_loop()
        heard: list[str] = []

        class Peer(asyncio.Protocol):
            def connection_lost(self, error: Exception | None) -> None:
                heard.append("closed")
                closed.set()

        class Server(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                accepted.set()

            def connection_lost(self, error: Exception | None) -> None:
                heard.append("the dead heard it")

        closed, accepted = asyncio.Event(), asyncio.Event()
        server = await process.begin(loop.create_server(Server, "127.0.0.1", 0))
        address = server.sockets[0].getsockname()
        await loop.create_connection(Peer, *address)
        await accepted.wait()
        process.kill()
        await closed.wait()
        try:
            await loop.create_connection(Peer, *address)
        except ConnectionRefusedError:
            heard.append("refused")
        assert heard == ["closed", "refused"]

    on_loop(program)


def test_a_connection_that_was_being_closed_is_closed() -> None:
    async def program(process: MortalProcess) -> None:
        loop = asyncio.get_running_loop()

        class Peer(asyncio.Protocol):
            def connection_lost(self, error: Exception | None) -> None:
                closed.set()

        class Server(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                accepted.set_result(transport)

        closed = asyncio.Event()
        accepted: asyncio.Future[asyncio.BaseTransport] = loop.create_future()
        server = await process.begin(loop.create_server(Server, "127.0.0.1", 0))
        await loop.create_connection(Peer, *server.sockets[0].getsockname())
        transport = await accepted
        process.call(transport.close)
        process.kill()
        async with asyncio.timeout(20):
            await closed.wait()

    on_loop(program)
