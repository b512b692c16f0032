"""The shell of a connection over a transport that takes as much as it likes."""

import asyncio
import random
import struct

from hypothesis import given
from hypothesis import strategies as st

from ottla.net.connection import Connection, Outcome
from ottla.net.transport import CHUNK, HIGH_WATER, JOIN_LIMIT, ClientTransport


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

    def close(self) -> None: ...


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
