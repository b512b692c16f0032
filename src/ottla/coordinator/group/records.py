"""The records of `__consumer_offsets`, in Kafka's formats.

A key begins with its type: 0 and 1 are committed offsets (0 from before
Kafka 0.9), 2 the metadata of a classic group, 3 and above records of the newer
group protocols, whose keys all go on with the group id. A value begins with
its version; no value is a tombstone. Written are the versions Kafka 4.3
writes: offsets 4 (1 when they carry their own expiry), metadata 3.
"""

from functools import cache
from importlib import import_module
from typing import NamedTuple

from ottla.model.ids import ZERO_UUID, Offset, PartitionId, TopicName, Uuid
from ottla.wire.generated.records.group_metadata_key import GroupMetadataKey
from ottla.wire.generated.records.group_metadata_value import GroupMetadataValue
from ottla.wire.generated.records.legacy_offset_commit_key import LegacyOffsetCommitKey
from ottla.wire.generated.records.legacy_offset_commit_value import LegacyOffsetCommitValue
from ottla.wire.generated.records.offset_commit_key import OffsetCommitKey
from ottla.wire.generated.records.offset_commit_value import OffsetCommitValue
from ottla.wire.message import Message
from ottla.wire.prefixed import (
    decode_key,
    decode_versioned,
    encode_key,
    encode_versioned,
    read_prefix,
)

LEGACY_OFFSET = 0
OFFSET = 1
GROUP = 2

NO_TIMESTAMP = -1


class CommittedOffset(NamedTuple):
    """What was committed for one partition."""

    offset: Offset
    leader_epoch: int
    metadata: str
    commit_timestamp_ms: int
    expire_timestamp_ms: int = NO_TIMESTAMP
    """When it ends by the word of the client (before KIP-211); -1: by the broker's retention."""
    topic_id: Uuid = ZERO_UUID
    record_offset: Offset = -1
    """Where in `__consumer_offsets` it stands; not part of the record."""


class OffsetStored(NamedTuple):
    """An offset was committed, or (None) deleted."""

    group_id: str
    topic: TopicName
    partition: PartitionId
    committed: CommittedOffset | None


class GroupStored(NamedTuple):
    """A generation of a classic group began, or (None) the group was deleted."""

    group_id: str
    value: GroupMetadataValue | None


class ModernStored(NamedTuple):
    """A record of a consumer, share or streams group (KIP-848, 932, 1071), or its tombstone.

    `key` is one of the generated `...Key` messages of types 3 to 23, `value` the `...Value` that
    belongs to it. `record_of` makes one.
    """

    group_id: str
    key: Message
    value: Message | None

    @property
    def record_type(self) -> int:
        number: int = self.key.RECORD_TYPE  # type: ignore[attr-defined]
        return number


GroupRecord = OffsetStored | GroupStored | ModernStored


def record_of(key: Message, value: Message | None) -> ModernStored:
    """The record of `key`, whose group it names; without a value its tombstone."""
    return ModernStored(key.group_id, key, value)  # type: ignore[attr-defined]


def encode(record: GroupRecord) -> tuple[bytes, bytes | None]:
    """Return key and value as they stand in the log."""
    if isinstance(record, OffsetStored):
        key = encode_key(
            OffsetCommitKey(group=record.group_id, topic=record.topic, partition=record.partition)
        )
        committed = record.committed
        if committed is None:
            return key, None
        value = OffsetCommitValue(
            offset=committed.offset,
            leader_epoch=committed.leader_epoch,
            metadata=committed.metadata,
            commit_timestamp=committed.commit_timestamp_ms,
            expire_timestamp=committed.expire_timestamp_ms,
            topic_id=committed.topic_id,
        )
        version = 4 if committed.expire_timestamp_ms == NO_TIMESTAMP else 1
        return key, encode_versioned(value, version)
    if isinstance(record, GroupStored):
        key = encode_key(GroupMetadataKey(group=record.group_id))
        return key, None if record.value is None else encode_versioned(record.value, 3)
    value_bytes = None if record.value is None else encode_versioned(record.value, 0)
    return encode_key(record.key), value_bytes


def decode(key: bytes, value: bytes | None) -> GroupRecord | None:
    """Return the record, or None for a type of a Kafka newer than known.

    Raises:
        ProtocolError: the bytes are malformed.
    """
    record_type = read_prefix(key)
    if record_type == OFFSET:
        name = decode_key(OffsetCommitKey, key)
        committed = None
        if value is not None:
            stored = decode_versioned(OffsetCommitValue, value)
            committed = CommittedOffset(
                stored.offset,
                stored.leader_epoch,
                stored.metadata,
                stored.commit_timestamp,
                stored.expire_timestamp,
                stored.topic_id,
            )
        return OffsetStored(name.group, name.topic, name.partition, committed)
    if record_type == GROUP:
        group_id = decode_key(GroupMetadataKey, key).group
        metadata = None if value is None else decode_versioned(GroupMetadataValue, value)
        return GroupStored(group_id, metadata)
    if record_type == LEGACY_OFFSET:
        return _decode_legacy(key, value)
    return _decode_modern(record_type, key, value)


def _decode_modern(record_type: int, key: bytes, value: bytes | None) -> ModernStored | None:
    classes = modern_classes(record_type)
    if classes is None:
        return None
    key_class, value_class = classes
    found = decode_key(key_class, key)
    return record_of(found, None if value is None else decode_versioned(value_class, value))


def _decode_legacy(key: bytes, value: bytes | None) -> OffsetStored:
    name = decode_key(LegacyOffsetCommitKey, key)
    committed = None
    if value is not None:
        # The versions of type 1 were written under this key too.
        if read_prefix(value) == 0:
            old = decode_versioned(LegacyOffsetCommitValue, value)
            committed = CommittedOffset(old.offset, -1, old.metadata, old.commit_timestamp)
        else:
            stored = decode_versioned(OffsetCommitValue, value)
            committed = CommittedOffset(
                stored.offset,
                stored.leader_epoch,
                stored.metadata,
                stored.commit_timestamp,
                stored.expire_timestamp,
            )
    return OffsetStored(name.group, name.topic, name.partition, committed)


MODERN_TYPES = {
    3: "consumer_group_metadata",
    4: "consumer_group_partition_metadata",
    5: "consumer_group_member_metadata",
    6: "consumer_group_target_assignment_metadata",
    7: "consumer_group_target_assignment_member",
    8: "consumer_group_current_member_assignment",
    10: "share_group_member_metadata",
    11: "share_group_metadata",
    12: "share_group_target_assignment_metadata",
    13: "share_group_target_assignment_member",
    14: "share_group_current_member_assignment",
    15: "share_group_state_partition_metadata",
    16: "consumer_group_regular_expression",
    17: "streams_group_metadata",
    19: "streams_group_member_metadata",
    20: "streams_group_target_assignment_metadata",
    21: "streams_group_target_assignment_member",
    22: "streams_group_current_member_assignment",
    23: "streams_group_topology",
}
"""Record type -> what it is called. Types 9 and 18 were never released."""


@cache
def modern_classes(record_type: int) -> tuple[type[Message], type[Message]] | None:
    """The messages of a type's keys and values, loaded on first use; None for an unknown type."""
    name = MODERN_TYPES.get(record_type)
    if name is None:
        return None
    title = "".join(word.capitalize() for word in name.split("_"))
    keys = import_module(f"ottla.wire.generated.records.{name}_key")
    values = import_module(f"ottla.wire.generated.records.{name}_value")
    return getattr(keys, f"{title}Key"), getattr(values, f"{title}Value")
