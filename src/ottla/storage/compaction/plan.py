"""What one compaction of one log is to do, and what comes of it: plain values.

They travel to the worker process and back, so they hold nothing that is open.
"""

from typing import NamedTuple

from ottla.model.ids import LeaderEpoch, Offset, ProducerEpoch, ProducerId
from ottla.storage.transaction_index import AbortedTransaction


class SourceSegment(NamedTuple):
    """A closed segment."""

    base_offset: Offset
    size: int
    index_bytes: int
    time_index_bytes: int
    end_offset: Offset
    """Where the next one begins."""


class LastRecord(NamedTuple):
    """What must stay of a producer the log still knows."""

    last_offset: Offset
    """Of its last batch of records, -1: none is remembered."""
    producer_epoch: ProducerEpoch


class Limits(NamedTuple):
    """The settings of a compaction."""

    segment_bytes: int
    segment_index_bytes: int
    index_interval_bytes: int
    delete_retention_ms: int
    key_map_bytes: int
    load_factor: float
    buffer_bytes: int
    """How much is read, and written, at once."""


class CompactionPlan(NamedTuple):
    path: str
    """The log's directory."""
    segments: tuple[SourceSegment, ...]
    """All that may be compacted, from the log's first on."""
    first_dirty_offset: Offset
    transaction_indexes: tuple[str, ...]
    """Paths of the transaction indexes of closed segments that have entries."""
    aborted: tuple[AbortedTransaction, ...]
    """Transactions whose abort markers are in the active segment."""
    last_records: dict[ProducerId, LastRecord]
    epochs: tuple[tuple[LeaderEpoch, Offset], ...]
    """Where each leader epoch begins."""
    now_ms: int
    limits: Limits

    @property
    def end_offset(self) -> Offset:
        """Nothing at or above it is touched."""
        return self.segments[-1].end_offset


class Cleaned(NamedTuple):
    """Segments, and what is to stand in their place: `.cleaned` files, whole and synced."""

    sources: tuple[Offset, ...]
    """Base offsets; the first is that of the new one too."""
    end_offset: Offset
    size: int


class Finished(NamedTuple):
    """The whole of a compaction."""

    end_offset: Offset
    """Below it every key is there once; the next one begins there."""
    bytes_before: int
    bytes_after: int
    records_before: int
    records_after: int


class DamagedLog(Exception):  # noqa: N818  # it is an answer
    """A batch is not what it was: nothing of this log is compacted."""
