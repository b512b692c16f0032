"""What producers write in transactions whose coordinator is another broker, on virtual time."""

import asyncio
from random import Random
from typing import Any

import pytest
from tests.simulation.test_cluster import BROKERS, three
from tests.simulation.test_transactions_of_cluster import (
    PARTITIONS,
    ask,
    begin,
    end,
    ends,
    id_coordinated_by,
    state_of,
)
from tests.support.cluster_world import ClusterWorld, simulate

from ottla.client.admin import Admin
from ottla.client.cluster_view import ClusterView
from ottla.client.consumer import Consumer
from ottla.client.transactional_producer import TransactionalProducer
from ottla.model.errors import ErrorCode
from ottla.model.ids import TopicPartition
from ottla.model.isolation import IsolationLevel
from ottla.record.builder import build_batch
from ottla.record.records import Record
from ottla.replica.partition import Partition
from ottla.testing.clock import START_MS
from ottla.wire.generated.offset_fetch import OffsetFetchRequest, OffsetFetchRequestTopic
from ottla.wire.generated.produce import PartitionProduceData, ProduceRequest, TopicProduceData

OLD = 11
"""Of Produce: who sends it has added its partitions before."""


def a_producer(view: ClusterView, name: str) -> TransactionalProducer:
    return TransactionalProducer(
        view, name, now_ms=lambda: START_MS, below=Random(1).randrange, linger_ms=0
    )


async def produce(
    view: ClusterView, name: str, producer: tuple[int, int], number: int, sequence: int = 0
) -> ErrorCode:
    """One record as an older producer sends it."""
    batch = build_batch(
        [Record(timestamp=START_MS, key=None, value=b"%d" % number)],
        producer_id=producer[0],
        producer_epoch=producer[1],
        base_sequence=sequence,
        transactional=True,
    )
    leader = (await view.leader(TopicPartition("t", number))).leader
    data = PartitionProduceData(index=number, records=batch)
    request = ProduceRequest(
        transactional_id=name,
        acks=-1,
        timeout_ms=10_000,
        topic_data=[TopicProduceData(name="t", partition_data=[data])],
    )
    answer = await ask(await view.link(leader), request, OLD)
    return ErrorCode(answer.responses[0].partition_responses[0].error_code)


def leading(world: ClusterWorld, number: int) -> Partition:
    """The leader's replica of a partition."""
    (found,) = (
        replica
        for broker in world.brokers.values()
        for replica in broker.replicas.of_topic("t")
        if replica.partition == number and replica.is_leader
    )
    return found


def nothing_is_open(world: ClusterWorld) -> bool:
    logs = [leading(world, number).log for number in range(PARTITIONS)]
    return all(log.last_stable_offset == log.log_end_offset for log in logs)


async def committed_values(view: ClusterView, count: int) -> list[str]:
    """The values of so many records that count, in order of their names."""
    consumer = Consumer(view, isolation=IsolationLevel.READ_COMMITTED)
    consumer.assign({TopicPartition("t", number): 0 for number in range(PARTITIONS)})
    values: list[str] = []
    async with consumer:
        while len(values) < count:
            batches = await consumer.poll(5_000)
            assert batches, f"no more than {sorted(values)}"
            for fetched in batches:
                values += [(each.value or b"").decode() for each in read_all(fetched)]
    return sorted(values)


def read_all(fetched: Any) -> list[Record]:
    return [each for each in fetched.records if each.value is not None]


@pytest.mark.parametrize("coordinator", BROKERS)
def test_records_in_the_partitions_of_all_brokers_count_together(coordinator: int) -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=PARTITIONS, replication_factor=1)
            name = await id_coordinated_by(world, view, coordinator)
            producer = a_producer(view, name)
            await producer.init()
            for transaction in range(4):
                producer.begin()
                for number in range(PARTITIONS):
                    await producer.send("t", b"%d-%d" % (transaction, number), partition=number)
                offsets = {TopicPartition("t", 0): 10 + transaction}
                groups = [f"g{number}" for number in range(4)]  # of several coordinators
                for group in groups:
                    await producer.send_offsets(group, offsets)
                await (producer.abort() if transaction in (1, 3) else producer.commit())
            values = await committed_values(view, 2 * PARTITIONS)
            assert values == sorted(f"{t}-{n}" for t in (0, 2) for n in range(PARTITIONS))
            await world.until("all is ended", lambda: nothing_is_open(world))
            for group in groups:
                link = await view.link(await view.coordinator(group))
                topic = OffsetFetchRequestTopic(name="t", partition_indexes=[0])
                answer = await ask(link, OffsetFetchRequest(group_id=group, topics=[topic]), 7)
                assert answer.topics[0].partitions[0].committed_offset == 12

    simulate(
        program,
        transaction_state_log_replication_factor="1",
        offsets_topic_replication_factor="1",
    )


@pytest.mark.parametrize("coordinator", BROKERS)
def test_older_producers_write_to_what_they_added_and_to_nothing_else(coordinator: int) -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=PARTITIONS, replication_factor=1)
            name = await id_coordinated_by(world, view, coordinator)
            link = await view.link(coordinator)
            producer = await begin(link, name)
            for sequence in range(2):
                for number in range(PARTITIONS):
                    code = await produce(view, name, producer, number, sequence)
                    assert code is ErrorCode.NONE
            other = (producer[0], producer[1] + 1)
            for number in range(PARTITIONS):
                code = await produce(view, name, other, number)
                assert code is ErrorCode.INVALID_PRODUCER_EPOCH
            await end(link, name, producer)
            await world.until("it is ended", lambda: nothing_is_open(world))
            for number in range(PARTITIONS):
                code = await produce(view, name, producer, number, sequence=2)
                assert code in (ErrorCode.TRANSACTION_ABORTABLE, ErrorCode.NOT_ENOUGH_REPLICAS)
        assert ends(world) == [3] * PARTITIONS

    simulate(program, transaction_state_log_replication_factor="1")


def test_what_was_verified_before_the_end_is_not_written_behind_the_marker() -> None:
    async def program(world: ClusterWorld) -> None:
        await three(world)
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=PARTITIONS, replication_factor=1)
            name = await id_coordinated_by(world, view, 1)
            link = await view.link(1)
            producer = await begin(link, name)
            number = next(n for n in range(PARTITIONS) if leading(world, n).leader != 1)
            partition = leading(world, number)
            verified, go = asyncio.Event(), asyncio.Event()
            cluster = world.brokers[partition.leader].cluster
            assert cluster is not None
            asking = cluster.enlisting.ask

            async def slow(*arguments: Any, **how: Any) -> Any:
                codes = await asking(*arguments, **how)
                verified.set()
                await go.wait()
                return codes

            cluster.enlisting.ask = slow  # type: ignore[method-assign]
            late = asyncio.create_task(produce(view, name, producer, number))
            await verified.wait()
            await end(link, name, producer)
            await world.until(
                "it is complete", lambda: state_of(world, 1, name) == "CompleteCommit"
            )
            go.set()
            assert await late is ErrorCode.TRANSACTION_ABORTABLE
            assert partition.log.log_end_offset == 1, "a record behind the marker"
            assert nothing_is_open(world)

    simulate(program, transaction_state_log_replication_factor="1")


def test_two_brokers_that_follow_each_others_partitions_and_coordinators_do_not_stall() -> None:
    async def program(world: ClusterWorld) -> None:
        await world.start(1, 2)
        await world.until(
            "both are there", lambda: all(len(world.image(each).brokers) == 2 for each in (1, 2))
        )
        async with world.view() as view:
            await Admin(view).create_topic("t", partitions=PARTITIONS, replication_factor=2)
            producers = [a_producer(view, f"p{number}") for number in range(8)]
            await asyncio.gather(*(producer.init() for producer in producers))
            loop = asyncio.get_running_loop()
            began = loop.time()

            async def write(producer: TransactionalProducer, name: int) -> None:
                for transaction in range(6):
                    producer.begin()
                    for number in range(PARTITIONS):
                        value = b"%d-%d-%d" % (name, transaction, number)
                        await producer.send("t", value, partition=number)
                    await producer.send_offsets(f"g{name}", {TopicPartition("t", 0): transaction})
                    await producer.commit()

            await asyncio.gather(*(write(each, number) for number, each in enumerate(producers)))
            took_s = loop.time() - began
            await world.until("all is ended", lambda: nothing_is_open(world))
            values = await committed_values(view, 8 * 6 * PARTITIONS)
            assert len(set(values)) == 8 * 6 * PARTITIONS
        assert took_s < 10, (
            "of virtual time, in which nothing takes long unless it waits for another"
        )

    simulate(
        program,
        transaction_state_log_replication_factor="2",
        offsets_topic_replication_factor="2",
    )
