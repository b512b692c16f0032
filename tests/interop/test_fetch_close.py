"""A Java consumer that closes sends its last fetch behind the one that still waits for news."""

import socket
import struct

from tools.subject import Subject

from ottla.wire.codec import decode, encode
from ottla.wire.generated.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic

FETCH = 1
VERSION = 11
FINAL_EPOCH = -1


def ask(connection: socket.socket, correlation: int, request: FetchRequest) -> None:
    """Send one fetch."""
    body = struct.pack(">hhih", FETCH, VERSION, correlation, -1) + encode(request, VERSION)
    connection.sendall(struct.pack(">i", len(body)) + body)


def answer(connection: socket.socket) -> tuple[int, FetchResponse]:
    """The next answer, with its correlation id."""
    (size,) = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
    frame = connection.recv(size, socket.MSG_WAITALL)
    response, _ = decode(FetchResponse, VERSION, frame, 4)
    return struct.unpack_from(">i", frame)[0], response


def test_the_fetch_that_ends_a_session_is_answered_behind_one_that_waits(
    broker: Subject, topic: str
) -> None:
    wanted = FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1000)
    with socket.create_connection(("127.0.0.1", broker.port), timeout=20) as connection:
        opening = FetchRequest(
            max_wait_ms=0,
            min_bytes=1,
            session_epoch=0,
            topics=[FetchTopic(topic=topic, partitions=[wanted])],
        )
        ask(connection, 1, opening)
        _, opened = answer(connection)
        session = opened.session_id
        waiting = FetchRequest(max_wait_ms=300, min_bytes=1, session_id=session, session_epoch=1)
        last = FetchRequest(
            max_wait_ms=300, min_bytes=1, session_id=session, session_epoch=FINAL_EPOCH
        )
        ask(connection, 2, waiting)
        ask(connection, 3, last)
        assert [answer(connection)[0] for _ in range(2)] == [2, 3]
