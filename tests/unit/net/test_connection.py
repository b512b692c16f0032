"""The core of a connection, without a socket."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.model.errors import ProtocolError
from ottla.net.connection import (
    COMFORTABLE_BUFFER_SIZE,
    FIRST_BUFFER_SIZE,
    MAX_REQUESTS_PER_TURN,
    MAX_UNANSWERED,
    POISON,
    BufferBudget,
    Connection,
    Outcome,
    Pending,
)

MAX_SIZE = 1024 * 1024


class Peer:
    """Feeds a connection and collects what leaves."""

    def __init__(self, serve: Callable[[Connection, memoryview], Outcome], **options: object):
        self.woken = 0
        self.connection = Connection(
            serve, now_ms=lambda: 0, wake=self._wake, max_request_size=MAX_SIZE, **options
        )

    def _wake(self) -> None:
        self.woken += 1

    def send(self, data: bytes) -> bool:
        """Deliver `data` as the transport would; return whether another turn is due."""
        again = False
        while data:
            buffer = self.connection.get_buffer()
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            again = self.connection.received(count)
            data = data[count:]
        return again

    def taken(self) -> bytes:
        output, self.connection.output = self.connection.output, []
        return b"".join(output)


def frame(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def echo(connection: Connection, request: memoryview) -> Outcome:
    return [bytes(request)]


def test_requests_are_answered_in_order() -> None:
    peer = Peer(echo)
    peer.send(frame(b"one") + frame(b"two"))
    assert peer.taken() == b"onetwo"


@given(st.lists(st.binary(max_size=20000), max_size=8), st.data())
def test_any_cutting_of_the_stream_gives_the_same_requests(
    bodies: list[bytes], data: st.DataObject
) -> None:
    seen: list[bytes] = []

    def serve(connection: Connection, request: memoryview) -> Outcome:
        seen.append(bytes(request))
        return None

    peer = Peer(serve, poison=True)
    stream = b"".join(frame(body) for body in bodies)
    while stream:
        count = data.draw(st.integers(1, len(stream)))
        if peer.send(stream[:count]):
            while peer.connection.turn():
                pass
        stream = stream[count:]
    assert seen == bodies


def test_a_frame_of_exactly_the_largest_size_is_served_and_one_more_byte_is_not() -> None:
    peer = Peer(lambda connection, request: [str(len(request)).encode()])
    peer.send(frame(bytes(MAX_SIZE)))
    assert peer.taken() == str(MAX_SIZE).encode()
    with pytest.raises(ProtocolError):
        peer.send(struct.pack(">i", MAX_SIZE + 1))


@pytest.mark.parametrize("size", [-1, -(2**31), 2**31 - 1])
def test_an_impossible_size_ends_the_connection(size: int) -> None:
    with pytest.raises(ProtocolError):
        Peer(echo).send(struct.pack(">i", size))


def test_a_promised_size_takes_no_memory() -> None:
    peer = Peer(echo)
    peer.send(struct.pack(">i", MAX_SIZE) + b"x")
    assert len(peer.connection.get_buffer()) <= FIRST_BUFFER_SIZE
    peer.send(bytes(FIRST_BUFFER_SIZE))
    assert len(peer.connection._buffer) <= COMFORTABLE_BUFFER_SIZE


def test_an_effective_answer_lets_the_next_request_start_but_not_leave() -> None:
    pending: list[Pending] = []

    def serve(connection: Connection, request: memoryview) -> Outcome:
        if request == b"wait":
            pending.append(Pending(connection, blocking=False))
            return pending[-1]
        return [bytes(request)]

    peer = Peer(serve)
    peer.send(frame(b"wait") + frame(b"next"))
    assert peer.taken() == b""
    pending[0].answer([b"waited"])
    assert peer.woken == 1
    assert peer.taken() == b"waitednext"


def test_nothing_starts_behind_a_blocking_answer() -> None:
    started: list[bytes] = []
    pending: list[Pending] = []

    def serve(connection: Connection, request: memoryview) -> Outcome:
        started.append(bytes(request))
        pending.append(Pending(connection, blocking=True))
        return pending[-1]

    peer = Peer(serve)
    peer.send(frame(b"one") + frame(b"two"))
    assert started == [b"one"]
    pending[0].answer([b"1"])
    peer.connection.turn()
    assert started == [b"one", b"two"]


def test_bytes_are_taken_when_the_answer_may_leave() -> None:
    order: list[str] = []
    first: list[Pending] = []

    def serve(connection: Connection, request: memoryview) -> Outcome:
        pending = Pending(connection, blocking=False)
        if request == b"slow":
            first.append(pending)
        else:

            def begin() -> None:
                order.append("read")
                pending.answer([b"fast"])

            pending.begin_at_head(begin)
        return pending

    peer = Peer(serve)
    peer.send(frame(b"slow") + frame(b"fast"))
    assert order == []
    first[0].answer([b"slow"])
    assert order == ["read"]
    assert peer.taken() == b"slowfast"


def test_a_detached_request_keeps_its_bytes() -> None:
    kept: list[memoryview] = []

    def serve(connection: Connection, request: memoryview) -> Outcome:
        if request[:4] == b"keep":
            connection.detach()
            kept.append(request)
        return [bytes(request[:4])]

    peer = Peer(serve, poison=True)
    peer.send(frame(b"keep-1") + frame(b"drop") + frame(b"keep-2"))
    peer.send(frame(b"more") * 1000)
    while peer.connection.turn():
        pass
    assert [bytes(view) for view in kept] == [b"keep-1", b"keep-2"]


def test_a_request_that_was_not_detached_is_overwritten_under_test() -> None:
    kept: list[memoryview] = []

    def serve(connection: Connection, request: memoryview) -> Outcome:
        kept.append(request)
        return None

    Peer(serve, poison=True).send(frame(b"gone"))
    assert bytes(kept[0]) == bytes([POISON]) * 4


def test_reading_stops_at_the_bound_of_unanswered_requests() -> None:
    pending: list[Pending] = []

    def serve(connection: Connection, request: memoryview) -> Outcome:
        pending.append(Pending(connection, blocking=False))
        return pending[-1]

    peer = Peer(serve)
    again = peer.send(frame(b"") * (MAX_UNANSWERED + 10))
    while again:
        again = peer.connection.turn()
    assert len(pending) == MAX_UNANSWERED
    assert not peer.connection.wants_read
    pending[0].answer([])
    peer.connection.turn()
    assert len(pending) == MAX_UNANSWERED + 1


def test_nothing_is_served_while_the_peer_takes_no_answers() -> None:
    peer = Peer(echo)
    peer.connection.output_paused = True
    peer.send(frame(b"one"))
    assert peer.taken() == b""
    assert not peer.connection.wants_read
    peer.connection.output_paused = False
    peer.connection.turn()
    assert peer.taken() == b"one"


def test_one_connection_gets_its_share_of_a_turn() -> None:
    served: list[int] = []

    def serve(connection: Connection, request: memoryview) -> Outcome:
        served.append(1)
        return None

    peer = Peer(serve)
    assert peer.send(frame(b"x") * (MAX_REQUESTS_PER_TURN + 1))
    assert len(served) == MAX_REQUESTS_PER_TURN
    assert not peer.connection.turn()
    assert len(served) == MAX_REQUESTS_PER_TURN + 1


def test_answers_after_a_close_are_dropped() -> None:
    pending: list[Pending] = []

    def serve(connection: Connection, request: memoryview) -> Outcome:
        pending.append(Pending(connection, blocking=False))
        return pending[-1]

    peer = Peer(serve)
    peer.send(frame(b"one"))
    peer.connection.close()
    assert pending[0].abandoned
    pending[0].answer([b"late"])
    assert peer.taken() == b""


def test_an_idle_connection_gives_its_buffer_back() -> None:
    peer = Peer(echo)
    peer.send(frame(bytes(MAX_SIZE)))
    assert len(peer.connection._buffer) > COMFORTABLE_BUFFER_SIZE
    peer.connection.shrink()
    assert len(peer.connection._buffer) == FIRST_BUFFER_SIZE
    peer.taken()
    peer.send(frame(b"again"))
    assert peer.taken() == b"again"


def test_when_buffers_are_used_up_the_largest_holder_goes() -> None:
    evicted: list[Connection] = []

    def evict(connection: Connection) -> None:
        evicted.append(connection)
        connection.close()

    budget = BufferBudget(MAX_SIZE, evict)
    greedy = Peer(echo, budget=budget)
    greedy.send(struct.pack(">i", MAX_SIZE) + bytes(MAX_SIZE - 1))
    assert evicted == []
    modest = Peer(echo, budget=budget)
    modest.send(frame(bytes(MAX_SIZE // 2)))
    assert evicted == [greedy.connection]
    assert modest.taken() == bytes(MAX_SIZE // 2)
    modest.connection.shrink()
    assert budget.used == 0


def test_a_dribble_of_bytes_is_no_progress_and_a_request_is() -> None:
    peer = Peer(echo)
    peer.send(struct.pack(">i", 1000) + bytes(999))
    assert peer.connection.progress == 0
    peer.send(b"x")
    assert peer.connection.progress == 1


def test_a_stopped_connection_answers_what_it_took_and_serves_no_more() -> None:
    taken: list[Pending] = []

    def serve(connection: Connection, request: memoryview) -> Outcome:
        taken.append(Pending(connection, blocking=True))
        return taken[-1]

    peer = Peer(serve)
    peer.send(frame(b"taken") + frame(b"too late"))
    peer.connection.stop_serving()
    taken[0].answer([b"answer"])
    peer.send(frame(b"later still"))
    assert peer.taken() == b"answer"
    assert len(taken) == 1


def test_an_impossible_size_behind_a_blocking_request_is_not_read_on() -> None:
    """It is refused when its turn comes; until then it may not fill memory."""
    pendings: list[Pending] = []

    def serve(connection: Connection, request: memoryview) -> Outcome:
        pendings.append(Pending(connection, blocking=True))
        return pendings[-1]

    peer = Peer(serve)
    connection = peer.connection
    peer.send(frame(b"waits") + struct.pack(">i", 2**31 - 1))
    for _ in range(100):
        if not connection.wants_read:
            break
        connection.received(len(connection.get_buffer()))
    assert not connection.wants_read
    assert connection.buffer_size == FIRST_BUFFER_SIZE
    pendings[0].answer([b""])
    with pytest.raises(ProtocolError):
        connection.turn()
