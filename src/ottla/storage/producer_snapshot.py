"""`.snapshot`: what a partition knows of its producers, as of the offset in the file's name.

0   int16   version 1
2   uint32  CRC-32C of everything from byte 6 on
6   int32   how many entries follow, 46 bytes each:

0   int64   producer id
8   int16   producer epoch
10  int32   last sequence             -1: no batch of this epoch is remembered
14  int64   last offset               -1: likewise
22  int32   offset delta              records of the last batch, less one
26  int64   timestamp                 of the last batch or marker, ms
34  int32   coordinator epoch         of the last end-of-transaction marker, -1: none
38  int64   first offset of the open transaction, -1: none
"""

from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

from ottla.model.ids import Offset, ProducerEpoch, ProducerId
from ottla.record.checksum import crc32c
from ottla.storage.checkpoints import CheckpointError

_HEAD = Struct(">hIi")
_ENTRY = Struct(">qhiqiqiq")
_CRC = Struct(">I")
CHECKED_FROM = 6
VERSION = 1


class SnapshotEntry(NamedTuple):
    """One producer."""

    producer_id: ProducerId
    producer_epoch: ProducerEpoch
    last_sequence: int
    last_offset: Offset
    offset_delta: int
    timestamp: int
    coordinator_epoch: int
    transaction_first_offset: Offset


def encode_snapshot(entries: Iterable[SnapshotEntry]) -> bytes:
    packed = [_ENTRY.pack(*entry) for entry in entries]
    data = bytearray(_HEAD.pack(VERSION, 0, len(packed)))
    data += b"".join(packed)
    _CRC.pack_into(data, 2, crc32c(memoryview(data)[CHECKED_FROM:]))
    return bytes(data)


def decode_snapshot(data: bytes) -> list[SnapshotEntry]:
    """Raise CheckpointError unless `data` is a whole snapshot with the right checksum."""
    if len(data) < _HEAD.size:
        raise CheckpointError(f"a producer snapshot of {len(data)} bytes")
    version, crc, count = _HEAD.unpack_from(data)
    if version != VERSION:
        raise CheckpointError(f"producer snapshot version {version}, not {VERSION}")
    if crc != crc32c(memoryview(data)[CHECKED_FROM:]):
        raise CheckpointError("the producer snapshot's checksum is wrong")
    if count < 0 or len(data) != _HEAD.size + count * _ENTRY.size:
        raise CheckpointError(f"a producer snapshot of {len(data)} bytes for {count} producers")
    body = memoryview(data)[_HEAD.size :]
    return [SnapshotEntry._make(fields) for fields in _ENTRY.iter_unpack(body)]
