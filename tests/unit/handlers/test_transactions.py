"""What handlers make of what the transaction coordinator says, and of what clients ask."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from ottla.coordinator.transaction.state import (
    COMPLETE_COMMIT,
    EMPTY,
    ONGOING,
    Transaction,
    TxnState,
)
from ottla.handlers.transactions import (
    add_partitions_to_txn,
    describe_transactions,
    end_txn,
    list_transactions,
)
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition
from ottla.testing.clock import ManualClock
from ottla.wire.generated.add_partitions_to_txn import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTransaction,
)
from ottla.wire.generated.describe_transactions import DescribeTransactionsRequest
from ottla.wire.generated.end_txn import EndTxnRequest
from ottla.wire.generated.list_transactions import ListTransactionsRequest

MINUTE_MS = 60_000
FENCED, OLD_EPOCH = ErrorCode.PRODUCER_FENCED, ErrorCode.INVALID_PRODUCER_EPOCH


class Transactions:
    """A coordinator that knows what it was given; `refuses` is what it says to changes."""

    def __init__(self, *known: Transaction) -> None:
        self.known = {each.transactional_id: each for each in known}
        self.refuses: ErrorCode | None = None
        self.added: list[tuple[Any, ...]] = []
        self.loading = False

    async def add_partitions(self, *arguments: Any) -> None:
        if self.refuses is not None:
            raise ApiError(self.refuses)
        self.added.append(arguments)

    async def verify(self, transactional_id: str, producer: Any, name: TopicPartition) -> None:
        if name not in self.known[transactional_id].partitions:
            raise ApiError(ErrorCode.TRANSACTION_ABORTABLE)

    async def end(self, *arguments: Any) -> tuple[int, int]:
        if self.refuses is not None:
            raise ApiError(self.refuses)
        return 100, 4

    async def describe(self, transactional_id: str) -> Transaction:
        if transactional_id not in self.known:
            raise ApiError(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND)
        return self.known[transactional_id]

    async def list(self) -> list[Transaction]:
        if self.loading:
            raise ApiError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        return list(self.known.values())


CLOCK = ManualClock()


def known(
    name: str, state: TxnState = ONGOING, producer_id: int = 100, began_ms: int = 0
) -> Transaction:
    places = frozenset({TopicPartition("out", 1), TopicPartition("out", 0)})
    return Transaction(
        name,
        producer_id,
        3,
        MINUTE_MS,
        state,
        places if state is ONGOING else frozenset(),
        0,
        CLOCK.now_ms() - began_ms,
    )


def context(transactions: Transactions, version: int = 5, denied: tuple[str, ...] = ()) -> Any:
    topics = {"out": SimpleNamespace(partitions=[None, None])}
    return SimpleNamespace(
        api_version=version,
        authorize=lambda operation, kind, name: name not in denied,
        broker=SimpleNamespace(
            transactions=transactions,
            image=SimpleNamespace(topics=topics),
            clock=CLOCK,
            transport_clock=ManualClock(),
        ),
    )


# Listing


def listed(transactions: Transactions, denied: tuple[str, ...] = (), **asked: Any) -> list[str]:
    request = ListTransactionsRequest(**asked)
    response = asyncio.run(list_transactions(context(transactions, 2, denied), request))
    assert response.error_code == 0
    return [row.transactional_id for row in response.transaction_states]


THREE = (
    known("orders-1", began_ms=5_000),
    known("orders-2", COMPLETE_COMMIT, 200, began_ms=9_000),
    known("rides-1", EMPTY, 300),
)


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, ["orders-1", "orders-2", "rides-1"]),
        ({"state_filters": ["Ongoing", "Empty"]}, ["orders-1", "rides-1"]),
        ({"state_filters": ["Sleeping"]}, []),
        ({"producer_id_filters": [200, 300]}, ["orders-2", "rides-1"]),
        ({"duration_filter": 4_999}, ["orders-1"]),
        ({"duration_filter": 5_000}, []),
        ({"transactional_id_pattern": "orders-.*"}, ["orders-1", "orders-2"]),
        ({"transactional_id_pattern": "orders"}, []),
        ({"transactional_id_pattern": ""}, ["orders-1", "orders-2", "rides-1"]),
        ({"transactional_id_pattern": ".*1", "state_filters": ["Empty"]}, ["rides-1"]),
    ],
)
def test_only_what_passes_every_filter_is_listed(asked: dict[str, Any], names: list[str]) -> None:
    assert listed(Transactions(*THREE), **asked) == names


def test_what_one_may_not_describe_is_not_listed() -> None:
    assert listed(Transactions(*THREE), denied=("orders-1",)) == ["orders-2", "rides-1"]


def test_a_pattern_that_is_none_and_a_shard_that_loads_are_errors() -> None:
    transactions = Transactions(*THREE)
    request = ListTransactionsRequest(transactional_id_pattern="(")
    response = asyncio.run(list_transactions(context(transactions), request))
    assert response.error_code == ErrorCode.INVALID_REGULAR_EXPRESSION
    transactions.loading = True
    response = asyncio.run(list_transactions(context(transactions), ListTransactionsRequest()))
    assert response.error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS


def test_states_that_do_not_exist_are_named() -> None:
    request = ListTransactionsRequest(state_filters=["Ongoing", "Sleeping"])
    response = asyncio.run(list_transactions(context(Transactions(*THREE)), request))
    assert response.unknown_state_filters == ["Sleeping"]


def test_many_are_listed_over_many_turns() -> None:
    async def life() -> None:
        many = [known(f"t{number}") for number in range(2_000)]
        request = ListTransactionsRequest(transactional_id_pattern="t.*")
        turns = 0
        answer = asyncio.create_task(list_transactions(context(Transactions(*many)), request))
        while not answer.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 3
        assert len(answer.result().transaction_states) == 2_000

    asyncio.run(life())


# Describing


def test_descriptions_come_in_the_order_asked_for_each_with_its_own_error() -> None:
    request = DescribeTransactionsRequest(transactional_ids=["no", "orders-1", "", "rides-1"])
    asked = context(Transactions(*THREE), denied=("rides-1",))
    rows = asyncio.run(describe_transactions(asked, request)).transaction_states
    assert [(row.transactional_id, row.error_code) for row in rows] == [
        ("no", ErrorCode.TRANSACTIONAL_ID_NOT_FOUND),
        ("orders-1", ErrorCode.NONE),
        ("", ErrorCode.INVALID_REQUEST),
        ("rides-1", ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
    ]
    found = rows[1]
    assert (found.transaction_state, found.producer_id, found.producer_epoch) == ("Ongoing", 100, 3)
    assert [(topic.topic, topic.partitions) for topic in found.topics] == [("out", [0, 1])]


# Changes


def added(
    transactions: Transactions, *partitions: int, version: int, verify: bool = False
) -> list[tuple[int, int]]:
    topics = [AddPartitionsToTxnTopic(name="out", partitions=list(partitions))]
    if version >= 4:
        asked = AddPartitionsToTxnTransaction(
            transactional_id="t",
            producer_id=100,
            producer_epoch=3,
            verify_only=verify,
            topics=topics,
        )
        request = AddPartitionsToTxnRequest(transactions=[asked])
        response = asyncio.run(add_partitions_to_txn(context(transactions, version), request))
        results = response.results_by_transaction[0].topic_results
    else:
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id="t",
            v3_and_below_producer_id=100,
            v3_and_below_producer_epoch=3,
            v3_and_below_topics=topics,
        )
        response = asyncio.run(add_partitions_to_txn(context(transactions, version), request))
        results = response.results_by_topic_v3_and_below
    return [
        (row.partition_index, row.partition_error_code)
        for topic in results
        for row in topic.results_by_partition
    ]


@pytest.mark.parametrize(("version", "transaction_version"), [(3, 0), (5, 2)])
def test_partitions_are_added_for_the_clients_transaction_version(
    version: int, transaction_version: int
) -> None:
    transactions = Transactions()
    assert added(transactions, 0, 1, version=version) == [(0, 0), (1, 0)]
    places = [TopicPartition("out", 0), TopicPartition("out", 1)]
    assert transactions.added == [("t", (100, 3), places, transaction_version)]


def test_where_one_partition_is_not_there_none_is_added() -> None:
    transactions = Transactions()
    assert added(transactions, 0, 9, version=3) == [
        (0, ErrorCode.OPERATION_NOT_ATTEMPTED),
        (9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]
    assert not transactions.added


def test_verifying_says_of_each_partition_whether_it_belongs() -> None:
    part = known("t")._replace(partitions=frozenset({TopicPartition("out", 1)}))
    assert added(Transactions(part), 0, 1, version=5, verify=True) == [
        (0, ErrorCode.TRANSACTION_ABORTABLE),
        (1, ErrorCode.NONE),
    ]


@pytest.mark.parametrize("verify", [False, True])
def test_many_partitions_are_answered_over_many_turns(verify: bool) -> None:
    async def life() -> None:
        count = 2_000
        places = frozenset(TopicPartition("out", number) for number in range(count))
        asked = context(Transactions(known("t")._replace(partitions=places)), 5)
        asked.broker.image.topics["out"].partitions = [None] * count
        transaction = AddPartitionsToTxnTransaction(
            transactional_id="t",
            producer_id=100,
            producer_epoch=3,
            verify_only=verify,
            topics=[AddPartitionsToTxnTopic(name="out", partitions=list(range(count)))],
        )
        request = AddPartitionsToTxnRequest(transactions=[transaction])
        turns = 0
        answer = asyncio.create_task(add_partitions_to_txn(asked, request))
        while not answer.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > (10 if verify else 6)
        (result,) = answer.result().results_by_transaction
        rows = result.topic_results[0].results_by_partition
        assert [row.partition_index for row in rows] == list(range(count))
        assert {row.partition_error_code for row in rows} == {ErrorCode.NONE}

    asyncio.run(life())


@pytest.mark.parametrize(("version", "told"), [(1, OLD_EPOCH), (2, FENCED), (5, FENCED)])
def test_who_is_fenced_is_told_so_in_the_words_of_the_version(
    version: int, told: ErrorCode
) -> None:
    transactions = Transactions()
    transactions.refuses = FENCED
    assert added(transactions, 0, version=version) == [(0, told)]
    request = EndTxnRequest(transactional_id="t", producer_id=100, producer_epoch=3, committed=True)
    response = asyncio.run(end_txn(context(transactions, version), request))
    assert response.error_code == told


@pytest.mark.parametrize(("version", "producer"), [(4, (-1, -1)), (5, (100, 4))])
def test_from_version_5_on_the_end_tells_the_next_epoch(
    version: int, producer: tuple[int, int]
) -> None:
    request = EndTxnRequest(transactional_id="t", producer_id=100, producer_epoch=3, committed=True)
    response = asyncio.run(end_txn(context(Transactions(), version), request))
    assert response.error_code == 0
    assert (response.producer_id, response.producer_epoch) == producer
