"""The producer against a broker played by the test: sequences, order, splitting, failures."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ottla.client.cluster_view import Partition, Topic
from ottla.client.producer import Delivery, Producer
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.ids import TopicPartition
from ottla.model.isolation import Acks
from ottla.record.batch import BatchHeader, read_header
from ottla.record.records import read_records
from ottla.wire.generated.init_producer_id import InitProducerIdResponse
from ottla.wire.generated.produce import (
    PartitionProduceResponse,
    ProduceResponse,
    TopicProduceResponse,
)

TOPIC = Topic("t", b"\1" * 16, False, tuple(
    Partition(number, 1, 0, (1,), (1,), (), ErrorCode.NONE) for number in range(2)
))  # fmt: skip
WAY_OFF_MS = 1 << 30


class PlayedView:
    """As much of a `ClusterView` as a producer touches; `ask` retries what is retriable at once."""

    request_timeout_ms = 1000

    def __init__(self) -> None:
        self.topics = {"t": TOPIC}
        self.written: list[tuple[int, BatchHeader, list[bytes | None]]] = []
        self.refusals: list[Exception | ErrorCode] = []
        self.next_producer_id = 0
        self.ends = [0, 0]
        self.in_flight = [0, 0]

    async def topic(self, name: str, *, create: bool = False) -> Topic:
        return TOPIC

    async def leader(self, partition: TopicPartition) -> Partition:
        return TOPIC.partitions[partition.partition]

    def forget(self, topic: str) -> None:
        pass

    async def link(self, broker: int) -> "PlayedView":
        return self

    def version_of(self, request: Any) -> int:
        return 13

    async def ask(self, attempt: Callable[[], Awaitable[Any]]) -> Any:
        while True:
            try:
                return await attempt()
            except ApiError as error:
                if error.code is not ErrorCode.NOT_LEADER_OR_FOLLOWER:
                    raise

    async def send(self, request: Any) -> Any:
        self.next_producer_id += 1
        return InitProducerIdResponse(producer_id=self.next_producer_id, producer_epoch=0)

    async def request(self, request: Any, *, answered: bool = True, **how: Any) -> Any:
        (data,) = request.topic_data[0].partition_data
        assert request.topic_data[0].topic_id == TOPIC.topic_id
        header = read_header(data.records)
        values = [record.value for record in read_records(data.records)]
        self.written.append((data.index, header, values))
        assert not self.in_flight[data.index]
        self.in_flight[data.index] = 1
        await asyncio.sleep(0)
        self.in_flight[data.index] = 0
        answer = PartitionProduceResponse(index=data.index, base_offset=self.ends[data.index])
        if self.refusals:
            refusal = self.refusals.pop(0)
            if isinstance(refusal, Exception):
                raise refusal
            answer.error_code = refusal
        else:
            self.ends[data.index] += len(values)
        topic = TopicProduceResponse(partition_responses=[answer])
        return ProduceResponse(responses=[topic]) if answered else None

    def values(self, partition: int = 0) -> list[list[bytes | None]]:
        return [values for index, _, values in self.written if index == partition]


def played(scenario: Callable[[PlayedView], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await scenario(PlayedView())

    asyncio.run(main())


def producer(view: PlayedView, **how: Any) -> Producer:
    how = {"linger_ms": WAY_OFF_MS, "now_ms": lambda: 7, "below": lambda bound: 0, **how}
    return Producer(view, **how)  # type: ignore[arg-type]


async def send(target: Producer, *values: bytes, **how: Any) -> "list[asyncio.Future[Delivery]]":
    return [await target.send("t", value, **how) for value in values]


def test_records_of_a_partition_leave_in_one_batch_when_flushed() -> None:
    async def scenario(view: PlayedView) -> None:
        target = producer(view)
        sent = await send(target, b"a", b"b", b"c")
        assert view.written == []
        await target.flush()
        assert view.values() == [[b"a", b"b", b"c"]]
        place = TopicPartition("t", 0)
        assert [each.result() for each in sent] == [Delivery(place, at, 7) for at in range(3)]

    played(scenario)


def test_a_full_batch_leaves_by_itself_and_keyless_records_move_on() -> None:
    async def scenario(view: PlayedView) -> None:
        turns = iter([0, 1, 0, 1])
        target = producer(view, batch_bytes=300, below=lambda bound: next(turns))
        sent = await send(target, *(b"x" * 100 for _ in range(6)))
        await asyncio.wait(sent[:2])
        await target.flush()
        assert [len(values) for values in view.values(0)] == [2, 1]
        assert [len(values) for values in view.values(1)] == [2, 1]

    played(scenario)


def test_an_idempotent_retry_has_the_sequence_of_the_first_try() -> None:
    async def scenario(view: PlayedView) -> None:
        target = producer(view, idempotent=True)
        await send(target, b"a", b"b")
        await target.flush()
        view.refusals = [ErrorCode.NOT_LEADER_OR_FOLLOWER]
        await send(target, b"c")
        await target.flush()
        assert [header.base_sequence for _, header, _ in view.written] == [0, 2, 2]
        assert {header.producer_id for _, header, _ in view.written} == {1}

    played(scenario)


def test_a_batch_whose_fate_is_unknown_ends_the_producer_id() -> None:
    async def scenario(view: PlayedView) -> None:
        target = producer(view, idempotent=True)
        view.refusals = [PeerError("gone")]
        (lost,) = await send(target, b"a")
        await target.flush()
        with pytest.raises(PeerError, match="gone"):
            lost.result()
        await send(target, b"b")
        await target.flush()
        seen = [(header.producer_id, header.base_sequence) for _, header, _ in view.written]
        assert seen == [(1, 0), (2, 0)]

    played(scenario)


@pytest.mark.parametrize(
    "refusals",
    [
        [ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND],
        [ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.INVALID_RECORD],
    ],
)
def test_a_batch_that_was_refused_and_may_be_there_ends_the_producer_id(
    refusals: list[Exception | ErrorCode],
) -> None:
    """With its sequence the next one would be taken for it, and be lost."""

    async def scenario(view: PlayedView) -> None:
        target = producer(view, idempotent=True)
        view.refusals = refusals.copy()
        (lost,) = await send(target, b"a")
        await target.flush()
        with pytest.raises(ApiError):
            lost.result()
        await send(target, b"b")
        await target.flush()
        (*_, (_, header, values)) = view.written
        assert (header.producer_id, header.base_sequence, values) == (2, 0, [b"b"])

    played(scenario)


def test_a_refused_batch_fails_its_records_and_the_next_goes_on_with_its_sequence() -> None:
    async def scenario(view: PlayedView) -> None:
        target = producer(view, idempotent=True)
        view.refusals = [ErrorCode.INVALID_RECORD]
        refused = await send(target, b"a", b"b")
        await target.flush()
        for each in refused:
            with pytest.raises(ApiError) as caught:
                each.result()
            assert caught.value.code is ErrorCode.INVALID_RECORD
        (written,) = await send(target, b"c")
        await target.flush()
        assert written.result().offset == 0
        assert [header.base_sequence for _, header, _ in view.written] == [0, 0]

    played(scenario)


def test_a_duplicate_counts_as_written() -> None:
    async def scenario(view: PlayedView) -> None:
        target = producer(view, idempotent=True)
        view.refusals = [ErrorCode.DUPLICATE_SEQUENCE_NUMBER]
        (sent,) = await send(target, b"a")
        await target.flush()
        assert sent.result().offset == -1

    played(scenario)


def test_a_batch_too_large_is_split_and_stays_in_order() -> None:
    async def scenario(view: PlayedView) -> None:
        target = producer(view, idempotent=True)
        view.refusals = [ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.MESSAGE_TOO_LARGE]
        sent = await send(target, b"a", b"b", b"c", b"d")
        await target.flush()
        assert view.values()[2:] == [[b"a"], [b"b"], [b"c", b"d"]]
        assert [header.base_sequence for _, header, _ in view.written] == [0, 0, 0, 1, 2]
        assert [each.result().offset for each in sent] == [0, 1, 2, 3]

    played(scenario)


def test_a_full_buffer_makes_the_sender_wait() -> None:
    async def scenario(view: PlayedView) -> None:
        target = producer(view, buffer_bytes=200, linger_ms=0)
        for number in range(50):
            await send(target, b"%050d" % number)
        await target.flush()
        seen = [value for values in view.values() for value in values]
        assert seen == [b"%050d" % number for number in range(50)]

    played(scenario)


def test_without_acknowledgement_there_is_no_offset() -> None:
    async def scenario(view: PlayedView) -> None:
        target = producer(view, acks=Acks.NONE)
        (sent,) = await send(target, b"a")
        await target.flush()
        assert sent.result().offset == -1

    played(scenario)


def test_idempotence_needs_every_acknowledgement() -> None:
    with pytest.raises(ValueError, match="acks=all"):
        producer(PlayedView(), idempotent=True, acks=Acks.LEADER)
