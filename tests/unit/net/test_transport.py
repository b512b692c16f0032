"""The shell of a connection over a transport that takes as much as it likes."""

import asyncio
import random
import socket
import struct
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from ottla.model.errors import StorageError
from ottla.model.parts import Part
from ottla.model.workers import Workers
from ottla.net.connection import AnswerBudget, Connection, Outcome
from ottla.net.transport import (
    CHUNK,
    FIRST_CHUNK,
    HIGH_WATER,
    JOIN_LIMIT,
    TURN_BYTES,
    ClientTransport,
)


class StillClock:
    def now_ms(self) -> int:
        return 0


class SlowTransport(asyncio.Transport):
    """Takes `room` bytes; more of a write is kept, and the protocol told, as asyncio does."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: ClientTransport
        self.room = 0
        self.kept = b""
        self.taken = bytearray()
        self.largest_copy = 0
        self.is_reading_ = True
        self.closed = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.kept, "written to while the kernel is full"
        now = bytes(data[: self.room])
        self.taken += now
        self.room -= len(now)
        self.kept = bytes(data[len(now) :])
        self.largest_copy = max(self.largest_copy, len(self.kept))
        if self.kept:
            self.protocol.pause_writing()

    def drain(self, count: int) -> None:
        """The peer reads `count` bytes."""
        self.room += count
        if self.kept:
            now, self.kept = self.kept[: self.room], self.kept[self.room :]
            self.taken += now
            self.room -= len(now)
            if not self.kept:
                self.protocol.resume_writing()

    def pause_reading(self) -> None:
        self.is_reading_ = False

    def resume_reading(self) -> None:
        self.is_reading_ = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class Stored:
    """A part that stays elsewhere; every `cold_every`-th read finds nothing in memory."""

    def __init__(self, data: bytes, most: int, cold_every: int = 0, fails_at: int = -1) -> None:
        self._data = data
        self._most = most
        self._cold_every = cold_every
        self._fails_at = fails_at
        self._reads = 0

    def __len__(self) -> int:
        return len(self._data)

    def read_into(self, target: memoryview, at: int, /) -> int:
        self._reads += 1
        if 0 <= self._fails_at <= at:
            raise StorageError("the disk failed")
        if self._cold_every and self._reads % self._cold_every == 0:
            return 0
        piece = self._data[at : at + min(self._most, len(target))]
        target[: len(piece)] = piece
        return len(piece)

    def warm(self, workers: Workers, at: int, size: int, done: Callable[[], None], /) -> None:
        asyncio.get_running_loop().call_soon(done)


def connected_to(parts: list[Part]) -> tuple[ClientTransport, SlowTransport]:
    """A connection whose one request is answered with `parts`."""

    def serve(connection: Connection, request: memoryview) -> Outcome:
        return list(parts)

    transport = SlowTransport()
    protocol = ClientTransport(
        serve,
        StillClock(),  # type: ignore[arg-type]
        listener="PLAINTEXT",
        max_request_size=100,
        opened=lambda it: True,
        closed=lambda it: None,
        workers=object(),  # type: ignore[arg-type]
    )
    transport.protocol = protocol
    protocol.connection_made(transport)
    return protocol, transport


def connected(sizes: list[int]) -> tuple[ClientTransport, SlowTransport, bytes]:
    """A connection that answers request n with `sizes[n]` bytes of its own; and all answers."""
    source = random.Random(1)
    answers = [source.randbytes(size) for size in sizes]
    left = iter(answers)

    def serve(connection: Connection, request: memoryview) -> Outcome:
        return [next(left)]

    transport = SlowTransport()
    protocol = ClientTransport(
        serve,
        StillClock(),  # type: ignore[arg-type]
        listener="PLAINTEXT",
        max_request_size=100,
        opened=lambda it: True,
        closed=lambda it: None,
    )
    transport.protocol = protocol
    protocol.connection_made(transport)
    return protocol, transport, b"".join(answers)


def ask(protocol: ClientTransport, requests: int) -> None:
    data = struct.pack(">i", 0) * requests
    buffer = protocol.get_buffer(-1)
    buffer[: len(data)] = data
    protocol.buffer_updated(len(data))


sizes = st.lists(
    st.one_of(
        st.integers(1, 100),
        st.integers(JOIN_LIMIT - 2, JOIN_LIMIT + 2),
        st.integers(CHUNK - 2, 3 * CHUNK),
    ),
    min_size=1,
    max_size=8,
)


@given(sizes, st.lists(st.integers(1000, CHUNK), min_size=1, max_size=4))
def test_answers_leave_in_order_however_the_kernel_takes_them(
    sizes: list[int], reads: list[int]
) -> None:
    async def run() -> None:
        protocol, transport, expected = connected(sizes)
        ask(protocol, len(sizes))
        turn = 0
        while len(transport.taken) < len(expected):
            transport.drain(reads[turn % len(reads)])
            turn += 1
            await asyncio.sleep(0)
        assert transport.taken == expected
        assert transport.largest_copy <= CHUNK

    asyncio.run(run())


def test_who_does_not_read_is_not_served_further() -> None:
    async def run() -> None:
        protocol, transport, _ = connected([HIGH_WATER + 2 * CHUNK, 10, 10])
        ask(protocol, 1)
        assert protocol.connection.output_paused
        assert not transport.is_reading_
        ask(protocol, 1)
        await asyncio.sleep(0)
        assert protocol.connection.requests_served == 1
        transport.drain(HIGH_WATER + 3 * CHUNK)
        await asyncio.sleep(0)
        assert protocol.connection.requests_served == 2
        assert transport.is_reading_

    asyncio.run(run())


some_parts = st.lists(
    st.tuples(
        st.booleans(), st.one_of(st.integers(1, 100), st.integers(JOIN_LIMIT - 2, 3 * CHUNK))
    ),
    min_size=1,
    max_size=6,
)


@given(some_parts, st.integers(1000, CHUNK), st.integers(1000, CHUNK), st.sampled_from([0, 2, 3]))
def test_stored_parts_leave_in_their_place_however_they_are_read(
    some: list[tuple[bool, int]], room: int, most: int, cold_every: int
) -> None:
    async def run() -> None:
        source = random.Random(2)
        pieces = [source.randbytes(size) for _, size in some]
        parts = [
            Stored(piece, most, cold_every) if stored else piece
            for (stored, _), piece in zip(some, pieces, strict=True)
        ]
        protocol, transport = connected_to(parts)
        ask(protocol, 1)
        expected = b"".join(pieces)
        while len(transport.taken) < len(expected):
            transport.drain(room)
            await asyncio.sleep(0)
        assert transport.taken == expected
        assert transport.largest_copy <= CHUNK
        assert not protocol.connection.output_paused

    asyncio.run(run())


def test_stored_parts_are_no_memory_that_is_held() -> None:
    async def run() -> None:
        protocol, transport = connected_to([b"head", Stored(bytes(8 * CHUNK), CHUNK), b"x" * 10])
        answers = AnswerBudget(1)
        protocol._answers = answers
        ask(protocol, 1)
        assert answers.used == 10
        assert protocol.connection.output_paused
        while len(transport.taken) < 8 * CHUNK + 14:
            transport.drain(CHUNK)
        assert answers.used == 0

    asyncio.run(run())


def test_a_stored_part_that_cannot_be_read_ends_the_connection() -> None:
    async def run() -> None:
        protocol, transport = connected_to(
            [b"head", Stored(bytes(4 * CHUNK), CHUNK, fails_at=CHUNK)]
        )
        transport.room = 5 * CHUNK
        ask(protocol, 1)
        assert transport.closed
        assert len(transport.taken) < 4 * CHUNK

    asyncio.run(run())


def test_what_was_answered_leaves_before_the_connection_is_closed() -> None:
    async def run() -> None:
        stored = Stored(bytes(4 * CHUNK), CHUNK, cold_every=2)
        protocol, transport = connected_to([stored])
        ask(protocol, 1)
        protocol.close()
        assert not transport.is_reading_
        while len(transport.taken) < 4 * CHUNK:
            assert not transport.closed
            transport.drain(CHUNK)
            await asyncio.sleep(0)
        assert transport.closed

    asyncio.run(run())


def test_a_large_answer_leaves_in_turns_with_others() -> None:
    async def run() -> None:
        stored = Stored(bytes(5 * TURN_BYTES), CHUNK)
        protocol, transport = connected_to([stored])
        transport.room = 10 * TURN_BYTES
        ask(protocol, 1)
        turns = 0
        while len(transport.taken) < 5 * TURN_BYTES:
            assert len(transport.taken) <= (turns + 1) * (TURN_BYTES + CHUNK)
            await asyncio.sleep(0)
            turns += 1
        assert turns >= 3
        assert not protocol.connection.output_paused

    asyncio.run(run())


def test_who_takes_little_is_offered_little() -> None:
    async def run() -> None:
        protocol, transport = connected_to([Stored(bytes(20 * CHUNK), CHUNK)])
        transport.room = 4 * CHUNK
        ask(protocol, 1)
        while not transport.kept:
            await asyncio.sleep(0)
        for _ in range(10):
            transport.drain(FIRST_CHUNK)
            await asyncio.sleep(0)
        assert len(transport.kept) <= FIRST_CHUNK
        transport.drain(20 * CHUNK)
        while len(transport.taken) < 20 * CHUNK:
            await asyncio.sleep(0)
        assert protocol._chunk == CHUNK

    asyncio.run(run())


def test_nothing_paces_what_stays_on_the_machine() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        accepted: asyncio.Future[ClientTransport] = loop.create_future()

        def protocol() -> ClientTransport:
            return ClientTransport(
                lambda connection, request: None,
                StillClock(),  # type: ignore[arg-type]
                listener="PLAINTEXT",
                max_request_size=100,
                opened=lambda it: accepted.set_result(it) or True,  # type: ignore[func-returns-value]
                closed=lambda it: None,
            )

        server = await loop.create_server(protocol, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        transport = (await accepted)._transport
        assert transport is not None
        connection = transport.get_extra_info("socket")
        name = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        assert name.rstrip(b"\0") == b"reno"
        client.close()
        server.close()
        await server.wait_closed()

    asyncio.run(run())
