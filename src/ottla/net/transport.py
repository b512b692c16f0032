"""The asyncio shell of `net/connection.py`: it moves bytes and decides nothing.

Answers made in one turn leave in one send where they are small; large buffers
(records) are handed to the socket as they are.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from ottla.model.clock import Clock
from ottla.model.errors import ProtocolError
from ottla.net.connection import BufferBudget, Connection, Parts, Serve

JOIN_LIMIT = 64 * 1024
"""Parts below this are copied together; a larger one gets a send of its own."""

HIGH_WATER = 1024 * 1024
"""Unsent bytes at which a connection stops being served until its peer has read some."""

log = logging.getLogger("ottla.net")


class ClientTransport(asyncio.BufferedProtocol):
    """One accepted connection."""

    def __init__(
        self,
        serve: Serve,
        clock: Clock,
        *,
        listener: str,
        max_request_size: int,
        opened: Callable[["ClientTransport"], bool],
        closed: Callable[["ClientTransport"], None],
        budget: BufferBudget | None = None,
        poison: bool = False,
    ) -> None:
        """`opened` may refuse the connection; `closed` is called once for every one it took."""
        self.listener = listener
        self.peer = ("", 0)
        self.local = ("", 0)
        self._opened = opened
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._turn_scheduled = False
        self._reading = True
        self.connection = Connection(
            serve,
            now_ms=clock.now_ms,
            wake=self._wake,
            max_request_size=max_request_size,
            budget=budget,
            poison=poison,
        )

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self.peer = _address(transport.get_extra_info("peername"))
        self.local = _address(transport.get_extra_info("sockname"))
        if not self._opened(self):
            self._opened = _refused
            self.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.connection.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self._turn(nbytes)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self.connection.output_paused = True

    def resume_writing(self) -> None:
        self.connection.output_paused = False
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.close()
        self._transport = None
        if self._opened is not _refused:
            self._closed(self)

    # Ours

    def abort(self) -> None:
        """Close at once; unsent answers are dropped."""
        self.connection.close()
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close when what was answered has been sent."""
        self.connection.close()
        if self._transport is not None:
            self._transport.close()

    def _wake(self) -> None:
        """Answers or requests are due: take a turn soon, so that several join in one send."""
        if not self._turn_scheduled and not self.connection.closed:
            self._turn_scheduled = True
            self._loop.call_soon(self._scheduled_turn)

    def _scheduled_turn(self) -> None:
        self._turn_scheduled = False
        if not self.connection.closed:
            self._turn(0)

    def _turn(self, count: int) -> None:
        """Take note of `count` received bytes, serve, send; then read on, or not."""
        connection = self.connection
        try:
            again = connection.received(count)
        except ProtocolError as error:
            log.info("closing connection from %s:%d: %s", *self.peer, error)
            self._flush()
            self.close()
            return
        if connection.output:
            self._flush()
        if again:
            self._wake()
        reading = not again and connection.wants_read
        if reading is not self._reading and self._transport is not None:
            self._reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _flush(self) -> None:
        parts = self.connection.output
        if not parts or self._transport is None:
            return
        self.connection.output = []
        if len(parts) == 1:
            self._transport.write(parts[0])
            return
        write_joined(self._transport, parts)


def write_joined(transport: asyncio.WriteTransport, parts: Parts) -> None:
    """Write all parts: small ones together, large ones uncopied."""
    run: Parts = []
    for part in parts:
        if len(part) < JOIN_LIMIT:
            run.append(part)
            continue
        if run:
            transport.write(b"".join(run))
            run = []
        transport.write(part)
    if run:
        transport.write(b"".join(run))


def _refused(_: ClientTransport) -> bool:
    return False


def _address(name: object) -> tuple[str, int]:
    """Host and port of a socket name, IPv4 or IPv6."""
    if isinstance(name, tuple) and len(name) >= 2:
        return str(name[0]), int(name[1])
    return "", 0
