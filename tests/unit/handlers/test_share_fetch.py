"""How long a ShareFetch waits, what it acquires, and what its acknowledgements lead to."""

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.share_world import GROUP, ShareWorld, turns
from tests.unit.handlers.parts import Asker, Brokerlet, id_of
from tests.unit.storage.parts import batch

from ottla.coordinator.share.records import ShareKey
from ottla.handlers.share_fetch import share_acknowledge, share_fetch
from ottla.model.errors import ApiError, ErrorCode
from ottla.wire.generated import share_acknowledge as acknowledging
from ottla.wire.generated.share_fetch import (
    AcknowledgementBatch,
    FetchPartition,
    FetchTopic,
    ShareFetchRequest,
)

ONE = len(batch())
"""Bytes of a batch of one record."""
ACCEPT, RELEASE = 1, 2


class Consumer:
    """A member of a group that begins at the earliest offset, on a connection of its own."""

    def __init__(
        self, world: ShareWorld, broker: Brokerlet, name: str = "m", partitions: int = 1
    ) -> None:
        self.name = name
        self.partitions = partitions
        self.context: Any = Asker(broker, 2)
        self.context.connection_id = 1
        self.context.connection.closed = False
        self.context.client = SimpleNamespace(
            when_closed=lambda key, call: None, forget_closed=lambda key: None
        )
        self.epoch = 0
        broker.shares = world.shares  # type: ignore[attr-defined]

    def _topics(self, acks: list[AcknowledgementBatch]) -> list[FetchTopic]:
        rows = [
            FetchPartition(
                partition_index=number, acknowledgement_batches=acks if number == 0 else []
            )
            for number in range(self.partitions)
        ]
        return [FetchTopic(topic_id=id_of("t"), partitions=rows)]

    async def fetch(
        self, *acks: AcknowledgementBatch, epoch: int | None = None, **rest: Any
    ) -> Any:
        request = ShareFetchRequest(
            group_id=GROUP,
            member_id=self.name,
            share_session_epoch=self.epoch if epoch is None else epoch,
            max_wait_ms=500,
            min_bytes=1,
            max_bytes=1 << 20,
            max_records=100,
            batch_size=100,
            topics=self._topics(list(acks)),
        )
        for name, value in rest.items():
            setattr(request, name, value)
        self.epoch += 1
        return await share_fetch(self.context, request)

    async def acknowledge(self, first: int, last: int, kind: int) -> int:
        batch_row = acknowledging.AcknowledgementBatch(
            first_offset=first, last_offset=last, acknowledge_types=[kind]
        )
        row = acknowledging.AcknowledgePartition(
            partition_index=0, acknowledgement_batches=[batch_row]
        )
        request = acknowledging.ShareAcknowledgeRequest(
            group_id=GROUP,
            member_id=self.name,
            share_session_epoch=self.epoch,
            topics=[acknowledging.AcknowledgeTopic(topic_id=id_of("t"), partitions=[row])],
        )
        self.epoch += 1
        answer = await share_acknowledge(self.context, request)
        return int(answer.responses[0].partitions[0].error_code)


def ack(first: int, last: int, kind: int = ACCEPT) -> AcknowledgementBatch:
    return AcknowledgementBatch(first_offset=first, last_offset=last, acknowledge_types=[kind])


def acquired(answer: Any) -> list[tuple[int, int, int]]:
    assert not answer.error_code
    return [
        (one.first_offset, one.last_offset, one.delivery_count)
        for topic in answer.responses
        for row in topic.partitions
        for one in row.acquired_records
    ]


def play(
    scenario: Callable[[ShareWorld, Brokerlet], Coroutine[Any, Any, None]], partitions: int = 1
) -> None:
    async def run() -> None:
        world, broker = ShareWorld(auto_offset_reset="earliest"), Brokerlet()
        broker.create("t", partitions)
        await world.load()
        for number in range(partitions):
            await world.state.initialize(ShareKey(GROUP, id_of("t"), number), 0, -1)
        await scenario(world, broker)

    asyncio.run(run())


def test_a_fetch_waits_for_as_many_bytes_as_it_asks_for() -> None:
    async def scenario(world: ShareWorld, broker: Brokerlet) -> None:
        member = Consumer(world, broker)
        waiting = asyncio.create_task(member.fetch(min_bytes=3 * ONE))
        for _ in range(2):
            broker.append("t")
            await turns()
            assert not waiting.done()
        broker.append("t")
        assert acquired(await waiting) == [(0, 2, 1)]

    play(scenario)


def test_when_its_time_is_over_it_takes_what_there_is() -> None:
    async def scenario(world: ShareWorld, broker: Brokerlet) -> None:
        member = Consumer(world, broker)
        broker.append("t")
        waiting = asyncio.create_task(member.fetch(min_bytes=3 * ONE))
        await turns()
        broker.transport_clock.advance(499)
        await turns()
        assert not waiting.done()
        broker.transport_clock.advance(1)
        assert acquired(await waiting) == [(0, 0, 1)]

    play(scenario)


def test_it_never_waits_for_more_than_it_may_have() -> None:
    async def scenario(world: ShareWorld, broker: Brokerlet) -> None:
        broker.append("t")
        answer = await Consumer(world, broker).fetch(min_bytes=1 << 30, max_bytes=ONE)
        assert acquired(answer) == [(0, 0, 1)]

    play(scenario)


def test_the_first_partition_with_records_does_not_wait_for_the_others_to_be_loaded() -> None:
    async def scenario(world: ShareWorld, broker: Brokerlet) -> None:
        member = Consumer(world, broker, partitions=3)
        for number in (1, 2):
            broker.append("t", number)
        found = []
        while len(found) < 2:
            answer = await member.fetch()
            rows = [row for row in answer.responses[0].partitions if row.acquired_records]
            assert len(rows) == 1
            found.append(rows[0].partition_index)
            await turns()
        assert found == [1, 2]

    play(scenario, partitions=3)


def test_who_wants_no_bytes_is_answered_at_once() -> None:
    async def scenario(world: ShareWorld, broker: Brokerlet) -> None:
        member = Consumer(world, broker)
        broker.append("t")
        assert (await member.fetch(max_bytes=0)).responses == []
        answer = await member.fetch(max_bytes=-1)
        assert answer.responses[0].partitions[0].error_code == ErrorCode.UNKNOWN_SERVER_ERROR
        assert acquired(await member.fetch()) == [(0, 0, 1)]

    play(scenario)


def test_what_is_released_goes_to_the_one_who_waits() -> None:
    async def scenario(world: ShareWorld, broker: Brokerlet) -> None:
        first, second = Consumer(world, broker, "a"), Consumer(world, broker, "b")
        broker.append("t", count=3)
        assert acquired(await first.fetch()) == [(0, 2, 1)]
        waiting = asyncio.create_task(second.fetch())
        await turns()
        assert not waiting.done()
        assert await first.acknowledge(1, 1, RELEASE) == 0
        assert acquired(await waiting) == [(1, 1, 2)]

    play(scenario)


def test_acknowledgements_come_with_a_fetch_and_are_answered_at_once() -> None:
    async def scenario(world: ShareWorld, broker: Brokerlet) -> None:
        member = Consumer(world, broker)
        broker.append("t", count=3)
        await member.fetch()
        answer = await member.fetch(ack(1, 1))
        (row,) = answer.responses[0].partitions
        assert (row.acknowledge_error_code, row.acquired_records) == (0, [])
        answer = await member.fetch(ack(0, 2))  # the middle one is over
        code = answer.responses[0].partitions[0].acknowledge_error_code
        assert code == ErrorCode.INVALID_RECORD_STATE

    play(scenario)


@pytest.mark.parametrize(
    ("epoch", "code"),
    [
        (5, ErrorCode.INVALID_SHARE_SESSION_EPOCH),
        (0, None),
    ],
)
def test_a_session_goes_on_in_its_epoch_or_begins_anew(epoch: int, code: ErrorCode | None) -> None:
    async def scenario(world: ShareWorld, broker: Brokerlet) -> None:
        member = Consumer(world, broker)
        broker.append("t")
        await member.fetch()
        if code is None:
            assert acquired(await member.fetch(epoch=epoch)) == [(0, 0, 2)]
            return
        with pytest.raises(ApiError) as refused:
            await member.fetch(epoch=epoch)
        assert refused.value.code is code

    play(scenario)
