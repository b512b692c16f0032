"""Clients that are slow, silent or gone, over hours of virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.support.raw_client import RawClient, framed, request_bytes
from tests.support.simulated_world import World, simulate
from tests.support.witness import (
    FETCH_VERSION,
    PRODUCE_VERSION,
    Witness,
    batch,
    create_topic,
    fetch_request,
    produce_request,
)

from ottla.testing.network import End
from ottla.wire.generated.api_versions import ApiVersionsRequest
from ottla.wire.generated.delete_topics import DeleteTopicsRequest
from ottla.wire.generated.fetch import FetchPartition, FetchRequest, FetchTopic

IDLE_S = 600
"""connections.max.idle.ms, by default."""

NAMES = [f"t{number}" for number in range(30)]

SWEEP_S = 11
"""A little more than the time between two looks at who is idle."""


def with_a_broker(case: Callable[[World], Awaitable[None]], **settings: str) -> list[str]:
    async def program(world: World) -> None:
        await world.start()
        await case(world)
        await world.stop()

    return simulate(program, seed=3, **settings)


def connections(world: World) -> int:
    assert world.broker is not None
    return len(world.broker.connections)


def test_a_silent_connection_is_closed_when_its_time_is_over() -> None:
    async def case(world: World) -> None:
        client = await world.client()
        await client.call(ApiVersionsRequest(), 3)
        await asyncio.sleep(IDLE_S - SWEEP_S)
        assert not client.is_closed
        await asyncio.sleep(3 * SWEEP_S)
        assert client.is_closed
        assert connections(world) == 0

    trace = with_a_broker(case)
    assert len([line for line in trace if "idle" in line]) == 1


def test_a_connection_that_asks_now_and_then_lives() -> None:
    async def case(world: World) -> None:
        client = await world.client()
        for _ in range(20):
            await client.call(ApiVersionsRequest(), 3)
            await asyncio.sleep(IDLE_S - 2 * SWEEP_S)
        assert not client.is_closed

    with_a_broker(case)


def test_a_request_that_dribbles_in_does_not_keep_its_connection() -> None:
    """One byte a second is no life (slowloris)."""

    async def case(world: World) -> None:
        slow = await world.client()
        request = framed(request_bytes(produce_request("t", batch(bytes(5_000))), PRODUCE_VERSION))
        for byte in request[:1_000]:
            slow.write(bytes([byte]))
            await asyncio.sleep(1)
        assert slow.is_closed
        assert connections(world) == 0

    with_a_broker(case)


def test_a_request_that_arrives_in_pieces_is_served() -> None:
    async def case(world: World) -> None:
        client = await world.client()
        for version in range(5):
            for byte in framed(request_bytes(ApiVersionsRequest(), version)):
                client.write(bytes([byte]))
                await asyncio.sleep(1)
            assert (await client.frame())[:4] == bytes(4)

    with_a_broker(case)


def test_a_fetch_may_wait_longer_than_a_connection_may_be_silent() -> None:
    async def case(world: World) -> None:
        client, other = await world.client(), await world.client()
        await create_topic(client, "t")
        client.send(
            fetch_request("t", 0, max_wait_ms=4 * IDLE_S * 1000, min_bytes=1), FETCH_VERSION
        )
        for _ in range(4):
            await asyncio.sleep(IDLE_S - 2 * SWEEP_S)
            await other.call(ApiVersionsRequest(), 3)
        await other.call(produce_request("t", batch(b"at last")), PRODUCE_VERSION)
        response = await client.receive()
        assert response.responses[0].partitions[0].high_watermark == 1

    with_a_broker(case)


def half_open(world: World, client: RawClient) -> None:
    """The client is gone, and the broker is not told."""
    assert isinstance(client.transport, End)
    (link,) = [link for link in world.network.links if link.client is client.transport]
    link.leave_half_open(link.client)


def test_a_client_that_vanished_is_forgotten() -> None:
    async def case(world: World) -> None:
        client = await world.client()
        await client.call(ApiVersionsRequest(), 3)
        half_open(world, client)
        await asyncio.sleep(IDLE_S + 2 * SWEEP_S)
        assert connections(world) == 0

    with_a_broker(case)


def test_a_client_that_vanished_while_it_was_owed_answers_is_forgotten() -> None:
    """10 MB of answers can never be delivered."""

    async def case(world: World) -> None:
        client = await world.client()
        await create_topic(client, "t")
        await client.call(produce_request("t", batch(bytes(1_000_000))), PRODUCE_VERSION)
        for _ in range(10):
            client.send(fetch_request("t", 0), FETCH_VERSION)
        await asyncio.sleep(0.001)
        half_open(world, client)
        await asyncio.sleep(IDLE_S + 2 * SWEEP_S)
        assert connections(world) == 0

    with_a_broker(case)


def test_a_client_that_never_reads_is_forgotten() -> None:
    async def case(world: World) -> None:
        client = await world.client()
        await create_topic(client, "t")
        await client.call(produce_request("t", batch(bytes(1_000_000))), PRODUCE_VERSION)
        client.transport.pause_reading()
        for _ in range(50):
            client.send(fetch_request("t", 0), FETCH_VERSION)
        await asyncio.sleep(IDLE_S + 2 * SWEEP_S)
        assert connections(world) == 0

    with_a_broker(case)


def test_what_clients_that_never_read_hold_together_is_bounded() -> None:
    """Beyond the budget of all answers, each gets one batch; when they are gone, all is as before."""

    async def case(world: World) -> None:
        assert world.broker is not None
        answers = world.broker.views.answers
        answers.limit = 5_000_000
        client = await world.client()
        for name in NAMES:
            await create_topic(client, name)
            await client.call(produce_request(name, batch(bytes(50_000))), PRODUCE_VERSION)
        slow = [await world.client() for _ in range(10)]
        everything = FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 30)
        request = FetchRequest(
            topics=[FetchTopic(topic=name, partitions=[everything]) for name in NAMES]
        )
        for one in slow:
            one.transport.pause_reading()
            one.send(request, FETCH_VERSION)
        await asyncio.sleep(1)
        assert 3_000_000 < answers.used < 9_000_000
        for one in slow:
            one.transport.abort()
        await asyncio.sleep(1)
        assert answers.used == 0
        topics = (await client.call(request, FETCH_VERSION)).responses
        assert all(topic.partitions[0].records for topic in topics)

    with_a_broker(case)


def test_large_records_stay_in_their_file_until_a_client_takes_them() -> None:
    async def case(world: World) -> None:
        assert world.broker is not None
        client = await world.client()
        await create_topic(client, "t")
        for _ in range(20):
            await client.call(produce_request("t", batch(bytes(200_000))), PRODUCE_VERSION)
        slow = await world.client()
        slow.transport.pause_reading()
        everything = FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 30)
        request = FetchRequest(topics=[FetchTopic(topic="t", partitions=[everything])])
        answer = asyncio.ensure_future(slow.call(request, FETCH_VERSION))
        await asyncio.sleep(1)
        assert world.broker.views.answers.used < 1_000
        assert connections(world) == 2
        slow.transport.resume_reading()
        records = (await answer).responses[0].partitions[0].records
        assert len(records) > 20 * 200_000

    with_a_broker(case)


def test_a_client_that_takes_records_after_their_deletion_loses_its_connection() -> None:
    async def case(world: World) -> None:
        client = await world.client()
        await create_topic(client, "t")
        for _ in range(20):
            await client.call(produce_request("t", batch(bytes(200_000))), PRODUCE_VERSION)
        slow = await world.client()
        slow.transport.pause_reading()
        everything = FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 30)
        slow.send(
            FetchRequest(topics=[FetchTopic(topic="t", partitions=[everything])]), FETCH_VERSION
        )
        await asyncio.sleep(1)
        await client.call(DeleteTopicsRequest(topic_names=["t"]), 3)
        slow.transport.resume_reading()
        await asyncio.sleep(1)
        assert slow.is_closed
        assert not client.is_closed

    trace = with_a_broker(case)
    assert len([line for line in trace if "was cut or deleted" in line]) == 1


def test_the_death_of_a_fetch_in_the_queue_frees_it() -> None:
    async def case(world: World) -> None:
        witness = await Witness.open(world.network.host("10.0.0.3"), "127.0.0.1", 9092, "t")
        for _ in range(100):
            client = await world.client()
            client.send(
                fetch_request("t", 10**6, max_wait_ms=2**31 - 1, min_bytes=2**31 - 1), FETCH_VERSION
            )
            client.send(
                fetch_request("t", 1, max_wait_ms=2**31 - 1, min_bytes=2**31 - 1), FETCH_VERSION
            )
            client.transport.abort()
        await witness.check()
        await asyncio.sleep(10)
        assert connections(world) == 1
        await witness.check()

    with_a_broker(case)


def test_connections_beyond_the_limit_are_refused_until_one_ends() -> None:
    async def case(world: World) -> None:
        clients = [await world.client() for _ in range(5)]
        for client in clients:
            await client.call(ApiVersionsRequest(), 3)
        refused = [await world.client() for _ in range(3)]
        for client in refused:
            await client.closed()
        clients[0].close()
        await asyncio.sleep(1)
        again = await world.client()
        await again.call(ApiVersionsRequest(), 3)

    trace = with_a_broker(case, max_connections="5")
    assert len([line for line in trace if "too many" in line]) == 1
