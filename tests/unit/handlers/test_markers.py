"""WriteTxnMarkers: a row for each partition, all appended before the first commit is awaited."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ottla.handlers.markers import describe_producers, write_txn_markers
from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import TopicPartition
from ottla.record.control import EndTxnMarker
from ottla.testing.clock import ManualClock
from ottla.wire.generated.describe_producers import DescribeProducersRequest, TopicRequest
from ottla.wire.generated.write_txn_markers import (
    WritableTxnMarker,
    WritableTxnMarkerTopic,
    WriteTxnMarkersRequest,
)

Committed = Callable[[ApiError | None], None]


class Transactions:
    """Appends nothing; `fails` says why, `holds` that commits are told later."""

    def __init__(self) -> None:
        self.written: list[tuple[Any, ...]] = []
        self.fails: dict[int, Exception] = {}
        self.holds = False
        self.waiting: list[Committed] = []

    def write_marker(self, name: TopicPartition, *arguments: Any) -> None:
        *said, committed = arguments
        if name.partition in self.fails:
            raise self.fails[name.partition]
        self.written.append((name, *said))
        if self.holds:
            self.waiting.append(committed)
        else:
            committed(None)


def context(transactions: Transactions, partitions: int = 3, allowed: bool = True) -> Any:
    topics = {"out": SimpleNamespace(partitions=[None] * partitions)}
    return SimpleNamespace(
        authorize=lambda *what: allowed,
        broker=SimpleNamespace(
            transactions=transactions,
            image=SimpleNamespace(topics=topics),
            transport_clock=ManualClock(),
        ),
    )


def marker(*partitions: int, topic: str = "out") -> WritableTxnMarker:
    return WritableTxnMarker(
        producer_id=100,
        producer_epoch=3,
        transaction_result=True,
        topics=[WritableTxnMarkerTopic(name=topic, partition_indexes=list(partitions))],
        coordinator_epoch=7,
        transaction_version=2,
    )


def codes(response: Any) -> list[list[tuple[int, int]]]:
    return [
        [(row.partition_index, row.error_code) for row in topic.partitions]
        for written in response.markers
        for topic in written.topics
    ]


def asked(transactions: Transactions, *markers: WritableTxnMarker, **options: Any) -> Any:
    request = WriteTxnMarkersRequest(markers=list(markers))
    return codes(asyncio.run(write_txn_markers(context(transactions, **options), request)))


def test_each_partition_has_its_marker_and_its_row() -> None:
    transactions = Transactions()
    assert asked(transactions, marker(0, 2), marker(1)) == [[(0, 0), (2, 0)], [(1, 0)]]
    said = (100, 3, EndTxnMarker(True, 7), 2)
    assert transactions.written == [(TopicPartition("out", n), *said) for n in (0, 2, 1)]


def test_what_is_wrong_with_one_does_not_keep_the_others_back() -> None:
    transactions = Transactions()
    transactions.fails = {
        0: ApiError(ErrorCode.INVALID_PRODUCER_EPOCH),
        1: StorageError("gone"),
    }
    unknown = int(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    assert asked(transactions, marker(0, 1, 2, 3), marker(0, topic="no")) == [
        [
            (0, int(ErrorCode.INVALID_PRODUCER_EPOCH)),
            (1, int(ErrorCode.KAFKA_STORAGE_ERROR)),
            (2, 0),
            (3, unknown),
        ],
        [(0, unknown)],
    ]


def test_all_are_appended_before_a_commit_is_awaited() -> None:
    async def life() -> None:
        transactions = Transactions()
        transactions.holds = True
        request = WriteTxnMarkersRequest(markers=[marker(0, 1, 2)])
        answer = asyncio.create_task(write_txn_markers(context(transactions), request))
        await asyncio.sleep(0)
        assert len(transactions.written) == 3
        assert not answer.done()
        for number, committed in reversed(list(enumerate(transactions.waiting))):
            committed(ApiError(ErrorCode.NOT_LEADER_OR_FOLLOWER) if number == 1 else None)
            committed(None)  # once told, it stays so
        refused = int(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        assert codes(await answer) == [[(0, 0), (1, refused), (2, 0)]]

    asyncio.run(life())


def test_many_are_appended_over_many_turns() -> None:
    async def life() -> None:
        transactions = Transactions()
        request = WriteTxnMarkersRequest(markers=[marker(*range(2_000))])
        answer = asyncio.create_task(
            write_txn_markers(context(transactions, partitions=2_000), request)
        )
        seen = []
        while not answer.done():
            await asyncio.sleep(0)
            seen.append(len(transactions.written))
        assert seen[0] < 2_000
        assert seen[-1] == 2_000
        assert len(codes(answer.result())[0]) == 2_000

    asyncio.run(life())


def test_who_may_not_is_refused() -> None:
    transactions = Transactions()
    with pytest.raises(ApiError) as caught:
        asked(transactions, marker(0), allowed=False)
    assert caught.value.code is ErrorCode.CLUSTER_AUTHORIZATION_FAILED
    assert not transactions.written


def test_producers_of_a_topic_that_is_not_there() -> None:
    request = DescribeProducersRequest(topics=[TopicRequest(name="no", partition_indexes=[0, 1])])
    response = asyncio.run(describe_producers(context(Transactions()), request))
    (topic,) = response.topics
    assert [(row.partition_index, row.error_code) for row in topic.partitions] == [
        (number, int(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)) for number in (0, 1)
    ]
