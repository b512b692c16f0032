"""From a time to an offset: which record is the first that is not older, which is the newest.

Segments say their largest timestamp, the time index narrows down a position,
and from there batch headers are read until one is late enough; only that
batch's records are looked at.
"""

from typing import NamedTuple

from ottla.model.errors import ApiError, StorageError
from ottla.model.ids import LeaderEpoch, Offset
from ottla.model.isolation import TimestampType
from ottla.record.batch import BatchHeader
from ottla.record.records import read_records
from ottla.storage import scan
from ottla.storage.log import Log
from ottla.storage.segment import Segment


class TimestampedOffset(NamedTuple):
    offset: Offset
    timestamp: int
    leader_epoch: LeaderEpoch


def offset_for_timestamp(log: Log, timestamp: int) -> TimestampedOffset | None:
    """Return the first record whose timestamp is at or after `timestamp`; None if none is.

    Raises:
        ApiError: CORRUPT_MESSAGE, a batch cannot be read.
        StorageError: the disk failed.
    """
    for segment in log.segments.from_offset(log.log_start_offset):
        if segment.largest_timestamp >= timestamp and segment.size:
            start = max(segment.time_index.lookup(timestamp), log.log_start_offset)
            found = _first_in(log, segment, start, timestamp, floor=log.log_start_offset)
            if found is not None:
                return found
    return None


def newest_record(log: Log) -> TimestampedOffset | None:
    """Return the first record with the largest timestamp of the log (KIP-734); None if it is empty.

    As with Kafka, a record below the log's start counts for as long as its segment is there.

    Raises as `offset_for_timestamp`.
    """
    newest: Segment | None = None
    for segment in log.segments:
        if segment.size and (
            newest is None or segment.largest_timestamp > newest.largest_timestamp
        ):
            newest = segment
    if newest is None or newest.largest_timestamp < 0:
        return None
    return _first_in(
        log, newest, newest.largest_timestamp_offset, newest.largest_timestamp
    ) or _first_in(log, newest, newest.base_offset, newest.largest_timestamp)


def _first_in(
    log: Log, segment: Segment, start: Offset, timestamp: int, *, floor: Offset = 0
) -> TimestampedOffset | None:
    """The first record of a segment, from `floor` on, that is late enough.

    It is looked for from the batch that holds `start`.
    """
    log.directory.check_online()
    read = segment.handle.get().pread
    position = segment.offset_index.lookup(start)
    try:
        for header in scan.headers(read, position, segment.size):
            if header.last_offset >= start and header.max_timestamp >= timestamp:
                batch = read(header.size, header.position)
                found = _first_of(header, batch, timestamp, floor)
                if found is not None:
                    return found
    except scan.NotABatch as error:
        raise StorageError(f"{segment.log_path}: {error}") from error
    except OSError as error:
        log.directory.refuse(error, f"read of {segment.log_path}")
    return None


def _first_of(
    header: BatchHeader, batch: bytes, timestamp: int, floor: Offset
) -> TimestampedOffset | None:
    if header.timestamp_type == TimestampType.LOG_APPEND_TIME:
        offset = max(header.base_offset, floor)
        return TimestampedOffset(offset, header.max_timestamp, header.leader_epoch)
    try:
        for record in read_records(batch):
            if record.offset >= floor and record.timestamp >= timestamp:
                return TimestampedOffset(record.offset, record.timestamp, header.leader_epoch)
    except ApiError:
        # Records that cannot be read were let in unseen: their header must do.
        offset = max(header.base_offset, floor)
        return TimestampedOffset(offset, header.max_timestamp, header.leader_epoch)
    return None
