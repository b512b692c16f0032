"""Our own client's transactions, against the real Kafka too, and its group members."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from tests.interop.conftest import create_topic
from tools.subject import Subject

from ottla.client.cluster_view import ClusterView, parse_brokers
from ottla.client.consumer import Consumer
from ottla.client.consumer_member import ConsumerMember
from ottla.client.groups import Groups
from ottla.client.sockets import Sockets
from ottla.client.transactional_producer import FencedError, TransactionalProducer
from ottla.model.ids import Offset, TopicPartition
from ottla.model.isolation import IsolationLevel

TIMEOUT_S = 60.0


@pytest.fixture(params=["broker", pytest.param("real_kafka", marks=pytest.mark.java)])
def subject(request: pytest.FixtureRequest) -> Subject:
    found: Subject = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def topic(subject: Subject, name: str) -> str:
    create_topic(subject, name, 2)
    return name


def run(subject: Subject, case: Callable[[ClusterView], Awaitable[None]]) -> None:
    async def main() -> None:
        async with (
            asyncio.timeout(TIMEOUT_S),
            ClusterView(Sockets(), parse_brokers(subject.bootstrap)) as view,
        ):
            await case(view)

    asyncio.run(main())


async def read(view: ClusterView, topic: str, count: int) -> list[bytes]:
    """So many committed records of partition 0, from the start."""
    values: list[bytes] = []
    async with Consumer(view, isolation=IsolationLevel.READ_COMMITTED) as consumer:
        consumer.assign({TopicPartition(topic, 0): 0})
        while len(values) < count:
            for batch in await consumer.poll(1_000):
                values += [bytes(record.value or b"") for record in batch.records]
    return values


def test_transactions_commit_abort_and_are_fenced(subject: Subject, topic: str) -> None:
    place = TopicPartition(topic, 0)

    async def case(view: ClusterView) -> None:
        producer = TransactionalProducer(view, topic)
        await producer.init()
        async with producer.transaction():
            await producer.send(topic, b"a", partition=0)
            await producer.send_offsets(topic, {place: 5})
        producer.begin()
        await producer.send(topic, b"no", partition=0)
        await producer.send_offsets(topic, {place: 9})
        await producer.abort()
        producer.begin()
        await producer.send(topic, b"old", partition=0)
        await producer.flush()
        newer = TransactionalProducer(view, topic)
        await newer.init()
        with pytest.raises(FencedError):
            await producer.commit()
        async with newer.transaction():
            await newer.send(topic, b"b", partition=0)
        assert await read(view, topic, 2) == [b"a", b"b"]
        committed = await Groups(view).committed(topic, [place], stable=True)
        assert committed[place].offset == 5

    run(subject, case)


def test_a_member_is_given_all_and_the_next_goes_on_where_it_left(
    broker: Subject, name: str
) -> None:
    topic = name
    create_topic(broker, topic, 2)
    both = {TopicPartition(topic, number) for number in range(2)}

    async def first(partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Offset]:
        return dict.fromkeys(partitions, 0)

    async def case(view: ClusterView) -> None:
        for start, after in ((0, 3), (3, 5)):
            async with ConsumerMember(view, topic, [topic], first_offsets=first) as member:
                while member.positions().keys() != both:
                    await member.poll(100)
                assert set(member.positions().values()) == {start}
                for place in both:
                    member.read_up_to(place, after)
        committed = await Groups(view).committed(topic, both)
        assert {each.offset for each in committed.values()} == {5}

    run(broker, case)
