"""The records of `__share_group_state`, in Kafka's format.

    type 0  ShareSnapshot   everything about one share partition; no value deletes it
    type 1  ShareUpdate     what changed since the snapshot of the same epoch

Both keys name the group, the topic's id and the partition. Values begin with
their version, which is 0.
"""

from typing import NamedTuple

from ottla.coordinator.share.runs import StateBatch
from ottla.model.ids import LeaderEpoch, Offset, PartitionId, Uuid, uuid_text
from ottla.wire.generated.records import share_snapshot_value, share_update_value
from ottla.wire.generated.records.share_snapshot_key import ShareSnapshotKey
from ottla.wire.generated.records.share_snapshot_value import ShareSnapshotValue
from ottla.wire.generated.records.share_update_key import ShareUpdateKey
from ottla.wire.generated.records.share_update_value import ShareUpdateValue
from ottla.wire.prefixed import (
    decode_key,
    decode_versioned,
    encode_key,
    encode_versioned,
    read_prefix,
)

SNAPSHOT = 0
UPDATE = 1
VERSION = 0


class ShareKey(NamedTuple):
    """Names one share partition."""

    group_id: str
    topic_id: Uuid
    partition: PartitionId

    @property
    def text(self) -> str:
        """What its partition of the state topic is found by, and FindCoordinator asked for."""
        return f"{self.group_id}:{uuid_text(self.topic_id)}:{self.partition}"


class Snapshot(NamedTuple):
    """Everything stored of a share partition."""

    snapshot_epoch: int
    state_epoch: int
    leader_epoch: LeaderEpoch
    start_offset: Offset
    complete_count: int
    create_timestamp_ms: int
    write_timestamp_ms: int
    batches: tuple[StateBatch, ...]


class Update(NamedTuple):
    """What a write changes. `start_offset` -1 leaves it."""

    snapshot_epoch: int
    leader_epoch: LeaderEpoch
    start_offset: Offset
    complete_count: int
    batches: tuple[StateBatch, ...]


class ShareRecord(NamedTuple):
    """One record; None: the share partition is deleted."""

    key: ShareKey
    content: Snapshot | Update | None


def encode(record: ShareRecord) -> tuple[bytes, bytes | None]:
    """Return key and value as they stand in the log."""
    name, content = record
    if isinstance(content, Update):
        update_key = ShareUpdateKey(
            group_id=name.group_id, topic_id=name.topic_id, partition=name.partition
        )
        update = ShareUpdateValue(
            snapshot_epoch=content.snapshot_epoch,
            leader_epoch=content.leader_epoch,
            start_offset=content.start_offset,
            delivery_complete_count=content.complete_count,
            state_batches=[
                share_update_value.StateBatch(**batch._asdict()) for batch in content.batches
            ],
        )
        return encode_key(update_key), encode_versioned(update, VERSION)
    key = ShareSnapshotKey(group_id=name.group_id, topic_id=name.topic_id, partition=name.partition)
    if content is None:
        return encode_key(key), None
    snapshot = ShareSnapshotValue(
        snapshot_epoch=content.snapshot_epoch,
        state_epoch=content.state_epoch,
        leader_epoch=content.leader_epoch,
        start_offset=content.start_offset,
        delivery_complete_count=content.complete_count,
        create_timestamp=content.create_timestamp_ms,
        write_timestamp=content.write_timestamp_ms,
        state_batches=[
            share_snapshot_value.StateBatch(**batch._asdict()) for batch in content.batches
        ],
    )
    return encode_key(key), encode_versioned(snapshot, VERSION)


def decode(key: bytes, value: bytes | None) -> ShareRecord | None:
    """Return the record, or None for a type of a Kafka newer than known.

    Raises:
        ProtocolError: the bytes are malformed.
    """
    record_type = read_prefix(key)
    if record_type == SNAPSHOT:
        name = decode_key(ShareSnapshotKey, key)
        share_key = ShareKey(name.group_id, name.topic_id, name.partition)
        if value is None:
            return ShareRecord(share_key, None)
        stored = decode_versioned(ShareSnapshotValue, value)
        snapshot = Snapshot(
            stored.snapshot_epoch,
            stored.state_epoch,
            stored.leader_epoch,
            stored.start_offset,
            stored.delivery_complete_count,
            stored.create_timestamp,
            stored.write_timestamp,
            _batches(stored.state_batches),
        )
        return ShareRecord(share_key, snapshot)
    if record_type == UPDATE:
        update_name = decode_key(ShareUpdateKey, key)
        if value is None:
            return None
        changed = decode_versioned(ShareUpdateValue, value)
        update = Update(
            changed.snapshot_epoch,
            changed.leader_epoch,
            changed.start_offset,
            changed.delivery_complete_count,
            _batches(changed.state_batches),
        )
        share_key = ShareKey(update_name.group_id, update_name.topic_id, update_name.partition)
        return ShareRecord(share_key, update)
    return None


def _batches(
    rows: list[share_snapshot_value.StateBatch] | list[share_update_value.StateBatch],
) -> tuple[StateBatch, ...]:
    return tuple(
        StateBatch(row.first_offset, row.last_offset, row.delivery_state, row.delivery_count)
        for row in rows
    )
