"""Appending what a leader sent: its batches, byte for byte.

Offsets, epochs, checksums and timestamps are the leader's. What is checked is that the bytes
arrived as they were sent, and that they go on where this log ends. Offsets may skip, as in a
leader's compacted log; they never go back, and epochs do not either.

All batches that fit the active segment are written at once, then published one by one. Where
one of them turns out to begin a new segment, the rest is cut off again and written there.
"""

from typing import TYPE_CHECKING

from ottla.model.errors import ApiError, ErrorCode, StorageError
from ottla.model.ids import LeaderEpoch, Offset
from ottla.record.batch import BatchHeader, batches, verify_crc
from ottla.storage import truncation
from ottla.storage.disk import Buffer
from ottla.storage.segment import Segment

if TYPE_CHECKING:
    from ottla.storage.log import Log


def append_as_follower(
    log: "Log", records: Buffer, now_ms: int, leader_epoch: LeaderEpoch
) -> tuple[Offset, Offset] | None:
    """Append the leader's batches as they are; return (first, last offset), None for none.

    Raises: as `Log.append_as_follower`.
    """
    found = _checked(log, records, leader_epoch)
    if not found:
        return None
    first = found[0].base_offset
    start = log.log_start_offset
    if first < log.log_end_offset:
        # The first batch spans the start of a log that is empty: the leader's begins within it.
        truncation.truncate_fully_and_start_at(log, first, now_ms)
    active = log.segments.active
    active = _rolled(log, active, found[0], now_ms)
    view = memoryview(records)
    at = 0
    while at < len(found):
        at, active = _append_run(log, active, view, found, at, now_ms)
    if first < start:
        log.log_start_offset = log.high_watermark = start
        log.leader_epochs.truncate_from_start(start)
    return first, found[-1].last_offset


def _checked(log: "Log", records: Buffer, leader_epoch: LeaderEpoch) -> list[BatchHeader]:
    """Return the headers of the whole batches up to the first of a later epoch; all are good."""
    found: list[BatchHeader] = []
    expected = log.log_end_offset
    epoch = log.latest_epoch
    for header in batches(records):
        if header.leader_epoch > leader_epoch:
            break
        if header.base_offset < expected:
            spans = not found and expected <= header.last_offset
            if not (spans and log.log_start_offset == log.log_end_offset):
                raise ApiError(
                    ErrorCode.OFFSET_OUT_OF_RANGE,
                    f"Batch at offset {header.base_offset} for {log.partition}, "
                    f"which ends at {expected}",
                )
        if header.leader_epoch < epoch or header.last_offset_delta < 0:
            raise _corrupt(log, header, f"of epoch {header.leader_epoch} after {epoch}")
        if not verify_crc(records, header.position, header.size):
            raise _corrupt(log, header, "with a wrong checksum")
        expected = header.next_offset
        epoch = header.leader_epoch
        found.append(header)
    return found


def _corrupt(log: "Log", header: BatchHeader, what: str) -> ApiError:
    return ApiError(
        ErrorCode.CORRUPT_MESSAGE,
        f"Batch at offset {header.base_offset} for {log.partition} {what}",
    )


def _append_run(
    log: "Log",
    active: Segment,
    view: memoryview,
    found: list[BatchHeader],
    at: int,
    now_ms: int,
) -> tuple[int, Segment]:
    """Write the batches from number `at` on that fit the segment; return what follows, and where.

    The first of them belongs into this segment, however large it is.
    """
    room = log.config.segment_bytes - active.size
    start = found[at].position
    stop = at + 1
    while stop < len(found) and found[stop].end_position - start <= room:
        stop += 1
    try:
        active.write(view[start : found[stop - 1].end_position])
    except OSError as error:
        log.write_failed(active, error)
    log.publish_as_follower(active, view, found[at])
    for number in range(at + 1, stop):
        header = found[number]
        following = _rolled(log, active, header, now_ms)
        if following is not active:
            return number, following
        log.publish_as_follower(active, view, header)
    if stop < len(found):
        active = _rolled(log, active, found[stop], now_ms)
    return stop, active


def _rolled(log: "Log", active: Segment, header: BatchHeader, now_ms: int) -> Segment:
    """Return the segment that the batch belongs into, a new one perhaps."""
    try:
        must_roll = active.must_roll(
            log.config, header.size, header.max_timestamp, header.last_offset, now_ms
        )
    except OSError as error:
        log.directory.refuse(error, f"append to {active.log_path}")
    if not must_roll:
        return active
    try:
        active.cut_back()
    except OSError as error:
        log.directory.go_offline(f"cutting {active.log_path} back: {error}")
        raise StorageError(f"cutting {active.log_path} back: {error}") from error
    return log.roll_at(header.base_offset, now_ms)
