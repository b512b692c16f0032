"""Build batches: for coordinators, the client library, compaction and tests."""

from collections.abc import Iterable

from ottla.model.ids import (
    NO_LEADER_EPOCH,
    NO_PRODUCER_ID,
    LeaderEpoch,
    Offset,
    ProducerEpoch,
    ProducerId,
)
from ottla.model.isolation import CompressionType, TimestampType
from ottla.record.batch import (
    CONTROL_FLAG,
    DELETE_HORIZON_FLAG,
    HEADER,
    HEADER_SIZE,
    LOG_APPEND_TIME_FLAG,
    LOG_OVERHEAD,
    MAGIC,
    NO_SEQUENCE,
    NO_TIMESTAMP,
    TRANSACTIONAL_FLAG,
    set_crc,
)
from ottla.record.checksum import Buffer
from ottla.record.compression import compress
from ottla.record.records import Record, append_record

NO_PRODUCER_EPOCH: ProducerEpoch = -1


def build_batch(
    records: Iterable[Record],
    *,
    base_offset: Offset = 0,
    leader_epoch: LeaderEpoch = NO_LEADER_EPOCH,
    compression: CompressionType = CompressionType.NONE,
    level: int | None = None,
    producer_id: ProducerId = NO_PRODUCER_ID,
    producer_epoch: ProducerEpoch = NO_PRODUCER_EPOCH,
    base_sequence: int = NO_SEQUENCE,
    transactional: bool = False,
    control: bool = False,
    timestamp_type: TimestampType = TimestampType.CREATE_TIME,
) -> bytes:
    """Return one batch; the records get the offsets from `base_offset` on, whatever theirs say.

    At least one record. Timestamps are the records'; with LOG_APPEND_TIME the
    greatest becomes that of all.
    """
    payload = bytearray()
    base_timestamp = max_timestamp = NO_TIMESTAMP
    count = 0
    for record in records:
        timestamp = record.timestamp
        if count == 0:
            base_timestamp = max_timestamp = timestamp
        elif timestamp > max_timestamp:
            max_timestamp = timestamp
        append_record(
            payload, count, timestamp - base_timestamp, record.key, record.value, record.headers
        )
        count += 1
    if count == 0:
        raise ValueError("a batch is built from at least one record")
    return assemble_batch(
        payload,
        count,
        base_offset=base_offset,
        last_offset_delta=count - 1,
        leader_epoch=leader_epoch,
        base_timestamp=base_timestamp,
        max_timestamp=max_timestamp,
        compression=compression,
        level=level,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        transactional=transactional,
        control=control,
        timestamp_type=timestamp_type,
    )


def assemble_batch(
    records: Buffer,
    count: int,
    *,
    base_offset: Offset,
    last_offset_delta: int,
    leader_epoch: LeaderEpoch,
    base_timestamp: int,
    max_timestamp: int,
    compression: CompressionType,
    level: int | None,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: int,
    transactional: bool,
    control: bool,
    timestamp_type: TimestampType,
    delete_horizon: bool = False,
) -> bytes:
    """Put a header before `count` encoded records, which are compressed here."""
    if compression is not CompressionType.NONE:
        records = compress(compression, records, level)
    attributes = int(compression)
    if timestamp_type is TimestampType.LOG_APPEND_TIME:
        attributes |= LOG_APPEND_TIME_FLAG
    if transactional:
        attributes |= TRANSACTIONAL_FLAG
    if control:
        attributes |= CONTROL_FLAG
    if delete_horizon:
        attributes |= DELETE_HORIZON_FLAG
    batch = bytearray(HEADER_SIZE)
    HEADER.pack_into(
        batch,
        0,
        base_offset,
        HEADER_SIZE + len(records) - LOG_OVERHEAD,
        leader_epoch,
        MAGIC,
        0,
        attributes,
        last_offset_delta,
        base_timestamp,
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        count,
    )
    batch += records
    set_crc(batch)
    return bytes(batch)
