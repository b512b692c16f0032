"""What stays of one batch (KIP-534 for the delete horizon).

A record stays if no later one below the map's end has its key. A deletion
(no value) that stays sets a delete horizon on its batch; from then on it goes
once that is past. Records of aborted transactions and records without a key go
at once; a marker goes after its transaction's batches, by a horizon too.

A batch from which all is gone stays, empty, if it says what a producer's last
sequence or epoch is, or if it ends the range, whose end would be lost otherwise.
"""

from enum import Enum
from typing import NamedTuple

from ottla.model.errors import ApiError
from ottla.record.batch import CONTROL_FLAG, HEADER_SIZE, LOG_OVERHEAD, BatchHeader
from ottla.record.keyed import KeyedRecord, keyed_records, rebuild
from ottla.record.records import records_of
from ottla.storage.compaction.key_map import KeyMap


class Verdict(NamedTuple):
    """About a whole batch, before its records are looked at."""

    discards: bool
    """All its records may go: aborted, or a marker whose transaction has no batches left."""
    stays_empty: bool


class Outcome(Enum):
    """What became of a batch, besides its bytes."""

    AS_IT_WAS = "as it was"
    REBUILT = "rebuilt"
    EMPTY = "empty"
    GONE = "gone"
    UNREADABLE = "unreadable"
    """Its checksum is right and its records make no sense: it stays as it is."""


class Kept(NamedTuple):
    batch: bytes
    """b"" if nothing is left."""
    records: int
    outcome: Outcome


def what_stays(
    header: BatchHeader,
    batch: bytes,
    verdict: Verdict,
    keys: KeyMap,
    now_ms: int,
    delete_retention_ms: int,
) -> Kept:
    """Return what stays of `batch`, whose header (at position 0) is `header`."""
    horizon = header.delete_horizon_ms
    is_control = header.attributes & CONTROL_FLAG != 0
    needs_horizon = False
    if is_control:
        goes = verdict.discards and horizon is not None and horizon <= now_ms
        needs_horizon = verdict.discards and horizon is None
    else:
        goes = verdict.discards
    if goes or header.records_count == 0:
        return _emptied(header, batch, verdict)
    try:
        records = bytes(records_of(batch, header))
        found = list(keyed_records(records, header.records_count))
    except ApiError:
        return Kept(batch, header.records_count, Outcome.UNREADABLE)
    if is_control:
        kept = found
    else:
        deletions_stay = horizon is None or now_ms < horizon
        kept = _wanted(found, header.base_offset, keys, deletions_stay)
        needs_horizon = horizon is None and any(not record.has_value for record in kept)
    if not kept:
        return _emptied(header, batch, verdict)
    if len(kept) == len(found) and not needs_horizon:
        return Kept(batch, len(kept), Outcome.AS_IT_WAS)
    if needs_horizon:
        horizon = now_ms + delete_retention_ms
    return Kept(rebuild(header, records, kept, horizon), len(kept), Outcome.REBUILT)


def _wanted(
    found: list[KeyedRecord], base_offset: int, keys: KeyMap, deletions_stay: bool
) -> list[KeyedRecord]:
    latest_offset = keys.latest_offset
    get = keys.get
    kept = []
    for record in found:
        offset = base_offset + record.offset_delta
        if offset > latest_offset or (
            record.key is not None
            and (record.has_value or deletions_stay)
            and offset >= get(record.key)
        ):
            kept.append(record)
    return kept


def _emptied(header: BatchHeader, batch: bytes, verdict: Verdict) -> Kept:
    if not verdict.stays_empty:
        return Kept(b"", 0, Outcome.GONE)
    if header.records_count == 0 and header.batch_length == HEADER_SIZE - LOG_OVERHEAD:
        return Kept(batch, 0, Outcome.EMPTY)
    return Kept(rebuild(header, b"", [], None), 0, Outcome.EMPTY)
