"""What the settings say of the coordinator's own records holds in the whole broker."""

import pytest
from tests.support.raw_client import RawClient
from tests.support.simulated_world import World, simulate
from tests.support.witness import create_topic

from ottla.model.isolation import CompressionType
from ottla.model.names import CONSUMER_OFFSETS
from ottla.record.batch import batches
from ottla.wire.generated.find_coordinator import FindCoordinatorRequest
from ottla.wire.generated.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from ottla.wire.generated.offset_fetch import OffsetFetchRequest, OffsetFetchRequestTopic

GROUP = "readers"
TOPIC = "t"


async def commit(client: RawClient, offset: int) -> int:
    """Commit as one who is in no group; return the error code."""
    row = OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
    topic = OffsetCommitRequestTopic(name=TOPIC, partitions=[row])
    answer = await client.call(OffsetCommitRequest(group_id=GROUP, topics=[topic]), 7)
    code: int = answer.topics[0].partitions[0].error_code
    return code


async def committed(client: RawClient) -> int:
    topic = OffsetFetchRequestTopic(name=TOPIC, partition_indexes=[0])
    answer = await client.call(OffsetFetchRequest(group_id=GROUP, topics=[topic]), 5)
    offset: int = answer.topics[0].partitions[0].committed_offset
    return offset


def codecs(world: World) -> list[int]:
    """Of the batches in the coordinator's log."""
    assert world.broker is not None
    (partition,) = world.broker.replicas.of_topic(CONSUMER_OFFSETS)
    read = partition.log.read(0, 1 << 20)
    return [header.compression for header in batches(read.records)]


@pytest.mark.parametrize("codec", list(CompressionType))
def test_the_offsets_topic_is_written_in_its_codec_and_read_in_any(codec: CompressionType) -> None:
    async def life(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, TOPIC) == 0
        await client.call(FindCoordinatorRequest(key=GROUP), 2)
        assert await commit(client, 7) == 0
        assert codecs(world) == [codec]
        await world.stop()

    async def next_life(world: World) -> None:
        world.settings["offsets.topic.compression.codec"] = "0"
        await world.start()
        client = await world.client()
        await client.call(FindCoordinatorRequest(key=GROUP), 2)
        assert await committed(client) == 7
        assert await commit(client, 8) == 0
        assert codecs(world) == [codec, CompressionType.NONE]
        await world.stop()

    simulate(life, next_life, seed=1, offsets_topic_compression_codec=str(int(codec)))


def test_the_time_a_commit_may_take_is_the_brokers() -> None:
    async def life(world: World) -> None:
        await world.start()
        assert world.broker is not None
        assert world.broker.groups.settings.offsets_commit_timeout_ms == 1_234
        assert world.broker.groups._runtime.commit_timeout_ms == 1_234
        await world.stop()

    simulate(life, seed=1, offsets_commit_timeout_ms="1234")
