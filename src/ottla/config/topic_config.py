"""A topic's settings: its own over the broker's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ottla.config.broker_config import BrokerConfig
from ottla.config.key import ConfigError, Value, invalid_value
from ottla.config.resolve import ConfigSource
from ottla.config.topic_keys import TOPIC_KEYS


class TopicConfig:
    """Values that count, as attributes named like the settings, with underscores."""

    __slots__ = (
        "_broker",
        "_own",
        "cleanup_policy",
        "compression_gzip_level",
        "compression_lz4_level",
        "compression_type",
        "compression_zstd_level",
        "delete_retention_ms",
        "file_delete_delay_ms",
        "flush_messages",
        "flush_ms",
        "follower_replication_throttled_replicas",
        "index_interval_bytes",
        "leader_replication_throttled_replicas",
        "local_retention_bytes",
        "local_retention_ms",
        "max_compaction_lag_ms",
        "max_message_bytes",
        "message_timestamp_after_max_ms",
        "message_timestamp_before_max_ms",
        "message_timestamp_type",
        "min_cleanable_dirty_ratio",
        "min_compaction_lag_ms",
        "min_insync_replicas",
        "overrides",
        "preallocate",
        "remote_log_copy_disable",
        "remote_log_delete_on_disable",
        "remote_storage_enable",
        "retention_bytes",
        "retention_ms",
        "segment_bytes",
        "segment_index_bytes",
        "segment_jitter_ms",
        "segment_ms",
        "unclean_leader_election_enable",
        "values",
    )

    cleanup_policy: frozenset[str]
    compression_gzip_level: int
    compression_lz4_level: int
    compression_type: str
    compression_zstd_level: int
    delete_retention_ms: int
    file_delete_delay_ms: int
    flush_messages: int
    flush_ms: int
    follower_replication_throttled_replicas: tuple[str, ...]
    index_interval_bytes: int
    leader_replication_throttled_replicas: tuple[str, ...]
    local_retention_bytes: int
    local_retention_ms: int
    max_compaction_lag_ms: int
    max_message_bytes: int
    message_timestamp_after_max_ms: int
    message_timestamp_before_max_ms: int
    message_timestamp_type: str
    min_cleanable_dirty_ratio: float
    min_compaction_lag_ms: int
    min_insync_replicas: int
    preallocate: bool
    remote_log_copy_disable: bool
    remote_log_delete_on_disable: bool
    remote_storage_enable: bool
    retention_bytes: int
    retention_ms: int
    segment_bytes: int
    segment_index_bytes: int
    segment_jitter_ms: int
    segment_ms: int
    unclean_leader_election_enable: bool

    _broker: BrokerConfig
    _own: frozenset[str]
    values: Mapping[str, Value]
    """By setting name; `cleanup.policy` keeps its order here."""
    overrides: Mapping[str, str]
    """The texts of the topic's own settings."""

    def source(self, name: str) -> ConfigSource:
        """Return where the value of a setting comes from."""
        if name in self._own:
            return ConfigSource.TOPIC
        synonyms = TOPIC_KEYS[name].synonyms
        return self._broker.source(synonyms[0]) if synonyms else ConfigSource.DEFAULT


_ATTRIBUTES = {name: name.replace(".", "_") for name in TOPIC_KEYS}


def topic_config(
    broker: BrokerConfig, overrides: Mapping[str, str], *, strict: bool = True
) -> TopicConfig:
    """Return the settings of a topic whose own are `overrides`; unknown names are passed over.

    Raises:
        ConfigError: a value cannot be taken. Without `strict` the broker's
            default stands instead: what is stored must not stop a start.
    """
    values = dict(broker.topic_defaults)
    own: set[str] = set()
    for name, text in overrides.items():
        key = TOPIC_KEYS.get(name)
        if key is None:
            continue
        try:
            values[name] = key.parse(text)
        except ConfigError:
            if strict:
                raise
            continue
        own.add(name)
    config = TopicConfig()
    for name, value in values.items():
        setattr(config, _ATTRIBUTES[name], value)
    policy = values["cleanup.policy"]
    assert isinstance(policy, tuple)
    config.cleanup_policy = frozenset(policy)
    config.values = MappingProxyType(values)
    config.overrides = MappingProxyType(dict(overrides))
    config._broker = broker
    config._own = frozenset(own)
    return config


def check_topic_config(
    broker: BrokerConfig, new: Mapping[str, str], old: Mapping[str, str] = MappingProxyType({})
) -> TopicConfig:
    """Return the settings of a topic that may have `new`, or raise ConfigError in Kafka's words.

    `old` are its settings until now, for the rules about what may follow what.
    """
    for name in new:
        if name not in TOPIC_KEYS:
            raise ConfigError(f"Unknown topic config name: {name}")
    config = topic_config(broker, new)
    if config.min_compaction_lag_ms > config.max_compaction_lag_ms:
        raise ConfigError(
            "conflict topic config setting min.compaction.lag.ms "
            f"({config.min_compaction_lag_ms}) > max.compaction.lag.ms "
            f"({config.max_compaction_lag_ms})"
        )
    if config.remote_storage_enable:
        _check_tiered(broker, config)
    elif (
        old.get("remote.storage.enable", "").lower() == "true"
        and not config.remote_log_delete_on_disable
    ):
        raise ConfigError(
            "Tiered storage cannot be switched off while its data stays: set "
            "remote.log.delete.on.disable=true as well, or keep the data readable with "
            "remote.storage.enable=true,remote.log.copy.disable=true"
        )
    return config


def _check_tiered(broker: BrokerConfig, config: TopicConfig) -> None:
    if not broker.values["remote.log.storage.system.enable"]:
        raise ConfigError(
            "Tiered Storage functionality is disabled in the broker. "
            "Topic cannot be configured with remote log storage."
        )
    if "compact" in config.cleanup_policy:
        raise ConfigError(
            "Remote log storage only supports topics with cleanup.policy=delete or "
            "cleanup.policy being an empty list."
        )
    for unit in ("bytes", "ms"):
        total, local = f"retention.{unit}", f"local.retention.{unit}"
        most, near = config.values[total], config.values[local]
        assert isinstance(most, int)
        assert isinstance(near, int)
        if most > -1 and near != -2:
            if near == -1:
                raise invalid_value(
                    local, -1, f"Value must not be -1 as {total} value is set as {most}."
                )
            if near > most:
                problem = f"Value must not be more than {total} property value: {most}"
                raise invalid_value(local, near, problem)
        if config.remote_log_copy_disable and near not in (-2, most):
            raise ConfigError(
                f"When `remote.log.copy.disable` is set to true, the `{local}` and `{total}` "
                "must be the same: nothing further is copied"
            )
