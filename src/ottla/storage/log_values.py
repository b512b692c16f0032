"""What a log answers with, and what is known of one that is not open."""

from typing import Generic, NamedTuple, TypeVar

from ottla.model.ids import LeaderEpoch, Offset
from ottla.storage.cold import ColdRead
from ottla.storage.disk import Buffer
from ottla.storage.stored import StoredRecords

Records = TypeVar("Records", Buffer, Buffer | StoredRecords)


class AppendResult(NamedTuple):
    base_offset: Offset
    last_offset: Offset
    log_append_time_ms: int
    """-1 where the records keep their own timestamps."""
    log_start_offset: Offset
    duplicate: bool = False


class ReadResult(NamedTuple, Generic[Records]):
    """Whole batches, or what a worker must do to get them."""

    records: Records
    next_offset: Offset
    """One more than the last offset in `records`; the asked one if it is empty."""
    cold: ColdRead | None = None
    """Not None: the pages are not in memory, `records` is empty."""


class LogSummary(NamedTuple):
    """What must be known of a log that is not open."""

    log_start_offset: Offset = 0
    log_end_offset: Offset = 0
    latest_epoch: LeaderEpoch = -1
    size_bytes: int = 0
    active_base_offset: Offset = 0
    active_size: int = 0
    first_base_offset: Offset = 0
    first_timestamp: int = -1
    """The largest timestamp of the oldest segment; -1: ask the segment."""
    first_unstable_offset: Offset = -1
    """-1: no transaction is open."""
