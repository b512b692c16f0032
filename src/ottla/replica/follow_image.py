"""Turn a new image into what this broker's replicas do, in order.

A replica leads, follows, or waits for a leader; whoever fetches for followers hears of each
that looked at its part anew.
"""

from collections.abc import Callable

from ottla.metadata.changes import Delta
from ottla.metadata.image import Image, TopicImage
from ottla.model.ids import NO_BROKER, BrokerId, PartitionId
from ottla.model.steps import Steps
from ottla.record.validate import ProduceRules
from ottla.replica.partition import Partition
from ottla.replica.replicas import Replicas
from ottla.storage.log import Log

OpenLog = Callable[[TopicImage, PartitionId], Log | None]
"""Opens or creates a log; None where its directory is offline."""

DropLog = Callable[[Log], None]


def _nothing(partition: Partition) -> None:
    """Nobody asks."""


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
        may_join: Callable[[Partition], None] = _nothing,
        moved: Callable[[Partition], None] = _nothing,
        now_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        """`moved` hears of a replica whose role may have changed, or that is gone.

        `may_join` is as for `Partition`; `now_ms` reads the transport clock.
        """
        self._broker_id = broker_id
        self._replicas = replicas
        self._open_log = open_log
        self._drop_log = drop_log
        self._configure = configure
        self._request_flush = request_flush
        self._may_join = may_join
        self._moved = moved
        self._now_ms = now_ms

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
            partition = self._replicas.find(topic.topic_id, number)
            if self._broker_id not in state.replicas:
                if partition is not None:
                    self.remove(partition)
                    yield
                continue
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
                    may_join=self._may_join,
                )
                self._replicas.add(partition)
            self._configure(partition, topic)
            # A log of an offline directory is in doubt, whatever else changed about its topic.
            if not partition.log.directory.is_online:
                if partition.leader != NO_BROKER:
                    partition.resign()
            elif state.leader == self._broker_id:
                partition.become_leader(state, self._now_ms())
            else:
                partition.become_follower(state)
            self._moved(partition)
            yield

    def remove(self, partition: Partition) -> None:
        """The partition is not this broker's any more: its log is dropped."""
        self._replicas.remove(partition)
        partition.resign()
        self._moved(partition)
        self._drop_log(partition.log)
