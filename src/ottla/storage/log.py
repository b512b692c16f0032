"""One partition's log: append, read, roll, truncate; synchronous, owned by the loop.

What always holds:
- `log_start_offset <= log_end_offset` and `flushed_end_offset <= log_end_offset`;
  they count records, in `[start, end)`.
- An offset is published (`log_end_offset`) only after its batch was written
  whole. A write that failed leaves the log as it was before it.
- Batches are immutable from their append on, until they are truncated.

After a clean stop a log is not touched before its first use: it knows its ends
from the checkpoint (`LogSummary`), and `_open` reads the rest.
"""

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Generic, NamedTuple, NoReturn, TypeVar

from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import LeaderEpoch, Offset, TopicPartition, Uuid
from ottla.model.isolation import TimestampType
from ottla.record.batch import (
    CONTROL_FLAG,
    BatchHeader,
    batches,
    set_log_append_time,
    stamp,
)
from ottla.record.control import read_end_txn_marker
from ottla.record.records import read_records
from ottla.record.validate import ProducedBatch
from ottla.storage import names, recovery, scan
from ottla.storage.cold import ColdRead, corrupt
from ottla.storage.directory import LogDirectory
from ottla.storage.disk import Buffer, is_passing
from ottla.storage.flush import FlushJob
from ottla.storage.leader_epochs import LeaderEpochs
from ottla.storage.log_config import INT64_MAX, LogConfig
from ottla.storage.producer_snapshot import encode_snapshot
from ottla.storage.producer_state import AppendOrigin, ProducerStates
from ottla.storage.retention import SegmentSummary, expired_count
from ottla.storage.segment import Segment
from ottla.storage.segments import Segments
from ottla.storage.stored import LARGE_BYTES, StoredRecords
from ottla.storage.transaction_index import AbortedTransaction

logger = logging.getLogger(__name__)

CURSORS = 16
"""Readers of older data whose next position is remembered."""


Records = TypeVar("Records", Buffer, Buffer | StoredRecords)


class AppendResult(NamedTuple):
    base_offset: Offset
    last_offset: Offset
    log_append_time_ms: int
    """-1 where the records keep their own timestamps."""
    log_start_offset: Offset
    duplicate: bool = False


class ReadResult(NamedTuple, Generic[Records]):
    """Whole batches, or what a worker must do to get them."""

    records: Records
    next_offset: Offset
    """One more than the last offset in `records`; the asked one if it is empty."""
    cold: ColdRead | None = None
    """Not None: the pages are not in memory, `records` is empty."""


class LogSummary(NamedTuple):
    """What must be known of a log that is not open."""

    log_start_offset: Offset = 0
    log_end_offset: Offset = 0
    latest_epoch: LeaderEpoch = -1
    size_bytes: int = 0
    active_base_offset: Offset = 0
    active_size: int = 0
    first_base_offset: Offset = 0
    first_timestamp: int = -1
    """The largest timestamp of the oldest segment; -1: ask the segment."""
    first_unstable_offset: Offset = -1
    """-1: no transaction is open."""


class _Cursor(NamedTuple):
    segment: Segment
    position: int


class Log:
    """One partition's log."""

    __slots__ = (
        "_active",
        "_cursors",
        "_epochs",
        "_epochs_unsynced",
        "_jitter",
        "_known_epoch",
        "_known_size",
        "_name_synced",
        "_now_ms",
        "_producers",
        "_rolled",
        "_segments",
        "_snapshots",
        "_summary",
        "config",
        "directory",
        "flushed_end_offset",
        "generation",
        "high_watermark",
        "log_end_offset",
        "log_start_offset",
        "make",
        "partition",
        "path",
        "topic_id",
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
        self._jitter = jitter
        self._now_ms = now_ms
        self._active: Segment | None = None
        self._segments: Segments | None = None
        self._epochs: LeaderEpochs | None = None
        self._producers: ProducerStates | None = None
        self._snapshots: list[Offset] = []
        self._rolled: list[Segment] = []
        """Closed segments whose index files are not synced yet, oldest first."""
        self._epochs_unsynced = False
        self._cursors: dict[Offset, _Cursor] = {}
        self._summary = summary
        self._name_synced = summary is not None
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
                segment = Segment(disk, handles, self.path, 0)
                segment.create(self._now_ms)
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
        self._snapshots = loaded.snapshots
        self._rolled = list(loaded.unsynced)
        self._summary = None
        self._name_synced = self._active.name_synced
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
                room, the log is as before.
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
            if active.must_roll(config, size, timestamp, last_offset, now_ms):
                active = self._roll(base_offset, now_ms)
        except OSError as error:
            directory.refuse(error, f"append to {active.log_path}")
        stamp(batch, 0, base_offset, leader_epoch)  # type: ignore[arg-type]
        if config.message_timestamp_type == TimestampType.LOG_APPEND_TIME:
            set_log_append_time(batch, 0, now_ms)  # type: ignore[arg-type]
            timestamp = append_time_ms = now_ms
        try:
            active.write(batch)
        except OSError as error:
            self._write_failed(active, error)
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
        self, records: bytes | bytearray | memoryview, now_ms: int
    ) -> tuple[Offset, Offset] | None:
        """Append the leader's batches as they are; return (first, last offset), None for none.

        A last batch that is cut off is left out.

        Raises:
            ApiError: CORRUPT_MESSAGE, these are no batches; OFFSET_OUT_OF_RANGE,
                they do not begin at or after the log's end, or go backwards;
                KAFKA_STORAGE_ERROR, no room.
            StorageError: the disk failed, the directory is offline.
        """
        active = self._active
        if active is None:
            active = self._open()
        self.directory.check_online()
        config = self.config
        found = list(batches(records))
        expected = self.log_end_offset
        for header in found:
            if header.base_offset < expected:
                raise ApiError(
                    ErrorCode.OFFSET_OUT_OF_RANGE,
                    f"Batch at offset {header.base_offset} for {self.partition}, "
                    f"which ends at {expected}",
                )
            expected = header.next_offset
        view = memoryview(records)
        for header in found:
            if active.must_roll(
                config, header.size, header.max_timestamp, header.last_offset, now_ms
            ):
                active = self._roll(header.base_offset, now_ms)
            batch = view[header.position : header.end_position]
            try:
                active.write(batch)
            except OSError as error:
                self._write_failed(active, error)
            try:
                if self.latest_epoch != header.leader_epoch and header.leader_epoch >= 0:
                    self._begin_epoch(header.leader_epoch, header.base_offset)
                producers = self.producers
                if header.is_control:
                    self._apply_markers(batch, header.base_offset)
                else:
                    producers.apply_header(header)
                active.publish(
                    header.size,
                    header.last_offset,
                    header.max_timestamp,
                    config.index_interval_bytes,
                )
                producers.end_offset = self.log_end_offset = header.next_offset
            except BaseException as error:
                self._publication_failed(error)
        if not found:
            return None
        return found[0].base_offset, found[-1].last_offset

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
            self._write_epochs()

    def _write_epochs(self) -> None:
        """Not synced: after a power cut it is made anew from the batches."""
        epochs = self.leader_epochs
        path = f"{self.path}/{names.LEADER_EPOCH_CHECKPOINT}"
        try:
            self.directory.disk.write(path, epochs.text(), sync=False)
            epochs.dirty = False
            self._epochs_unsynced = True
        except OSError as error:
            # The batches say it too, so it may wait; `upkeep` tries again.
            if not is_passing(error):
                raise

    def _write_failed(self, active: Segment, error: OSError) -> NoReturn:
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
        return active if active.size == 0 else self._roll(self.log_end_offset, now_ms)

    def _roll(self, base_offset: Offset, now_ms: int) -> Segment:
        segments = self.segments
        old = segments.active
        segment = Segment(self.directory.disk, self.directory.handles, self.path, base_offset)
        segment.create(now_ms)
        segment.jitter_ms = self._next_jitter()
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
                self._take_snapshot(base_offset)
                segment.ensure_file()
                segments.append(segment)
                self._rolled.append(old)
        except OSError as error:
            self.directory.refuse(error, f"rolling {self.path} at {base_offset}")
        self._active = segment
        return segment

    def _take_snapshot(self, offset: Offset) -> None:
        """Write the producers' state as of `offset`, which is the log's end."""
        if self._snapshots and self._snapshots[-1] >= offset:
            return
        path = f"{self.path}/{names.offset_file(offset, names.SNAPSHOT)}"
        self.directory.disk.write(path, encode_snapshot(self.producers.entries()), sync=False)
        self._snapshots.append(offset)

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
            return self._read_older(offset, max_bytes, below, min_one, stored_from)
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
            return self._cold(active, start, offset, next_offset, end - start, True, offset)
        if len(records) != end - start:
            self._damaged(active, f"{len(records)} of {end - start} bytes at {start}")
        return ReadResult(records, next_offset)

    def _read_older(
        self, offset: Offset, max_bytes: int, below: Offset, min_one: bool, stored_from: int
    ) -> ReadResult[Buffer | StoredRecords]:
        segments = self.segments
        index = segments.index_of(offset)
        asked = offset
        while index < len(segments):
            segment = segments[index]
            index += 1
            following = (
                segments[index].base_offset if index < len(segments) else self.log_end_offset
            )
            bound = below if below < following else None
            cursor = self._cursors.pop(offset, None)
            if cursor is not None and cursor.segment is segment:
                hint = cursor.position
            else:
                hint = segment.offset_index.lookup(offset)
            boundary = segment.offset_index.whole_before(hint + max_bytes)
            end = segment.size
            handle = segment.handle
            try:
                read = handle.get().pread_now
                run = None
                if min(max_bytes, end - hint) >= stored_from:
                    run = scan.find_run(read, hint, end, offset, bound, max_bytes, boundary)
                if run is not None and run.size >= stored_from:
                    self._remember(run.next_offset, segment, run.position + run.size)
                    stored = StoredRecords(self, segment, run.position, run.size)
                    return ReadResult(stored, run.next_offset)
                chunk = scan.read_chunk(
                    read, hint, end, offset, bound, max_bytes, min_one, boundary
                )
            except scan.NotCached:
                return self._cold(segment, hint, offset, bound, max_bytes, min_one, asked, boundary)
            except scan.NotABatch as error:
                raise corrupt(segment.log_path, error) from error
            except OSError as error:
                self.directory.refuse(error, f"read of {segment.log_path}")
            if chunk is not None:
                self._remember(chunk.next_offset, segment, chunk.end_position)
                return ReadResult(chunk.records, chunk.next_offset if chunk.records else asked)
            if index < len(segments):
                offset = segments[index].base_offset
        return ReadResult(b"", asked)

    def _remember(self, next_offset: Offset, segment: Segment, position: int) -> None:
        """Readers go on where they were: the next of them need not look the place up."""
        if position >= segment.size:
            return
        cursors = self._cursors
        if len(cursors) >= CURSORS:
            del cursors[next(iter(cursors))]
        cursors[next_offset] = _Cursor(segment, position)

    def _cold(
        self,
        segment: Segment,
        hint: int,
        offset: Offset,
        bound: Offset | None,
        max_bytes: int,
        min_one: bool,
        asked: Offset,
        boundary: int = 0,
    ) -> ReadResult[Buffer | StoredRecords]:
        end = segment.size

        def job(read: scan.Read) -> scan.Chunk | None:
            return scan.read_chunk(read, hint, end, offset, bound, max_bytes, min_one, boundary)

        try:
            return ReadResult(b"", asked, ColdRead(self, segment.handle, job))
        except OSError as error:
            self.directory.refuse(error, f"read of {segment.log_path}")

    def _damaged(self, segment: Segment, what: str) -> NoReturn:
        self.directory.go_offline(f"{segment.log_path}: {what}")
        raise StorageError(f"{segment.log_path}: {what}")

    def read_failed(self, error: StorageError) -> None:
        """A worker's read failed: the directory goes offline."""
        self.directory.go_offline(str(error))

    # Making durable.

    def flush_job(self) -> FlushJob | None:
        """Return what makes all records so far durable, None if they are.

        Raises:
            ApiError, StorageError: a file cannot be opened.
        """
        end = self.log_end_offset
        if self._segments is None:
            return None
        rolled = self._rolled
        if self.flushed_end_offset >= end and not rolled:
            return None
        segments = [s for s in self._segments.from_offset(self.flushed_end_offset) if s.size]
        paths = [path for segment in rolled for path in segment.paths()[1:]]
        directories = []
        if any(not segment.name_synced for segment in segments):
            directories.append(self.path)
            if not self._name_synced:
                paths.append(f"{self.path}/{names.PARTITION_METADATA}")
                directories.append(self.directory.path)
        if self._epochs_unsynced:
            paths.append(f"{self.path}/{names.LEADER_EPOCH_CHECKPOINT}")
            if self.path not in directories:
                directories.append(self.path)
        self._epochs_unsynced = False
        try:
            job = FlushJob(
                self.directory.disk, self.path, segments, paths, directories, end, self.generation
            )
        except OSError as error:
            self.directory.refuse(error, f"flush of {self.path}")
        job.rolled = rolled[:]
        return job

    def flushed(self, job: FlushJob) -> None:
        """A worker ran the job; on the loop."""
        job.release()
        if job.generation == self.generation:
            self._name_synced = True
            self._rolled = [s for s in self._rolled if s not in job.rolled]
            for segment in job.segments:
                segment.name_synced = True
            if job.end_offset > self.flushed_end_offset:
                self.flushed_end_offset = job.end_offset

    def flushed_with_all(self) -> None:
        """The whole file system was synced since the last append."""
        self.flushed_end_offset = self.log_end_offset
        self._name_synced = True
        self._epochs_unsynced = False
        self._rolled = []
        for segment in self._segments or ():
            segment.name_synced = True

    def flush_failed(self, job: FlushJob, error: BaseException) -> None:
        """A worker's flush failed: the directory goes offline; on the loop."""
        job.release()
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

    # Truncating.

    def truncate_to(self, offset: Offset, now_ms: int) -> bool:
        """Drop all records at `offset` and above; return whether any were there.

        A batch that spans `offset` goes as a whole.

        Raises:
            StorageError: the disk failed, the directory is offline.
        """
        segments = self.segments
        if offset >= self.log_end_offset:
            return False
        if offset <= segments.first.base_offset:
            self.truncate_fully_and_start_at(offset, now_ms)
            return True
        self.generation += 1
        self._cursors.clear()
        try:
            index = segments.index_of(offset)
            self._lower_recovery_point(segments[index].base_offset)
            self._remove_now(segments.remove_from(index + 1) if index + 1 < len(segments) else [])
            active = self._active = segments.active
            self._rolled = [segment for segment in self._rolled if segment is not active]
            end = active.truncate_to(offset, now_ms)
            self.log_end_offset = end
            self.flushed_end_offset = min(self.flushed_end_offset, end)
            self.high_watermark = min(self.high_watermark, end)
            self.log_start_offset = min(self.log_start_offset, end)
            self.leader_epochs.truncate_from_end(end)
            self._write_epochs()
            self._reload_producers()
        except (OSError, scan.NotABatch) as error:
            self.directory.go_offline(f"truncating {self.path} to {offset}: {error}")
            raise StorageError(f"truncating {self.path} to {offset}: {error}") from error
        return True

    def truncate_fully_and_start_at(self, offset: Offset, now_ms: int) -> None:
        """Drop everything; the next record gets `offset`.

        Raises:
            StorageError: the disk failed, the directory is offline.
        """
        segments = self.segments
        self.generation += 1
        self._cursors.clear()
        try:
            removed = list(segments)
            self._lower_recovery_point(min(offset, segments.first.base_offset))
            self._remove_now(removed)
            segment = Segment(self.directory.disk, self.directory.handles, self.path, offset)
            segment.create(now_ms)
            segment.jitter_ms = self._next_jitter()
            segment.ensure_file()
            segments.replace_all(segment)
            self._active = segment
            self.log_start_offset = self.log_end_offset = offset
            self.flushed_end_offset = self.high_watermark = offset
            self.leader_epochs.clear()
            self._write_epochs()
            self._remove_snapshots(lambda at: True)
            self.producers.clear(offset)
        except OSError as error:
            self.directory.go_offline(f"truncating {self.path}: {error}")
            raise StorageError(f"truncating {self.path}: {error}") from error

    def _lower_recovery_point(self, offset: Offset) -> None:
        """What is written where something else was durable must be checked after a power cut."""
        if offset < self.flushed_end_offset:
            self.flushed_end_offset = offset
            if self.directory.on_truncation is not None:
                self.directory.on_truncation(self.directory)

    def _remove_now(self, segments: list[Segment]) -> None:
        self._rolled = [segment for segment in self._rolled if segment not in segments]
        for segment in segments:
            segment.handle.discard()
            for path in segment.paths():
                if self.directory.disk.exists(path):
                    self.directory.disk.remove(path)

    def _reload_producers(self) -> None:
        """Set the producers' state back to the log's end."""
        end = self.log_end_offset
        self._remove_snapshots(lambda at: at > end)
        recovery.load_producers(
            self.producers,
            self.directory.disk,
            self.path,
            self._snapshots,
            self.segments,
            self.log_start_offset,
            end,
        )

    def _remove_snapshots(self, unwanted: Callable[[Offset], bool]) -> None:
        disk = self.directory.disk
        for offset in [at for at in self._snapshots if unwanted(at)]:
            path = f"{self.path}/{names.offset_file(offset, names.SNAPSHOT)}"
            if disk.exists(path):
                disk.remove(path)
            self._snapshots.remove(offset)

    # The log's start.

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

    def apply_retention(self, now_ms: int) -> list[Segment]:
        """Take segments out that are too old, too many or below the log's start.

        Their files are renamed `.deleted`; the caller removes them when
        `file.delete.delay.ms` has passed, with `removal`.

        Raises:
            StorageError: the disk failed, the directory is offline.
        """
        segments = self.segments
        config = self.config
        count = expired_count(
            [self._summarize(segment) for segment in segments],
            log_start_offset=self.log_start_offset,
            log_end_offset=self.log_end_offset,
            high_watermark=self.high_watermark,
            now_ms=now_ms,
            retention_ms=config.retention_ms if "delete" in config.cleanup_policy else -1,
            retention_bytes=config.retention_bytes if "delete" in config.cleanup_policy else -1,
        )
        if count == 0:
            return []
        if count == len(segments):
            self._roll(self.log_end_offset, now_ms)
        return self._remove_oldest(count)

    def may_expire(self, now_ms: int) -> bool:
        """Say whether `apply_retention` may find something; a log that is not open stays so."""
        summary = self._summary
        if self._segments is not None or summary is None:
            return self._segments is not None
        config = self.config
        if summary.log_start_offset > summary.first_base_offset:
            return True
        if summary.size_bytes == 0 or "delete" not in config.cleanup_policy:
            return False
        return (
            config.retention_ms >= 0 and now_ms - summary.first_timestamp > config.retention_ms
        ) or (0 <= config.retention_bytes < summary.size_bytes)

    def _summarize(self, segment: Segment) -> SegmentSummary:
        largest = segment.largest_timestamp
        if largest < 0 and segment.size:
            largest = self.directory.disk.modified_ms(segment.log_path)
        return SegmentSummary(segment.base_offset, segment.size, largest)

    def _remove_oldest(self, count: int) -> list[Segment]:
        removed = self.segments.remove_first(count)
        self._rolled = [segment for segment in self._rolled if segment not in removed]
        start = self.segments.first.base_offset
        disk = self.directory.disk
        self._cursors.clear()
        try:
            for segment in removed:
                for path in segment.paths():
                    if disk.exists(path):
                        disk.rename(path, path + names.DELETED)
                segment.handle.discard()
            self._remove_snapshots(lambda at: at < start)
        except OSError as error:
            self.directory.refuse(error, f"deleting segments of {self.path}")
        if start > self.log_start_offset:
            self.log_start_offset = start
        self.leader_epochs.truncate_from_start(self.log_start_offset)
        return removed

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
            self._write_epochs()

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
                if self.log_end_offset > self.log_start_offset or self._snapshots:
                    self._take_snapshot(self.log_end_offset)
            if self._epochs is not None and self._epochs.dirty:
                self._write_epochs()
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
        if self._segments is not None:
            for segment in self._segments:
                segment.handle.discard()


def _out_of_range(log: Log, offset: Offset) -> ApiError:
    return ApiError(
        ErrorCode.OFFSET_OUT_OF_RANGE,
        f"Received request for offset {offset} for partition {log.partition}, but we only have "
        f"log segments from offset {log.log_start_offset} up to {log.log_end_offset}.",
    )
