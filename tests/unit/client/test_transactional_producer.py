"""The transactional producer: all or nothing, fencing, and what it asks, against a whole broker."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.support.simulated_world import BROKER, PORT, World, simulate
from tests.support.witness import create_topic
from tests.unit.client.parts import PlayedCluster, coordinator

from ottla.client.cluster_view import ClusterView
from ottla.client.consumer import Consumer
from ottla.client.groups import Groups
from ottla.client.transactional_producer import FencedError, TransactionalProducer
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition
from ottla.model.isolation import IsolationLevel
from ottla.wire.generated.end_txn import EndTxnRequest
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest
from ottla.wire.generated.init_producer_id import InitProducerIdRequest, InitProducerIdResponse

BOTH = [TopicPartition("t", number) for number in range(2)]


def producer_of(world: World, view: ClusterView) -> TransactionalProducer:
    return TransactionalProducer(view, "copier", timeout_ms=5_000, now_ms=world.clock.now_ms)


def with_a_topic(
    case: Callable[[ClusterView, TransactionalProducer], Awaitable[None]], **settings: str
) -> None:
    in_a_world(lambda world, view: case(view, producer_of(world, view)), **settings)


def in_a_world(case: Callable[[World, ClusterView], Awaitable[None]], **settings: str) -> None:
    async def program(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, "t", partitions=2) == 0
        client.close()
        async with ClusterView(world.network.host("10.0.0.2"), [(BROKER, PORT)]) as view:
            await case(world, view)
        await world.stop()

    simulate(program, seed=1, **settings)


async def send(producer: TransactionalProducer, *values: bytes) -> None:
    """Each to both partitions."""
    for value in values:
        for place in BOTH:
            await producer.send("t", value, partition=place.partition)


async def read(view: ClusterView, isolation: IsolationLevel) -> list[bytes]:
    """What partition 0 and 1 hold, in order."""
    values = []
    async with Consumer(view, isolation=isolation, max_wait_ms=10) as consumer:
        for place in BOTH:
            consumer.assign({place: 0})
            while batches := await consumer.poll(100):
                values += [bytes(record.value or b"") for b in batches for record in b.records]
    return values


@pytest.mark.parametrize("settings", [{}, {"log.flush.interval.messages": "1"}])
def test_what_is_committed_counts_and_what_is_aborted_does_not(settings: dict[str, str]) -> None:
    async def case(view: ClusterView, producer: TransactionalProducer) -> None:
        await producer.init()
        async with producer.transaction():
            await send(producer, b"a", b"b")

        async def fail() -> None:
            async with producer.transaction():
                await send(producer, b"no")
                await producer.flush()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        async with producer.transaction():
            await send(producer, b"c")
        assert await read(view, IsolationLevel.READ_COMMITTED) == [b"a", b"b", b"c"] * 2
        everything = await read(view, IsolationLevel.READ_UNCOMMITTED)
        assert everything == [b"a", b"b", b"no", b"c"] * 2

    with_a_topic(case, **settings)


def test_offsets_count_with_the_transaction_alone() -> None:
    async def case(view: ClusterView, producer: TransactionalProducer) -> None:
        async def committed() -> dict[TopicPartition, int]:
            found = await Groups(view).committed("g", stable=True)
            return {place: each.offset for place, each in found.items()}

        await producer.init()
        producer.begin()
        await producer.send_offsets("g", {BOTH[0]: 7, BOTH[1]: 9})
        await producer.commit()
        assert await committed() == {BOTH[0]: 7, BOTH[1]: 9}
        producer.begin()
        await producer.send_offsets("g", {BOTH[0]: 8})
        await producer.abort()
        assert await committed() == {BOTH[0]: 7, BOTH[1]: 9}

    with_a_topic(case)


def test_each_end_begins_an_epoch_and_one_of_nothing_asks_nobody() -> None:
    async def case(view: ClusterView, producer: TransactionalProducer) -> None:
        await producer.init()
        assert producer.identity is not None
        producer_id, epoch = producer.identity
        producer.begin()
        await producer.commit()
        assert producer.identity == (producer_id, epoch)
        for ended in range(3):
            async with producer.transaction():
                await send(producer, b"%d" % ended)
            assert producer.identity == (producer_id, epoch + ended + 1)

    with_a_topic(case)


def test_who_was_overtaken_is_fenced_and_its_records_do_not_count() -> None:
    async def case(view: ClusterView, producer: TransactionalProducer) -> None:
        await producer.init()
        producer.begin()
        await send(producer, b"old")
        await producer.flush()
        newer = TransactionalProducer(view, "copier", now_ms=producer._now_ms)
        await newer.init()
        with pytest.raises(FencedError):
            await producer.commit()
        assert producer.is_fenced
        with pytest.raises(FencedError):
            await producer.abort()
        async with newer.transaction():
            await send(newer, b"new")
        assert await read(view, IsolationLevel.READ_COMMITTED) == [b"new"] * 2

    with_a_topic(case)


def test_who_took_too_long_is_told_and_may_go_on() -> None:
    async def case(world: World, view: ClusterView) -> None:
        producer = producer_of(world, view)
        await producer.init()
        producer.begin()
        await send(producer, b"slow")
        await producer.flush()
        world.clock.advance(20_000)
        with pytest.raises(ApiError) as refused:
            await producer.commit()
        assert refused.value.code is ErrorCode.INVALID_TXN_STATE
        await producer.abort()
        async with producer.transaction():
            await send(producer, b"again")
        assert await read(view, IsolationLevel.READ_COMMITTED) == [b"again"] * 2

    in_a_world(case)


def test_after_an_error_only_an_abort_helps() -> None:
    async def case(view: ClusterView, producer: TransactionalProducer) -> None:
        await producer.init()
        producer.begin()
        await send(producer, b"a")
        with pytest.raises(ApiError) as refused:
            await producer.send_offsets("g", {BOTH[0]: 1}, member_id="nobody", generation=3)
        assert producer.failure is refused.value
        with pytest.raises(ApiError):
            await producer.commit()
        await producer.abort()
        assert await read(view, IsolationLevel.READ_COMMITTED) == []

    with_a_topic(case)


def test_out_of_turn_is_said_at_once() -> None:
    async def case(view: ClusterView, producer: TransactionalProducer) -> None:
        with pytest.raises(ValueError, match="init"):
            producer.begin()
        await producer.init()
        with pytest.raises(ValueError, match="no transaction"):
            await producer.send_offsets("g", {BOTH[0]: 1})
        producer.begin()
        with pytest.raises(ValueError, match="is open"):
            producer.begin()

    with_a_topic(case)


def test_a_broker_without_version_2_is_refused() -> None:
    async def program() -> None:
        view = PlayedCluster()
        view.versions = {EndTxnRequest: 4}
        view.will_answer(FindCoordinatorRequest, coordinator(1))
        view.will_answer(InitProducerIdRequest, InitProducerIdResponse(producer_id=1))
        producer = TransactionalProducer(view, "copier")
        await producer.init()
        producer.begin()
        producer._wrote = True
        with pytest.raises(ApiError) as refused:
            await producer.commit()
        assert refused.value.code is ErrorCode.UNSUPPORTED_VERSION

    asyncio.run(program())
