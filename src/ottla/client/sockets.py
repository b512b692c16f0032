"""The real network, as far as a client needs it."""

import asyncio
import socket
from collections.abc import Callable
from typing import TypeVar

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Sockets:
    """A `peer.Connector` over TCP."""

    async def connect(
        self, host: str, port: int, protocol_factory: Callable[[], P], /
    ) -> tuple[asyncio.Transport, P]:
        """Connect to the first address of `host` that answers.

        Raises:
            OSError: none does; it is the last address's error.
        """
        loop = asyncio.get_running_loop()
        failure: OSError | None = None
        for found in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            address = found[4]
            try:
                return await loop.create_connection(
                    protocol_factory, str(address[0]), int(address[1]), family=found[0]
                )
            except OSError as error:
                failure = error
        raise failure or OSError(f"{host} has no address")
