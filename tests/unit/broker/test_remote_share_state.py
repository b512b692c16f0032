"""The state of share partitions elsewhere: asked for together, each answer to who asked for it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ottla.broker.remote_share_state import AT_ONCE, DELETE, WRITE, RemoteShareState
from ottla.coordinator.share.records import ShareKey
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.wire.generated import delete_share_group_state, write_share_group_state


class Broker:
    """The links, and the broker at their end: each request waits for `go`."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.codes: dict[int, int] = {}
        self.missing: set[int] = set()
        self.is_there = True
        self.go = asyncio.Event()
        self.go.set()
        self.state = RemoteShareState(self, lambda: 1_000)  # type: ignore[arg-type]

    async def link(self, broker_id: int) -> "Broker":
        if not self.is_there:
            raise PeerError("nobody")
        return self

    async def request(self, request: Any, *, timeout_ms: int) -> Any:
        self.asked.append(request)
        await self.go.wait()
        module = write_share_group_state
        results = [
            module.WriteStateResult(
                topic_id=topic.topic_id,
                partitions=[
                    module.PartitionResult(
                        partition=row.partition,
                        error_code=self.codes.get(row.partition, 0),
                        error_message="why",
                    )
                    for row in reversed(topic.partitions)
                    if row.partition not in self.missing
                ],
            )
            for topic in request.topics
        ]
        return module.WriteShareGroupStateResponse(results=results)

    def close(self) -> None:
        pass

    def write(self, number: int, group_id: str = "g", topic: bytes = b"t") -> Any:
        key = ShareKey(group_id, topic * 16, number)
        row = write_share_group_state.PartitionData(partition=number)
        return asyncio.create_task(self.state.ask(2, WRITE, key, row))


def play(scenario: Callable[[Broker], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        await scenario(Broker())

    asyncio.run(run())


async def turns() -> None:
    for _ in range(9):
        await asyncio.sleep(0)


def test_what_is_asked_for_meanwhile_goes_together() -> None:
    async def scenario(broker: Broker) -> None:
        broker.go.clear()
        first = broker.write(0)
        await turns()
        rest = [broker.write(n, topic=t) for n in (1, 2) for t in (b"t", b"u")]
        await turns()
        assert len(broker.asked) == 1
        broker.go.set()
        assert [(await each).partition for each in (first, *rest)] == [0, 1, 1, 2, 2]
        assert [len(topic.partitions) for topic in broker.asked[1].topics] == [2, 2]
        assert len(broker.asked) == 2

    play(scenario)


def test_groups_and_kinds_do_not_wait_for_each_other() -> None:
    async def scenario(broker: Broker) -> None:
        broker.go.clear()
        key = ShareKey("g", b"t" * 16, 1)
        row = delete_share_group_state.PartitionData(partition=1)
        tasks = [broker.write(0), broker.write(0, "h")]
        tasks.append(asyncio.create_task(broker.state.ask(2, DELETE, key, row)))
        await turns()
        assert len(broker.asked) == 3
        broker.go.set()
        await asyncio.gather(*tasks)

    play(scenario)


def test_a_request_is_bounded() -> None:
    async def scenario(broker: Broker) -> None:
        await asyncio.gather(*(broker.write(number) for number in range(AT_ONCE + 1)))
        assert [len(each.topics[0].partitions) for each in broker.asked] == [AT_ONCE, 1]

    play(scenario)


def test_each_hears_its_own_error() -> None:
    async def scenario(broker: Broker) -> None:
        broker.codes[1] = ErrorCode.FENCED_STATE_EPOCH
        broker.missing.add(2)
        tasks = [broker.write(number) for number in range(3)]
        fine, fenced, missing = await asyncio.gather(*tasks, return_exceptions=True)
        assert fine.partition == 0
        assert (fenced.code, fenced.message) == (ErrorCode.FENCED_STATE_EPOCH, "why")
        assert missing.code is ErrorCode.COORDINATOR_NOT_AVAILABLE

    play(scenario)


def test_who_cannot_be_reached_and_who_stops() -> None:
    async def scenario(broker: Broker) -> None:
        broker.is_there = False
        with pytest.raises(ApiError) as raised:
            await broker.write(0)
        assert raised.value.code is ErrorCode.COORDINATOR_NOT_AVAILABLE
        broker.is_there = True
        broker.go.clear()
        tasks = [broker.write(0)]
        await turns()
        tasks.append(broker.write(1))
        await turns()
        broker.state.close()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, ApiError)

    play(scenario)
