"""Producers that commit transactions of ten records one after the other, without a client library.

They speak transaction version 2 as the Java client does: the Produce takes its partition into the
transaction, and the answer to EndTxn has the epoch to go on with. Told CONCURRENT_TRANSACTIONS, a
producer sends the same again after a millisecond; the Java client waits longer.
"""

import asyncio
import time
from struct import Struct
from typing import Any

from benchmarks.closed_loop import BASE_SEQUENCE_POSITION
from ottla.model.errors import ErrorCode
from ottla.record.batch import set_crc
from ottla.record.builder import build_batch
from ottla.record.records import Record
from ottla.wire.apis import API
from ottla.wire.codec import decode, encode
from ottla.wire.generated.end_txn import EndTxnRequest
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
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
from ottla.wire.message import Message

PRODUCE_VERSION = 12
END_VERSION = 5
ALL = -1
TIMEOUT_MS = 30_000
AGAIN_S = 0.001
PRODUCER_ID_POSITION = BASE_SEQUENCE_POSITION - 10
"""In a batch: int64 producer id, int16 epoch, int32 base sequence."""

_INT16 = Struct(">h")
_INT32 = Struct(">i")
_PRODUCER = Struct(">qh")
_ENDED = Struct(">xihqh")
"""The answer to EndTxn behind its correlation id: tags, throttle time, error, producer id, epoch."""

NOT_YET = frozenset(
    {
        ErrorCode.CONCURRENT_TRANSACTIONS,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
    }
)


class Producer(asyncio.Protocol):
    """One transactional id and its connection."""

    def __init__(self, topic: str, partition: int, transactional_id: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._topic = topic
        self._partition = partition
        self._id = transactional_id
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        # Behind correlation id, tags, one topic's name, one partition's index.
        self._error_at = 4 + 1 + 1 + 1 + len(topic.encode()) + 1 + 4
        self.count = 0
        self.again = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        if len(received) >= 4 and len(received) >= (end := 4 + _INT32.unpack_from(received)[0]):
            assert self._answer is not None
            answer, self._answer = self._answer, None
            answer.set_result(bytes(received[4:end]))
            del received[:end]

    async def _ask(self, frame: bytes) -> bytes:
        self._answer = self._loop.create_future()
        self._transport.write(frame)
        return await self._answer

    async def _call(self, request: Any, answer: type[Message]) -> Any:
        version = API[request.API_KEY].max_version
        frame = await self._ask(_framed(request, version))
        _, at = read_response_header(frame, request.API_KEY, version)
        return decode(answer, version, frame[at:])[0]

    async def _init(self) -> tuple[int, int]:
        find = FindCoordinatorRequest(key_type=1, coordinator_keys=[self._id])
        init = InitProducerIdRequest(transactional_id=self._id, transaction_timeout_ms=60_000)
        while True:
            found = await self._call(find, FindCoordinatorResponse)
            if not found.coordinators[0].error_code:
                answer = await self._call(init, InitProducerIdResponse)
                if not answer.error_code:
                    return answer.producer_id, answer.producer_epoch
                if answer.error_code not in NOT_YET:
                    raise RuntimeError(f"InitProducerId: {ErrorCode(answer.error_code).name}")
            await asyncio.sleep(AGAIN_S)

    async def prepare(self, value: bytes, records: int) -> None:
        """Become a producer, and make the two requests that are sent again and again."""
        producer = await self._init()
        batch = build_batch(
            [
                Record(timestamp=int(time.time() * 1000), key=None, value=value)
                for _ in range(records)
            ],
            producer_id=producer[0],
            producer_epoch=producer[1],
            base_sequence=0,
            transactional=True,
        )
        data = PartitionProduceData(index=self._partition, records=batch)
        topic = TopicProduceData(name=self._topic, partition_data=[data])
        request = ProduceRequest(
            transactional_id=self._id, acks=ALL, timeout_ms=TIMEOUT_MS, topic_data=[topic]
        )
        self._produce = bytearray(_framed(request, PRODUCE_VERSION))
        self._batch_at = self._produce.index(batch)
        end = EndTxnRequest(
            transactional_id=self._id,
            producer_id=producer[0],
            producer_epoch=producer[1],
            committed=True,
        )
        self._end = bytearray(_framed(end, END_VERSION))
        self._end_at = self._end.index(_PRODUCER.pack(*producer))

    async def run(self, until: float) -> None:
        """Commit transactions until `until` (`time.perf_counter`)."""
        while time.perf_counter() < until:
            await self._transaction()
            self.count += 1

    async def _transaction(self) -> None:
        while True:
            frame = await self._ask(bytes(self._produce))
            (error,) = _INT16.unpack_from(frame, self._error_at)
            if not error:
                break
            await self._once_more("Produce", error)
        while True:
            frame = await self._ask(bytes(self._end))
            _, error, producer_id, epoch = _ENDED.unpack_from(frame, 4)
            if not error:
                break
            await self._once_more("EndTxn", error)
        _PRODUCER.pack_into(self._end, self._end_at, producer_id, epoch)
        _PRODUCER.pack_into(
            self._produce, self._batch_at + PRODUCER_ID_POSITION, producer_id, epoch
        )
        set_crc(self._produce, self._batch_at)

    async def _once_more(self, what: str, error: int) -> None:
        if error not in NOT_YET:
            raise RuntimeError(f"{what}: {ErrorCode(error).name}")
        self.again += 1
        await asyncio.sleep(AGAIN_S)


def _framed(request: Any, version: int) -> bytes:
    header = RequestHeader(request.API_KEY, version, 0, "transaction-loop")
    body = request_header(header) + encode(request, version)
    return _INT32.pack(len(body)) + body


async def run(options: dict[str, Any]) -> tuple[int, float]:
    """Return how many transactions were committed, in how many seconds."""
    host, _, port = options["bootstrap"].partition(":")
    loop = asyncio.get_running_loop()
    producers = []
    for number in range(options["producers"]):
        _, producer = await loop.create_connection(
            lambda n=number: Producer(  # type: ignore[misc]
                options["topic"], n % options["partitions"], f"{options['topic']}-{n}"
            ),
            host,
            int(port),
        )
        await producer.prepare(b"x" * options["size"], options["records"])
        producers.append(producer)
    began = time.perf_counter()
    await asyncio.gather(*(each.run(began + options["seconds"]) for each in producers))
    return sum(each.count for each in producers), time.perf_counter() - began
