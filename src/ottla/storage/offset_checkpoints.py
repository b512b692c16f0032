"""The offset checkpoints of a log directory: one offset a partition, and of which topics they are.

Kafka names partitions in them by topic name alone. A topic deleted and made anew has the same
name, and an old offset would be taken for its own; so beside each checkpoint stands a file of ours
with the topics' ids. Without it, names must do: it is Kafka that wrote the checkpoint.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ottla.model.ids import Offset, TopicPartition, Uuid
from ottla.storage import checkpoints, recovery
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.directory import LogDirectory
from ottla.storage.disk import Disk
from ottla.storage.log import Log
from ottla.storage.removals import FilesJob

logger = logging.getLogger(__name__)

ALL = (checkpoints.RECOVERY_POINT, checkpoints.LOG_START, checkpoints.HIGH_WATERMARK)


class OffsetCheckpoint(NamedTuple):
    """Offsets by partition, and the topics they were written for."""

    offsets: Mapping[TopicPartition, Offset]
    ids: Mapping[TopicPartition, Uuid] | None
    """None: nobody wrote that down, so that names must do."""
    is_whole: bool = True
    """There was one, as it had been written."""

    def of(self, partition: TopicPartition, topic_id: Uuid | None) -> Offset | None:
        """The offset of a partition, if it was written for the topic of this id."""
        if self.ids is not None and (topic_id is None or self.ids.get(partition) != topic_id):
            return None
        return self.offsets.get(partition)


def read(directory: LogDirectory, name: str, stop: recovery.Stop) -> OffsetCheckpoint:
    """Read one of a directory that stopped so; nothing is known of what is missing or garbled."""
    found = _read_offsets(directory, name)
    is_whole, offsets = found is not None, found or {}
    if stop is recovery.Stop.CLEAN and name != checkpoints.CLEANER:
        # Perhaps Kafka's, which keeps them right itself. The cleaner's is not written
        # at a stop, and to doubt it costs no more than compacting anew.
        return OffsetCheckpoint(offsets, None, is_whole)
    path = f"{directory.path}/{checkpoints.IDS_OF}{name}"
    try:
        ids = checkpoints.parse_topic_ids(directory.disk.read(path))
        return OffsetCheckpoint(offsets, ids, is_whole)
    except FileNotFoundError:
        return OffsetCheckpoint(offsets, None, is_whole)
    except CheckpointError as error:
        logger.warning("%s, and so no %s, is used: %s", path, name, error)
        return OffsetCheckpoint(offsets, {}, False)


def yet_to_be_written(disk: Disk, root: str, name: str) -> bool:
    """Whether Kafka made the checkpoint and had nothing to say: an empty file with no ids beside.

    The cleaner's stays so until there is a topic to compact.
    """
    path, ids = f"{root}/{name}", f"{root}/{checkpoints.IDS_OF}{name}"
    return disk.exists(path) and disk.size(path) == 0 and not disk.exists(ids)


def _read_offsets(directory: LogDirectory, name: str) -> dict[TopicPartition, Offset] | None:
    path = f"{directory.path}/{name}"
    if yet_to_be_written(directory.disk, directory.path, name):
        return {}
    try:
        return checkpoints.parse_offsets(directory.disk.read(path))
    except FileNotFoundError:
        return None
    except CheckpointError as error:
        logger.warning("%s is not used: %s", path, error)
        return None


def job(directory: LogDirectory, logs: Sequence[Log], which: Sequence[str] = ALL) -> FilesJob:
    """Return the writing of the checkpoints `which`, for the logs of a directory."""
    made = FilesJob(directory)
    ids = checkpoints.topic_ids_text({log.partition: log.topic_id for log in logs})
    for name in which:
        text = checkpoints.offsets_text(_offsets(name, logs))
        made.writes.append((f"{directory.path}/{name}", text))
        made.writes.append((f"{directory.path}/{checkpoints.IDS_OF}{name}", ids))
    return made


def _offsets(name: str, logs: Sequence[Log]) -> dict[TopicPartition, Offset]:
    """What one checkpoint says of the logs of a directory."""
    if name == checkpoints.RECOVERY_POINT:
        return {log.partition: log.recovery_point for log in logs}
    if name == checkpoints.HIGH_WATERMARK:
        return {log.partition: log.high_watermark for log in logs}
    # Where no segment tells it.
    return {
        log.partition: log.log_start_offset
        for log in logs
        if log.log_start_offset > log.first_base_offset
    }
