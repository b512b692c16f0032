"""Turn a new image into what this broker's replicas do, in order."""

from collections.abc import Callable

from ottla.metadata.changes import Delta
from ottla.metadata.image import Image, TopicImage
from ottla.model.ids import BrokerId, PartitionId
from ottla.model.steps import Steps
from ottla.record.validate import ProduceRules
from ottla.replica.partition import Partition
from ottla.replica.replicas import Replicas
from ottla.storage.log import Log

OpenLog = Callable[[TopicImage, PartitionId], Log | None]
"""Opens or creates a log; None where its directory is offline."""

DropLog = Callable[[Log], None]


class ReplicaFollower:
    """Creates, leads, reconfigures and removes this broker's replicas."""

    def __init__(
        self,
        broker_id: BrokerId,
        replicas: Replicas,
        *,
        open_log: OpenLog,
        drop_log: DropLog,
        configure: Callable[[Partition, TopicImage], None],
        request_flush: Callable[[Partition], None],
    ) -> None:
        self._broker_id = broker_id
        self._replicas = replicas
        self._open_log = open_log
        self._drop_log = drop_log
        self._configure = configure
        self._request_flush = request_flush

    def follow(self, image: Image, delta: Delta) -> Steps[None]:
        """Bring the replicas of the changed topics in line with `image`, one a step."""
        names = sorted(delta.topics)
        for name in names:
            for partition in self._replicas.of_topic(name):
                if partition.topic_id not in image.topic_names:
                    self.remove(partition)
                    yield
        for name in names:
            topic = image.topics.get(name)
            if topic is not None:
                yield from self._follow_topic(topic)

    def _follow_topic(self, topic: TopicImage) -> Steps[None]:
        for number, state in enumerate(topic.partitions):
            if self._broker_id not in state.replicas:
                continue
            partition = self._replicas.find(topic.topic_id, number)
            if partition is None:
                log = self._open_log(topic, number)
                if log is None:
                    continue
                partition = Partition(
                    topic.name,
                    number,
                    topic.topic_id,
                    log,
                    rules=ProduceRules(),
                    request_flush=self._request_flush,
                )
                self._replicas.add(partition)
            self._configure(partition, topic)
            # A log of an offline directory is in doubt, whatever else changed about its topic.
            if state.leader == self._broker_id and partition.log.directory.is_online:
                partition.become_leader(state.leader_epoch)
            elif partition.is_leader:
                partition.resign()
            yield

    def remove(self, partition: Partition) -> None:
        """The partition is not this broker's any more: its log is dropped."""
        self._replicas.remove(partition)
        partition.resign()
        self._drop_log(partition.log)
