"""Connecting over real sockets."""

import asyncio
import socket

import pytest

from ottla.client.sockets import Sockets


def test_the_first_address_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            loop = asyncio.get_running_loop()
            server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]

            async def two_addresses(host: str, port: int, **how: object) -> list[object]:
                return [
                    (socket.AF_INET, 0, 0, "", (address, port))
                    for address in ("127.0.0.2", "127.0.0.1")
                ]

            monkeypatch.setattr(loop, "getaddrinfo", two_addresses)
            transport, _ = await Sockets().connect("both", port, asyncio.Protocol)
            assert transport.get_extra_info("peername")[:2] == ("127.0.0.1", port)
            transport.abort()
            server.close()
            await server.wait_closed()

    asyncio.run(main())


def test_the_last_addresss_error_is_told() -> None:
    async def main() -> None:
        with socket.socket() as taken:  # bound, and nobody listens
            taken.bind(("127.0.0.1", 0))
            with pytest.raises(ConnectionRefusedError):
                await Sockets().connect("127.0.0.1", taken.getsockname()[1], asyncio.Protocol)

    asyncio.run(main())


def test_a_host_without_addresses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async def nothing(host: str, port: int, **how: object) -> list[object]:
            return []

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nothing)
        with pytest.raises(OSError, match="nowhere has no address"):
            await Sockets().connect("nowhere", 1, asyncio.Protocol)

    asyncio.run(main())
