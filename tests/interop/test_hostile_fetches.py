"""Fetches that ask for too much, for what is not there, or for what is not theirs."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.support.raw_client import RawClient
from tests.support.target import Site, Target, running_target
from tests.support.witness import (
    FETCH_VERSION,
    PRODUCE_VERSION,
    batch,
    create_topic,
    fetch_request,
    produce_request,
)

from ottla.model.errors import ErrorCode
from ottla.wire.generated.fetch import FetchPartition, FetchRequest, FetchTopic

TOPIC = "fetched"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with running_target(tmp_path_factory.mktemp("hostile")) as target:
        yield target


async def filled(site: Site) -> RawClient:
    """A client, and a topic with at least 8 MB in it."""
    client = await site.connect()
    await create_topic(client, TOPIC)
    while True:
        response = await client.call(fetch_request(TOPIC, 0), FETCH_VERSION)
        if response.responses[0].partitions[0].high_watermark >= 10:
            return client
        await client.call(produce_request(TOPIC, batch(bytes(1_000_000))), PRODUCE_VERSION)


@pytest.mark.parametrize("offset", [-1, -2, -(2**63), 2**63 - 1, 1_000_000])
def test_an_offset_outside_the_log_is_out_of_range(target: Target, offset: int) -> None:
    async def case(site: Site) -> None:
        client = await filled(site)
        response = await client.call(fetch_request(TOPIC, offset), FETCH_VERSION)
        (data,) = response.responses[0].partitions
        assert data.error_code == ErrorCode.OFFSET_OUT_OF_RANGE
        assert not data.records

    target.withstands(case, log_lines=0)


@pytest.mark.parametrize("partition", [-1, 1, 2**31 - 1, -(2**31)])
def test_a_partition_that_is_not_there_is_unknown(target: Target, partition: int) -> None:
    async def case(site: Site) -> None:
        client = await filled(site)
        wanted = FetchPartition(partition=partition, partition_max_bytes=1)
        request = FetchRequest(topics=[FetchTopic(topic=TOPIC, partitions=[wanted])])
        response = await client.call(request, FETCH_VERSION)
        (data,) = response.responses[0].partitions
        assert data.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    target.withstands(case, log_lines=0)


@pytest.mark.parametrize("max_bytes", [2**31 - 1, 0, -1, -(2**31), 1])
def test_any_limit_of_bytes_is_served_within_the_brokers_own(
    target: Target, max_bytes: int
) -> None:
    """At least one batch whatever the limit (KIP-74)."""

    async def case(site: Site) -> None:
        client = await filled(site)
        wanted = FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=max_bytes)
        request = FetchRequest(
            max_bytes=max_bytes, topics=[FetchTopic(topic=TOPIC, partitions=[wanted])]
        )
        response = await client.call(request, FETCH_VERSION)
        (data,) = response.responses[0].partitions
        assert data.error_code == ErrorCode.NONE or max_bytes < 0  # then Kafka answers -1
        assert len(data.records or b"") <= 57_671_680

    target.withstands(case, log_lines=0)


def test_the_same_partition_ten_thousand_times(target: Target) -> None:
    async def case(site: Site) -> None:
        client = await filled(site)
        wanted = [
            FetchPartition(partition=number % 3, fetch_offset=0, partition_max_bytes=1 << 20)
            for number in range(10_000)
        ]
        start = target.memory()
        request = FetchRequest(
            max_bytes=2**31 - 1, topics=[FetchTopic(topic=TOPIC, partitions=wanted)]
        )
        response = await client.call(request, FETCH_VERSION)
        total = sum(len(data.records or b"") for data in response.responses[0].partitions)
        assert total <= 58 << 20
        assert target.is_kafka or target.memory() - start < 256 << 20

    target.withstands(case, log_lines=0)


@pytest.mark.parametrize(
    ("session_id", "epoch", "expected"),
    [
        (12_345, 1, ErrorCode.FETCH_SESSION_ID_NOT_FOUND),
        (-1, 7, ErrorCode.FETCH_SESSION_ID_NOT_FOUND),
        (2**31 - 1, 2**31 - 2, ErrorCode.FETCH_SESSION_ID_NOT_FOUND),
    ],
)
def test_a_forged_session_is_not_found(
    target: Target, session_id: int, epoch: int, expected: ErrorCode
) -> None:
    async def case(site: Site) -> None:
        client = await filled(site)
        request = FetchRequest(session_id=session_id, session_epoch=epoch)
        response = await client.call(request, FETCH_VERSION)
        assert response.error_code == expected

    target.withstands(case, log_lines=0)


def test_a_session_that_skips_an_epoch_is_refused_and_goes_on(target: Target) -> None:
    async def case(site: Site) -> None:
        client = await filled(site)
        first = await client.call(fetch_request(TOPIC, 10, session_epoch=0), FETCH_VERSION)
        assert first.session_id != 0
        skipped = await client.call(
            FetchRequest(session_id=first.session_id, session_epoch=5), FETCH_VERSION
        )
        assert skipped.error_code == ErrorCode.INVALID_FETCH_SESSION_EPOCH
        following = await client.call(
            FetchRequest(session_id=first.session_id, session_epoch=1), FETCH_VERSION
        )
        assert following.error_code == ErrorCode.NONE

    target.withstands(case, log_lines=0)


def test_many_fetches_that_wait_for_bytes_that_never_come(target: Target) -> None:
    """500 clients each wait for 2 GB, and hang up."""

    async def case(site: Site) -> None:
        client = await filled(site)
        end = (
            (await client.call(fetch_request(TOPIC, 0), FETCH_VERSION))
            .responses[0]
            .partitions[0]
            .high_watermark
        )
        start = target.memory()
        waiting = [await site.connect() for _ in range(500)]
        for each in waiting:
            each.send(
                fetch_request(TOPIC, end, min_bytes=2**31 - 1, max_wait_ms=2**31 - 1),
                FETCH_VERSION,
            )
        for _ in range(10):
            await site.witness.check()
        assert not any(each.is_closed for each in waiting)
        assert target.is_kafka or target.memory() - start < 64 << 20
        for each in waiting:
            each.transport.abort()
        await client.call(produce_request(TOPIC, batch(b"x")), PRODUCE_VERSION)

    target.withstands(case, log_lines=0)


@pytest.mark.parametrize("replica_id", [0, 1, 2, 7, 2**31 - 1])
def test_a_client_that_says_it_is_a_replica_moves_nothing(target: Target, replica_id: int) -> None:
    """CVE-2018-1288: what it fetches must not count as replicated; here of one broker alone."""

    async def case(site: Site) -> None:
        client = await filled(site)
        before = await client.call(fetch_request(TOPIC, 0), FETCH_VERSION)
        request = fetch_request(TOPIC, 3, replica_id=replica_id, max_wait_ms=0)
        await client.call(request, FETCH_VERSION)
        after = await client.call(fetch_request(TOPIC, 0), FETCH_VERSION)
        assert (
            before.responses[0].partitions[0].high_watermark
            == after.responses[0].partitions[0].high_watermark
        )

    target.withstands(case, log_lines=1)


def test_slow_readers_of_large_answers_do_not_hold_the_memory(target: Target) -> None:
    """50 clients ask 20 times for 8 MB each and read none of it: 8 GB of answers."""

    async def case(site: Site) -> None:
        await filled(site)
        clients = [await site.connect() for _ in range(50)]
        start = target.memory()
        for client in clients:
            client.transport.pause_reading()
            for _ in range(20):
                client.send(fetch_request(TOPIC, 0, max_bytes=8 << 20), FETCH_VERSION)
        for _ in range(20):
            await site.witness.check()
        assert target.is_kafka or target.memory() - start < 600 << 20
        assert not any(client.is_closed for client in clients)

    target.withstands(case, log_lines=0)


def test_hanging_up_while_a_fetch_waits_is_forgotten(target: Target) -> None:
    async def case(site: Site) -> None:
        await filled(site)
        for _ in range(20):
            clients = [await site.connect() for _ in range(20)]
            for client in clients:
                client.send(
                    fetch_request(TOPIC, 10**6, min_bytes=1, max_wait_ms=500), FETCH_VERSION
                )
                client.transport.abort()
            await asyncio.gather(*(client.closed() for client in clients))

    target.withstands(case, log_lines=0)
