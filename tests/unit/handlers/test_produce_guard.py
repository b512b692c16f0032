"""While the transaction before is being ended, a partition is asked for again, for a while."""

from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.storage.parts import batch

from ottla.coordinator.transaction.settings import TransactionSettings
from ottla.handlers.produce import FIRST_IMPLICIT, Guard
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition
from ottla.testing.loop import VirtualLoop
from ottla.wire.generated.produce import PartitionProduceData, PartitionProduceResponse

TURNS: list[Any] = []
REPLICA: Any = SimpleNamespace(
    name=TopicPartition("out", 0),
    log=SimpleNamespace(
        is_open=True, producers=SimpleNamespace(refused=lambda *turn: TURNS.append(turn))
    ),
)
BATCH = bytes(batch(producer_id=100, producer_epoch=1, base_sequence=0, transactional=True))


class Transactions:
    """A coordinator that says no so many times."""

    def __init__(self, loop: VirtualLoop, codes: list[ErrorCode], backoff_ms: int) -> None:
        self.settings = TransactionSettings(add_partitions_to_txn_retry_backoff_ms=backoff_ms)
        self.asked_ms: list[int] = []
        self._loop = loop
        self._codes = codes

    async def add_partitions(self, *arguments: Any) -> None:
        assert arguments == ("t", (100, 1), [REPLICA.name], 2)
        self.asked_ms.append(round(self._loop.time() * 1_000))
        if self._codes:
            raise ApiError(self._codes.pop(0))

    def check_now(self, *arguments: Any) -> None:
        """It is part of it."""


def admitted(*codes: ErrorCode, backoff_ms: int = 20) -> tuple[list[int], ErrorCode]:
    """When the coordinator was asked, in ms from the first time, and what the producer is told."""
    loop = VirtualLoop()
    transactions = Transactions(loop, list(codes), backoff_ms)
    context: Any = SimpleNamespace(
        broker=SimpleNamespace(transactions=transactions, enlister=None), api_version=FIRST_IMPLICIT
    )
    guard = Guard(context, "t")
    row, data = PartitionProduceResponse(), PartitionProduceData(index=0, records=BATCH)
    try:
        loop.run_until_complete(guard.admit([(row, data, REPLICA)]))
    finally:
        loop.close()
    produced: Any = SimpleNamespace(producer_id=100, producer_epoch=1, base_sequence=0)
    told = ErrorCode.NONE
    try:
        guard.check(REPLICA, produced)
    except ApiError as error:
        told = error.code
    first = transactions.asked_ms[0]
    return [asked - first for asked in transactions.asked_ms], told


CONCURRENT = ErrorCode.CONCURRENT_TRANSACTIONS


def test_who_is_let_in_at_once_does_not_wait() -> None:
    assert admitted() == ([0], ErrorCode.NONE)


def test_the_end_of_the_transaction_before_is_waited_for() -> None:
    assert admitted(CONCURRENT, CONCURRENT) == ([0, 20, 40], ErrorCode.NONE)


def test_not_for_longer_than_the_setting_says() -> None:
    assert admitted(*[CONCURRENT] * 9) == ([0, 20, 40, 60, 80], CONCURRENT)


def test_not_at_all_where_one_wait_is_longer_than_all_of_them_may_be() -> None:
    assert admitted(CONCURRENT, backoff_ms=100) == ([0], CONCURRENT)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (ErrorCode.PRODUCER_FENCED, ErrorCode.INVALID_PRODUCER_EPOCH),
        (ErrorCode.INVALID_PRODUCER_ID_MAPPING, ErrorCode.INVALID_PRODUCER_ID_MAPPING),
        (ErrorCode.NOT_COORDINATOR, ErrorCode.NOT_ENOUGH_REPLICAS),
    ],
)
def test_other_errors_are_told_at_once(code: ErrorCode, told: ErrorCode) -> None:
    assert admitted(code) == ([0], told)


@pytest.mark.parametrize(
    ("code", "waited_for"),
    [
        (ErrorCode.NOT_COORDINATOR, [(100, 1, 0, ErrorCode.NOT_ENOUGH_REPLICAS)]),
        (ErrorCode.NETWORK_EXCEPTION, [(100, 1, 0, ErrorCode.NOT_ENOUGH_REPLICAS)]),
        (ErrorCode.PRODUCER_FENCED, []),
    ],
)
def test_what_is_sent_behind_a_batch_that_is_to_come_again_waits_for_it(
    code: ErrorCode, waited_for: list[Any]
) -> None:
    TURNS.clear()
    admitted(code)
    assert waited_for == TURNS
