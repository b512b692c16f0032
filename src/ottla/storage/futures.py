"""Copies of logs on their way to another log directory: `<topic>-<partition>.<unique>-future`.

As Kafka does (KIP-113): the copy grows beside the log it is of until it has all of
it, then it takes its place. To survive a death at any moment, the steps of that are:

1. everything in the copy is durable, and so is the file `ottla-future-complete` in it;
2. the old log's directory is renamed `-delete`;
3. the copy gets its place's name;
4. the file goes.

A start that finds the file and no log in its place does step 3 and 4; one that finds
a log too goes on copying. A copy whose log is in a directory that is offline stays as it is.
"""

import logging
import re

from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import TopicPartition
from ottla.model.randomness import Randomness
from ottla.storage import checkpoints, names, recovery
from ottla.storage.directory import LogDirectory
from ottla.storage.disk import Disk
from ottla.storage.log import Log

logger = logging.getLogger(__name__)

COMPLETE = "ottla-future-complete"

_FUTURE = re.compile(r"(.+)\.[0-9a-z]{32}-future\Z")


def future_of(name: str) -> TopicPartition | None:
    """Return of which partition a directory of this name is a copy, None if of none."""
    match = _FUTURE.match(name)
    return names.parse_partition_directory(match[1]) if match else None


def complete_swaps(disk: Disk, directories: list[LogDirectory]) -> None:
    """Put copies in their place that had all of their log when the broker died; before loading.

    Raises:
        OSError: one cannot be.
    """
    for directory in directories:
        for name in disk.list(directory.path):
            partition = future_of(name)
            path = f"{directory.path}/{name}"
            if partition is None or not disk.exists(f"{path}/{COMPLETE}"):
                continue
            place = names.partition_directory(partition)
            if any(disk.exists(f"{other.path}/{place}") for other in directories):
                disk.remove(f"{path}/{COMPLETE}")
                continue
            logger.info("%s has all of %s, and takes its place", path, place)
            disk.rename(path, f"{directory.path}/{place}")
            disk.sync_directory(directory.path)
            disk.remove(f"{directory.path}/{place}/{COMPLETE}")


def found(directory: LogDirectory) -> list[tuple[TopicPartition, str]]:
    """Return the copies in a directory: of which partition, and where. Raises OSError."""
    return [
        (partition, f"{directory.path}/{name}")
        for name in directory.disk.list(directory.path)
        if (partition := future_of(name)) is not None
    ]


def reopen(log: Log, directory: LogDirectory, path: str, stop: recovery.Stop, now_ms: int) -> Log:
    """Go on with a copy of `log` that an earlier process began. Raises OSError."""
    future = Log(log.partition, log.topic_id, directory, log.config, now_ms=now_ms)
    future.path = path
    loaded = recovery.recover(
        directory.disk,
        directory.handles,
        path,
        stop=stop,
        log_start_offset=0,
        recovery_point=0,
        config=log.config,
        now_ms=now_ms,
        compacted_below=log.log_end_offset,
    )
    future.adopt(loaded)
    future.flushed_end_offset = loaded.log_start_offset
    return future


def begin(log: Log, directory: LogDirectory, randomness: Randomness, now_ms: int) -> Log:
    """Return an empty copy of `log` in another directory.

    Raises:
        ApiError: KAFKA_STORAGE_ERROR, the directory is offline or full.
        StorageError: it failed.
    """
    directory.check_online()
    future = Log(log.partition, log.topic_id, directory, log.config, now_ms=now_ms)
    unique = randomness.uuid().hex()
    name = names.set_aside(log.partition, unique, names.FUTURE_SUFFIX)
    if future_of(name) != log.partition:
        raise ApiError(ErrorCode.INVALID_TOPIC_EXCEPTION, "The topic name is too long.")
    future.path = f"{directory.path}/{name}"
    try:
        directory.disk.make_directory(future.path)
        directory.disk.create(
            f"{future.path}/{names.PARTITION_METADATA}",
            checkpoints.partition_metadata_text(log.topic_id),
        )
    except OSError as error:
        directory.refuse(error, f"creating {future.path}")
    if log.log_start_offset:
        future.truncate_fully_and_start_at(log.log_start_offset, now_ms)
    return future


def follow_bounds(log: Log, future: Log, now_ms: int) -> None:
    """Let the copy begin no earlier, and end no later, than its log. Raises StorageError."""
    if future.log_end_offset > log.log_end_offset:
        future.truncate_to(log.log_end_offset, now_ms)
    _cut_where_they_part(log, future, now_ms)
    if future.log_end_offset < log.log_start_offset:
        future.truncate_fully_and_start_at(log.log_start_offset, now_ms)
    future.high_watermark = future.log_end_offset
    future.advance_log_start(log.log_start_offset)


def _cut_where_they_part(log: Log, future: Log, now_ms: int) -> None:
    """The log may have been cut, and be longer again by now: the copy must not keep what went.

    Where they part the leader epochs say, as between a follower and its leader.
    """
    ours, copied = log.leader_epochs, future.leader_epochs
    while future.log_end_offset > future.log_start_offset and len(ours) and len(copied):
        epoch, end = ours.end_offset_for(min(ours.latest, copied.latest), log.log_end_offset)
        _, own_end = copied.end_offset_for(epoch, future.log_end_offset)
        if not future.truncate_to(min(end, own_end), now_ms):
            return


def swap(log: Log, future: Log, randomness: Randomness, now_ms: int) -> tuple[Log, str]:
    """Put a copy that has everything in the place of its log.

    Returns:
        The log as it is from now on, and the directory that waits to be removed.

    Raises:
        ApiError: there is no room; all is as before.
        StorageError: a directory failed.
    """
    assert future.log_end_offset == log.log_end_offset, (log, future)
    follow_bounds(log, future, now_ms)
    disk, end = future.directory.disk, future.log_end_offset
    place = f"{future.directory.path}/{names.partition_directory(log.partition)}"
    try:
        # What is known of producers that wrote nothing since the log's start.
        future.history.remove(lambda at: at >= end)
    except OSError as error:
        future.directory.refuse(error, f"completing {future.path}")
    future.producers.load(log.producers.entries(), end)
    summary = future.close()
    try:
        disk.write(f"{future.path}/{COMPLETE}", b"", sync=True)
    except OSError as error:
        future.directory.refuse(error, f"completing {future.path}")
    unique = randomness.uuid().hex()
    aside = names.set_aside(log.partition, unique, names.DELETE_SUFFIX)
    old = f"{log.directory.path}/{aside}"
    try:
        disk.rename(log.path, old)
    except OSError as error:
        log.directory.refuse(error, f"replacing {log.path}")
    try:
        disk.sync_directory(log.directory.path)
        disk.rename(future.path, place)
        disk.sync_directory(future.directory.path)
        disk.remove(f"{place}/{COMPLETE}")
    except OSError as error:
        # The start completes it; until then nobody writes here.
        future.directory.go_offline(f"replacing {log.path}: {error}")
        raise StorageError(f"replacing {log.path}: {error}") from error
    generation = log.generation
    log.discard()
    future.discard()
    new = Log(
        log.partition,
        log.topic_id,
        future.directory,
        log.config,
        now_ms=now_ms,
        summary=summary,
        jitter=randomness.below,
    )
    new.generation = generation + 1
    new.high_watermark = log.high_watermark
    return new, old


def discard(future: Log, randomness: Randomness) -> str:
    """Give a copy up; return the directory that waits to be removed. Raises OSError."""
    future.discard()
    unique = randomness.uuid().hex()
    aside = names.set_aside(future.partition, unique, names.DELETE_SUFFIX)
    path = f"{future.directory.path}/{aside}"
    future.directory.disk.rename(future.path, path)
    return path
