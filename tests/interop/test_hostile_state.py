"""What a client may pile up in the broker or forge: sessions, producers, half requests."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.support.raw_client import RawClient, framed, request_bytes
from tests.support.target import Site, Target, running_target
from tests.support.witness import (
    FETCH_VERSION,
    PRODUCE_VERSION,
    batch,
    create_topic,
    produce_request,
)

from ottla.model.errors import ErrorCode
from ottla.wire.generated.fetch import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic
from ottla.wire.generated.init_producer_id import InitProducerIdRequest


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with running_target(tmp_path_factory.mktemp("hostile")) as target:
        yield target


async def produce(client: RawClient, records: bytes) -> ErrorCode:
    response = await client.call(produce_request("forged", records), PRODUCE_VERSION)
    return ErrorCode(response.responses[0].partition_responses[0].error_code)


async def producer(site: Site) -> RawClient:
    """A client, and the topic `forged`."""
    client = await site.connect()
    await create_topic(client, "forged")
    while await produce(client, batch(b"first")) is not ErrorCode.NONE:
        pass
    return client


async def new_producer_id(client: RawClient) -> int:
    request = InitProducerIdRequest(
        transactional_id=None, transaction_timeout_ms=1_000, producer_id=-1, producer_epoch=-1
    )
    response = await client.call(request, 4)
    assert response.error_code == 0
    producer_id: int = response.producer_id
    return producer_id


def sequenced(producer_id: int, sequence: int, epoch: int = 0) -> bytes:
    return batch(b"x", producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)


@pytest.mark.parametrize(
    ("sequence", "epoch", "expected"),
    [
        (5, 1, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER),
        (2**31 - 1, 1, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER),
        (0, 1, ErrorCode.NONE),  # what was written already, and so it stays
        (2, 0, ErrorCode.INVALID_PRODUCER_EPOCH),
    ],
)
def test_who_uses_the_id_of_another_producer_disturbs_it_as_little_as_with_kafka(
    target: Target, sequence: int, epoch: int, expected: ErrorCode
) -> None:
    async def case(site: Site) -> None:
        honest, forger = await producer(site), await producer(site)
        producer_id = await new_producer_id(honest)
        for number in range(2):
            assert await produce(honest, sequenced(producer_id, number, 1)) is ErrorCode.NONE
        assert await produce(forger, sequenced(producer_id, sequence, epoch)) is expected
        assert await produce(honest, sequenced(producer_id, 2, 1)) is ErrorCode.NONE

    target.withstands(case, log_lines=0)


def test_producer_ids_that_nobody_handed_out_cost_little(target: Target) -> None:
    """20,000 forged producers write one record each."""

    async def case(site: Site) -> None:
        client = await producer(site)
        before = target.memory()
        for start in range(0, 20_000, 500):
            for producer_id in range(start, start + 500):
                records = sequenced(2**62 + producer_id, 0)
                client.send(produce_request("forged", records), PRODUCE_VERSION)
            for _ in range(500):
                response = await client.receive()
                assert response.responses[0].partition_responses[0].error_code == 0
        await site.witness.check()
        assert target.is_kafka or target.memory() - before < 32 << 20

    target.withstands(case, log_lines=0)


def test_nobody_but_the_coordinator_writes_the_offsets_topic(target: Target) -> None:
    async def case(site: Site) -> None:
        client = await site.connect()
        request = produce_request("__consumer_offsets", batch(b"x"))
        response = await client.call(request, PRODUCE_VERSION)
        assert response.responses[0].partition_responses[0].error_code in (
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        )

    target.withstands(case, log_lines=0)


def many_partitions(count: int, session_id: int = 0, epoch: int = 0) -> FetchRequest:
    """A fetch of partitions that are not there."""
    wanted = [FetchPartition(partition=number, partition_max_bytes=1) for number in range(count)]
    return FetchRequest(
        session_id=session_id,
        session_epoch=epoch,
        topics=[FetchTopic(topic="nowhere", partitions=wanted)],
    )


def test_what_a_session_wants_costs_its_share_and_no_more(target: Target) -> None:
    """So that MAX_WANTED, of which each takes 300 bytes, bounds what all sessions hold."""

    async def case(site: Site) -> None:
        client = await site.connect()
        sessions = []
        before = target.memory()
        for _ in range(2):
            response = await client.call(many_partitions(50_000), FETCH_VERSION)
            sessions.append(response.session_id)
        assert target.is_kafka or target.memory() - before < 256 << 20
        assert all(sessions)
        forget = ForgottenTopic(topic="nowhere", partitions=list(range(50_000)))
        for session_id in sessions:
            request = FetchRequest(
                session_id=session_id, session_epoch=1, forgotten_topics_data=[forget]
            )
            assert (await client.call(request, FETCH_VERSION)).error_code == 0

    target.withstands(case, log_lines=0)


def test_half_a_request_each_from_many_holds_what_was_sent(target: Target) -> None:
    """300 clients send 60 KB of a request of 120 KB, byte by byte at its end, and wait."""

    async def case(site: Site) -> None:
        before = target.memory()
        request = framed(
            request_bytes(produce_request("forged", batch(bytes(120_000))), PRODUCE_VERSION)
        )
        clients = [await site.connect() for _ in range(300)]
        for client in clients:
            client.write(request[:60_000])
        for position in range(60_000, 60_020):
            for client in clients:
                client.write(request[position : position + 1])
            await site.witness.check()
        assert target.is_kafka or target.memory() - before < 128 << 20
        assert not any(client.is_closed for client in clients)
        for client in clients[::2]:
            client.transport.abort()
        for client in clients[1::2]:
            client.write(request[60_020:])
        answers = [client.frame() for client in clients[1::2]]
        assert all(await asyncio.gather(*answers))

    target.withstands(case, log_lines=0)


def test_two_thousand_fetches_wait_for_ever_and_others_are_served(target: Target) -> None:
    """Five on each of 400 connections."""

    async def case(site: Site) -> None:
        before = target.memory()
        wanted = FetchPartition(partition=0, fetch_offset=1, partition_max_bytes=1 << 20)
        request = FetchRequest(
            min_bytes=2**31 - 1,
            max_wait_ms=2**31 - 1,
            topics=[FetchTopic(topic="forged", partitions=[wanted])],
        )
        await producer(site)
        clients = [await site.connect() for _ in range(400)]
        for client in clients:
            for _ in range(5):
                client.send(request, FETCH_VERSION)
        for _ in range(20):
            await site.witness.check()
        assert target.is_kafka or target.memory() - before < 64 << 20

    target.withstands(case, log_lines=0)
