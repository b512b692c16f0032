"""The replicas on this broker, by topic id and by name."""

from collections.abc import Iterator

from ottla.model.ids import PartitionId, TopicName, Uuid
from ottla.replica.partition import Partition


class Replicas:
    def __init__(self) -> None:
        self._by_id: dict[tuple[Uuid, PartitionId], Partition] = {}
        self._by_name: dict[TopicName, dict[PartitionId, Partition]] = {}

    def __iter__(self) -> Iterator[Partition]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, topic_id: Uuid, partition: PartitionId) -> Partition | None:
        return self._by_id.get((topic_id, partition))

    def of_topic(self, topic: TopicName) -> list[Partition]:
        """The replicas here of the topic that has, or last had, this name."""
        return list(self._by_name.get(topic, {}).values())

    def find_by_name(self, topic: TopicName, partition: PartitionId) -> Partition | None:
        return self._by_name.get(topic, {}).get(partition)

    def add(self, partition: Partition) -> None:
        self._by_id[partition.topic_id, partition.partition] = partition
        self._by_name.setdefault(partition.topic, {})[partition.partition] = partition

    def remove(self, partition: Partition) -> None:
        del self._by_id[partition.topic_id, partition.partition]
        of_topic = self._by_name[partition.topic]
        if of_topic.get(partition.partition) is partition:
            del of_topic[partition.partition]
            if not of_topic:
                del self._by_name[partition.topic]
