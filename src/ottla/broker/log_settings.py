"""A topic's settings as its logs take them."""

from collections.abc import Mapping
from typing import NamedTuple

from ottla.config.broker_config import BrokerConfig
from ottla.config.topic_config import TopicConfig, topic_config
from ottla.model.isolation import CompressionType, TimestampType
from ottla.record.validate import ProduceRules
from ottla.storage.log_config import LogConfig

_SAME = tuple(name for name in LogConfig._fields if name != "message_timestamp_type")


class TopicRules(NamedTuple):
    """What a topic's settings mean to its log, and to what is produced to it."""

    log: LogConfig
    produce: ProduceRules
    min_isr: int = 1
    """`min.insync.replicas`."""


class TopicSettings:
    """Topics with the same settings share one `TopicRules`; made anew when the broker's change."""

    def __init__(self, broker: BrokerConfig) -> None:
        self._broker = broker
        self._made: dict[tuple[tuple[str, str], ...], TopicRules] = {}

    def of(self, overrides: Mapping[str, str]) -> TopicRules:
        key = tuple(sorted(overrides.items())) if overrides else ()
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = _rules(self._broker, overrides)
        return made


def _rules(broker: BrokerConfig, overrides: Mapping[str, str]) -> TopicRules:
    settings = topic_config(broker, overrides, strict=False)
    timestamp_type = (
        TimestampType.LOG_APPEND_TIME
        if settings.message_timestamp_type == "LogAppendTime"
        else TimestampType.CREATE_TIME
    )
    target, level = _codec(settings)
    log = LogConfig(
        message_timestamp_type=timestamp_type,
        **{name: getattr(settings, name) for name in _SAME},
    )
    if "compact" in settings.cleanup_policy:
        # Only closed segments are compacted, so none may stay open for longer.
        log = log._replace(segment_ms=min(log.segment_ms, log.max_compaction_lag_ms))
    return TopicRules(
        log,
        ProduceRules(
            max_message_bytes=settings.max_message_bytes,
            compacted="compact" in settings.cleanup_policy,
            timestamp_type=timestamp_type,
            timestamp_before_max_ms=settings.message_timestamp_before_max_ms,
            timestamp_after_max_ms=settings.message_timestamp_after_max_ms,
            target=target,
            target_level=level,
            walk=broker.record_validation == "full",
        ),
        settings.min_insync_replicas,
    )


def _codec(settings: TopicConfig) -> tuple[CompressionType | None, int | None]:
    """The codec batches are stored with, and its level; None, None: as they come."""
    match settings.compression_type:
        case "producer":
            return None, None
        case "uncompressed":
            return CompressionType.NONE, None
        case "gzip":
            return CompressionType.GZIP, settings.compression_gzip_level
        case "lz4":
            return CompressionType.LZ4, settings.compression_lz4_level
        case "zstd":
            return CompressionType.ZSTD, settings.compression_zstd_level
        case _:
            return CompressionType.SNAPPY, None
