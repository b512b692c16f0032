"""A producer: records in, batches out, one future per record.

Records wait per partition for `linger_ms` or until a batch is full. A partition
has one request in flight, so its records stay in order through retries. With
`idempotent` a retry cannot write twice (KIP-98): a batch keeps its sequence
number until it is answered; if its fate stays unknown, the producer goes on
with a new id.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ottla.client.cluster_view import ClusterView, check
from ottla.client.partitioner import StickyPartitioner, partition_of
from ottla.model.errors import RETRIABLE, ApiError, ErrorCode, PeerError
from ottla.model.ids import NO_PRODUCER_ID, ZERO_UUID, Offset, ProducerId, TopicPartition
from ottla.model.isolation import Acks, CompressionType
from ottla.record.builder import build_batch
from ottla.record.records import Record, RecordHeader

RECORD_OVERHEAD = 24
"""What a record's own lengths and deltas take at most, short of its headers."""
MAX_BATCH_RECORDS = 50_000


class Delivery(NamedTuple):
    """Where a record went; `offset` is -1 where the broker did not say (acks=0)."""

    partition: TopicPartition
    offset: Offset
    timestamp: int


class _Pending(NamedTuple):
    record: Record
    size: int
    done: "asyncio.Future[Delivery]"


class _Lane:
    """The records of one partition on their way."""

    def __init__(self, partition: TopicPartition) -> None:
        self.partition = partition
        self.waiting: deque[_Pending] = deque()
        self.waiting_bytes = 0
        self.full = asyncio.Event()
        self.sender: asyncio.Task[None] | None = None
        self.producer: tuple[ProducerId, int] = (NO_PRODUCER_ID, -1)
        self.sequence = 0
        self.in_doubt = False
        """Whether the last batch that failed may be there all the same."""


class Producer:
    """Close it, or use it with `async with`, so that what waits is sent."""

    def __init__(
        self,
        view: ClusterView,
        *,
        acks: Acks = Acks.ALL,
        compression: CompressionType = CompressionType.NONE,
        idempotent: bool = False,
        linger_ms: int = 5,
        batch_bytes: int = 512 * 1024,
        buffer_bytes: int = 32 * 1024 * 1024,
        create_topics: bool = True,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        below: Callable[[int], int] = random.randrange,
    ) -> None:
        if idempotent and acks is not Acks.ALL:
            raise ValueError("an idempotent producer needs acks=all")
        self._view = view
        self._acks = acks
        self._compression = compression
        self._idempotent = idempotent
        self._linger_ms = linger_ms
        self._batch_bytes = batch_bytes
        self._buffer_bytes = buffer_bytes
        self._create_topics = create_topics
        self._now_ms = now_ms
        self._below = below
        self._lanes: dict[TopicPartition, _Lane] = {}
        self._sticky: dict[str, StickyPartitioner] = {}
        self._buffered = 0
        self._room = asyncio.Event()
        self._room.set()
        self._flushing = 0
        self._transactional_id: str | None = None
        self._producer: tuple[ProducerId, int] | None = None
        self._producer_lock = asyncio.Lock()

    async def __aenter__(self) -> "Producer":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.flush()

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Sequence[RecordHeader] = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> "asyncio.Future[Delivery]":
        """Take a record; the future is done once it is acknowledged.

        Waits while the buffer is full.

        Raises:
            ApiError: the topic or partition does not exist.
        """
        known = self._view.topics.get(topic)
        if known is None:
            known = await self._view.topic(topic, create=self._create_topics)
        if partition is None:
            partition = self._choose(topic, key, len(known.partitions))
        elif not 0 <= partition < len(known.partitions):
            await self._view.leader(TopicPartition(topic, partition))
        while self._buffered >= self._buffer_bytes:
            self._room.clear()
            await self._room.wait()
        record = Record(
            timestamp=self._now_ms() if timestamp_ms is None else timestamp_ms,
            key=key,
            value=value,
            headers=tuple(headers),
        )
        return self._take(TopicPartition(topic, partition), record)

    def _choose(self, topic: str, key: bytes | None, partition_count: int) -> int:
        if key is not None:
            return partition_of(key, partition_count)
        sticky = self._sticky.get(topic)
        if sticky is None:
            sticky = self._sticky[topic] = StickyPartitioner(self._below)
        return sticky.choose(partition_count)

    def _take(self, partition: TopicPartition, record: Record) -> "asyncio.Future[Delivery]":
        lane = self._lanes.get(partition)
        if lane is None:
            lane = self._lanes[partition] = _Lane(partition)
        size = record_size(record)
        done: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()
        lane.waiting.append(_Pending(record, size, done))
        lane.waiting_bytes += size
        self._buffered += size
        if lane.waiting_bytes >= self._batch_bytes or self._flushing or not self._linger_ms:
            lane.full.set()
            if partition.topic in self._sticky:
                self._sticky[partition.topic].batch_full()
        if lane.sender is None:
            lane.sender = asyncio.create_task(self._send_lane(lane))
        return done

    async def flush(self) -> None:
        """Send what waits, and wait until all of it is answered, well or not."""
        self._flushing += 1
        try:
            while True:
                senders = [lane.sender for lane in self._lanes.values() if lane.sender is not None]
                if not senders:
                    return
                for lane in self._lanes.values():
                    lane.full.set()
                await asyncio.wait(senders)
        finally:
            self._flushing -= 1

    async def _send_lane(self, lane: _Lane) -> None:
        try:
            while lane.waiting:
                if not lane.full.is_set():
                    try:
                        async with asyncio.timeout(self._linger_ms / 1000):
                            await lane.full.wait()
                    except TimeoutError:
                        pass
                batch = self._cut(lane)
                try:
                    await self._deliver(lane, batch)
                finally:
                    self._buffered -= sum(pending.size for pending in batch)
                    self._room.set()
        finally:
            lane.sender = None

    def _cut(self, lane: _Lane) -> list[_Pending]:
        """Take the next batch from a lane: at least one record, the rest as they fit."""
        batch: list[_Pending] = []
        size = 0
        while lane.waiting and len(batch) < MAX_BATCH_RECORDS:
            size += lane.waiting[0].size
            if batch and size > self._batch_bytes:
                break
            batch.append(lane.waiting.popleft())
        lane.waiting_bytes -= sum(pending.size for pending in batch)
        if lane.waiting_bytes < self._batch_bytes and not self._flushing:
            lane.full.clear()
        return batch

    async def _deliver(self, lane: _Lane, batch: list[_Pending]) -> None:
        try:
            base_offset, append_time = await self._write(lane, [each.record for each in batch])
        except ApiError as error:
            if error.code is ErrorCode.MESSAGE_TOO_LARGE and len(batch) > 1:
                half = len(batch) // 2
                await self._deliver(lane, batch[:half])
                await self._deliver(lane, batch[half:])
                return
            self._failed(error, lane.in_doubt)
            self._fail(batch, error)
        except PeerError as error:
            self._failed(error, lane.in_doubt)
            self._fail(batch, error)
        except BaseException:
            for pending in batch:
                pending.done.cancel()
            raise
        else:
            for index, pending in enumerate(batch):
                if not pending.done.done():
                    offset = base_offset + index if base_offset >= 0 else -1
                    timestamp = append_time if append_time >= 0 else pending.record.timestamp
                    pending.done.set_result(Delivery(lane.partition, offset, timestamp))

    def _fail(self, batch: list[_Pending], error: Exception) -> None:
        for pending in batch:
            if not pending.done.done():
                pending.done.set_exception(error)
                if pending is not batch[0] or self._transactional_id is not None:
                    # asyncio shall complain once a batch, and not where `commit` does
                    pending.done.exception()

    def _failed(self, error: ApiError | PeerError, in_doubt: bool = True) -> None:
        """A batch will not be acknowledged; where it may be there all the same, it is `in_doubt`.

        Its sequence must not be another batch's then, which would be taken for the same one.
        """
        if in_doubt:
            self._producer = None

    async def _write(self, lane: _Lane, records: list[Record]) -> tuple[Offset, int]:
        """Base offset and log append time (-1: none) of an acknowledged batch."""
        if self._idempotent:
            await self._identify(lane)
        producer_id, producer_epoch = lane.producer
        batch = build_batch(
            records,
            compression=self._compression,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            base_sequence=lane.sequence if self._idempotent else -1,
            transactional=self._transactional_id is not None,
        )
        tries = 0

        async def attempt() -> tuple[Offset, int]:
            nonlocal tries
            tries += 1
            return await self._request(lane.partition, batch)

        lane.in_doubt = True
        try:
            answer = await self._view.ask(attempt)
        except ApiError as error:
            lane.in_doubt = tries > 1 or error.code in RETRIABLE
            raise
        lane.sequence = (lane.sequence + len(records)) & 0x7FFFFFFF
        return answer

    async def _identify(self, lane: _Lane) -> None:
        async with self._producer_lock:
            if self._producer is None:
                self._producer = await self._view.ask(self._init_producer_id)
        if lane.producer != self._producer:
            lane.producer = self._producer
            lane.sequence = 0

    async def _init_producer_id(self) -> tuple[ProducerId, int]:
        from ottla.wire.generated.init_producer_id import InitProducerIdRequest

        response = await self._view.send(
            InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000)
        )
        check(response.error_code, about="producer id")
        return response.producer_id, response.producer_epoch

    async def _request(self, partition: TopicPartition, batch: bytes) -> tuple[Offset, int]:
        from ottla.wire.generated.produce import (
            PartitionProduceData,
            ProduceRequest,
            TopicProduceData,
        )

        leader = await self._view.leader(partition)
        topic_id = (await self._view.topic(partition.topic)).topic_id
        link = await self._view.link(leader.leader)
        version = link.version_of(ProduceRequest)
        if topic_id == ZERO_UUID:
            version = min(version, 12)  # from 13 on topics go by id
        data = TopicProduceData(
            partition_data=[PartitionProduceData(index=partition.partition, records=batch)]
        )
        if version >= 13:
            data.topic_id = topic_id
        else:
            data.name = partition.topic
        timeout_ms = self._view.request_timeout_ms
        request = ProduceRequest(
            transactional_id=self._transactional_id,
            acks=int(self._acks),
            timeout_ms=timeout_ms,
            topic_data=[data],
        )
        answered = self._acks is not Acks.NONE
        response = await link.request(
            request, version=version, timeout_ms=timeout_ms, answered=answered
        )
        if not answered:
            return -1, -1
        answer = response.responses[0].partition_responses[0]
        if answer.error_code == ErrorCode.DUPLICATE_SEQUENCE_NUMBER:
            return -1, -1
        try:
            check(answer.error_code, answer.error_message, about=f"partition {partition}")
        except ApiError:
            self._view.forget(partition.topic)
            raise
        return answer.base_offset, answer.log_append_time_ms


def record_size(record: Record) -> int:
    """About how many bytes a record takes in a batch, and never fewer."""
    size = RECORD_OVERHEAD + len(record.key or b"") + len(record.value or b"")
    for name, content in record.headers:
        size += 10 + 4 * len(name) + len(content or b"")
    return size
