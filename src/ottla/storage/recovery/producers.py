"""The producers of a log: from the latest snapshot, and from the batches after it."""

import logging

from ottla.model.errors import ApiError
from ottla.model.ids import Offset
from ottla.record.batch import CONTROL_FLAG, BatchHeader, read_header
from ottla.record.control import read_end_txn_marker
from ottla.record.records import read_records
from ottla.storage import names, scan
from ottla.storage.checkpoints import CheckpointError
from ottla.storage.disk import Buffer, Disk
from ottla.storage.producer_snapshot import decode_snapshot, encode_snapshot
from ottla.storage.producer_state import ProducerStates
from ottla.storage.recovery.batches import damage
from ottla.storage.segment import Segment
from ottla.storage.segments import Segments
from ottla.storage.transaction_index import AbortedTransaction

logger = logging.getLogger(__name__)

REMEMBER_ENTRIES = 64
"""So many index entries, each of some batches, are walked for what a snapshot leaves out."""

REMEMBER_SEGMENTS = 8
"""In at most so many segments."""


def load_producers(
    producers: ProducerStates,
    disk: Disk,
    path: str,
    snapshots: list[Offset],
    segments: Segments,
    log_start_offset: Offset,
    log_end_offset: Offset,
    *,
    rebuild: bool = False,
) -> None:
    """Set `producers` to the state at the log's end: the latest snapshot, then the batches.

    With `rebuild`, what is missing is written on the way: a snapshot where a
    segment begins, aborted transactions in transaction indexes. A snapshot that
    does not match its checksum is removed, and an older one is taken, as where
    a transaction index is made anew: all markers of that segment are needed.
    """
    indexed = min(
        (segment.base_offset for segment in segments if segment.transaction_index.begun_anew),
        default=log_end_offset,
    )
    # Records below the log's start that are still there say what producers sent, too.
    producers.clear(min(log_start_offset, segments.first.base_offset))
    for offset in reversed(snapshots[:]):
        if not segments.first.base_offset <= offset <= min(indexed, log_end_offset):
            continue
        file = f"{path}/{names.offset_file(offset, names.SNAPSHOT)}"
        try:
            producers.load(decode_snapshot(disk.read(file)), offset)
            _remember(producers, segments, offset)
            break
        except CheckpointError as error:
            logger.warning("%s is removed: %s", file, error)
            disk.remove(file)
            snapshots.remove(offset)
    start = producers.end_offset
    if start < log_end_offset:
        for segment in segments.from_offset(start):
            at = segment.base_offset
            if rebuild and at > start and at not in snapshots:
                file = f"{path}/{names.offset_file(at, names.SNAPSHOT)}"
                disk.write(file, encode_snapshot(producers.entries()), sync=False)
                snapshots.append(at)
            replay(producers, segment, start, rebuild=rebuild)
        snapshots.sort()
    producers.end_offset = log_end_offset


def _remember(producers: ProducerStates, segments: Segments, end_offset: Offset) -> None:
    """Complete what a snapshot as of `end_offset` says, from the batches before it.

    Kafka's snapshots name a producer's last batch; one with several requests in
    flight when the broker stopped sends earlier ones again, and they are duplicates too.
    """
    if not len(producers):
        return
    found: list[BatchHeader] = []
    entries = REMEMBER_ENTRIES
    index = segments.index_of(end_offset - 1)
    for segment in [segments[at] for at in range(index, max(-1, index - REMEMBER_SEGMENTS), -1)]:
        if segment.size == 0 or segment.base_offset >= end_offset:
            continue
        rows = [position for offset, position in segment.offset_index.rows() if offset < end_offset]
        position = rows[-entries] if len(rows) >= entries else 0
        here = []
        with damage(segment):
            for header in scan.headers(segment.handle.get().pread, position, segment.size):
                if header.base_offset >= end_offset:
                    break
                here.append(header)
        found[:0] = here
        entries -= len(rows) + 1
        if entries <= 0:
            break
    producers.remember(found)


def replay(producers: ProducerStates, segment: Segment, start: Offset, *, rebuild: bool) -> None:
    """Take a segment's batches from `start` on into account; `rebuild` as for `load_producers`."""
    if segment.size == 0:
        return
    read = segment.handle.get().pread
    position = segment.offset_index.lookup(start) if start > segment.base_offset else 0
    known = -1
    if rebuild:
        rows = segment.transaction_index.rows()
        known = rows[-1].last_offset if rows else -1
    with damage(segment):
        for header in scan.headers(read, position, segment.size):
            if header.last_offset < start or header.producer_id < 0:
                continue
            if header.attributes & CONTROL_FLAG:
                batch = read(header.size, header.position)
                aborted = apply_control_batch(producers, batch)
                if rebuild and aborted is not None and aborted.last_offset > known:
                    segment.transaction_index.append(aborted)
            else:
                producers.apply_header(header)


def apply_control_batch(producers: ProducerStates, batch: Buffer) -> AbortedTransaction | None:
    """Apply the marker a control batch holds, if it holds one."""
    header = read_header(batch)
    if header.records_count == 0 and header.producer_id >= 0:
        # Compaction has left it because no later batch has this epoch.
        producers.apply_empty_marker(
            header.producer_id, header.producer_epoch, header.max_timestamp
        )
        return None
    try:
        for record in read_records(batch):
            marker = read_end_txn_marker(record)
            if marker is not None and header.producer_id >= 0:
                return producers.apply_marker(
                    header.producer_id,
                    header.producer_epoch,
                    marker,
                    record.offset,
                    record.timestamp,
                )
    except ApiError as error:
        logger.warning("control batch at offset %d: %s", header.base_offset, error)
    return None
