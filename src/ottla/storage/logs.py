"""All logs of all log directories: start, place, create, delete, upkeep, stop.

Start: `Logs.start` locks the directories and reads what they are; `load` opens
their logs, lazily after a clean stop. Then the marker of the clean stop is
gone, so that from here on any other end of the process counts as unclean.

A directory that fails goes offline with all its logs; the rest go on.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from itertools import islice
from typing import NamedTuple

from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import ZERO_UUID, Offset, ProducerId, TopicPartition, Uuid
from ottla.model.randomness import Randomness
from ottla.storage import (
    budget,
    checkpoints,
    clean_stop,
    futures,
    names,
    offset_checkpoints,
    recovery,
)
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.clean_stop import StoppedLog
from ottla.storage.directory import LogDirectory
from ottla.storage.disk import Disk
from ottla.storage.handles import DEFAULT_LIMIT, Handles
from ottla.storage.log import Log
from ottla.storage.log_config import DURABLE, LogConfig
from ottla.storage.removals import FilesJob, Removals
from ottla.storage.roots import BOOT_ID, Roots
from ottla.storage.segment import Segment

logger = logging.getLogger(__name__)

PREFERRED = 10_000
"""Places asked for of partitions that are not there yet; more are forgotten."""

SEGMENTS_PER_TURN = 16
"""Retention renames four files for each, on the loop: some 0.1 ms."""


class Fate(Enum):
    """What becomes of a directory for which there is no log to open."""

    STRAY = "stray"
    """Nobody knows it: set aside, never deleted by itself."""
    DELETE = "delete"
    """Its topic is being deleted."""


Decide = Callable[[TopicPartition, Uuid | None], LogConfig | Fate]
"""(partition, topic id as `partition.metadata` has it) -> settings to open it with, or its fate."""


KnownId = Callable[[TopicPartition], Uuid | None]


class Recovered(NamedTuple):
    """One log after an unclean stop."""

    partition: TopicPartition
    log_end_offset: Offset
    cut_at: Offset | None
    """Where recovery cut it; None: nothing was lost."""


class Logs:
    """The logs of one broker."""

    def __init__(
        self,
        disk: Disk,
        paths: Sequence[str],
        randomness: Randomness,
        *,
        handle_limit: int = DEFAULT_LIMIT,
    ) -> None:
        self.disk = disk
        self.handles = Handles(disk, handle_limit)
        self.directories = [LogDirectory(path, disk, self.handles) for path in paths]
        self.roots = Roots(disk, self.directories, randomness)
        self.stopped_cleanly = True
        """Every directory was stopped cleanly last time; known once loaded."""
        self.highest_producer_id: ProducerId = -1
        """The highest in any log loaded; the next one given out must be above."""
        self.recovered: list[Recovered] = []
        self.strays: list[str] = []
        """Directories set aside at this start."""
        for directory in self.directories:
            directory.on_truncation = self._write_recovery_points
        self._randomness = randomness
        self._logs: dict[TopicPartition, Log] = {}
        self._unmade: dict[Log, None] = {}
        self._removals = Removals()
        self._high_watermarks: dict[TopicPartition, Offset] = {}
        self._committed: dict[Log, Offset] = {}
        """Of logs that recovery cut below it: what was known to be committed."""
        self._damaged: list[Log] = []
        """Marked so, until that is known where it counts."""
        self._named: set[TopicPartition] | None = set()
        """Of which checkpoints spoke at this start; None: not all of them were there."""
        self._counts: dict[LogDirectory, int] = dict.fromkeys(self.directories, 0)
        self._retention_queue: list[Log] = []
        self.compacting: dict[Log, None] = {}
        """Retention leaves these alone."""
        self.clean_offsets: dict[Log, Offset] = {}
        """How far each log that ever was compacted is clean, as of the start."""
        self.futures: dict[TopicPartition, Log] = {}
        """Copies of logs that move to another directory."""
        self._preferred: dict[TopicPartition, LogDirectory] = {}
        self.on_low: Callable[[], object] = lambda: None
        """Somebody should `keep_within` the limit soon."""

    # Starting.

    def start(self) -> None:
        """Hold the directories, as `Roots.hold` does, and raise what that raises."""
        self.roots.hold()

    def identify(self, cluster_id: str, node_id: int) -> None:
        """Say whose directories these are, as `Roots.identify` does."""
        self.roots.identify(cluster_id, node_id)

    def load(self, decide: Decide, now_ms: int, known_id: KnownId = lambda partition: None) -> None:
        """Open every log found, or set its directory aside, as `decide` says.

        `known_id` gives the id of the topic there is now of that name: a log
        that lost its own in a power cut, and is to be opened, gets that.
        """
        stops = {}
        try:
            futures.complete_swaps(self.disk, self.online())
        except OSError as error:
            logger.warning("a move cannot be completed: %s", error)  # loading finds out where
        for directory in self.online():
            try:
                stops[directory] = self._load_directory(directory, decide, now_ms, known_id)
            except (OSError, StorageError) as error:
                directory.go_offline(f"loading: {error}")
        for directory in self.online():
            try:
                self._load_futures(directory, stops[directory], now_ms)
            except OSError as error:
                directory.go_offline(f"loading: {error}")

    def _load_futures(self, directory: LogDirectory, stop: recovery.Stop, now_ms: int) -> None:
        for partition, path in futures.found(directory):
            log = self._logs.get(partition)
            if log is None:
                logger.warning("%s is left alone: its log is not here", path)
            elif log.directory is directory or partition in self.futures:
                self._remove_tree(directory, path, now_ms)
            else:
                self.futures[partition] = futures.reopen(log, directory, path, stop, now_ms)

    def _remove_tree(self, directory: LogDirectory, path: str, now_ms: int) -> None:
        self._removals.add_tree(directory, path, now_ms)

    def _load_directory(
        self, directory: LogDirectory, decide: Decide, now_ms: int, known_id: KnownId
    ) -> recovery.Stop:
        disk, root = self.disk, directory.path
        stop, stopped = self._how_it_stopped(directory)
        self.stopped_cleanly = self.stopped_cleanly and stop is recovery.Stop.CLEAN
        starts = offset_checkpoints.read(directory, checkpoints.LOG_START, stop)
        points = offset_checkpoints.read(directory, checkpoints.RECOVERY_POINT, stop)
        high_watermarks = offset_checkpoints.read(directory, checkpoints.HIGH_WATERMARK, stop)
        compacted = offset_checkpoints.read(directory, checkpoints.CLEANER, stop)
        if not (points.is_whole and high_watermarks.is_whole):
            self._named = None
        elif self._named is not None:
            self._named |= points.offsets.keys() | high_watermarks.offsets.keys()
        boot_id = disk.boot_id()
        # From here on, an end without a new marker is an unclean one.
        if stop is not recovery.Stop.MACHINE:
            disk.write(f"{root}/{BOOT_ID}", boot_id.encode(), sync=False)
        for name in (checkpoints.CLEAN_SHUTDOWN, clean_stop.FILE):
            if disk.exists(f"{root}/{name}"):
                disk.remove(f"{root}/{name}")
        disk.sync_directory(root)
        for name in disk.list(root):
            if name.endswith(names.DELETE_SUFFIX) and disk.is_directory(f"{root}/{name}"):
                self._removals.add_tree(directory, f"{root}/{name}", now_ms)
                continue
            partition = names.parse_partition_directory(name)
            if partition is None or partition.topic == "__cluster_metadata":
                continue
            known = stopped.get(partition)
            if known is None and not disk.is_directory(f"{root}/{name}"):
                continue
            topic_id = known.topic_id if known else self._topic_id(f"{root}/{name}")
            if topic_id == ZERO_UUID:
                topic_id = None  # its file was lost before its broker stopped
            verdict = decide(partition, topic_id)
            if not isinstance(verdict, LogConfig):
                self._set_aside(directory, partition, verdict, now_ms)
                continue
            if topic_id is None:
                topic_id = known_id(partition)
                if topic_id is not None:
                    text = checkpoints.partition_metadata_text(topic_id)
                    disk.write(f"{root}/{name}/{names.PARTITION_METADATA}", text, sync=True)
            if partition in self._logs:
                other = self._logs[partition].path
                raise OSError(f"{partition} is both in {other} and in {root}/{name}")
            log = Log(
                partition,
                topic_id or bytes(16),
                directory,
                verdict,
                now_ms=now_ms,
                summary=known.summary if known else None,
                jitter=self._randomness.below,
            )
            if known:
                log.high_watermark = known.high_watermark
            else:
                start = starts.of(partition, topic_id) or 0
                point = points.of(partition, topic_id)
                loaded = recovery.recover(
                    disk,
                    self.handles,
                    log.path,
                    stop=stop,
                    log_start_offset=start,
                    recovery_point=max(point or 0, start),
                    config=verdict,
                    now_ms=now_ms,
                    compacted_below=compacted.of(partition, topic_id) or 0,
                )
                if stop is recovery.Stop.CLEAN:
                    log.flushed_end_offset = loaded.log_end_offset
                else:
                    log.flushed_end_offset = min(
                        loaded.log_start_offset if point is None else point,
                        loaded.log_end_offset,
                    )
                    self.recovered.append(
                        Recovered(partition, loaded.log_end_offset, loaded.cut_at)
                    )
                if loaded.is_damaged:
                    self._damaged.append(log)
                committed = high_watermarks.of(partition, topic_id) or 0
                if committed > loaded.log_end_offset:
                    self._committed[log] = committed
                elif loaded.is_damaged:
                    # How much of it was committed had not been written down yet.
                    self._committed[log] = loaded.log_end_offset + 1
                log.high_watermark = min(committed, loaded.log_end_offset)
                log.adopt(loaded)
                if verdict.flush_messages == DURABLE:
                    # What an acknowledgement covered is on disk, but how far that went was
                    # written down a while ago: else the high watermark would go back there.
                    log.flush()
                self._note_producers(log)
            self._logs[partition] = log
            clean = compacted.of(partition, topic_id)
            if clean is not None:
                self.clean_offsets[log] = clean
            self._counts[directory] += 1
            self._high_watermarks[partition] = log.high_watermark
        # Nobody remembers deleted topics after this: what was set aside must not come back.
        disk.sync_directory(root)
        if not all(
            disk.exists(f"{root}/{checkpoints.IDS_OF}{name}") for name in offset_checkpoints.ALL
        ):
            self._checkpoint_job(directory).run()
        if stop is recovery.Stop.MACHINE:
            # Not before: a recovery that is cut short leaves as much to be doubted.
            disk.write(f"{root}/{BOOT_ID}", boot_id.encode(), sync=False)
        return stop

    def _note_producers(self, log: Log) -> None:
        highest = max(log.producers.producers, default=-1)
        self.highest_producer_id = max(self.highest_producer_id, highest)

    def _how_it_stopped(
        self, directory: LogDirectory
    ) -> tuple[recovery.Stop, Mapping[TopicPartition, StoppedLog]]:
        disk, root = self.disk, directory.path
        try:
            nonce = checkpoints.parse_clean_shutdown(
                disk.read(f"{root}/{checkpoints.CLEAN_SHUTDOWN}")
            )
        except FileNotFoundError:
            try:
                boot_id = disk.read(f"{root}/{BOOT_ID}").decode("ascii", "replace")
            except FileNotFoundError:
                if not any(map(names.parse_partition_directory, disk.list(root))):
                    return recovery.Stop.CLEAN, {}
                boot_id = ""
            alive = boot_id != "" and boot_id == disk.boot_id()
            return recovery.Stop.PROCESS if alive else recovery.Stop.MACHINE, {}
        try:
            highest, stopped = clean_stop.parse_clean_stop(
                disk.read(f"{root}/{clean_stop.FILE}"), nonce
            )
            self.highest_producer_id = max(self.highest_producer_id, highest)
        except (FileNotFoundError, CheckpointError):
            stopped = {}
        return recovery.Stop.CLEAN, stopped

    def _topic_id(self, path: str) -> Uuid | None:
        try:
            return checkpoints.parse_partition_metadata(
                self.disk.read(f"{path}/{names.PARTITION_METADATA}")
            )
        except (FileNotFoundError, CheckpointError):
            return None

    def _set_aside(
        self, directory: LogDirectory, partition: TopicPartition, fate: Fate, now_ms: int
    ) -> None:
        old = f"{directory.path}/{names.partition_directory(partition)}"
        suffix = names.STRAY_SUFFIX if fate is Fate.STRAY else names.DELETE_SUFFIX
        new = f"{directory.path}/{names.set_aside(partition, self._unique(), suffix)}"
        self.disk.rename(old, new)
        if fate is Fate.STRAY:
            logger.warning("%s belongs to no topic: renamed to %s", old, new)
            self.strays.append(new)
        else:
            self._removals.add_tree(directory, new, now_ms)

    def _unique(self) -> str:
        return self._randomness.uuid().hex()

    # Looking.

    def get(self, partition: TopicPartition) -> Log | None:
        return self._logs.get(partition)

    def __iter__(self) -> Iterator[Log]:
        return iter(self._logs.values())

    def __len__(self) -> int:
        return len(self._logs)

    def online(self) -> list[LogDirectory]:
        return self.roots.online()

    @property
    def some_are_offline(self) -> bool:
        return not all(directory.is_online for directory in self.directories)

    def high_watermark(self, partition: TopicPartition) -> Offset:
        """Return the checkpointed high watermark, as of the start; 0 if there is none."""
        return self._high_watermarks.get(partition, 0)

    def lacks_committed(self, log: Log) -> bool:
        """Whether recovery cut off what was known to be committed, and it did not come back."""
        return log.log_end_offset < self._committed.get(log, 0)

    def accept_losses(self) -> None:
        """Forget which logs were damaged: nobody counts any more on what they lack."""
        for log in self._damaged:
            try:
                self.disk.remove(f"{log.path}/{names.DAMAGED}")
            except OSError as error:
                logger.warning("%s: in doubt at the next start, too: %s", log.path, error)
        self._damaged.clear()

    def was_never_made(self, partition: TopicPartition) -> bool:
        """Whether, as of the start, no log of that name was ever in these directories.

        A checkpoint names each that was there for a minute; one that is younger cannot go
        without its directory, unless the machine went down.
        """
        return (
            self._named is not None
            and partition not in self._named
            and partition not in self._logs
            and not self.some_are_offline
        )

    # Creating and deleting.

    def create(
        self, partition: TopicPartition, topic_id: Uuid, config: LogConfig, now_ms: int
    ) -> Log:
        """Return an empty log, placed where the fewest are.

        Its directory is made when it is first used, or by `make_directories`: what was
        promised is in the metadata store, and a start makes what is missing.

        Raises:
            ApiError: KAFKA_STORAGE_ERROR, no directory is online.
        """
        assert partition not in self._logs, partition
        online = self.online()
        if not online:
            raise ApiError(ErrorCode.KAFKA_STORAGE_ERROR, "no log directory is online")
        preferred = self._preferred.pop(partition, None)
        if preferred in online:
            directory = preferred
        else:
            directory = min(online, key=self._counts.__getitem__)
        log = Log(
            partition, topic_id, directory, config, now_ms=now_ms, jitter=self._randomness.below
        )
        log.make = partial(self._make, log)
        self._unmade[log] = None
        self._logs[partition] = log
        self._counts[directory] += 1
        return log

    def _make(self, log: Log) -> None:
        """Make the directory of a new log. Raises OSError."""
        try:
            self.disk.make_directory(log.path)
        except FileExistsError:
            # Half made when the disk was full. Anything else was left by somebody: set aside.
            found = self.disk.list(log.path)
            if any(not name.startswith(names.PARTITION_METADATA) for name in found):
                aside = names.set_aside(log.partition, self._unique(), names.STRAY_SUFFIX)
                self.disk.rename(log.path, f"{log.directory.path}/{aside}")
                logger.warning("%s was in the way: renamed to %s", log.path, aside)
                self.disk.make_directory(log.path)
        self.disk.create(
            f"{log.path}/{names.PARTITION_METADATA}",
            checkpoints.partition_metadata_text(log.topic_id),
        )
        self._unmade.pop(log, None)

    def identify_log(self, log: Log, topic_id: Uuid) -> None:
        """Say anew of which topic a log is, whose own file does not say it any more.

        Raises:
            ApiError: KAFKA_STORAGE_ERROR, no room.
            StorageError: the disk failed, the directory is offline.
        """
        path = f"{log.path}/{names.PARTITION_METADATA}"
        try:
            text = checkpoints.partition_metadata_text(topic_id)
            self.disk.write(path, text, sync=True)
        except OSError as error:
            log.directory.refuse(error, f"writing {path}")
        log.topic_id = topic_id

    def make_directories(self, limit: int) -> bool:
        """Make the directories of the next `limit` new logs; return whether more are left."""
        for log in list(islice(self._unmade, limit)):
            try:
                log.ensure_made()
            except (ApiError, StorageError) as error:
                # Who uses the log meets it again, and is told.
                logger.warning("%s: %s", log.path, error)
                self._unmade.pop(log, None)
        return bool(self._unmade)

    def delete(self, partition: TopicPartition, now_ms: int) -> None:
        """Take a log out of service; its files go after `file.delete.delay.ms`.

        Raises:
            ApiError, StorageError: the directory cannot be renamed.
        """
        log = self._logs.get(partition)
        if log is None:
            return
        directory = log.directory
        size = log.size_bytes
        log.discard()
        new = names.set_aside(partition, self._unique(), names.DELETE_SUFFIX)
        path = f"{directory.path}/{new}"
        del self._logs[partition]
        self._counts[directory] -= 1
        self._high_watermarks.pop(partition, None)
        self._committed.pop(log, None)
        self._unmade.pop(log, None)
        if directory.is_online and log.make is None:
            try:
                self.disk.rename(log.path, path)
            except OSError as error:
                directory.refuse(error, f"deleting {log.path}")
            due_ms = now_ms + log.config.file_delete_delay_ms
            self._removals.add_tree(directory, path, due_ms, size)

    # Moving.

    def directory_at(self, path: str) -> LogDirectory:
        """Raise ApiError(LOG_DIR_NOT_FOUND) unless it is one of `log.dirs`."""
        for directory in self.directories:
            if directory.path == path:
                return directory
        raise ApiError(ErrorCode.LOG_DIR_NOT_FOUND, f"Log dir {path} is not found in the config.")

    def prefer(self, partition: TopicPartition, directory: LogDirectory) -> None:
        """Put the partition's log there once it is created."""
        if len(self._preferred) < PREFERRED:
            self._preferred[partition] = directory

    def begin_future(self, log: Log, directory: LogDirectory, now_ms: int) -> Log:
        """Return an empty copy of `log` in another directory; raises as `futures.begin`."""
        future = futures.begin(log, directory, self._randomness, now_ms)
        self.futures[log.partition] = future
        return future

    def discard_future(self, future: Log, now_ms: int) -> None:
        """Give a copy up, and remove it."""
        self.futures.pop(future.partition, None)
        try:
            path = futures.discard(future, self._randomness)
            self._remove_tree(future.directory, path, now_ms)
        except OSError as error:
            logger.warning("%s is not removed: %s", future.path, error)

    def swap(self, log: Log, future: Log, now_ms: int) -> Log:
        """Put a copy that has everything in its log's place; raises as `futures.swap`."""
        size = log.size_bytes
        new, old = futures.swap(log, future, self._randomness, now_ms)
        del self.futures[log.partition]
        self._logs[log.partition] = new
        self._counts[log.directory] -= 1
        self._counts[new.directory] += 1
        due_ms = now_ms + log.config.file_delete_delay_ms
        self._removals.add_tree(log.directory, old, due_ms, size)
        return new

    # Upkeep.

    def retention_turn(self, now_ms: int, limit: int) -> int:
        """Apply retention to the next `limit` logs; return how many segments went.

        Call it often, with a small limit: one round over all logs begins when
        the last has ended. After a few segments the turn is over too; their
        log is the first of the next.
        """
        if not self._retention_queue:
            self._retention_queue = list(self._logs.values())
        removed = 0
        for _ in range(min(limit, len(self._retention_queue))):
            if removed >= SEGMENTS_PER_TURN:
                break
            log = self._retention_queue.pop()
            if self._logs.get(log.partition) is not log or not log.directory.is_online:
                continue
            if log in self.compacting:
                continue
            try:
                log.upkeep(now_ms)
                if log.may_expire(now_ms):
                    most = SEGMENTS_PER_TURN - removed
                    gone = self._expire(log, now_ms, most)
                    removed += gone
                    if gone == most:
                        self._retention_queue.append(log)
            except (ApiError, StorageError) as error:
                logger.warning("retention of %s: %s", log.path, error)
        return removed

    @property
    def retention_is_over(self) -> bool:
        """Every log had its turn in this round."""
        return not self._retention_queue

    def _expire(self, log: Log, now_ms: int, most: int | None = None) -> int:
        segments = log.apply_retention(now_ms, most)
        due_ms = now_ms + log.config.file_delete_delay_ms
        for segment in segments:
            self._removals.add_segment(log.directory, segment, due_ms)
        return len(segments)

    def remove_later(self, log: Log, segments: list[Segment], now_ms: int) -> None:
        """Remove the files of segments that were replaced, after `file.delete.delay.ms`."""
        due_ms = now_ms + log.config.file_delete_delay_ms
        self._removals.add_replaced(log.directory, segments, due_ms)

    def keep_within(self, limit_bytes: int, now_ms: int) -> None:
        """Let no directory hold more than `limit_bytes` of segments; -1 sets no limit.

        What is deleted is removed by the next `removal_jobs`, and does not wait for its delay.
        """
        for directory in self.online():
            if limit_bytes < 0:
                directory.budget = None
                continue
            logs = [log for log in self._logs.values() if log.directory is directory]
            used = sum(log.size_bytes for log in logs)
            used += sum(
                future.size_bytes
                for future in self.futures.values()
                if future.directory is directory
            )
            excess = used - budget.target_bytes(limit_bytes)
            pending = directory.leaving_bytes + self._removals.bytes_in(directory)
            if excess + pending > 0:
                self._removals.hasten(directory, now_ms)
                for log, segment in budget.free(logs, excess):
                    self._removals.add_segment(log.directory, segment, now_ms)
            if directory.budget is None:
                directory.budget = budget.Budget(directory.path, lambda: self.on_low())
            elif directory.budget.refused:
                logger.warning(
                    "%s holds %d bytes, log.dir.max.bytes is %d: records are refused",
                    directory.path,
                    used + pending,
                    limit_bytes,
                )
            directory.budget.measured(limit_bytes, used + pending)

    def removal_jobs(self, now_ms: int) -> list[FilesJob]:
        """Return the removals that are due, one job a directory."""
        return self._removals.jobs(now_ms)

    def checkpoint_jobs(self, names: Sequence[str] = offset_checkpoints.ALL) -> list[FilesJob]:
        """Return the writing of the offset checkpoints `names`, one job a directory."""
        return [self._checkpoint_job(directory, names) for directory in self.online()]

    def _checkpoint_job(
        self, directory: LogDirectory, names: Sequence[str] = offset_checkpoints.ALL
    ) -> FilesJob:
        logs = [
            log for log in self._logs.values() if log.directory is directory and log.make is None
        ]
        return offset_checkpoints.job(directory, logs, names)

    def _write_recovery_points(self, directory: LogDirectory) -> None:
        """Raises OSError."""
        job = self._checkpoint_job(directory, (checkpoints.RECOVERY_POINT,))
        directory.newest.write(self.disk, job.writes, job.number)

    # Stopping.

    def close(self) -> None:
        """Flush and complete everything, write the checkpoints and the markers, let go."""
        for directory in self.directories:
            if directory.is_online:
                try:
                    self._close_directory(directory)
                except (OSError, StorageError, ApiError) as error:
                    directory.go_offline(f"closing: {error}")
        self.release()

    def _close_directory(self, directory: LogDirectory) -> None:
        logs = [log for log in self._logs.values() if log.directory is directory]
        for future in self.futures.values():
            if future.directory is directory:
                future.close()
        self.make_directories(len(self._unmade))
        # One for which there was no room is made at a later start.
        logs = [log for log in logs if log.make is None]
        for log in logs:
            log.finish()
        # Logs, indexes and snapshots may be many: one call for all where it can be trusted.
        synced = self.roots.sync_file_system(directory)
        stopped = {}
        for log in logs:
            if synced:
                log.flushed_with_all()
            else:
                log.flush()
            stopped[log.partition] = StoppedLog(log.topic_id, log.summary(), log.high_watermark)
            if log.is_open:
                self._note_producers(log)
        self._checkpoint_job(directory).run()
        root = directory.path
        nonce = self._randomness.below(2**62)
        self.disk.write(
            f"{root}/{clean_stop.FILE}",
            clean_stop.clean_stop_text(nonce, self.highest_producer_id, stopped),
            sync=True,
        )
        self.disk.write(
            f"{root}/{checkpoints.CLEAN_SHUTDOWN}",
            checkpoints.clean_shutdown_text(nonce),
            sync=True,
        )

    def release(self) -> None:
        """Close all files and give the locks back, without marking a clean stop."""
        self.handles.close_all()
        self.roots.release()
