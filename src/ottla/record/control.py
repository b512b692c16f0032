"""Control records: what a log says about itself, at offsets of its own.

A control batch holds one record. Its key is `int16 version, int16 type`; the
value of an end-of-transaction marker is `int16 version, int32 coordinator
epoch` (`EndTxnMarker`, version 0). Clients must not write them.
"""

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import NO_LEADER_EPOCH, LeaderEpoch, Offset, ProducerEpoch, ProducerId
from ottla.record.builder import build_batch
from ottla.record.records import Record

_KEY = Struct(">hh")
_END_TXN_MARKER = Struct(">hi")
_KEY_VERSION = 0
_VALUE_VERSION = 0


class ControlRecordType(IntEnum):
    """Types above COMMIT are KRaft's and found in its metadata log only."""

    UNKNOWN = -1
    ABORT = 0
    COMMIT = 1
    LEADER_CHANGE = 2
    SNAPSHOT_HEADER = 3
    SNAPSHOT_FOOTER = 4
    KRAFT_VERSION = 5
    KRAFT_VOTERS = 6


class EndTxnMarker(NamedTuple):
    """The end of a producer's transaction in this partition."""

    committed: bool
    coordinator_epoch: int


def control_type(key: bytes | None) -> ControlRecordType:
    """Say what the control record with this key is; a type not known here is to be passed over.

    Raises:
        ApiError: CORRUPT_MESSAGE, the key is shorter than 4 bytes or of a negative version.
    """
    if key is None or len(key) < _KEY.size:
        raise ApiError(ErrorCode.CORRUPT_MESSAGE, "Control record's key is not 4 bytes long")
    version, number = _KEY.unpack_from(key)
    if version < 0:
        raise ApiError(ErrorCode.CORRUPT_MESSAGE, f"Control record's key has version {version}")
    try:
        return ControlRecordType(number)
    except ValueError:
        return ControlRecordType.UNKNOWN


def read_end_txn_marker(record: Record) -> EndTxnMarker | None:
    """Return the marker that a control record is, or None if it is something else.

    Versions above ours are read as ours, since fields are only ever added behind.

    Raises:
        ApiError: CORRUPT_MESSAGE, key or value is too short.
    """
    kind = control_type(record.key)
    if kind not in (ControlRecordType.ABORT, ControlRecordType.COMMIT):
        return None
    value = record.value
    if value is None or len(value) < _END_TXN_MARKER.size:
        raise ApiError(
            ErrorCode.CORRUPT_MESSAGE, "Value of an end-of-transaction marker is not 6 bytes long"
        )
    version, coordinator_epoch = _END_TXN_MARKER.unpack_from(value)
    if version < 0:
        raise ApiError(
            ErrorCode.CORRUPT_MESSAGE, f"End-of-transaction marker has version {version}"
        )
    return EndTxnMarker(kind is ControlRecordType.COMMIT, coordinator_epoch)


def build_end_txn_marker(
    *,
    committed: bool,
    coordinator_epoch: int,
    timestamp: int,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_offset: Offset = 0,
    leader_epoch: LeaderEpoch = NO_LEADER_EPOCH,
) -> bytes:
    """Return the batch that ends a transaction: one record, uncompressed, without a sequence."""
    kind = ControlRecordType.COMMIT if committed else ControlRecordType.ABORT
    record = Record(
        timestamp=timestamp,
        key=_KEY.pack(_KEY_VERSION, kind),
        value=_END_TXN_MARKER.pack(_VALUE_VERSION, coordinator_epoch),
    )
    return build_batch(
        [record],
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        transactional=True,
        control=True,
    )
