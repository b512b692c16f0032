"""TxnOffsetCommit: what the transaction must say before the group is asked, and what clients hear."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ottla.coordinator.transaction.settings import TransactionSettings
from ottla.handlers.txn_offsets import txn_offset_commit
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition
from ottla.model.names import CONSUMER_OFFSETS
from ottla.wire.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from ottla.wire.generated.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)

OFFSETS = TopicPartition(CONSUMER_OFFSETS, 4)
PRODUCER = (100, 3)


class World:
    """Coordinators that say yes, unless told otherwise."""

    def __init__(self, *, verifies: bool = True) -> None:
        self.settings = TransactionSettings(transaction_partition_verification_enable=verifies)
        self.asked: list[str] = []
        self.refuses: ErrorCode | None = None
        self.is_over = False
        self.committed: list[OffsetCommitRequest] = []
        self.internal = [CONSUMER_OFFSETS]
        self.denied: tuple[str, ...] = ()
        self.replica: Any = SimpleNamespace(name=OFFSETS, is_leader=True)

    async def add_partitions(self, *arguments: Any) -> None:
        self.asked.append("add")
        assert arguments == ("t", PRODUCER, [OFFSETS], 2)
        self._answer()

    async def verify(self, *arguments: Any) -> None:
        self.asked.append("verify")
        assert arguments == ("t", PRODUCER, OFFSETS)
        self._answer()

    def check_now(self, *arguments: Any) -> None:
        self.asked.append("check")
        assert arguments == ("t", PRODUCER, OFFSETS)
        if self.is_over:
            raise ApiError(ErrorCode.CONCURRENT_TRANSACTIONS)

    def _answer(self) -> None:
        if self.refuses is not None:
            raise ApiError(self.refuses)

    def partition_for(self, group: str) -> int:
        return OFFSETS.partition

    async def commit_in_transaction(
        self,
        request: OffsetCommitRequest,
        caller: Any,
        producer: tuple[int, int],
        check: Callable[[], None],
    ) -> OffsetCommitResponse:
        check()
        assert producer == PRODUCER
        self.committed.append(request)
        return OffsetCommitResponse(
            topics=[
                OffsetCommitResponseTopic(
                    name=topic.name,
                    partitions=[
                        OffsetCommitResponsePartition(partition_index=part.partition_index)
                        for part in topic.partitions
                    ],
                )
                for topic in request.topics
            ]
        )

    def commit(
        self, version: int, *places: tuple[str, int], **fields: Any
    ) -> list[tuple[str, int, int]]:
        """(topic, partition, code) of each row of the answer."""
        topics = {"in": SimpleNamespace(topic_id=bytes(16), partitions=[None, None])}
        context: Any = SimpleNamespace(
            api_version=version,
            client_id="c",
            client_host="h",
            authorize=lambda operation, kind, name: name not in self.denied,
            broker=SimpleNamespace(
                transactions=self,
                enlister=None,
                groups=self,
                replicas=SimpleNamespace(find_by_name=lambda *name: self.replica),
                image=SimpleNamespace(topics=topics | dict.fromkeys(self.internal)),
            ),
        )
        request = TxnOffsetCommitRequest(
            transactional_id=fields.pop("transactional_id", "t"),
            group_id=fields.pop("group_id", "g"),
            producer_id=PRODUCER[0],
            producer_epoch=PRODUCER[1],
            topics=[
                TxnOffsetCommitRequestTopic(
                    name=topic,
                    partitions=[
                        TxnOffsetCommitRequestPartition(partition_index=number, committed_offset=7)
                    ],
                )
                for topic, number in places or (("in", 0),)
            ],
        )
        response = asyncio.run(txn_offset_commit(context, request))
        return [
            (topic.name, part.partition_index, part.error_code)
            for topic in response.topics
            for part in topic.partitions
        ]


@pytest.mark.parametrize(("version", "asked"), [(3, ["verify"]), (4, ["verify"]), (5, ["add"])])
def test_the_transaction_is_asked_before_and_in_the_turn_of_the_append(
    version: int, asked: list[str]
) -> None:
    world = World()
    assert world.commit(version) == [("in", 0, 0)]
    assert world.asked == [*asked, "check"]
    (request,) = world.committed
    assert request.topics[0].partitions[0].committed_offset == 7


def test_where_verification_is_off_older_versions_are_let_in() -> None:
    world = World(verifies=False)
    assert world.commit(4) == [("in", 0, 0)]
    assert world.asked == []
    assert world.commit(5) == [("in", 0, 0)]
    assert world.asked == ["add", "check"]


@pytest.mark.parametrize("replica", [None, SimpleNamespace(name=OFFSETS, is_leader=False)])
def test_who_does_not_coordinate_the_group_asks_nobody(replica: Any) -> None:
    world = World()
    world.replica = replica
    assert world.commit(5) == [("in", 0, ErrorCode.NOT_COORDINATOR)]
    assert world.asked == []


def test_nothing_is_committed_behind_the_marker() -> None:
    world = World()
    world.is_over = True
    assert world.commit(5) == [("in", 0, ErrorCode.CONCURRENT_TRANSACTIONS)]
    assert not world.committed


@pytest.mark.parametrize(
    ("code", "version", "told"),
    [
        (ErrorCode.PRODUCER_FENCED, 5, ErrorCode.INVALID_PRODUCER_EPOCH),
        (ErrorCode.TRANSACTION_ABORTABLE, 3, ErrorCode.INVALID_TXN_STATE),
        (ErrorCode.TRANSACTION_ABORTABLE, 4, ErrorCode.TRANSACTION_ABORTABLE),
        (ErrorCode.CONCURRENT_TRANSACTIONS, 4, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS),
        (ErrorCode.CONCURRENT_TRANSACTIONS, 5, ErrorCode.CONCURRENT_TRANSACTIONS),
        (ErrorCode.NOT_COORDINATOR, 5, ErrorCode.NOT_COORDINATOR),
        (ErrorCode.NETWORK_EXCEPTION, 5, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS),
    ],
)
def test_clients_are_told_in_the_words_of_their_version(
    code: ErrorCode, version: int, told: ErrorCode
) -> None:
    world = World()
    world.refuses = code
    assert world.commit(version) == [("in", 0, told)]
    assert not world.committed


def test_what_is_not_there_does_not_keep_the_others_back() -> None:
    world = World()
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert world.commit(5, ("in", 0), ("no", 0), ("in", 2)) == [
        ("in", 0, 0),
        ("no", 0, unknown),
        ("in", 2, unknown),
    ]
    assert world.asked == ["add", "check"]


def test_where_nothing_is_there_nobody_is_asked() -> None:
    world = World()
    world.commit(5, ("no", 0))
    assert world.asked == []


@pytest.mark.parametrize(
    ("denied", "fields", "told"),
    [
        (("t",), {}, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        (("g",), {}, ErrorCode.GROUP_AUTHORIZATION_FAILED),
        (("in",), {}, ErrorCode.TOPIC_AUTHORIZATION_FAILED),
        ((), {"transactional_id": ""}, ErrorCode.INVALID_REQUEST),
        ((), {"group_id": ""}, ErrorCode.INVALID_GROUP_ID),
    ],
)
def test_who_may_not_is_refused(
    denied: tuple[str, ...], fields: dict[str, str], told: ErrorCode
) -> None:
    world = World()
    world.denied = denied
    assert world.commit(5, **fields) == [("in", 0, told)]
    assert not world.committed


def test_before_there_are_offsets_nobody_coordinates() -> None:
    world = World()
    world.internal = []
    assert world.commit(5) == [("in", 0, ErrorCode.NOT_COORDINATOR)]
