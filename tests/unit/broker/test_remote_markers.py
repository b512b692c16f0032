"""Markers for other brokers: batched, refused where they cannot be sent, unwanted ones left out."""

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

from ottla.broker.remote_markers import RemoteMarker, RemoteMarkers
from ottla.model.errors import ApiError, PeerError
from ottla.model.ids import TopicPartition
from ottla.record.control import EndTxnMarker
from ottla.wire.generated.write_txn_markers import (
    WritableTxnMarkerPartitionResult,
    WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult,
    WriteTxnMarkersResponse,
)


class Broker:
    """The links, and the broker at their end: each request waits for `go`."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.codes: dict[int, int] = {}
        self.missing = 0
        self.is_there = True
        self.go = asyncio.Event()
        self.go.set()
        self.is_closed = False
        self.heard: dict[int, str] = {}
        self.unwanted: set[int] = set()
        self.markers = RemoteMarkers(self, lambda: 1_000)  # type: ignore[arg-type]

    async def link(self, broker_id: int) -> "Broker":
        if not self.is_there:
            raise PeerError("nobody")
        return self

    async def request(self, request: Any, *, timeout_ms: int) -> WriteTxnMarkersResponse:
        self.asked.append(request)
        await self.go.wait()
        rows = []
        for asked in request.markers:
            (topic,) = asked.topics
            (number,) = topic.partition_indexes
            part = WritableTxnMarkerPartitionResult(
                partition_index=number, error_code=self.codes.get(number, 0)
            )
            name = WritableTxnMarkerTopicResult(name=topic.name, partitions=[part])
            rows.append(WritableTxnMarkerResult(producer_id=asked.producer_id, topics=[name]))
        return WriteTxnMarkersResponse(markers=rows[: len(rows) - self.missing])

    def close(self) -> None:
        self.is_closed = True

    def write(self, number: int) -> None:
        def committed(error: ApiError | None) -> None:
            assert number not in self.heard, "told twice"
            self.heard[number] = "NONE" if error is None else error.code.name

        self.markers.write(
            2,
            RemoteMarker(
                TopicPartition("t", number),
                100,
                3,
                EndTxnMarker(True, 7),
                2,
                lambda: number not in self.unwanted,
                committed,
            ),
        )

    def sizes(self) -> list[int]:
        return [len(request.markers) for request in self.asked]


def image_of(*brokers: int) -> Any:
    return SimpleNamespace(brokers=dict.fromkeys(brokers))


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def run(life: Callable[[Broker], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await life(Broker())

    asyncio.run(main())


def test_what_comes_while_a_request_is_under_way_goes_together_in_the_next() -> None:
    async def life(broker: Broker) -> None:
        broker.go.clear()
        broker.write(0)
        await turns()
        for number in range(1, 5):
            broker.write(number)
        await turns()
        assert broker.sizes() == [1]
        broker.go.set()
        await turns()
        assert broker.sizes() == [1, 4]
        assert broker.heard == dict.fromkeys(range(5), "NONE")
        row = broker.asked[0].markers[0]
        assert (row.producer_id, row.producer_epoch, row.transaction_result) == (100, 3, True)
        assert (row.coordinator_epoch, row.transaction_version) == (7, 2)

    run(life)


def test_each_hears_of_its_own_error_and_a_missing_row_is_one() -> None:
    async def life(broker: Broker) -> None:
        broker.codes = {0: 6}
        broker.missing = 1
        for number in range(3):
            broker.write(number)
        await turns()
        assert broker.heard == {0: "NOT_LEADER_OR_FOLLOWER", 1: "NONE", 2: "UNKNOWN_SERVER_ERROR"}

    run(life)


def test_a_broker_that_is_not_there_is_said_and_asked_again_later() -> None:
    async def life(broker: Broker) -> None:
        broker.is_there = False
        broker.write(0)
        await turns()
        assert broker.heard == {0: "NETWORK_EXCEPTION"}
        broker.is_there = True
        broker.write(1)
        await turns()
        assert broker.heard[1] == "NONE"

    run(life)


def test_a_coordinator_that_was_deposed_meanwhile_sends_nothing_more() -> None:
    async def life(broker: Broker) -> None:
        broker.go.clear()
        broker.write(0)
        await turns()
        broker.write(1)
        broker.write(2)
        broker.unwanted = {1}
        broker.go.set()
        await turns()
        assert broker.sizes() == [1, 1]
        assert broker.heard == {0: "NONE", 1: "NOT_COORDINATOR", 2: "NONE"}

    run(life)


def test_nobody_hears_anything_after_the_end() -> None:
    async def life(broker: Broker) -> None:
        broker.go.clear()
        broker.write(0)
        await turns()
        broker.write(1)
        broker.markers.close()
        broker.go.set()
        await turns()
        assert broker.is_closed
        assert broker.heard == {}
        assert broker.sizes() == [1]

    run(life)


def test_a_broker_that_the_cluster_takes_for_dead_is_not_waited_for() -> None:
    async def life(broker: Broker) -> None:
        broker.go.clear()
        broker.write(0)
        await turns()
        broker.write(1)
        broker.markers.follow(image_of(2))
        await turns()
        assert broker.heard == {}
        broker.markers.follow(image_of(1, 3))
        await turns()
        assert broker.heard == dict.fromkeys(range(2), "NETWORK_EXCEPTION")
        broker.go.set()
        broker.write(2)
        await turns()
        assert broker.heard[2] == "NONE"

    run(life)


def test_a_broker_that_dies_in_the_turn_in_which_it_is_to_be_asked_is_asked_when_it_is_back() -> (
    None
):
    async def life(broker: Broker) -> None:
        broker.write(0)
        broker.markers.follow(image_of(1, 3))
        await turns()
        assert broker.heard == {0: "NETWORK_EXCEPTION"}
        broker.write(1)
        await turns()
        assert broker.heard[1] == "NONE"

    run(life)


def test_what_is_coordinated_elsewhere_by_now_leaves_the_queue() -> None:
    async def life(broker: Broker) -> None:
        broker.go.clear()
        for number in range(3):
            broker.write(number)
            await turns()
        broker.unwanted = {1}
        broker.markers.drop_unwanted()
        assert broker.heard == {1: "NOT_COORDINATOR"}
        broker.go.set()
        await turns()
        assert broker.sizes() == [1, 1]
        assert broker.heard == {0: "NONE", 1: "NOT_COORDINATOR", 2: "NONE"}

    run(life)
