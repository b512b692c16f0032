"""What compaction leaves of a batch, built from its records: the slow, obvious way."""

from collections.abc import Iterable

from ottla.model.ids import NO_PRODUCER_ID, LeaderEpoch, Offset, ProducerEpoch, ProducerId
from ottla.model.isolation import CompressionType, TimestampType
from ottla.record.batch import NO_SEQUENCE, NO_TIMESTAMP
from ottla.record.builder import NO_PRODUCER_EPOCH, assemble_batch
from ottla.record.records import Record, append_record


def build_sparse_batch(
    records: Iterable[Record],
    *,
    base_offset: Offset,
    last_offset: Offset,
    leader_epoch: LeaderEpoch,
    max_timestamp: int = NO_TIMESTAMP,
    compression: CompressionType = CompressionType.NONE,
    level: int | None = None,
    producer_id: ProducerId = NO_PRODUCER_ID,
    producer_epoch: ProducerEpoch = NO_PRODUCER_EPOCH,
    base_sequence: int = NO_SEQUENCE,
    transactional: bool = False,
    control: bool = False,
    timestamp_type: TimestampType = TimestampType.CREATE_TIME,
    delete_horizon_ms: int | None = None,
) -> bytes:
    """Return what compaction leaves of a batch: records keep their offsets, gaps and all.

    Offsets rise within [`base_offset`, `last_offset`], which are those of the
    batch before, as are sequence and producer. There may be no record left: then
    `max_timestamp` is what the batch had, else it is taken from the records
    (unless they have append time). A delete horizon takes the place of the base
    timestamp, and the records' timestamps are written relative to it.
    """
    payload = bytearray()
    count = 0
    base_timestamp = NO_TIMESTAMP if delete_horizon_ms is None else delete_horizon_ms
    greatest = NO_TIMESTAMP
    for record in records:
        timestamp = record.timestamp
        if count == 0 and delete_horizon_ms is None:
            base_timestamp = timestamp
        if count == 0 or timestamp > greatest:
            greatest = timestamp
        append_record(
            payload,
            record.offset - base_offset,
            timestamp - base_timestamp,
            record.key,
            record.value,
            record.headers,
        )
        count += 1
    if count and timestamp_type is TimestampType.CREATE_TIME:
        max_timestamp = greatest
    return assemble_batch(
        payload,
        count,
        base_offset=base_offset,
        last_offset_delta=last_offset - base_offset,
        leader_epoch=leader_epoch,
        base_timestamp=base_timestamp,
        max_timestamp=max_timestamp,
        compression=compression if count else CompressionType.NONE,
        level=level,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        transactional=transactional,
        control=control,
        timestamp_type=timestamp_type,
        delete_horizon=delete_horizon_ms is not None,
    )
