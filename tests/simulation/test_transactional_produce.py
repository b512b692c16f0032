"""A transactional batch keeps its bytes while the coordinator's answer is awaited."""

import pytest
from tests.support.raw_client import RawClient
from tests.support.simulated_world import World, simulate
from tests.support.witness import create_topic

from ottla.record.builder import build_batch
from ottla.record.records import Record, read_records
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest
from ottla.wire.generated.init_producer_id import InitProducerIdRequest
from ottla.wire.generated.produce import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)

VERSION = 12


async def a_producer(client: RawClient) -> tuple[int, int]:
    await client.call(FindCoordinatorRequest(key_type=1, key="t"), 2)
    while True:
        init = InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=60_000)
        answer = await client.call(init, 4)
        if not answer.error_code:
            return answer.producer_id, answer.producer_epoch


def produce(producer: tuple[int, int], sequence: int, value: bytes) -> ProduceRequest:
    batch = build_batch(
        [Record(timestamp=1, key=None, value=value)],
        producer_id=producer[0],
        producer_epoch=producer[1],
        base_sequence=sequence,
        transactional=True,
    )
    data = PartitionProduceData(index=0, records=batch)
    return ProduceRequest(
        transactional_id="t",
        acks=-1,
        timeout_ms=1_000,
        topic_data=[TopicProduceData(name="rides", partition_data=[data])],
    )


@pytest.mark.parametrize("flushed", ["1", "9223372036854775807"])
def test_batches_sent_one_behind_the_other_are_written_as_they_were_sent(flushed: str) -> None:
    async def life(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, "rides") == 0
        producer = await a_producer(client)
        values = [b"first", b"other", b"third"]
        requests = [produce(producer, at, value) for at, value in enumerate(values)]
        for request in requests:
            client.send(request, VERSION)
        for _ in requests:
            answer = await client.receive()
            assert answer.responses[0].partition_responses[0].error_code == 0
        assert world.broker is not None
        (partition,) = world.broker.replicas.of_topic("rides")
        read = bytes(partition.log.read(0, 1 << 20).records)
        assert [record.value for record in all_records(read)] == values
        await world.stop()

    simulate(
        life,
        seed=5,
        log_flush_interval_messages=flushed,
        transaction_state_log_num_partitions="1",
    )


def all_records(read: bytes) -> list[Record]:
    found: list[Record] = []
    while read:
        size = 12 + int.from_bytes(read[8:12], "big")
        found += read_records(read[:size])
        read = read[size:]
    return found
