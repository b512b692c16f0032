"""What comes late or twice never touches a newer transaction (KAFKA-17754, KIP-890, KIP-1228).

Raw requests, as a slow network would deliver them. With INTEROP_AGAINST=kafka the same codes are
seen of Kafka. The last test shows what producers of the older version live with.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.interop.conftest import create_topic
from tests.interop.raw_producer import CONCURRENT, RawProducer
from tests.support.raw_client import RawClient
from tests.support.versions.talk import Sockets
from tools.subject import Subject

from ottla.model.errors import ErrorCode

FENCED = ErrorCode.PRODUCER_FENCED
OLD_EPOCH = ErrorCode.INVALID_PRODUCER_EPOCH
NONE = ErrorCode.NONE


@pytest.fixture
def with_producer(
    broker: Subject, name: str
) -> Callable[[Callable[[RawProducer], Awaitable[None]]], None]:
    """Run a conversation of one producer whose id is its topic's name."""
    create_topic(broker, name, 2)

    def run(conversation: Callable[[RawProducer], Awaitable[None]]) -> None:
        async def whole() -> None:
            client = await RawClient.connect(Sockets(), "127.0.0.1", broker.port)  # type: ignore[arg-type]
            try:
                producer = RawProducer(client, name)
                await producer.init()
                await conversation(producer)
            finally:
                client.close()

        asyncio.run(whole())

    return run


Run = Callable[[Callable[[RawProducer], Awaitable[None]]], None]


def test_under_version_2_nothing_late_touches_a_newer_transaction(with_producer: Run) -> None:
    async def conversation(producer: RawProducer) -> None:
        first = producer.epoch
        assert await producer.produce("first", first) == NONE
        assert await producer.end(first) == NONE
        assert producer.epoch == first + 1
        await producer.completed()
        # Sent again: answered as before, nothing happens.
        assert await producer.end(first) == NONE
        assert await producer.end(first, commit=False) == ErrorCode.INVALID_TXN_STATE
        assert producer.epoch == first + 1

        second = producer.epoch
        assert await producer.produce("second", second) == NONE
        for commit in (True, False):
            assert await producer.end(first, commit) == FENCED
            assert await producer.end(first, commit, version=4) == FENCED
        assert await producer.add(1, first, version=3) == FENCED
        assert await producer.add(1, first, version=5) == FENCED
        assert await producer.produce("late", first) == OLD_EPOCH
        assert await producer.produce("late", first, version=11) == OLD_EPOCH
        for version in (0, 1, 2):
            # What began before has a smaller epoch; what ends it has one more than this has.
            assert await producer.mark(first, version) == OLD_EPOCH
        assert await producer.mark(second, version=2) == OLD_EPOCH
        assert await producer.mark(second, version=2, commit=False) == OLD_EPOCH
        assert await producer.described() == ("Ongoing", [0])
        assert await producer.is_open()

        assert await producer.end(second, commit=False) == NONE
        await producer.completed()
        assert not await producer.is_open()
        assert await producer.described() == ("CompleteAbort", [])

    with_producer(conversation)


def test_a_repeated_marker_of_a_transaction_that_is_over_changes_nothing(
    with_producer: Run,
) -> None:
    async def conversation(producer: RawProducer) -> None:
        first = producer.epoch
        assert await producer.produce("first", first) == NONE
        assert await producer.end(first) == NONE
        await producer.completed()
        # Its marker had the epoch after; nothing is open, so another one says nothing new.
        assert await producer.mark(first + 1, version=2) == NONE
        second = producer.epoch
        assert await producer.produce("second", second) == NONE
        assert await producer.mark(first + 1, version=2) == OLD_EPOCH
        assert await producer.is_open()

    with_producer(conversation)


def test_under_version_1_what_comes_late_ends_the_newer_transaction(with_producer: Run) -> None:
    """Why version 2 exists: an epoch says nothing of the transaction it was sent in."""

    async def begin(producer: RawProducer, sequence: int) -> None:
        while (code := await producer.add(0, producer.epoch, version=3)) == CONCURRENT:
            await asyncio.sleep(0.01)
        assert code == NONE
        value = f"{sequence}"
        assert await producer.produce(value, producer.epoch, version=11, sequence=sequence) == NONE

    async def conversation(producer: RawProducer) -> None:
        epoch = producer.epoch
        await begin(producer, 0)
        assert await producer.end(epoch, version=4) == NONE
        await producer.completed()
        await begin(producer, 1)
        assert await producer.end(epoch, version=4) == NONE  # the first one's, late
        await producer.completed()
        assert not await producer.is_open()
        await begin(producer, 2)
        assert await producer.mark(epoch, version=1) == NONE  # so is a marker
        assert not await producer.is_open()
        assert await producer.described() == ("Ongoing", [0])
        assert producer.epoch == epoch

    with_producer(conversation)
