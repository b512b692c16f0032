"""One partition's log: append, read, roll; synchronous, owned by the loop.

What always holds:
- `log_start_offset <= log_end_offset` and `flushed_end_offset <= log_end_offset`;
  they count records, in `[start, end)`.
- An offset is published (`log_end_offset`) only after its batch was written
  whole. A write that failed leaves the log as it was before it.
- Batches are immutable from their append on, until they are truncated.

After a clean stop a log is not touched before its first use: it knows its ends
from the checkpoint (`LogSummary`), and `_open` reads the rest.

Beside it: `replication` (appending as a follower), `older_reads`, `unsynced`
(flushing), `truncation`, `expiry`, `producer_history`. They work on a log's parts; this class is what others call.
"""

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import NoReturn

from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import LeaderEpoch, Offset, TopicPartition, Uuid
from ottla.model.isolation import TimestampType
from ottla.model.names import INTERNAL_TOPICS
from ottla.record.batch import (
    CONTROL_FLAG,
    BatchHeader,
    set_log_append_time,
    stamp,
)
from ottla.record.control import read_end_txn_marker
from ottla.record.records import read_records
from ottla.record.validate import ProducedBatch
from ottla.storage import expiry, names, recovery, replication, truncation, unsynced
from ottla.storage.directory import LogDirectory
from ottla.storage.disk import Buffer, is_passing
from ottla.storage.flush import FlushJob
from ottla.storage.leader_epochs import LeaderEpochs
from ottla.storage.log_config import INT32_MAX, INT64_MAX, LogConfig
from ottla.storage.log_values import AppendResult, LogSummary, ReadResult
from ottla.storage.older_reads import Cursor, cold, read_older
from ottla.storage.producer_history import ProducerHistory
from ottla.storage.producer_state import AppendOrigin, ProducerStates
from ottla.storage.segment import Segment
from ottla.storage.segments import Segments
from ottla.storage.stored import LARGE_BYTES, StoredRecords
from ottla.storage.transaction_index import AbortedTransaction
from ottla.storage.unsynced import Unsynced

logger = logging.getLogger(__name__)

__all__ = ["AppendResult", "Log", "LogSummary", "ReadResult"]


class Log:
    """One partition's log."""

    __slots__ = (
        "_active",
        "_epochs",
        "_history",
        "_jitter",
        "_known_epoch",
        "_known_size",
        "_now_ms",
        "_producers",
        "_segments",
        "_summary",
        "config",
        "cursors",
        "directory",
        "flushed_end_offset",
        "found_no_room",
        "generation",
        "high_watermark",
        "is_discarded",
        "log_end_offset",
        "log_start_offset",
        "make",
        "partition",
        "path",
        "topic_id",
        "unsynced",
    )

    def __init__(
        self,
        partition: TopicPartition,
        topic_id: Uuid,
        directory: LogDirectory,
        config: LogConfig,
        *,
        now_ms: int,
        summary: LogSummary | None = None,
        jitter: Callable[[int], int] = lambda bound: 0,
    ) -> None:
        """`summary` is of a log that stopped cleanly; None: a new, empty one."""
        self.partition = partition
        self.topic_id = topic_id
        self.directory = directory
        self.path = f"{directory.path}/{names.partition_directory(partition)}"
        self.config = config
        self.make: Callable[[], None] | None = None
        """Makes the directory of a new log; None once it is there."""
        self.generation = 0
        """Raised whenever published batches go: what was read before may be gone."""
        self.found_no_room = False
        """Set by what found none; whoever asks sets it back."""
        self.is_discarded = False
        """The log is being deleted; workers may still be at its files."""
        self._jitter = jitter
        self._now_ms = now_ms
        self._active: Segment | None = None
        self._segments: Segments | None = None
        self._epochs: LeaderEpochs | None = None
        self._producers: ProducerStates | None = None
        self._history: ProducerHistory | None = None
        self.cursors: dict[Offset, Cursor] = {}
        self._summary = summary
        self.unsynced = Unsynced(name_synced=summary is not None)
        self.log_start_offset: Offset = 0
        self.log_end_offset: Offset = 0
        self._known_epoch: LeaderEpoch = -1
        self._known_size = 0
        if summary is not None:
            self.log_start_offset = summary.log_start_offset
            self.log_end_offset = summary.log_end_offset
            self._known_epoch = summary.latest_epoch
            self._known_size = summary.size_bytes
        self.flushed_end_offset: Offset = self.log_end_offset
        """Records below it survive a power cut; the recovery point."""
        self.high_watermark: Offset = self.log_start_offset
        """Set by the partition; bounds retention and the last stable offset."""

    def __repr__(self) -> str:
        return f"Log({self.path}, [{self.log_start_offset}, {self.log_end_offset}))"

    # Opening.

    def _open(self) -> Segment:
        """Read what the summary leaves out; return the active segment.

        Raises:
            ApiError: KAFKA_STORAGE_ERROR, the directory is offline.
            StorageError: it cannot be read.
        """
        self.directory.check_online()
        self.ensure_made()
        disk, handles = self.directory.disk, self.directory.handles
        try:
            if self._summary is None:
                segment = self.new_segment(0, self._now_ms)
                self.adopt(
                    recovery.Loaded(Segments([segment]), 0, 0, LeaderEpochs(), ProducerStates(), [])
                )
            else:
                summary = self._summary
                self.adopt(
                    recovery.open_clean(
                        disk,
                        handles,
                        self.path,
                        log_start_offset=self.log_start_offset,
                        log_end_offset=summary.log_end_offset,
                        active_base_offset=summary.active_base_offset,
                        active_size=summary.active_size,
                        config=self.config,
                        now_ms=self._now_ms,
                    )
                )
        except OSError as error:
            self.directory.refuse(error, f"opening {self.path}")
        assert self._active is not None
        return self._active

    def ensure_made(self) -> None:
        """Make the log's directory, unless that was done.

        Raises:
            ApiError: KAFKA_STORAGE_ERROR, no room.
            StorageError: the disk failed, the directory is offline.
        """
        if self.make is not None:
            try:
                self.make()
            except OSError as error:
                self.directory.refuse(error, f"creating {self.path}")
            self.make = None

    def adopt(self, loaded: recovery.Loaded) -> None:
        """Take over what opening or recovery found."""
        self._segments = loaded.segments
        self._active = loaded.segments.active
        self._active.jitter_ms = self._next_jitter()
        self._epochs = loaded.epochs
        self._producers = loaded.producers
        self._history = ProducerHistory(
            self.directory.disk, self.path, loaded.producers, loaded.snapshots
        )
        self.unsynced.rolled = list(loaded.unsynced)
        self.unsynced.name_synced = self._active.name_synced
        self._summary = None
        self.log_start_offset = loaded.log_start_offset
        self.log_end_offset = loaded.log_end_offset
        self.flushed_end_offset = min(self.flushed_end_offset, loaded.log_end_offset)
        self.high_watermark = max(self.high_watermark, loaded.log_start_offset)

    def _next_jitter(self) -> int:
        bound = min(self.config.segment_jitter_ms, self.config.segment_ms)
        return self._jitter(bound) if bound > 0 else 0

    @property
    def is_open(self) -> bool:
        return self._active is not None

    @property
    def segments(self) -> Segments:
        if self._segments is None:
            self._open()
        assert self._segments is not None
        return self._segments

    @property
    def leader_epochs(self) -> LeaderEpochs:
        if self._epochs is None:
            self._open()
        assert self._epochs is not None
        return self._epochs

    @property
    def producers(self) -> ProducerStates:
        if self._producers is None:
            self._open()
        assert self._producers is not None
        return self._producers

    @property
    def history(self) -> ProducerHistory:
        if self._history is None:
            self._open()
        assert self._history is not None
        return self._history

    @property
    def latest_epoch(self) -> LeaderEpoch:
        """The leader epoch of the newest batch, or -1."""
        return self._known_epoch if self._epochs is None else self._epochs.latest

    @property
    def size_bytes(self) -> int:
        return self._known_size if self._segments is None else self._segments.size_bytes

    @property
    def first_base_offset(self) -> Offset:
        """Where the oldest segment begins: the log's start, unless records were deleted."""
        if self._segments is None:
            return self._summary.first_base_offset if self._summary else 0
        return self._segments.first.base_offset

    @property
    def recovery_point(self) -> Offset:
        return self.flushed_end_offset

    @property
    def last_stable_offset(self) -> Offset:
        """The end for readers of committed data: no open transaction lies below it."""
        producers = self._producers
        if producers is None:
            summary = self._summary
            if summary is None or summary.first_unstable_offset < 0:
                return self.high_watermark
            producers = self.producers
        if not producers.has_transactions:
            return self.high_watermark
        producers.high_watermark_is(self.high_watermark)
        unstable = producers.first_unstable_offset
        if unstable is None or unstable > self.high_watermark:
            return self.high_watermark
        return unstable

    # Appending.

    def append(
        self,
        batch: bytes | bytearray | memoryview,
        produced: ProducedBatch | BatchHeader,
        leader_epoch: LeaderEpoch,
        now_ms: int,
        origin: AppendOrigin = AppendOrigin.CLIENT,
        transaction_version: int = 0,
    ) -> AppendResult:
        """Append one validated batch as leader: give it offsets, stamp it in place, write it.

        `produced` describes `batch`, whose offsets are dense. `bytes` are
        copied first, since they cannot be stamped.

        Raises:
            ApiError: what `ProducerStates.check` says; RECORD_LIST_TOO_LARGE,
                it is larger than a segment may be; KAFKA_STORAGE_ERROR, no
                room or the directory is as full as it may be, the log is as
                before.
            StorageError: the disk failed, the directory is offline.
        """
        active = self._active
        if active is None:
            active = self._open()
        directory = self.directory
        if directory.offline_reason is not None:
            directory.check_online()
        config = self.config
        size = len(batch)
        if size > config.segment_bytes:
            raise ApiError(
                ErrorCode.RECORD_LIST_TOO_LARGE,
                f"Message batch size is {size} bytes in append to partition {self.partition}, "
                f"which exceeds the maximum configured segment size of {config.segment_bytes}.",
            )
        if type(batch) is bytes:
            batch = bytearray(batch)
        producer_id = produced.producer_id
        attributes = produced.attributes
        delta = produced.records_count - 1
        producers = self._producers
        assert producers is not None
        if producer_id >= 0 and not attributes & CONTROL_FLAG:
            earlier = producers.check(
                producer_id,
                produced.producer_epoch,
                produced.base_sequence,
                delta,
                attributes,
                origin,
            )
            if earlier is not None:
                return AppendResult(
                    earlier.base_offset,
                    earlier.last_offset,
                    earlier.timestamp,
                    self.log_start_offset,
                    True,
                )
        elif attributes & CONTROL_FLAG:
            self._check_marker(batch, produced, transaction_version)
        base_offset = self.log_end_offset
        last_offset = base_offset + delta
        timestamp = produced.max_timestamp
        append_time_ms = -1
        try:
            # Behind the check: what came before is acknowledged, however full the directory is.
            if directory.budget is not None and self._is_limited(origin):
                directory.budget.take(size)
            if active.must_roll(config, size, timestamp, last_offset, now_ms):
                active = self.roll_at(base_offset, now_ms)
        except (OSError, ApiError) as error:
            self._no_room_for(produced)
            if isinstance(error, ApiError):
                raise
            directory.refuse(error, f"append to {active.log_path}")
        stamp(batch, 0, base_offset, leader_epoch)  # type: ignore[arg-type]
        if config.message_timestamp_type == TimestampType.LOG_APPEND_TIME:
            set_log_append_time(batch, 0, now_ms)  # type: ignore[arg-type]
            timestamp = append_time_ms = now_ms
        try:
            active.write(batch)
        except OSError as error:
            self._no_room_for(produced)
            self.write_failed(active, error)
        try:
            epochs = self._epochs
            assert epochs is not None
            if epochs.latest != leader_epoch:
                self._begin_epoch(leader_epoch, base_offset)
            if attributes & CONTROL_FLAG:
                self._apply_markers(batch, base_offset)
            elif producer_id >= 0:
                producers.apply(
                    producer_id,
                    produced.producer_epoch,
                    produced.base_sequence,
                    delta,
                    attributes,
                    base_offset,
                    timestamp,
                )
            active.publish(size, last_offset, timestamp, config.index_interval_bytes)
            producers.end_offset = self.log_end_offset = last_offset + 1
        except BaseException as error:
            self._publication_failed(error)
        return AppendResult(base_offset, last_offset, append_time_ms, self.log_start_offset)

    def append_as_follower(
        self,
        records: bytes | bytearray | memoryview,
        now_ms: int,
        leader_epoch: LeaderEpoch = INT32_MAX,
    ) -> tuple[Offset, Offset] | None:
        """Append the leader's batches as they are; return (first, last offset), None for none.

        A last batch that is cut off is left out, and so is what follows from the
        first batch on whose epoch is above `leader_epoch`, that of the leader who
        was asked: it has been another's follower meanwhile.

        Raises:
            ApiError: CORRUPT_MESSAGE, these are no batches, a checksum is wrong,
                or epochs go back; OFFSET_OUT_OF_RANGE, they do not begin at or
                after the log's end, or go backwards; KAFKA_STORAGE_ERROR, no
                room. Batches before the one that had no room are appended.
            StorageError: the disk failed, the directory is offline.
        """
        if self._active is None:
            self._open()
        directory = self.directory
        directory.check_online()
        try:
            if directory.budget is not None and self._is_limited(AppendOrigin.CLIENT):
                directory.budget.take(len(records))
            return replication.append_as_follower(self, records, now_ms, leader_epoch)
        except ApiError as error:
            if error.code is ErrorCode.KAFKA_STORAGE_ERROR:
                self.found_no_room = True
            raise

    def publish_as_follower(
        self, active: Segment, records: memoryview, header: BatchHeader
    ) -> None:
        """Count a batch of the leader's that was written at the segment's end.

        Raises:
            StorageError: the directory is offline now.
        """
        try:
            if self.leader_epochs.latest != header.leader_epoch and header.leader_epoch >= 0:
                self._begin_epoch(header.leader_epoch, header.base_offset)
            producers = self.producers
            if header.attributes & CONTROL_FLAG:
                batch = records[header.position : header.end_position]
                self._apply_markers(batch, header.base_offset)
            elif header.producer_id >= 0:
                producers.apply_header(header)
            active.publish(
                header.size,
                header.last_offset,
                header.max_timestamp,
                self.config.index_interval_bytes,
            )
            producers.end_offset = self.log_end_offset = header.next_offset
        except BaseException as error:
            self._publication_failed(error)

    def _no_room_for(self, produced: ProducedBatch | BatchHeader) -> None:
        self.found_no_room = True
        if produced.producer_id >= 0:
            self.producers.found_no_room(
                produced.producer_id, produced.producer_epoch, produced.base_sequence
            )

    def _is_limited(self, origin: AppendOrigin) -> bool:
        """Whether a full directory refuses this; what coordinators write it takes."""
        return origin is AppendOrigin.CLIENT and self.partition.topic not in INTERNAL_TOPICS

    def _check_marker(
        self, batch: Buffer, produced: ProducedBatch | BatchHeader, transaction_version: int
    ) -> None:
        for record in read_records(batch):
            marker = read_end_txn_marker(record)
            if marker is not None:
                self.producers.check_marker(
                    produced.producer_id,
                    produced.producer_epoch,
                    marker.coordinator_epoch,
                    transaction_version,
                )

    def _apply_markers(self, batch: Buffer, base_offset: Offset) -> None:
        aborted = recovery.apply_control_batch(self.producers, batch)
        if aborted is not None:
            self.segments.active.transaction_index.append(aborted)

    def _begin_epoch(self, epoch: LeaderEpoch, start_offset: Offset) -> None:
        if self.leader_epochs.assign(epoch, start_offset):
            self.write_epochs()

    def write_epochs(self) -> None:
        """Not synced: after a power cut it is made anew from the batches."""
        epochs = self.leader_epochs
        path = f"{self.path}/{names.LEADER_EPOCH_CHECKPOINT}"
        try:
            self.directory.disk.write(path, epochs.text(), sync=False)
            epochs.dirty = False
            self.unsynced.epochs = True
        except OSError as error:
            # The batches say it too, so it may wait; `upkeep` tries again.
            if not is_passing(error):
                raise

    def write_failed(self, active: Segment, error: OSError) -> NoReturn:
        """Cut back to the old end, and refuse; a cut that fails takes the directory offline."""
        doing = f"append to {active.log_path}"
        try:
            active.cut_back()
        except OSError as second:
            self.directory.go_offline(f"{doing}: {error}; cutting back: {second}")
            raise StorageError(f"{doing}: {error}; cutting back: {second}") from second
        self.directory.refuse(error, doing)

    def _publication_failed(self, error: BaseException) -> NoReturn:
        """The bytes are in the file and their offset is in doubt: stop using the directory."""
        self.directory.go_offline(f"append to {self.path}: {error!r}")
        raise StorageError(f"append to {self.path}: {error!r}") from error

    # Rolling.

    def roll(self, now_ms: int) -> Segment:
        """Begin a new segment at the log's end, unless the active one is empty."""
        active = self.segments.active
        return active if active.size == 0 else self.roll_at(self.log_end_offset, now_ms)

    def roll_at(self, base_offset: Offset, now_ms: int) -> Segment:
        """Begin a new segment for the batch that has this offset.

        Raises:
            ApiError, StorageError: it cannot be made.
        """
        segments = self.segments
        old = segments.active
        segment = self.new_segment(base_offset, now_ms)
        try:
            if base_offset == old.base_offset:
                # Empty, and yet due: a first batch too far from the base offset.
                for path in old.paths():
                    if self.directory.disk.exists(path):
                        self.directory.disk.remove(path)
                old.handle.discard()
                segments.replace_all(segment)
            else:
                old.become_inactive()
                self.history.take(base_offset)
                segment.ensure_file()
                segments.append(segment)
                self.unsynced.rolled.append(old)
        except OSError as error:
            self.directory.refuse(error, f"rolling {self.path} at {base_offset}")
        self._active = segment
        return segment

    def new_segment(self, base_offset: Offset, now_ms: int) -> Segment:
        """Return an empty one that is not part of the log yet."""
        segment = Segment(self.directory.disk, self.directory.handles, self.path, base_offset)
        segment.create(now_ms)
        segment.jitter_ms = self._next_jitter()
        return segment

    def activate(self, segment: Segment) -> None:
        """Append to the last of `segments`, which has changed."""
        self._active = segment

    # Reading.

    def read(
        self, offset: Offset, max_bytes: int, *, below: Offset = INT64_MAX, min_one: bool = True
    ) -> ReadResult[Buffer]:
        """Return whole batches, from the one that holds `offset`.

        They start at a batch boundary, so perhaps below `offset`; clients skip.
        Nothing at or above `below` is returned (high watermark, last stable
        offset). A first batch over `max_bytes` comes back whole if `min_one`
        (KIP-74). One call reads from one segment.

        Raises:
            ApiError: OFFSET_OUT_OF_RANGE, `offset` is outside [log start, log
                end]; CORRUPT_MESSAGE, no batches are there.
            StorageError: the disk failed, the directory is offline.
        """
        result = self._read(offset, max_bytes, below, min_one, INT64_MAX)
        return result  # type: ignore[return-value]  # nothing is that large

    def read_to_send(
        self, offset: Offset, max_bytes: int, *, below: Offset = INT64_MAX, min_one: bool = True
    ) -> ReadResult[Buffer | StoredRecords]:
        """Like `read`, but what is large stays in its file until it is sent."""
        return self._read(offset, max_bytes, below, min_one, LARGE_BYTES)

    def _read(
        self, offset: Offset, max_bytes: int, below: Offset, min_one: bool, stored_from: int
    ) -> ReadResult[Buffer | StoredRecords]:
        active = self._active
        if active is None:
            active = self._open()
        end_offset = self.log_end_offset
        if offset < self.log_start_offset or offset > end_offset:
            raise _out_of_range(self, offset)
        if offset >= below or offset == end_offset:
            return ReadResult(b"", offset)
        if offset < active.recent_floor:
            return read_older(self, self.cursors, offset, max_bytes, below, min_one, stored_from)
        last_offsets = active.recent_last_offsets
        positions = active.recent_positions
        count = len(last_offsets)
        first = bisect_left(last_offsets, offset)
        stop = count if below >= end_offset else bisect_left(last_offsets, below)
        if first >= stop:
            return ReadResult(b"", offset)
        start = positions[first]
        end = active.size if stop == count else positions[stop]
        if end - start > max_bytes:
            stop = bisect_right(positions, start + max_bytes, first, stop) - 1
            if stop == first:
                if not min_one:
                    return ReadResult(b"", offset)
                stop += 1
            end = active.size if stop == count else positions[stop]
        next_offset = last_offsets[stop - 1] + 1
        if end - start >= stored_from:
            return ReadResult(StoredRecords(self, active, start, end - start), next_offset)
        handle = active.handle
        handle.used = True
        try:
            file = handle.file or handle.get()
            records = file.pread_now(end - start, start)
        except OSError as error:
            self.directory.refuse(error, f"read of {active.log_path}")
        if records is None:
            return cold(self, active, start, offset, next_offset, end - start, True, offset)
        if len(records) != end - start:
            self._damaged(active, f"{len(records)} of {end - start} bytes at {start}")
        return ReadResult(records, next_offset)

    def _damaged(self, segment: Segment, what: str) -> NoReturn:
        self.directory.go_offline(f"{segment.log_path}: {what}")
        raise StorageError(f"{segment.log_path}: {what}")

    def read_failed(self, error: StorageError) -> None:
        """A worker's read failed: the directory goes offline."""
        self.directory.go_offline(str(error))

    def forget_reads(self) -> None:
        """Published batches go: what was read before may be gone."""
        self.generation += 1
        self.cursors.clear()

    def replaced(self, segments: list[Segment]) -> None:
        """Others stand for closed segments; those already reading these go on with them.

        Raises:
            OSError: a snapshot cannot be removed.
        """
        self.cursors.clear()
        self.unsynced.forget(segments)
        kept = {segment.base_offset for segment in self.segments}
        gone = {s.base_offset for s in segments} - kept
        self.history.remove(lambda at: at in gone)

    # Making durable.

    def flush_job(self) -> FlushJob | None:
        """Return what makes all records so far durable, None if they are.

        Raises:
            ApiError, StorageError: a file cannot be opened.
        """
        return unsynced.flush_job(self)

    def flushed(self, job: FlushJob) -> None:
        """A worker ran the job; on the loop."""
        unsynced.flushed(self, job)

    @property
    def unflushed_bytes(self) -> int:
        """Of the active segment; what is in closed ones is flushed soon."""
        active = self._active
        return 0 if active is None else self.unsynced.bytes_of(active)

    def flushed_with_all(self) -> None:
        """The whole file system was synced since the last append."""
        self.flushed_end_offset = self.log_end_offset
        self.unsynced.all_synced()
        for segment in self._segments or ():
            segment.name_synced = True

    def flush_failed(self, job: FlushJob, error: BaseException) -> None:
        """A worker's flush failed: the directory goes offline; on the loop.

        Not that of a log deleted meanwhile: its files have gone elsewhere.
        """
        job.release()
        if not self.is_discarded or not isinstance(error.__cause__, FileNotFoundError):
            self.directory.go_offline(str(error))

    def flush(self) -> None:
        """Do it here and now; for stopping and for tests.

        Raises:
            StorageError: the directory is offline.
        """
        job = self.flush_job()
        if job is not None:
            try:
                job.run()
            except BaseException as error:
                self.flush_failed(job, error)
                raise
            self.flushed(job)

    # The log's ends.

    def truncate_to(self, offset: Offset, now_ms: int) -> bool:
        """Drop all records at `offset` and above; return whether any were there.

        A batch that spans `offset` goes as a whole.

        Raises:
            StorageError: the disk failed, the directory is offline.
        """
        return truncation.truncate_to(self, offset, now_ms)

    def truncate_fully_and_start_at(self, offset: Offset, now_ms: int) -> None:
        """Drop everything; the next record gets `offset`.

        Raises:
            StorageError: the disk failed, the directory is offline.
        """
        truncation.truncate_fully_and_start_at(self, offset, now_ms)

    def advance_log_start(self, offset: Offset) -> bool:
        """Make records below `offset` unreadable; return whether that was news.

        Raises:
            ApiError: OFFSET_OUT_OF_RANGE, `offset` is above the high watermark.
        """
        if offset > self.high_watermark:
            raise ApiError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"Cannot advance the log start of {self.partition} to {offset}, "
                f"above its high watermark {self.high_watermark}",
            )
        if offset <= self.log_start_offset:
            return False
        self.log_start_offset = offset
        self.leader_epochs.truncate_from_start(offset)
        return True

    def apply_retention(self, now_ms: int, most: int | None = None) -> list[Segment]:
        """Take segments out that are too old, too many or below the log's start, `most` at most.

        Raises:
            StorageError: the disk failed, the directory is offline.
        """
        return expiry.apply_retention(self, now_ms, most)

    def may_expire(self, now_ms: int) -> bool:
        """Say whether `apply_retention` may find something; a log that is not open stays so."""
        if self._segments is not None or self._summary is None:
            return self._segments is not None
        return expiry.may_expire(self, self._summary, now_ms)

    # Transactions and stopping.

    def aborted_transactions(self, start: Offset, end: Offset) -> list[AbortedTransaction]:
        """Return those a reader of `[start, end)` must skip, by their markers' offsets."""
        found: list[AbortedTransaction] = []
        for segment in self.segments.from_offset(start):
            if segment.transaction_index.entries:
                more, complete = segment.transaction_index.collect(start, end)
                found += more
                if complete:
                    break
        return found

    def upkeep(self, now_ms: int) -> None:
        """Write what could not be written before; now and then."""
        self._now_ms = now_ms
        if self._epochs is not None and self._epochs.dirty:
            self.write_epochs()

    def summary(self) -> LogSummary:
        """Return what a lazy opening needs to know."""
        if self._segments is None:
            return self._summary or LogSummary(
                self.log_start_offset, self.log_end_offset, self._known_epoch
            )
        active = self._segments.active
        unstable = self.producers.first_unstable_offset
        return LogSummary(
            self.log_start_offset,
            self.log_end_offset,
            self.latest_epoch,
            self._segments.size_bytes,
            active.base_offset,
            active.size,
            self._segments.first.base_offset,
            self._segments.first.largest_timestamp,
            -1 if unstable is None else unstable,
        )

    def finish(self) -> None:
        """Complete all files; `flush` after it leaves nothing to recover.

        Raises:
            ApiError, StorageError: a file cannot be written.
        """
        if self._segments is None:
            return
        try:
            active = self._segments.active
            if active.size or active.base_offset:
                active.ensure_file()
                active.finish()
                if (
                    self.log_end_offset > self.log_start_offset
                    or self.history.offsets
                    or len(self.producers)
                ):
                    self.history.take(self.log_end_offset)
            if self._epochs is not None and self._epochs.dirty:
                self.write_epochs()
        except OSError as error:
            self.directory.refuse(error, f"closing {self.path}")

    def close(self) -> LogSummary:
        """Complete and flush all files; return the summary for the checkpoint.

        Raises:
            ApiError, StorageError: something may not be on disk.
        """
        self.finish()
        self.flush()
        return self.summary()

    def discard(self) -> None:
        """Let go of all files, unflushed: the log is being deleted."""
        self.generation += 1
        self.is_discarded = True
        if self._segments is not None:
            for segment in self._segments:
                segment.handle.discard()


def _out_of_range(log: Log, offset: Offset) -> ApiError:
    return ApiError(
        ErrorCode.OFFSET_OUT_OF_RANGE,
        f"Received request for offset {offset} for partition {log.partition}, but we only have "
        f"log segments from offset {log.log_start_offset} up to {log.log_end_offset}.",
    )
