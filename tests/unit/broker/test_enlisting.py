"""Questions to coordinators elsewhere: batched, each with an answer of its own, and watches."""

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

from ottla.broker.enlisting import Enlisting
from ottla.coordinator.routing import partition_for
from ottla.model.errors import ErrorCode, PeerError
from ottla.model.ids import NO_BROKER, TopicPartition
from ottla.model.names import TRANSACTION_STATE
from ottla.wire.generated.add_partitions_to_txn import (
    AddPartitionsToTxnPartitionResult,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult,
    AddPartitionsToTxnTopicResult,
)

P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)
ME, OTHER = 1, 2


class World:
    """The links, and the coordinator at their end, which answers after `go`."""

    def __init__(self) -> None:
        self.asked: list[AddPartitionsToTxnRequest] = []
        self.codes: dict[str, ErrorCode] = {}
        self.silent: set[str] = set()
        self.error_code = 0
        self.is_there = True
        self.breaks = False
        self.leader = OTHER
        self.go = asyncio.Event()
        self.go.set()
        self.enlisting = Enlisting(ME, self, self.image, lambda: 1_000)  # type: ignore[arg-type]

    def image(self) -> Any:
        led = SimpleNamespace(partitions=[SimpleNamespace(leader=self.leader)] * 4)
        topics = {} if self.leader == -2 else {TRANSACTION_STATE: led}
        return SimpleNamespace(topics=topics, brokers={ME: None, OTHER: None})

    async def link(self, broker_id: int) -> "World":
        assert broker_id == OTHER
        if not self.is_there:
            raise PeerError("nobody")
        return self

    async def request(
        self, request: AddPartitionsToTxnRequest, *, timeout_ms: int
    ) -> AddPartitionsToTxnResponse:
        self.asked.append(request)
        await self.go.wait()
        if self.breaks:
            raise PeerError("broken")
        response = AddPartitionsToTxnResponse(error_code=self.error_code)
        for asked in request.transactions:
            if asked.transactional_id in self.silent:
                continue
            code = self.codes.get(asked.transactional_id, ErrorCode.NONE)
            topics = [
                AddPartitionsToTxnTopicResult(
                    name=topic.name,
                    results_by_partition=[
                        AddPartitionsToTxnPartitionResult(
                            partition_index=number, partition_error_code=code
                        )
                        for number in topic.partitions
                    ],
                )
                for topic in asked.topics
            ]
            response.results_by_transaction.append(
                AddPartitionsToTxnResult(
                    transactional_id=asked.transactional_id, topic_results=topics
                )
            )
        return response

    def close(self) -> None:
        """Links are closed."""

    def ask(self, name: str, *partitions: TopicPartition, verify_only: bool = False) -> Any:
        return asyncio.create_task(self._ask(name, partitions, verify_only))

    async def _ask(
        self, name: str, partitions: tuple[TopicPartition, ...], verify_only: bool
    ) -> list[str]:
        codes = await self.enlisting.ask(name, (100, 3), partitions, verify_only=verify_only)
        assert tuple(codes) == partitions
        return [code.name for code in codes.values()]

    def names(self) -> list[list[str]]:
        return [[each.transactional_id for each in request.transactions] for request in self.asked]


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def run(life: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await life(World())

    asyncio.run(main())


def test_what_is_asked_while_a_request_is_under_way_goes_together_in_the_next() -> None:
    async def life(world: World) -> None:
        world.go.clear()
        world.codes = {"c": ErrorCode.CONCURRENT_TRANSACTIONS}
        first = world.ask("a", P0, P1)
        await turns()
        # A request names an id once: its answer is found by the id.
        others = [world.ask(name, P0, verify_only=True) for name in ("b", "c", "b")]
        await turns()
        world.go.set()
        assert await first == ["NONE", "NONE"]
        assert [await each for each in others] == [["NONE"], ["CONCURRENT_TRANSACTIONS"], ["NONE"]]
        assert world.names() == [["a"], ["b", "c"], ["b"]]
        (row,) = world.asked[0].transactions
        assert (row.producer_id, row.producer_epoch, row.verify_only) == (100, 3, False)
        assert [(topic.name, topic.partitions) for topic in row.topics] == [("t", [0, 1])]
        assert world.asked[1].transactions[0].verify_only

    run(life)


def test_who_gets_no_answer_is_told_so() -> None:
    async def life(world: World) -> None:
        world.silent = {"a"}
        assert await world.ask("a", P0) == ["UNKNOWN_SERVER_ERROR"]
        world.error_code = ErrorCode.CLUSTER_AUTHORIZATION_FAILED
        assert await world.ask("b", P0) == ["INVALID_TXN_STATE"]
        world.breaks = True
        assert await world.ask("a", P0) == ["NETWORK_EXCEPTION"]
        world.is_there = False
        assert await world.ask("a", P0, P1) == ["NETWORK_EXCEPTION"] * 2

    run(life)


def test_a_coordinator_that_is_not_known_or_is_here_is_not_asked() -> None:
    async def life(world: World) -> None:
        for world.leader, told in (
            (NO_BROKER, "COORDINATOR_NOT_AVAILABLE"),
            (-2, "COORDINATOR_NOT_AVAILABLE"),
            (ME, "NOT_COORDINATOR"),
        ):
            assert await world.ask("a", P0) == [told]
            assert world.enlisting.is_here("a") is (world.leader == ME)
        assert world.asked == []

    run(life)


def test_the_coordinator_is_who_leads_the_ids_partition() -> None:
    async def life(world: World) -> None:
        image = world.image()
        number = partition_for("a", 4)
        image.topics[TRANSACTION_STATE].partitions = [
            SimpleNamespace(leader=ME if n == number else OTHER) for n in range(4)
        ]
        world.enlisting._image = lambda: image
        assert world.enlisting.is_here("a")

    run(life)


def test_a_dead_coordinator_and_our_own_end_are_not_waited_for() -> None:
    async def life(world: World) -> None:
        world.go.clear()
        asked = [world.ask("a", P0), world.ask("a", P0)]
        await turns()
        world.enlisting.follow(world.image())
        await turns()
        assert not any(each.done() for each in asked)
        world.enlisting.follow(SimpleNamespace(brokers={ME: None}))  # type: ignore[arg-type]
        await turns()
        assert [await each for each in asked] == [["NETWORK_EXCEPTION"]] * 2
        left = world.ask("a", P0)
        await turns()
        world.enlisting.close()
        assert await left == ["NETWORK_EXCEPTION"]
        assert await world.ask("a", P0) == ["NETWORK_EXCEPTION"]

    run(life)


def test_a_watch_sees_the_markers_of_its_producer_and_partition() -> None:
    async def life(world: World) -> None:
        enlisting = world.enlisting
        watches = [enlisting.watch(P0, 100), enlisting.watch(P0, 100), enlisting.watch(P1, 100)]
        watches[0].close()
        enlisting.marked(P0, 200)
        assert not any(watch.is_over for watch in watches)
        enlisting.marked(P0, 100)
        assert [watch.is_over for watch in watches] == [False, True, False]
        for watch in watches:
            watch.close()
            watch.close()
        assert enlisting._watches == {}

    run(life)
