"""Idempotent producers with one request in flight each: the next one leaves when its answer came.

One process, one connection a producer. A request is a template in which
correlation id, sequence and checksum are put, so that the client costs little.
"""

import asyncio
import time
from struct import Struct
from typing import Any

from ottla.record.batch import set_crc
from ottla.record.builder import build_batch
from ottla.record.records import Record
from ottla.wire.codec import decode, encode
from ottla.wire.generated.init_producer_id import (
    InitProducerIdRequest,
    InitProducerIdResponse,
)
from ottla.wire.generated.produce import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from ottla.wire.headers import RequestHeader, read_response_header, request_header

PRODUCE_VERSION = 11
INIT_VERSION = 4
ALL = -1
TIMEOUT_MS = 30_000
CORRELATION_AT = 8
BASE_SEQUENCE_POSITION = 53
"""In a batch, version 2."""

_INT16 = Struct(">h")
_INT32 = Struct(">i")


class Producer(asyncio.Protocol):
    """Sends until `until`, one request at a time."""

    def __init__(self, topic: str, partition: int, value: bytes) -> None:
        self._topic = topic
        self._partition = partition
        self._value = value
        self._received = bytearray()
        self._transport: asyncio.Transport
        self._request = bytearray()
        self._batch_at = 0
        # Behind correlation id, tags, one topic's name, one partition's index.
        self._error_at = 4 + 1 + 1 + 1 + len(topic.encode()) + 1 + 4
        self._sequence = 0
        self._until = 0.0
        self.acknowledged = 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a producer id."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        asked = InitProducerIdRequest(transactional_id=None)
        transport.write(_framed(asked, INIT_VERSION))

    def connection_lost(self, exc: Exception | None) -> None:
        """The broker went away, or we closed."""
        for future in (self.ready, self.done):
            if not future.done():
                future.set_exception(RuntimeError(f"the connection ended: {exc}"))

    def data_received(self, data: bytes) -> None:
        """Take an answer; send the next request."""
        received = self._received
        received += data
        while len(received) >= 4 and len(received) >= (end := 4 + _INT32.unpack_from(received)[0]):
            frame = bytes(received[4:end])
            del received[:end]
            if self._request:
                self._answered(frame)
            else:
                self._identified(frame)

    def _identified(self, frame: bytes) -> None:
        _, at = read_response_header(frame, InitProducerIdRequest.API_KEY, INIT_VERSION)
        answer, _ = decode(InitProducerIdResponse, INIT_VERSION, frame[at:])
        batch = build_batch(
            [Record(timestamp=int(time.time() * 1000), key=None, value=self._value)],
            producer_id=answer.producer_id,
            producer_epoch=answer.producer_epoch,
            base_sequence=0,
        )
        data = PartitionProduceData(index=self._partition, records=batch)
        topic = TopicProduceData(name=self._topic, partition_data=[data])
        request = ProduceRequest(acks=ALL, timeout_ms=TIMEOUT_MS, topic_data=[topic])
        self._request = bytearray(_framed(request, PRODUCE_VERSION))
        self._batch_at = self._request.index(batch)
        self.ready.set_result(None)

    def begin(self, until: float) -> None:
        """Send the first; stop at the first answer after `until` (`time.perf_counter`)."""
        self._until = until
        self._send()

    def _send(self) -> None:
        request, at = self._request, self._batch_at
        _INT32.pack_into(request, CORRELATION_AT, self._sequence)
        _INT32.pack_into(request, at + BASE_SEQUENCE_POSITION, self._sequence)
        set_crc(request, at)
        self._sequence += 1
        self._transport.write(bytes(request))

    def _answered(self, frame: bytes) -> None:
        (error,) = _INT16.unpack_from(frame, self._error_at)
        if error:
            self.done.set_exception(RuntimeError(f"error {error}"))
            return
        self.acknowledged += 1
        if time.perf_counter() < self._until:
            self._send()
        else:
            self.done.set_result(None)
            self._transport.close()


def _framed(request: Any, version: int) -> bytes:
    header = RequestHeader(request.API_KEY, version, 0, "closed-loop")
    body = request_header(header) + encode(request, version)
    return _INT32.pack(len(body)) + body


async def run(options: dict[str, Any]) -> tuple[int, float]:
    """Return how many requests were acknowledged, in how many seconds."""
    host, _, port = options["bootstrap"].partition(":")
    loop = asyncio.get_running_loop()
    value = b"x" * options["size"]
    producers = []
    for number in range(options["producers"]):
        _, producer = await loop.create_connection(
            lambda at=number: Producer(  # type: ignore[misc]
                options["topic"], at % options["partitions"], value
            ),
            host,
            int(port),
        )
        producers.append(producer)
    await asyncio.gather(*(producer.ready for producer in producers))
    began = time.perf_counter()
    for producer in producers:
        producer.begin(began + options["seconds"])
    await asyncio.gather(*(producer.done for producer in producers))
    return sum(each.acknowledged for each in producers), time.perf_counter() - began
