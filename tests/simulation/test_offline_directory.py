"""A log directory fails while the broker serves."""

from tests.support.simulated_world import World, simulate
from tests.support.witness import create_topic

from ottla.model.errors import ErrorCode
from ottla.wire.generated.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    TopicRequest,
)
from ottla.wire.generated.metadata import MetadataRequest, MetadataRequestTopic


def test_a_partition_whose_directory_failed_has_no_leader() -> None:
    async def fail_one(world: World) -> None:
        await world.start()
        client = await world.client()
        assert await create_topic(client, "rides", partitions=2) == 0

        async def leaders() -> list[tuple[int, int, list[int]]]:
            metadata = await client.call(
                MetadataRequest(topics=[MetadataRequestTopic(name="rides")]), 12
            )
            described = await client.call(
                DescribeTopicPartitionsRequest(topics=[TopicRequest(name="rides")]), 0
            )
            answers = [
                [
                    (row.error_code, row.leader_id, row.offline_replicas)
                    for row in response.topics[0].partitions
                ]
                for response in (metadata, described)
            ]
            assert answers[0] == answers[1]
            return answers[0]

        assert await leaders() == [(0, 1, []), (0, 1, [])]
        assert world.broker is not None
        failing = world.broker.replicas.of_topic("rides")[0].log.directory
        failing.go_offline("for this test")
        world.broker._check_directories()
        lost = (ErrorCode.LEADER_NOT_AVAILABLE, -1, [1])
        assert sorted(await leaders()) == sorted([lost, (0, 1, [])])
        await world.stop()

    simulate(fail_one, seed=1, **{"log.dirs": "/a,/b"})
