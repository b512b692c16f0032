"""The network, as an argument.

The broker listens and connects through this and nothing else, so a simulated
network can take its place. What travels is asyncio's own: a protocol factory
comes in, an `asyncio.Transport` is handed to its protocols.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Address(NamedTuple):
    """A numeric host ("127.0.0.1", "::1") and a port."""

    host: str
    port: int


class ServerHandle(Protocol):
    """A listening port."""

    @property
    def addresses(self) -> Sequence[Address]:
        """Where it really listens, with the real port when 0 was asked for."""

    def close(self) -> None:
        """Stop accepting; connections already accepted live on. Harmless twice."""


class Network(Protocol):
    async def listen(
        self, host: str, port: int, protocol_factory: Callable[[], asyncio.BaseProtocol], /
    ) -> ServerHandle:
        """Accept connections on `host`, each with a protocol of its own.

        Port 0 asks for a free one; "localhost" listens on 127.0.0.1 and, where
        it exists, on ::1, with one port for both.

        Raises:
            OSError: the address cannot be bound.
        """

    async def connect(
        self, host: str, port: int, protocol_factory: Callable[[], P], /
    ) -> tuple[asyncio.Transport, P]:
        """Connect to `host`, a name or an address.

        Raises:
            OSError: nobody listens there, or the name is unknown.
        """
