"""The topic settings a log obeys, as plain values."""

from typing import NamedTuple

from ottla.model.isolation import TimestampType

DAY_MS = 24 * 60 * 60 * 1000
INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1

DURABLE = 1
"""`flush.messages` at which an acknowledgement means that the record was flushed."""


class LogConfig(NamedTuple):
    """One topic's settings, by Kafka's names; a changed one replaces the whole."""

    segment_bytes: int = 1024 * 1024 * 1024
    segment_ms: int = 7 * DAY_MS
    segment_jitter_ms: int = 0
    segment_index_bytes: int = 10 * 1024 * 1024
    index_interval_bytes: int = 4096
    retention_ms: int = 7 * DAY_MS
    """-1: for ever."""
    retention_bytes: int = -1
    """-1: without bound."""
    flush_messages: int = INT64_MAX
    flush_ms: int = INT64_MAX
    file_delete_delay_ms: int = 60_000
    message_timestamp_type: TimestampType = TimestampType.CREATE_TIME
    cleanup_policy: frozenset[str] = frozenset({"delete"})
    delete_retention_ms: int = DAY_MS
    min_compaction_lag_ms: int = 0
    max_compaction_lag_ms: int = INT64_MAX
    min_cleanable_dirty_ratio: float = 0.5
