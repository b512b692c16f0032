"""(n): what a fetch of one busy partition costs in a session of one, and of three thousand.

Records of one partition are fetched one at a time (`partition_max_bytes` of 1), so that a fetch
does the same work in both but for what the session's size adds.
"""

import socket
from struct import Struct
from typing import Any

from confluent_kafka import Producer

from benchmarks.measure import CREATE_S, Contestant, Figures, a_topic, broker_cpu, without
from ottla.wire.codec import decode, encode
from ottla.wire.generated.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from ottla.wire.headers import RequestHeader, read_response_header, request_header

VERSION = 12
MANY = 3_000
FETCHES = 20_000
MICRO = 1e6
_INT32 = Struct(">i")


def busy_among_many(subject: Contestant, number: int) -> Figures:
    """(n) CPU per fetch in both sessions, and their ratio."""
    topic = a_topic(subject, f"n-{number}", MANY)
    _fill(subject, topic)
    one = _per_fetch(subject, topic, 1)
    many = _per_fetch(subject, topic, MANY)
    without(subject, topic)
    return {"one_us": one, "many_us": many, "times": many / one}


def _fill(subject: Contestant, topic: str) -> None:
    """One record in each batch of the busy partition, which is 0."""
    producer = Producer(
        {
            "bootstrap.servers": subject.bootstrap,
            "batch.num.messages": 1,
            "linger.ms": 0,
            "queue.buffering.max.messages": FETCHES + 1,
        }
    )
    for _ in range(FETCHES):
        producer.produce(topic, b"busy", partition=0)
    if producer.flush(CREATE_S):
        raise RuntimeError("not every record was taken")


def _per_fetch(subject: Contestant, topic: str, partitions: int) -> float:
    """Microseconds of the broker's CPU for each fetch."""
    host, _, port = subject.bootstrap.partition(":")
    with socket.create_connection((host, int(port)), CREATE_S) as connection:
        session = 0
        asked = [FetchPartition(partition=n, partition_max_bytes=1) for n in range(partitions)]
        answer = _fetch(connection, topic, asked, session, 0)
        session = answer.session_id
        if not session:
            raise RuntimeError("the broker gave no fetch session")

        def work() -> Figures:
            for count in range(1, FETCHES):
                at = [FetchPartition(partition=0, fetch_offset=count, partition_max_bytes=1)]
                answer = _fetch(connection, topic, at, session, count)
                if len(answer.responses) != 1 or answer.error_code:
                    raise RuntimeError(f"fetch {count} gave {answer}")
            return {}

        return broker_cpu(subject, work)["cpu_s"] * MICRO / (FETCHES - 1)


def _fetch(
    connection: socket.socket, topic: str, asked: list[FetchPartition], session: int, epoch: int
) -> Any:
    request = FetchRequest(
        max_wait_ms=500,
        min_bytes=1,
        session_id=session,
        session_epoch=epoch,
        topics=[FetchTopic(topic=topic, partitions=asked)],
    )
    header = RequestHeader(request.API_KEY, VERSION, epoch, "fetch-session")
    body = request_header(header) + encode(request, VERSION)
    connection.sendall(_INT32.pack(len(body)) + body)
    (size,) = _INT32.unpack(_exactly(connection, 4))
    frame = _exactly(connection, size)
    _, at = read_response_header(frame, request.API_KEY, VERSION)
    return decode(FetchResponse, VERSION, frame[at:])[0]


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise RuntimeError("the connection ended")
        parts += part
    return bytes(parts)
