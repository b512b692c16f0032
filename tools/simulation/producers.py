"""Clients that write: the library's producer, and one that pipelines, repeats and breaks rules."""

import asyncio
import random

from tools.simulation.history import Outcome, Overtaken, Produced
from tools.simulation.wire import Wire
from tools.simulation.world import TOPIC, World

from ottla.client.cluster_view import ClusterView
from ottla.client.producer import Producer
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.isolation import Acks
from ottla.record.builder import build_batch
from ottla.record.records import Record
from ottla.wire.generated.init_producer_id import InitProducerIdRequest
from ottla.wire.generated.produce import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)

PRODUCE_VERSION = 11
DEFINITE = frozenset(
    {
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode.INVALID_RECORD,
        ErrorCode.MESSAGE_TOO_LARGE,
        ErrorCode.INVALID_PRODUCER_EPOCH,
    }
)
"""Refused before anything was written, if it was not written by an earlier try."""
REPLIES_WAITED_FOR = 5


class LibraryProducer:
    """Our own client library; it retries by itself."""

    def __init__(
        self,
        world: World,
        name: str,
        host: str,
        *,
        idempotent: bool,
        count: int,
        pauses_s: tuple[float, ...] = (0.0, 0.02, 0.3),
    ) -> None:
        self._world = world
        self._name = name
        self._host = host
        self._idempotent = idempotent
        self._count = count
        self._pauses_s = pauses_s
        self._chance = random.Random(f"{name} {world.seed}")

    async def run(self) -> None:
        chance, world = self._chance, self._world
        view = ClusterView(
            world.network.host(self._host),
            world.bootstrap,
            request_timeout_ms=1_500,
            retry_timeout_ms=60_000,
        )
        acks = Acks.ALL if self._idempotent else chance.choice((Acks.ALL, Acks.LEADER))
        async with (
            view,
            Producer(
                view,
                acks=acks,
                idempotent=self._idempotent,
                linger_ms=chance.choice((0, 5)),
                now_ms=world.clock.now_ms,
                below=chance.randrange,
            ) as producer,
        ):
            for number in range(self._count):
                await asyncio.sleep(chance.choice(self._pauses_s))
                await self._send(producer, b"%s-%d" % (self._name.encode(), number))

    async def _send(self, producer: Producer, value: bytes) -> None:
        world = self._world
        partition = self._chance.randrange(world.shape.partitions)
        start = world.loop.time()
        while True:
            try:
                done = await producer.send(TOPIC, value, partition=partition)
                break
            except (ApiError, PeerError):
                await asyncio.sleep(0.2)
                start = world.loop.time()

        def note(future: "asyncio.Future[object]") -> None:
            outcome, offset = Outcome.UNKNOWN, -1
            if not future.cancelled() and future.exception() is None:
                outcome, offset = Outcome.OK, done.result().offset
            world.history.produced.append(
                Produced(
                    self._name,
                    self._idempotent,
                    partition,
                    (value,),
                    start,
                    world.loop.time(),
                    outcome,
                    offset,
                )
            )

        done.add_done_callback(note)


class _Batch:
    """One batch on its way, until it is acknowledged."""

    __slots__ = ("data", "partition", "sent", "sequence", "start", "values")

    def __init__(
        self, partition: int, sequence: int, values: tuple[bytes, ...], data: bytes, start: float
    ) -> None:
        self.partition = partition
        self.sequence = sequence
        self.values = values
        self.data = data
        self.start = start
        self.sent = False


class PipelineProducer:
    """Idempotent, up to five requests in flight, some sent twice; now and then one that must fail."""

    def __init__(self, world: World, name: str, host: str, *, count: int) -> None:
        self._world = world
        self._name = name
        self._host = host
        self._left = count
        self._chance = random.Random(f"{name} {world.seed}")
        self._numbers = 0
        self._producer_id = -1
        self._sequences: dict[int, int] = {}
        self._unacked: dict[int, list[_Batch]] = {}
        self._refusals = 0
        self._again = asyncio.Event()

    async def run(self) -> None:
        try:
            await self._produce()
        finally:
            self._give_up()

    async def _produce(self) -> None:
        while self._left or any(self._unacked.values()):
            try:
                wire = await Wire.connect(self._world, self._host)
                try:
                    await self._converse(wire)
                finally:
                    wire.abort()
            except PeerError:
                await asyncio.sleep(0.1)

    async def _converse(self, wire: Wire) -> None:
        for batches in self._unacked.values():
            for batch in batches:
                batch.sent = False
        while self._left or any(self._unacked.values()):
            if wire.ended:
                raise PeerError("the connection is lost")
            if self._producer_id < 0:
                await self._identify(wire)
            self._fill()
            for batch in [b for batches in self._unacked.values() for b in batches if not b.sent]:
                self._send(wire, batch)
                if self._chance.random() < 0.25:
                    self._send(wire, batch)
            if self._chance.random() < 0.05:
                await self._break_a_rule(wire)
            self._again.clear()
            try:
                async with asyncio.timeout(self._chance.choice((0.02, 0.2))):
                    await self._again.wait()
            except TimeoutError:
                pass

    async def _identify(self, wire: Wire) -> None:
        answer = await wire.call(
            InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000), 4
        )
        if answer.error_code:
            await asyncio.sleep(0.1)
            raise PeerError("no producer id")
        self._producer_id = answer.producer_id
        self._sequences.clear()
        self._refusals = 0

    def _fill(self) -> None:
        """Make new batches while fewer than five are on their way to a partition."""
        world = self._world
        for _ in range(self._chance.randint(0, 4)):
            partition = self._chance.randrange(world.shape.partitions)
            batches = self._unacked.setdefault(partition, [])
            if not self._left or len(batches) >= REPLIES_WAITED_FOR:
                continue
            self._left -= 1
            values = self._values(self._chance.randint(1, 3))
            sequence = self._sequences.get(partition, 0)
            self._sequences[partition] = sequence + len(values)
            data = self._build(values, sequence)
            batches.append(_Batch(partition, sequence, values, data, world.loop.time()))

    def _values(self, count: int) -> tuple[bytes, ...]:
        first, self._numbers = self._numbers, self._numbers + count
        return tuple(b"%s-%d" % (self._name.encode(), first + index) for index in range(count))

    def _build(self, values: tuple[bytes, ...], sequence: int) -> bytes:
        now_ms = self._world.clock.now_ms()
        return build_batch(
            [Record(timestamp=now_ms, key=None, value=value) for value in values],
            producer_id=self._producer_id,
            producer_epoch=0,
            base_sequence=sequence,
        )

    def _send(self, wire: Wire, batch: _Batch) -> None:
        batch.sent = True
        answer = wire.send(_request(batch.partition, batch.data), PRODUCE_VERSION)
        producer_id = self._producer_id
        answer.add_done_callback(lambda done: self._answered(batch, producer_id, done))

    def _answered(self, batch: _Batch, producer_id: int, done: "asyncio.Future[object]") -> None:
        self._again.set()
        if done.cancelled() or done.exception() is not None:
            return  # sent again on the next connection
        row = done.result().responses[0].partition_responses[0]  # type: ignore[attr-defined]
        batches = self._unacked.get(batch.partition, [])
        if row.error_code == 0:
            self._note(batch, Outcome.OK, row.base_offset)
            if batch in batches:
                batches.remove(batch)
            self._refusals = 0
        elif row.error_code == ErrorCode.DUPLICATE_SEQUENCE_NUMBER:
            self._note(batch, Outcome.OK, -1)
            if batch in batches:
                batches.remove(batch)
        elif batch in batches and producer_id == self._producer_id:
            batch.sent = False
            if row.error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER:
                self._refused(batch, batches)

    def _refused(self, batch: _Batch, batches: list[_Batch]) -> None:
        """Its predecessor failed, and both are sent again; or the broker has lost some."""
        self._refusals += 1
        if self._refusals > 30:
            # A broker that knows nothing of a producer takes any sequence for its first, as
            # Kafka does: where another led meanwhile, or the very first batch did not fit on
            # the disk, a later one may have come first.
            history = self._world.history
            value = batch.values[0]
            if batch is not batches[0] or history.losses or history.elections:
                pass
            elif batch.sequence == 0:
                history.overtaken.append(Overtaken(batch.partition, self._producer_id, value))
            else:
                history.unexpected.append(f"{self._name}: {value!r}, next in sequence, is refused")
            self._give_up()
            self._producer_id = -1

    def _give_up(self) -> None:
        """Whether what is on its way arrives will not be known."""
        for batches in self._unacked.values():
            for each in batches:
                self._note(each, Outcome.UNKNOWN, -1)
            batches.clear()

    def _note(self, batch: _Batch, outcome: Outcome, offset: int) -> None:
        world = self._world
        world.history.produced.append(
            Produced(
                self._name,
                True,
                batch.partition,
                batch.values,
                batch.start,
                world.loop.time(),
                outcome,
                offset,
            )
        )

    async def _break_a_rule(self, wire: Wire) -> None:
        """A batch that must be refused: a wrong checksum, or a gap in its sequence."""
        world = self._world
        partition = self._chance.randrange(world.shape.partitions)
        start = world.loop.time()
        if self._chance.random() < 0.5:
            values = self._values(1)
            data = bytearray(build_batch([Record(timestamp=1, key=None, value=values[0] + b"!")]))
            data[-2] ^= 1 << self._chance.randrange(3)  # the last byte of the value
            forbidden = "a wrong checksum"
            values = (bytes(values[0] + bytes((data[-2],))),)
        else:
            values = self._values(1)
            if not self._sequences.get(partition) or self._unacked.get(partition):
                return
            data = bytearray(self._build(values, self._sequences[partition] + 7))
            forbidden = "gap"
        answer = await wire.call(_request(partition, bytes(data)), PRODUCE_VERSION)
        row = answer.responses[0].partition_responses[0]
        outcome = Outcome.UNKNOWN
        if row.error_code == 0:
            outcome = Outcome.OK
        elif row.error_code in DEFINITE:
            outcome = Outcome.FAIL
        world.history.produced.append(
            Produced(
                f"{self._name} breaking rules",
                False,
                partition,
                values,
                start,
                world.loop.time(),
                outcome,
                row.base_offset,
                forbidden,
            )
        )


def _request(partition: int, data: bytes) -> ProduceRequest:
    return ProduceRequest(
        acks=-1,
        timeout_ms=1_000,
        topic_data=[
            TopicProduceData(
                name=TOPIC,
                partition_data=[PartitionProduceData(index=partition, records=data)],
            )
        ],
    )
