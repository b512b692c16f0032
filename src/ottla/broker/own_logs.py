"""Which logs this broker has: found at the start, made, and dropped, as the image says."""

import logging
from collections.abc import Callable

from ottla.broker.log_settings import TopicSettings
from ottla.handlers.slices import SLICE_MS
from ottla.metadata.image import Image, TopicImage
from ottla.model.clock import Clock
from ottla.model.errors import ApiError, StorageError
from ottla.model.ids import ZERO_UUID, BrokerId, PartitionId, TopicPartition, Uuid
from ottla.storage.log import Log
from ottla.storage.log_config import LogConfig
from ottla.storage.logs import Fate, Logs

MAKE_AFTER_MS = 20
MADE_PER_TURN = 40
MADE_AT_ONCE = 5
"""Directories made in one turn at most, and before each look at the clock."""

log = logging.getLogger("ottla.broker")


class OwnLogs:
    def __init__(
        self,
        node_id: BrokerId,
        logs: Logs,
        clock: Clock,
        transport_clock: Clock,
        settings: Callable[[], TopicSettings],
        dropping: Callable[[Log], None],
    ) -> None:
        """`settings` returns those of topics as they are now; `dropping` hears of a log that goes."""
        self._node_id = node_id
        self._logs = logs
        self._clock = clock
        self._transport_clock = transport_clock
        self._settings = settings
        self._dropping = dropping
        self._making = False
        self._lost: frozenset[tuple[Uuid, PartitionId]] = frozenset()
        """Partitions whose logs must be in a directory that is offline: none is made instead."""

    # At the start

    def load(self, image: Image, now_ms: int) -> None:
        """Open what `image` lists of what is found. Raises: as `Logs.load`."""

        def settings_or_fate(partition: TopicPartition, topic_id: Uuid | None) -> LogConfig | Fate:
            return self._settings_or_fate(image, partition, topic_id)

        self._logs.load(settings_or_fate, now_ms, image.topic_id_of_partition)

    def find_lost(self, image: Image) -> None:
        """Take note of what is not new, and the log of which an offline directory may have."""
        if not self._logs.some_are_offline:
            return
        lost = [
            (topic, number)
            for topic in image.topics.values()
            for number, state in enumerate(topic.partitions)
            if self._node_id in state.replicas
            and self._logs.get(TopicPartition(topic.name, number)) is None
        ]
        if lost:
            first, number = lost[0]
            log.error(
                "%d partitions are not served, %s-%d among them: a log directory is offline",
                len(lost),
                first.name,
                number,
            )
        self._lost = frozenset((topic.topic_id, number) for topic, number in lost)

    def drop_what_went(self, image: Image) -> None:
        """Logs were loaded by an image of before we registered: some may be no replica any more."""
        for found in list(self._logs):
            if found.topic_id != ZERO_UUID and isinstance(
                self._settings_or_fate(image, found.partition, found.topic_id), Fate
            ):
                self.drop(found)

    def _settings_or_fate(
        self, image: Image, partition: TopicPartition, topic_id: Uuid | None
    ) -> LogConfig | Fate:
        """What becomes of a log directory found at the start: only listed topics are opened."""
        if topic_id in image.deleting:
            return Fate.DELETE
        if topic_id is None and partition.topic in image.deleting.values():
            # It may be of the topic deleted, undone by a power cut, or of one made anew.
            return Fate.STRAY
        topic = image.topics.get(partition.topic)
        if (
            topic is None
            or (topic_id is not None and topic.topic_id != topic_id)
            or partition.partition >= len(topic.partitions)
            or self._node_id not in topic.partitions[partition.partition].replicas
        ):
            return Fate.STRAY
        return self._settings().of(topic.configs).log

    # Of a replica

    def is_lost(self, topic_id: Uuid, number: PartitionId) -> bool:
        """Whether there is no log of it because a directory is offline that may have it."""
        return (topic_id, number) in self._lost

    def open(self, topic: TopicImage, number: PartitionId) -> Log | None:
        """Find or make the log of a partition; None where it cannot be had now."""
        if self.is_lost(topic.topic_id, number):
            return None
        name = TopicPartition(topic.name, number)
        found = self._logs.get(name)
        if found is not None and found.topic_id == topic.topic_id:
            return found if found.directory.is_online else None
        if found is not None and found.topic_id == ZERO_UUID:
            if not found.directory.is_online:
                return None
            try:
                self._logs.identify_log(found, topic.topic_id)
            except ApiError as error:
                log.warning("%s", error)  # the next start knows no more than this one
            except StorageError as error:
                log.error("%s is not served: %s", name, error)
                return None
            return found
        try:
            if found is not None:
                self._logs.delete(name, self._clock.now_ms())
            self._make_directories_soon()
            return self._logs.create(
                name,
                topic.topic_id,
                self._settings().of(topic.configs).log,
                self._clock.now_ms(),
            )
        except (ApiError, StorageError) as error:
            log.error("%s has no log: %s", name, error)
            return None

    def drop(self, dropped: Log) -> None:
        """Have it deleted: this broker is no replica any more."""
        self._dropping(dropped)
        try:
            self._logs.delete(dropped.partition, self._clock.now_ms())
        except (ApiError, StorageError) as error:
            log.error("%s was not deleted: %s", dropped.partition, error)

    def _make_directories_soon(self) -> None:
        """New logs get their directories behind the answer that they exist, a few at a time."""
        if not self._making:
            self._making = True
            clock = self._transport_clock
            clock.call_at(clock.now_ms() + MAKE_AFTER_MS, self._make_directories)

    def _make_directories(self) -> None:
        self._making = False
        clock = self._transport_clock
        until_ms = clock.now_ms() + SLICE_MS
        for _ in range(MADE_PER_TURN // MADE_AT_ONCE):
            if not self._logs.make_directories(MADE_AT_ONCE):
                return
            if clock.now_ms() >= until_ms:
                break
        self._make_directories_soon()
