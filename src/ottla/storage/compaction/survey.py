"""What compaction needs to know of an open log, as values."""

from typing import NamedTuple

from ottla.model.ids import Offset
from ottla.storage.compaction.choice import Candidate, SegmentFacts, candidate
from ottla.storage.compaction.plan import CompactionPlan, LastRecord, Limits, SourceSegment
from ottla.storage.log import Log


class Resources(NamedTuple):
    """The broker's settings of compaction."""

    key_map_bytes: int = 134_217_728
    load_factor: float = 0.9
    buffer_bytes: int = 262_144


def survey(log: Log, clean_offset: Offset | None, now_ms: int) -> Candidate:
    """Say how dirty a log is, that is clean below `clean_offset` (None: not known).

    Raises:
        ApiError, StorageError, OSError: it cannot be opened or read.
    """
    segments = log.segments
    return candidate(
        [SegmentFacts(s.base_offset, s.size, s.largest_timestamp) for s in segments],
        clean_offset=clean_offset,
        log_start_offset=log.log_start_offset,
        log_end_offset=log.log_end_offset,
        stable_offset=min(log.last_stable_offset, log.flushed_end_offset),
        now_ms=now_ms,
        min_lag_ms=log.config.min_compaction_lag_ms,
        max_lag_ms=log.config.max_compaction_lag_ms,
        first_timestamp=lambda index: segments[index].first_timestamp(),
    )


def plan(log: Log, chosen: Candidate, now_ms: int, resources: Resources) -> CompactionPlan:
    """Say what is to be done with `log`.

    Raises:
        OSError: an index cannot be read.
    """
    config = log.config
    sources = []
    indexes = []
    segments = list(log.segments)
    for at, segment in enumerate(segments[:-1]):
        if segment.transaction_index.entries:
            segment.transaction_index.write_out()
            indexes.append(segment.transaction_index.path)
        if segment.base_offset < chosen.end_offset:
            sources.append(
                SourceSegment(
                    segment.base_offset,
                    segment.size,
                    segment.offset_index.size_bytes,
                    segment.time_index.size_bytes,
                    segments[at + 1].base_offset,
                )
            )
    return CompactionPlan(
        path=log.path,
        segments=tuple(sources),
        first_dirty_offset=chosen.first_dirty_offset,
        transaction_indexes=tuple(indexes),
        aborted=tuple(segments[-1].transaction_index.rows()),
        last_records={
            producer.producer_id: LastRecord(
                producer.batches[-1].last_offset if producer.batches else -1,
                producer.producer_epoch,
            )
            for producer in log.producers
        },
        epochs=tuple(log.leader_epochs),
        now_ms=now_ms,
        limits=Limits(
            segment_bytes=config.segment_bytes,
            segment_index_bytes=config.segment_index_bytes,
            index_interval_bytes=config.index_interval_bytes,
            delete_retention_ms=config.delete_retention_ms,
            key_map_bytes=resources.key_map_bytes,
            load_factor=resources.load_factor,
            buffer_bytes=max(resources.buffer_bytes, 4096),
        ),
    )
