"""Deleting records waits for the followers whose brokers live."""

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.unit.handlers.parts import Asker, Brokerlet
from tests.unit.replica.parts import among

from ottla.handlers.offsets import delete_records
from ottla.metadata.image import BrokerImage
from ottla.model.errors import ErrorCode
from ottla.wire.generated.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)


class Leader:
    """A leader of five committed records; 2 and 3 follow, and `alive` brokers live."""

    def __init__(self, alive: tuple[int, ...] = (1, 2, 3)) -> None:
        self.broker = Brokerlet()
        self.broker.create("t")
        brokers = {each: BrokerImage(each, 1, None, ()) for each in alive}
        self.broker.image = dataclasses.replace(self.broker.image, brokers=brokers)
        self.partition = self.broker.partition("t")
        self.partition.become_leader(among(1))
        self.broker.append("t", count=5)
        for follower in (2, 3):
            self.fetched(follower, 0)

    def fetched(self, follower: int, start: int) -> None:
        self.partition.follower_fetched(follower, 5, start, 1, 0)

    def delete(self, offset: int, timeout_ms: int = 1_000) -> asyncio.Task[Any]:
        row = DeleteRecordsPartition(partition_index=0, offset=offset)
        request = DeleteRecordsRequest(
            topics=[DeleteRecordsTopic(name="t", partitions=[row])], timeout_ms=timeout_ms
        )
        context: Any = Asker(self.broker, 2)
        return asyncio.get_running_loop().create_task(delete_records(context, request))


async def rest() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def result(task: asyncio.Task[Any]) -> tuple[int, int]:
    row: DeleteRecordsPartitionResult = task.result().topics[0].partitions[0]
    return row.error_code, row.low_watermark


def play(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


def test_the_answer_waits_for_every_replica() -> None:
    async def scenario() -> None:
        leader = Leader()
        task = leader.delete(3)
        await rest()
        assert leader.partition.log.log_start_offset == 3
        leader.fetched(2, 3)
        await rest()
        assert not task.done()
        leader.fetched(3, 4)
        await rest()
        assert result(task) == (0, 3)

    play(scenario)


def test_not_for_those_whose_brokers_are_gone() -> None:
    async def scenario() -> None:
        leader = Leader(alive=(1, 2))
        leader.fetched(2, 3)
        task = leader.delete(3)
        await rest()
        assert result(task) == (0, 3)

    play(scenario)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("time", ErrorCode.REQUEST_TIMED_OUT),
        ("another leader", ErrorCode.NOT_LEADER_OR_FOLLOWER),
    ],
)
def test_who_waits_in_vain_is_told(end: str, code: ErrorCode) -> None:
    async def scenario() -> None:
        leader = Leader()
        task = leader.delete(3, timeout_ms=100)
        await rest()
        if end == "time":
            leader.broker.transport_clock.advance(100)
        else:
            leader.partition.become_follower(among(2, leader=3))
        await rest()
        assert result(task) == (code, -1)

    play(scenario)
