"""Where partitions end that other brokers lead, as ListOffsets says it."""

import asyncio
from collections.abc import Callable, Iterable

from ottla.broker.peers import Peers
from ottla.metadata.image import Image
from ottla.model.errors import ApiError, PeerError
from ottla.model.ids import BrokerId, Offset, PartitionId, TopicName, TopicPartition
from ottla.wire.generated.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)

LATEST = -1
CONSUMER = -1


class EndOffsets:
    def __init__(
        self, peers: Peers, image: Callable[[], Image], timeout_ms: Callable[[], int]
    ) -> None:
        self._peers = peers
        self._image = image
        self._timeout_ms = timeout_ms

    async def of(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Offset]:
        """Return the high watermarks; of a partition whose leader does not say it, none."""
        by_leader: dict[BrokerId, list[TopicPartition]] = {}
        for each in partitions:
            topic = self._image().topics.get(each.topic)
            if topic is not None and each.partition < len(topic.partitions):
                by_leader.setdefault(topic.partitions[each.partition].leader, []).append(each)
        found: dict[TopicPartition, Offset] = {}
        for ends in await asyncio.gather(*(self._ask(*each) for each in by_leader.items())):
            found |= ends
        return found

    async def _ask(
        self, leader: BrokerId, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, Offset]:
        topics: dict[TopicName, list[PartitionId]] = {}
        for each in partitions:
            topics.setdefault(each.topic, []).append(each.partition)
        request = ListOffsetsRequest(
            replica_id=CONSUMER,
            topics=[
                ListOffsetsTopic(
                    name=name,
                    partitions=[
                        ListOffsetsPartition(partition_index=number, timestamp=LATEST)
                        for number in numbers
                    ],
                )
                for name, numbers in topics.items()
            ],
        )
        try:
            link = await self._peers.link(leader)
            answer = await link.request(request, timeout_ms=self._timeout_ms())
        except (PeerError, ApiError):
            return {}
        return {
            TopicPartition(topic.name, row.partition_index): row.offset
            for topic in answer.topics
            for row in topic.partitions
            if not row.error_code
        }
