"""What a coordinator elsewhere said holds until a marker comes, or the partition's leader changes."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ottla.coordinator.transaction.settings import TransactionSettings
from ottla.handlers.admission import MOST_ASKED, Admission
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition

PRODUCER = (100, 3)


class Watch:
    def __init__(self) -> None:
        self.is_over = False
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class World:
    """A partition, and a coordinator elsewhere that says yes unless it is told otherwise."""

    def __init__(self, *, takes_in: bool = True) -> None:
        self.producers: dict[int, Any] = {}
        self.partition: Any = SimpleNamespace(
            name=TopicPartition("t", 0),
            leader_epoch=5,
            log=SimpleNamespace(is_open=True, producers=SimpleNamespace(producers=self.producers)),
        )
        self.codes: list[ErrorCode] = []
        self.asked = 0
        self.meanwhile: Callable[[], None] = lambda: None
        self.watches: list[Watch] = []
        self.takes_in = takes_in
        context: Any = SimpleNamespace(
            broker=SimpleNamespace(
                enlister=self,
                transactions=SimpleNamespace(
                    settings=TransactionSettings(
                        add_partitions_to_txn_retry_backoff_ms=1,
                        add_partitions_to_txn_retry_backoff_max_ms=3,
                    )
                ),
            )
        )
        self.admission = Admission(context, "id", takes_in=takes_in)

    def is_here(self, transactional_id: str) -> bool:
        return False

    async def ask(
        self, name: str, producer: Any, partitions: Any, *, verify_only: bool
    ) -> dict[TopicPartition, ErrorCode]:
        assert (name, producer, verify_only) == ("id", PRODUCER, not self.takes_in)
        self.asked += 1
        code = self.codes.pop(0) if self.codes else ErrorCode.NONE
        self.meanwhile()
        return dict.fromkeys(partitions, code)

    def watch(self, partition: TopicPartition, producer_id: int) -> Watch:
        self.watches.append(Watch())
        return self.watches[-1]

    def marker(self) -> None:
        self.watches[-1].is_over = True

    def opened(self, epoch: int = PRODUCER[1], first_offset: int = 7) -> None:
        self.producers[PRODUCER[0]] = SimpleNamespace(
            producer_epoch=epoch, transaction_first_offset=first_offset
        )

    def admit(self) -> str:
        """What the request is told."""
        refused = asyncio.run(self.admission.ask(PRODUCER, [self.partition]))
        return next((error.code.name for error in refused.values()), "NONE")

    def check(self) -> str:
        try:
            self.admission.check(self.partition, PRODUCER)
        except ApiError as error:
            return error.code.name
        return "NONE"


@pytest.mark.parametrize("takes_in", [False, True])
def test_who_was_admitted_may_write(takes_in: bool) -> None:
    world = World(takes_in=takes_in)
    assert world.check() == "INVALID_TXN_STATE"
    assert world.admit() == world.check() == "NONE"
    world.admission.close()
    assert all(watch.is_closed for watch in world.watches)


def test_nobody_is_asked_while_the_log_has_the_transaction_open() -> None:
    world = World()
    world.opened()
    assert world.admit() == world.check() == "NONE"
    assert world.asked == 0
    world.opened(first_offset=-1)
    assert world.check() == "INVALID_TXN_STATE"
    world.opened(epoch=PRODUCER[1] - 1)
    assert world.admit() == "NONE"
    assert world.asked == 1


def test_nothing_is_written_behind_a_marker_that_came_after_the_answer() -> None:
    world = World()
    assert world.admit() == "NONE"
    world.marker()
    assert world.check() == "INVALID_TXN_STATE"
    world.opened(epoch=PRODUCER[1] + 1, first_offset=-1)
    assert world.check() == "PRODUCER_FENCED"


def test_what_was_admitted_under_another_leadership_counts_no_more() -> None:
    world = World()
    assert world.admit() == "NONE"
    world.partition.leader_epoch += 1
    assert world.check() == "INVALID_TXN_STATE"


def test_a_marker_that_comes_before_the_answer_has_the_coordinator_asked_again() -> None:
    world = World()
    world.meanwhile = lambda: world.marker() if world.asked == 1 else None
    assert world.admit() == world.check() == "NONE"
    assert world.asked == 2
    world = World()
    world.codes = [ErrorCode.NONE, ErrorCode.TRANSACTION_ABORTABLE]
    world.meanwhile = lambda: world.marker() if world.asked == 1 else None
    assert world.admit() == "TRANSACTION_ABORTABLE"
    world = World()
    world.meanwhile = lambda: world.marker()
    assert world.admit() == "NONE"
    assert world.asked == MOST_ASKED
    assert world.check() == "INVALID_TXN_STATE"


def test_who_is_refused_and_asks_again_is_admitted_by_a_yes_alone() -> None:
    world = World()
    world.codes = [ErrorCode.CONCURRENT_TRANSACTIONS] * 3
    assert world.admit() == "CONCURRENT_TRANSACTIONS"
    assert world.asked == 3
    assert world.check() == "INVALID_TXN_STATE"
    assert all(watch.is_closed for watch in world.watches)


@pytest.mark.parametrize(
    "code", [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.OPERATION_NOT_ATTEMPTED]
)
def test_a_coordinator_that_has_not_heard_of_the_partition_is_asked_later(code: ErrorCode) -> None:
    world = World()
    world.codes = [code]
    assert world.admit() == "COORDINATOR_NOT_AVAILABLE"


def test_the_log_is_not_opened_for_it() -> None:
    world = World()
    world.partition.log = SimpleNamespace(is_open=False)
    assert world.check() == "INVALID_TXN_STATE"
    assert world.admit() == world.check() == "NONE"
