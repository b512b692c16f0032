"""Answers about many things at once are made in slices: others are served in between.

Time stands still while they are made, and nothing travels for longer than a
turn: who is answered first was served first.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.raw_client import RawClient
from tests.support.simulated_world import World, simulate
from tests.support.witness import create_topic

from ottla.handlers import group_offsets, slices
from ottla.wire.generated.add_partitions_to_txn import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnTopic,
)
from ottla.wire.generated.api_versions import ApiVersionsRequest
from ottla.wire.generated.create_topics import CreatableTopic, CreateTopicsRequest
from ottla.wire.generated.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from ottla.wire.generated.delete_topics import DeleteTopicsRequest
from ottla.wire.generated.describe_configs import DescribeConfigsRequest, DescribeConfigsResource
from ottla.wire.generated.describe_log_dirs import DescribeLogDirsRequest
from ottla.wire.generated.describe_topic_partitions import DescribeTopicPartitionsRequest
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest
from ottla.wire.generated.init_producer_id import InitProducerIdRequest
from ottla.wire.generated.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from ottla.wire.generated.metadata import MetadataRequest, MetadataRequestTopic
from ottla.wire.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from ottla.wire.generated.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from ottla.wire.generated.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)
from ottla.wire.generated.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from ottla.wire.message import Message

TOPICS = [f"t{number:03}" for number in range(800)]
LAST = TOPICS[-1]
NEW = "new"
SLICE = 8
"""Steps in these tests: a hundred slices are more than the turns a short request takes."""

LONG: list[tuple[Message, int]] = [
    (
        ListOffsetsRequest(
            topics=[
                ListOffsetsTopic(name=name, partitions=[ListOffsetsPartition(timestamp=-1)])
                for name in TOPICS
            ]
        ),
        7,
    ),
    (
        OffsetForLeaderEpochRequest(
            topics=[
                OffsetForLeaderTopic(
                    topic=name, partitions=[OffsetForLeaderPartition(leader_epoch=0)]
                )
                for name in TOPICS
            ]
        ),
        4,
    ),
    (
        DeleteRecordsRequest(
            topics=[
                DeleteRecordsTopic(name=name, partitions=[DeleteRecordsPartition(offset=0)])
                for name in TOPICS
            ]
        ),
        2,
    ),
    (DescribeLogDirsRequest(topics=None), 4),
    (
        DescribeConfigsRequest(
            resources=[
                DescribeConfigsResource(resource_type=2, resource_name=name) for name in TOPICS
            ]
        ),
        4,
    ),
    (
        OffsetCommitRequest(
            group_id="group",
            topics=[
                OffsetCommitRequestTopic(
                    name=name, partitions=[OffsetCommitRequestPartition(committed_offset=1)]
                )
                for name in TOPICS
            ],
        ),
        8,
    ),
    (
        OffsetFetchRequest(
            groups=[
                OffsetFetchRequestGroup(
                    group_id="group",
                    topics=[
                        OffsetFetchRequestTopics(name=name, partition_indexes=[0])
                        for name in TOPICS
                    ],
                )
            ]
        ),
        8,
    ),
]
LONG += [
    (OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id="group", topics=None)]), 8),
    (DescribeTopicPartitionsRequest(), 0),
    (
        OffsetDeleteRequest(
            group_id="group",
            topics=[
                OffsetDeleteRequestTopic(
                    name=name, partitions=[OffsetDeleteRequestPartition(partition_index=0)]
                )
                for name in TOPICS
            ],
        ),
        0,
    ),
    (
        AddPartitionsToTxnRequest(
            v3_and_below_transactional_id="transaction",
            v3_and_below_producer_id=0,
            v3_and_below_producer_epoch=0,
            v3_and_below_topics=[
                AddPartitionsToTxnTopic(name=name, partitions=[0]) for name in TOPICS
            ],
        ),
        3,
    ),
]
NAMES = [type(request).__name__ for request, _ in LONG]


@pytest.fixture(autouse=True)
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_STEPS", SLICE)
    monkeypatch.setattr(group_offsets, "PORTION", SLICE)
    monkeypatch.setattr(group_offsets, "FETCHED_AT_ONCE", SLICE)


def with_many_topics(case: Callable[[World, RawClient, RawClient], Awaitable[None]]) -> None:
    """Run `case` with two clients of a broker that coordinates groups and transactions."""

    async def program(world: World) -> None:
        await world.start()
        one, other = await world.client(), await world.client()
        topics = [CreatableTopic(name=n, num_partitions=1, replication_factor=1) for n in TOPICS]
        assert codes(await one.call(CreateTopicsRequest(topics=topics), 5)) == {0}
        while (await one.call(FindCoordinatorRequest(key="group"), 3)).error_code:
            await asyncio.sleep(0.01)
        commit, version = LONG[NAMES.index("OffsetCommitRequest")]
        while codes(await one.call(commit, version)) != {0}:
            await asyncio.sleep(0.01)
        find = FindCoordinatorRequest(key_type=1, key="transaction")
        while (await one.call(find, 3)).error_code:
            await asyncio.sleep(0.01)
        begin = InitProducerIdRequest(transactional_id="transaction", transaction_timeout_ms=60_000)
        while (producer := await one.call(begin, 4)).error_code:
            await asyncio.sleep(0.01)
        assert (producer.producer_id, producer.producer_epoch) == (0, 0)
        world.network.max_delay_ms = 0
        await case(world, one, other)
        await world.stop()

    simulate(program, seed=5)


async def begun(world: World) -> None:
    """Wait until the broker is busy with a request."""
    assert world.broker is not None
    while not world.broker.dispatcher._tasks:
        await asyncio.sleep(0)


def codes(answer: Message) -> set[int]:
    """Every error code in an answer."""
    found: set[int] = set()
    for name in answer.__slots__:
        value = getattr(answer, name)
        if name.endswith("error_code"):
            found.add(value)
        elif isinstance(value, list):
            found = found.union(*(codes(item) for item in value if hasattr(item, "FIELDS")))
    return found


@pytest.mark.parametrize(("request_", "version"), LONG, ids=NAMES)
def test_another_client_is_served_meanwhile(request_: Message, version: int) -> None:
    async def case(world: World, one: RawClient, other: RawClient) -> None:
        long = asyncio.ensure_future(one.call(request_, version))
        await begun(world)
        await other.call(ApiVersionsRequest(), 3)
        assert not long.done()
        assert codes(await long) == {0}

    with_many_topics(case)


@pytest.mark.parametrize(("request_", "version"), LONG, ids=NAMES)
def test_a_topic_may_be_deleted_meanwhile(request_: Message, version: int) -> None:
    goes_unnoticed = isinstance(request_, DescribeLogDirsRequest | OffsetFetchRequest)
    of_one_image = isinstance(request_, DescribeTopicPartitionsRequest)

    async def case(world: World, one: RawClient, other: RawClient) -> None:
        long = asyncio.ensure_future(one.call(request_, version))
        await begun(world)
        assert codes(await other.call(DeleteTopicsRequest(topic_names=[LAST]), 5)) == {0}
        assert not long.done()
        no_leader, unknown_topic, not_tried = 5, 3, 55
        if isinstance(request_, AddPartitionsToTxnRequest):  # all or nothing
            expected = {0, unknown_topic, not_tried}
        elif goes_unnoticed:
            expected = {0}
        else:
            expected = {0, no_leader if of_one_image else unknown_topic}
        assert codes(await long) == expected

    with_many_topics(case)


def test_another_client_is_served_while_it_is_decided_about_many_topics() -> None:
    names = [f"{NEW}{number:03}" for number in range(800)]
    topics = [CreatableTopic(name=n, num_partitions=1, replication_factor=1) for n in names]

    async def case(world: World, one: RawClient, other: RawClient) -> None:
        checked = CreateTopicsRequest(topics=topics, validate_only=True)
        long = asyncio.ensure_future(one.call(checked, 5))
        await begun(world)
        await other.call(ApiVersionsRequest(), 3)
        assert not long.done()
        assert codes(await long) == {0}

    with_many_topics(case)


def leaders(answer: Any) -> int:
    """How many partitions of the topic have a leader, by a Metadata answer."""
    (topic,) = answer.topics
    return sum(partition.leader_id == 1 for partition in topic.partitions)


def test_new_partitions_are_led_one_after_the_other_and_all_once_it_is_answered() -> None:
    ask = MetadataRequest(topics=[MetadataRequestTopic(name=NEW)], allow_auto_topic_creation=False)

    async def case(world: World, one: RawClient, other: RawClient) -> None:
        created = asyncio.ensure_future(create_topic(one, NEW, 800))
        seen: set[int] = set()
        while not created.done():
            seen.add(leaders(await other.call(ask, 12)))
        assert await created == 0
        assert any(0 < count < 800 for count in seen), seen
        last = leaders(await other.call(ask, 12))
        assert last == 800, "an answer of the time between was kept"

    with_many_topics(case)
