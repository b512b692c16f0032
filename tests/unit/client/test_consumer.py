"""The consumer against fetch answers made by the test."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ottla.client.cluster_view import Partition, Topic
from ottla.client.consumer import Consumer
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition
from ottla.model.isolation import IsolationLevel, ListOffsetsTimestamp
from ottla.record.builder import build_batch
from ottla.record.control import build_end_txn_marker
from ottla.record.records import Record
from ottla.wire.generated.fetch import (
    AbortedTransaction,
    FetchableTopicResponse,
    FetchResponse,
    PartitionData,
)
from ottla.wire.generated.list_offsets import (
    ListOffsetsPartitionResponse,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)

ONE = TopicPartition("t", 0)
TOPIC = Topic("t", b"\1" * 16, False, (Partition(0, 1, 0, (1,), (1,), (), ErrorCode.NONE),))


class PlayedView:
    """As much of a `ClusterView` as a consumer touches; answers come from the test."""

    request_timeout_ms = 1000

    def __init__(self, *answers: PartitionData) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []
        self.meanwhile: Callable[[], None] = lambda: None

    async def topic(self, name: str) -> Topic:
        return TOPIC

    async def leader(self, partition: TopicPartition) -> Partition:
        return TOPIC.partitions[0]

    def forget(self, topic: str) -> None:
        pass

    def distrust(self) -> None:
        pass

    async def link(self, broker: int) -> "PlayedView":
        return self

    def version_of(self, request: Any) -> int:
        return 17

    async def ask(self, attempt: Callable[[], Awaitable[Any]]) -> Any:
        return await attempt()

    async def send(self, request: Any, broker: int) -> Any:
        (each,) = request.topics[0].partitions
        assert each.timestamp == ListOffsetsTimestamp.EARLIEST
        found = ListOffsetsPartitionResponse(partition_index=0, offset=3, timestamp=-1)
        return ListOffsetsResponse(topics=[ListOffsetsTopicResponse(name="t", partitions=[found])])

    async def request(self, request: Any, **how: Any) -> Any:
        (each,) = request.topics[0].partitions
        self.asked.append(each.fetch_offset)
        if not self.answers:
            await asyncio.Event().wait()
        self.meanwhile()
        answer = FetchableTopicResponse(topic_id=TOPIC.topic_id, partitions=[self.answers.pop(0)])
        return FetchResponse(responses=[answer])


def records(*batches: bytes, **how: Any) -> PartitionData:
    return PartitionData(records=b"".join(batches), high_watermark=100, **how)


def batch(base_offset: int, *values: bytes, producer: int = -1) -> bytes:
    return build_batch(
        [Record(value=value, timestamp=0) for value in values],
        base_offset=base_offset,
        producer_id=producer,
        producer_epoch=0 if producer >= 0 else -1,
        base_sequence=0 if producer >= 0 else -1,
        transactional=producer >= 0,
    )


def marker(offset: int, producer: int, *, committed: bool) -> bytes:
    return build_end_txn_marker(
        committed=committed,
        coordinator_epoch=0,
        timestamp=0,
        producer_id=producer,
        producer_epoch=0,
        base_offset=offset,
    )


def read(view: PlayedView, start: int, polls: int = 1, **how: Any) -> tuple[list[Any], int]:
    """The (offset, value) of what comes, and the position after it."""

    async def main() -> tuple[list[Any], int]:
        async with asyncio.timeout(20), Consumer(view, **how) as consumer:  # type: ignore[arg-type]
            consumer.assign({ONE: start})
            seen = []
            for _ in range(polls):
                for fetched in await consumer.poll():
                    assert fetched.high_watermark == 100
                    seen += [(record.offset, record.value) for record in fetched.records]
            return seen, consumer.positions()[ONE]

    return asyncio.run(main())


def test_records_below_the_position_are_passed_over() -> None:
    view = PlayedView(records(batch(10, b"a", b"b", b"c"), batch(13, b"d")))
    assert read(view, 11) == ([(11, b"b"), (12, b"c"), (13, b"d")], 14)


def test_a_batch_that_is_cut_off_is_asked_for_again() -> None:
    whole = batch(13, b"d")
    view = PlayedView(records(batch(10, b"a"), whole[:-1]), records(whole))
    assert read(view, 10, polls=2) == ([(10, b"a"), (13, b"d")], 14)
    assert view.asked == [10, 11]


def test_an_answer_from_before_a_seek_is_ignored() -> None:
    async def main() -> None:
        view = PlayedView(records(batch(0, b"old")), records(batch(50, b"new")))
        async with asyncio.timeout(20), Consumer(view) as consumer:  # type: ignore[arg-type]
            consumer.assign({ONE: 0})
            view.meanwhile = lambda: consumer.assign({ONE: 50})
            fetched = await consumer.poll()
            assert [record.value for each in fetched for record in each.records] == [b"new"]

    asyncio.run(main())


def test_aborted_records_and_markers_are_passed_over_when_committed_ones_are_asked_for() -> None:
    answer = records(
        batch(0, b"aborted", producer=7),
        batch(1, b"other", producer=8),
        marker(2, 7, committed=False),
        batch(3, b"kept", producer=7),
        marker(4, 7, committed=True),
        batch(5, b"plain"),
        aborted_transactions=[AbortedTransaction(producer_id=7, first_offset=0)],
    )
    committed = {"isolation": IsolationLevel.READ_COMMITTED}
    assert read(PlayedView(answer), 0, **committed) == (
        [(1, b"other"), (3, b"kept"), (5, b"plain")],
        6,
    )
    everything, _ = read(PlayedView(answer), 0)
    assert [offset for offset, _ in everything] == [0, 1, 3, 5]


def test_an_aborted_transaction_of_which_only_the_marker_is_left_hides_nothing_after_it() -> None:
    answer = records(
        marker(2, 7, committed=False),
        batch(3, b"kept", producer=7),
        aborted_transactions=[AbortedTransaction(producer_id=7, first_offset=0)],
    )
    seen, _ = read(PlayedView(answer), 2, isolation=IsolationLevel.READ_COMMITTED)
    assert seen == [(3, b"kept")]


def test_control_records_are_shown_on_request() -> None:
    answer = records(marker(2, 7, committed=False))
    assert [offset for offset, _ in read(PlayedView(answer), 2, control=True)[0]] == [2]


def test_out_of_range_raises_or_resets_as_told() -> None:
    lost = PartitionData(error_code=ErrorCode.OFFSET_OUT_OF_RANGE)
    with pytest.raises(ApiError, match="partition t-0, offset 900"):
        read(PlayedView(lost), 900)
    view = PlayedView(lost, records(batch(3, b"first")))
    assert read(view, 900, reset=ListOffsetsTimestamp.EARLIEST) == ([(3, b"first")], 4)
    assert view.asked == [900, 3]


def test_without_a_partition_there_is_nothing_to_wait_for() -> None:
    async def main() -> None:
        async with Consumer(PlayedView()) as consumer:  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="no partition"):
                await consumer.poll()
            assert await consumer.poll(0) == []

    asyncio.run(main())


def test_nothing_within_the_time_is_an_empty_answer_and_the_fetch_goes_on() -> None:
    async def main() -> None:
        view = PlayedView()
        async with Consumer(view) as consumer:  # type: ignore[arg-type]
            consumer.assign({ONE: 5})
            assert await consumer.poll(1) == []
            assert await consumer.poll(1) == []
            assert view.asked == [5]

    asyncio.run(main())
