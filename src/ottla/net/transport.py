"""The asyncio shell of `net/connection.py`: it moves bytes and decides nothing.

Answers made in one turn leave in one send where they are small; large buffers
(records) are handed to the socket as they are.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import cast

from ottla.model.clock import Clock
from ottla.model.errors import ProtocolError
from ottla.net.connection import AnswerBudget, Buffer, BufferBudget, Connection, Serve

JOIN_LIMIT = 64 * 1024
"""Parts below this are copied together; a larger one gets a send of its own."""

CHUNK = 256 * 1024
"""At most so much of a large part is written at once: what the kernel refuses of it is copied."""

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
        answers: AnswerBudget | None = None,
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
        self._kernel_is_full = False
        self._unsent: deque[Buffer] = deque()
        self._unsent_bytes = 0
        self._answers = answers
        self._counted = 0  # of the unsent bytes, in the budget of all
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
        # What the kernel does not take at once stays here, as it is, and not copied in asyncio.
        self._transport.set_write_buffer_limits(high=0)
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
        self._kernel_is_full = True

    def resume_writing(self) -> None:
        self._kernel_is_full = False
        self._send()
        if not self.connection.output_paused:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.close()
        self._unsent.clear()
        self._unsent_bytes = 0
        self._count()
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
            for part in self._unsent:
                self._transport.write(part)
            self._unsent.clear()
            self._transport.close()

    def _wake(self) -> None:
        """Answers or requests are due.

        The last answer that was waited for leaves at once, a fetch's mostly; where more are
        coming, a turn is taken soon, so that several join in one send.
        """
        connection = self.connection
        if connection.output and connection.unanswered == 0:
            self._flush()
            if self._reading and not connection.needs_turn:
                return
        if not self._turn_scheduled and not connection.closed:
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
        """Hand over the answers that may leave."""
        parts = self.connection.output
        if self._transport is None:
            return
        self.connection.output = []
        if len(parts) == 1 and not self._kernel_is_full and len(parts[0]) < JOIN_LIMIT:
            self._transport.write(parts[0])
            return
        self._unsent.extend(parts)
        self._unsent_bytes += sum(map(len, parts))
        self._send()

    def _send(self) -> None:
        """Write while the kernel takes it: small parts together, large ones uncopied, in chunks."""
        transport, unsent = self._transport, self._unsent
        if transport is None:
            return
        while unsent and not self._kernel_is_full:
            part = unsent.popleft()
            if len(part) >= JOIN_LIMIT:
                if len(part) > CHUNK:
                    view = memoryview(part)
                    part = view[:CHUNK]
                    unsent.appendleft(view[CHUNK:])
            elif unsent:
                run = [part]
                size = len(part)
                while unsent and size + len(unsent[0]) < JOIN_LIMIT:
                    run.append(unsent.popleft())
                    size += len(run[-1])
                part = b"".join(run)
            self._unsent_bytes -= len(part)
            transport.write(part)
        self.connection.output_paused = self._unsent_bytes > HIGH_WATER
        self._count()

    def _count(self) -> None:
        """Tell the budget of all connections what this one holds."""
        if self._answers is not None:
            self._answers.used += self._unsent_bytes - self._counted
            self._counted = self._unsent_bytes


def _refused(_: ClientTransport) -> bool:
    return False


def _address(name: object) -> tuple[str, int]:
    """Host and port of a socket name, IPv4 or IPv6."""
    if isinstance(name, tuple) and len(name) >= 2:
        return str(name[0]), int(name[1])
    return "", 0
