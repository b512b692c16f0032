"""The asyncio shell of `net/connection.py`: it moves bytes and decides nothing.

Answers made in one turn leave in one send where they are small; large buffers
(records) are handed to the socket as they are.
"""

import asyncio
import contextlib
import logging
import socket
import sys
from collections import deque
from collections.abc import Callable
from typing import cast

from ottla.model.clock import Clock
from ottla.model.errors import ApiError, ProtocolError, StorageError
from ottla.model.parts import Buffer, Part, StoredPart
from ottla.model.workers import Workers
from ottla.net.connection import AnswerBudget, BufferBudget, Connection, Serve

JOIN_LIMIT = 64 * 1024
"""Parts below this are copied together; a larger one in memory gets a send of its own."""

CHUNK = 512 * 1024
"""At most so much is written at once: what the kernel refuses of it is copied, and held."""

FIRST_CHUNK = 64 * 1024
"""So much is written first, and after a refusal; then twice as much each time it is all taken."""

TURN_BYTES = 2 * 1024 * 1024
"""After so many, others have their turn: some 0.8 ms."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})

IN_MEMORY = frozenset({bytes, bytearray, memoryview})

HIGH_WATER = 1024 * 1024
"""Unsent bytes at which a connection stops being served until its peer has read some."""

log = logging.getLogger("ottla.net")


class Gathering:
    """The buffer in which what is sent at once is put together; one for a whole loop.

    Small enough to stay in the processor's cache: a stored part costs little more than its send.
    """

    __slots__ = ("view",)

    def __init__(self) -> None:
        self.view = memoryview(bytearray(CHUNK))

    def written(self, transport: asyncio.Transport) -> None:
        """From Python 3.12 on, asyncio keeps what the kernel did not take, uncopied."""
        if sys.version_info >= (3, 12) and transport.get_write_buffer_size():
            self.view = memoryview(bytearray(CHUNK))


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
        workers: Workers | None = None,
        gathering: "Gathering | None" = None,
        poison: bool = False,
    ) -> None:
        """`opened` may refuse the connection; `closed` is called once for every one it took.

        `workers` bring stored parts of answers into memory.
        """
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
        self._chunk = FIRST_CHUNK
        self._closing = False
        self._waiting = False  # for a turn to send on, or a worker
        self._workers = workers
        self._gathering = gathering or Gathering()
        self._unsent: deque[Part] = deque()
        self._unsent_bytes = 0
        self._held_bytes = 0  # of the unsent, those in memory
        self._sent = 0  # of the first of them
        self._answers = answers
        self._counted = 0  # of the held bytes, in the budget of all
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
        if self.peer[0] in LOOPBACK:
            _let_flow(transport.get_extra_info("socket"))
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
        self._send_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.close()
        self._unsent.clear()
        self._unsent_bytes = self._held_bytes = 0
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
        self._closing = True
        if self._transport is None:
            return
        if self._unsent:
            self._reading = False
            self._transport.pause_reading()
        else:
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
        if len(parts) == 1 and not self._unsent and not self._kernel_is_full:
            (part,) = parts
            if type(part) is bytearray and len(part) < JOIN_LIMIT:
                self._transport.write(part)
                return
        self._unsent.extend(parts)
        for part in parts:
            self._unsent_bytes += len(part)
            if type(part) in IN_MEMORY:
                self._held_bytes += len(part)
        self._send()

    def _send(self) -> None:
        """Write while the kernel takes it: small parts together, large ones uncopied, in chunks.

        Small parts and pieces of stored ones are gathered in a buffer that all connections share.
        """
        transport, unsent = self._transport, self._unsent
        if transport is None:
            return
        gathering = self._gathering
        until = self._unsent_bytes - TURN_BYTES
        while unsent and not self._kernel_is_full and not self._waiting:
            if self._unsent_bytes < until:
                self._waiting = True
                self._loop.call_soon(self._go_on)
                break
            part = unsent[0]
            if type(part) in IN_MEMORY and len(part) >= JOIN_LIMIT:
                whole = memoryview(cast(Buffer, part))
                chunk = whole[self._sent : self._sent + self._chunk]
                self._went(len(chunk), len(whole))
                self._write(transport, chunk)
                continue
            try:
                filled = self._gather(gathering.view[: self._chunk])
            except (ApiError, StorageError) as error:
                # The answer began to leave, or its size did: there is no way to say what happened.
                log.warning("closing connection from %s:%d: %s", *self.peer, error)
                self.abort()
                return
            if filled:
                self._write(transport, gathering.view[:filled])
                gathering.written(transport)
        self.connection.output_paused = self._unsent_bytes > HIGH_WATER
        self._count()
        if self._closing and not unsent and not self._kernel_is_full:
            transport.close()

    def _write(self, transport: asyncio.Transport, data: memoryview) -> None:
        """Write once, and learn from it how much may be written next."""
        transport.write(data)
        self._chunk = FIRST_CHUNK if self._kernel_is_full else min(2 * self._chunk, CHUNK)

    def _gather(self, buffer: memoryview) -> int:
        """Copy parts into `buffer` while they fit, and say how much that was.

        Nothing of a part in memory that is large enough to go alone.
        """
        unsent = self._unsent
        filled = 0
        while unsent and filled < len(buffer):
            part = unsent[0]
            size = len(part)
            if type(part) in IN_MEMORY:
                if size >= JOIN_LIMIT or filled + size > len(buffer):
                    break
                buffer[filled : filled + size] = cast(Buffer, part)
                count = size
            else:
                stored = cast(StoredPart, part)
                count = stored.read_into(buffer[filled:], self._sent)
                if count == 0:
                    self._warm(stored)
                    break
            filled += count
            self._went(count, size)
        return filled

    def _went(self, count: int, size: int) -> None:
        """`count` bytes more of the first unsent part, of `size`, are on their way."""
        self._unsent_bytes -= count
        self._sent += count
        if type(self._unsent[0]) in IN_MEMORY:
            self._held_bytes -= count
        if self._sent == size:
            self._unsent.popleft()
            self._sent = 0

    def _warm(self, part: StoredPart) -> None:
        """The next bytes are on the device: go on when a worker has read them."""
        assert self._workers is not None
        self._waiting = True
        part.warm(self._workers, self._sent, CHUNK, self._go_on)

    def _go_on(self) -> None:
        self._waiting = False
        if not self._kernel_is_full:
            self._send_on()

    def _send_on(self) -> None:
        was_paused = self.connection.output_paused
        self._send()
        if was_paused and not self.connection.output_paused:
            self._wake()

    def _count(self) -> None:
        """Tell the budget of all connections what this one holds in memory."""
        if self._answers is not None:
            self._answers.used += self._held_bytes - self._counted
            self._counted = self._held_bytes


def _refused(_: ClientTransport) -> bool:
    return False


def _let_flow(connection: socket.socket | None) -> None:
    """Have no congestion control pace what never leaves the machine.

    BBR does, where it is the system's default: it costs a third of what sending takes, and time.
    """
    if connection is not None and hasattr(socket, "TCP_CONGESTION"):
        with contextlib.suppress(OSError):  # it goes on as it is
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")


def _address(name: object) -> tuple[str, int]:
    """Host and port of a socket name, IPv4 or IPv6."""
    if isinstance(name, tuple) and len(name) >= 2:
        return str(name[0]), int(name[1])
    return "", 0
