"""The broker's settings as one immutable snapshot.

Three layers lie over the defaults: static (flags, environment, file), dynamic
for the whole cluster, dynamic for this broker. A change makes a new snapshot;
who holds one sees it unchanged. Every attribute is a setting, its name with
underscores; where Kafka spells one setting in several units the attribute
holds what counts in the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, NoReturn

from ottla.config.broker_keys import BROKER_KEYS
from ottla.config.key import ConfigError, Value
from ottla.config.listeners import (
    Endpoint,
    Listener,
    listeners_from_advertised,
    parse_advertised,
    parse_listeners,
    parse_security_protocol_map,
)
from ottla.config.resolve import ConfigSource, base_name, override, synonyms
from ottla.config.topic_keys import TOPIC_KEYS
from ottla.model.isolation import CompressionType


class _Attributes:
    """The settings that have an attribute: what code reads, with its type."""

    # Who and where
    node_id: int
    broker_rack: str | None
    broker_session_timeout_ms: int
    controlled_shutdown_enable: bool
    inter_broker_listener_name: str | None
    log_dirs: tuple[str, ...]
    # Connections and requests
    connections_max_idle_ms: int
    max_connections: int
    max_connections_per_ip: int
    max_connections_per_ip_overrides: str
    max_connection_creation_rate: int
    socket_listen_backlog_size: int
    socket_receive_buffer_bytes: int
    socket_send_buffer_bytes: int
    socket_request_max_bytes: int
    queued_max_request_bytes: int
    request_timeout_ms: int
    fetch_max_bytes: int
    max_incremental_fetch_session_cache_slots: int
    max_request_partition_size_limit: int
    record_validation: str
    # Topics
    auto_create_topics_enable: bool
    delete_topic_enable: bool
    num_partitions: int
    default_replication_factor: int
    min_insync_replicas: int
    unclean_leader_election_enable: bool
    auto_leader_rebalance_enable: bool
    leader_imbalance_check_interval_seconds: int
    replica_fetch_backoff_ms: int
    replica_fetch_max_bytes: int
    replica_fetch_min_bytes: int
    replica_fetch_response_max_bytes: int
    replica_fetch_wait_max_ms: int
    replica_lag_time_max_ms: int
    replica_selector_class: str | None
    replica_socket_timeout_ms: int
    socket_connection_setup_timeout_ms: int
    replica_alter_log_dirs_io_max_bytes_per_second: int
    leader_replication_throttled_rate: int
    follower_replication_throttled_rate: int
    replication_quota_window_num: int
    replication_quota_window_size_seconds: int
    replica_high_watermark_checkpoint_interval_ms: int
    # Logs
    log_dir_max_bytes: int
    log_segment_bytes: int
    log_roll_ms: int
    log_roll_jitter_ms: int
    log_retention_ms: int
    log_retention_bytes: int
    log_retention_check_interval_ms: int
    log_cleanup_policy: tuple[str, ...]
    log_segment_delete_delay_ms: int
    log_index_interval_bytes: int
    log_index_size_max_bytes: int
    log_flush_interval_messages: int
    log_flush_interval_ms: int
    log_flush_scheduler_interval_ms: int
    log_flush_offset_checkpoint_interval_ms: int
    log_cleaner_enable: bool
    log_cleaner_threads: int
    log_cleaner_backoff_ms: int
    log_cleaner_dedupe_buffer_size: int
    log_cleaner_io_buffer_load_factor: float
    log_cleaner_io_buffer_size: int
    log_cleaner_io_max_bytes_per_second: float
    log_flush_start_offset_checkpoint_interval_ms: int
    log_message_timestamp_type: str
    log_message_timestamp_before_max_ms: int
    log_message_timestamp_after_max_ms: int
    message_max_bytes: int
    compression_type: str
    # Classic groups and offsets
    group_min_session_timeout_ms: int
    group_max_session_timeout_ms: int
    group_initial_rebalance_delay_ms: int
    group_drop_members_on_disconnect: bool
    group_max_size: int
    group_coordinator_rebalance_protocols: tuple[str, ...]
    offset_metadata_max_bytes: int
    offsets_commit_timeout_ms: int
    offsets_load_buffer_size: int
    offsets_retention_minutes: int
    offsets_retention_check_interval_ms: int
    offsets_topic_compression_codec: int
    offsets_topic_num_partitions: int
    offsets_topic_replication_factor: int
    offsets_topic_segment_bytes: int
    # Producers and transactions
    producer_id_expiration_ms: int
    producer_id_expiration_check_interval_ms: int
    transaction_max_timeout_ms: int
    transaction_abort_timed_out_transaction_cleanup_interval_ms: int
    transaction_remove_expired_transaction_cleanup_interval_ms: int
    transactional_id_expiration_ms: int
    transaction_partition_verification_enable: bool
    transaction_two_phase_commit_enable: bool
    transaction_state_log_load_buffer_size: int
    transaction_state_log_min_isr: int
    transaction_state_log_num_partitions: int
    transaction_state_log_replication_factor: int
    transaction_state_log_segment_bytes: int
    add_partitions_to_txn_retry_backoff_ms: int
    add_partitions_to_txn_retry_backoff_max_ms: int
    share_coordinator_state_topic_min_isr: int
    share_coordinator_state_topic_num_partitions: int
    share_coordinator_state_topic_replication_factor: int
    share_coordinator_state_topic_segment_bytes: int


class BrokerConfig(_Attributes):
    """A snapshot; equal settings compare equal."""

    static: Mapping[str, str]
    """Texts given at the start, by name."""
    dynamic_default: Mapping[str, str]
    """Texts set for all brokers."""
    dynamic_broker: Mapping[str, str]
    """Texts set for this broker."""
    values: Mapping[str, Value]
    """Every declared setting and every `listener.name.` one, read."""
    problems: tuple[str, ...]
    """Stored dynamic settings that were left out because they cannot be read."""

    def __init__(
        self,
        static: Mapping[str, str] | None = None,
        dynamic_default: Mapping[str, str] | None = None,
        dynamic_broker: Mapping[str, str] | None = None,
    ) -> None:
        """Raise ConfigError when `static` cannot be taken; bad dynamic settings are left out."""
        put = self.__dict__.__setitem__
        problems: list[str] = []
        put("static", MappingProxyType(_with_both_ids(static or {})))
        put("dynamic_default", _readable(dynamic_default or {}, problems))
        put("dynamic_broker", _readable(dynamic_broker or {}, problems))
        put("problems", tuple(problems))
        texts = dict(self.static)
        override(texts, self.dynamic_default)
        override(texts, self.dynamic_broker)
        values = {name: key.default for name, key in BROKER_KEYS.items()}
        for name, text in texts.items():
            key = BROKER_KEYS.get(base_name(name))
            if key is not None:
                values[name] = key.parse(text)
        put("values", MappingProxyType(values))
        self.__dict__.update(_attributes(values))
        _check(self)

    def updated(
        self,
        dynamic_default: Mapping[str, str] | None = None,
        dynamic_broker: Mapping[str, str] | None = None,
    ) -> BrokerConfig:
        """Return a snapshot with these dynamic settings in place of the present ones.

        None leaves a layer as it is. The static layer never changes. What is
        stored never stops a broker: settings that contradict each other are
        left out, this broker's own first, and told in `problems`.
        """
        for_all = self.dynamic_default if dynamic_default is None else dynamic_default
        own = self.dynamic_broker if dynamic_broker is None else dynamic_broker
        problems: tuple[str, ...] = ()
        for layers in ((for_all, own), (for_all, {}), ({}, {})):
            try:
                config = BrokerConfig(self.static, *layers)
            except ConfigError as error:
                problems += (str(error),)
            else:
                config.__dict__["problems"] = (*config.problems, *problems)
                return config
        raise AssertionError("the static settings were taken before")

    def source(self, name: str) -> ConfigSource:
        """Return where the value that counts was set; for a setting with units, of any of them."""
        for layer, source in (
            (self.dynamic_broker, ConfigSource.DYNAMIC_BROKER),
            (self.dynamic_default, ConfigSource.DYNAMIC_DEFAULT_BROKER),
            (self.static, ConfigSource.STATIC_BROKER),
        ):
            if any(synonym in layer for synonym in synonyms(name)):
                return source
        return ConfigSource.DEFAULT

    def for_listener(self, listener: str, name: str, mechanism: str | None = None) -> Value:
        """Return the setting `name` as it stands for one listener, and one SASL mechanism."""
        prefix = f"listener.name.{listener.lower()}."
        if mechanism is not None:
            exact = f"{prefix}{mechanism.lower()}.{name}"
            if exact in self.values:
                return self.values[exact]
        return self.values.get(prefix + name, self.values[name])

    @cached_property
    def listeners(self) -> tuple[Listener, ...]:
        """Where to accept clients. The default listener is loopback, ::1 too where it exists."""
        texts = self.values["listeners"]
        assert isinstance(texts, tuple)
        is_default = self.source("listeners") is ConfigSource.DEFAULT
        advertised = self.values["advertised.listeners"]
        if is_default and isinstance(advertised, tuple):
            texts = listeners_from_advertised(advertised)
        protocols = parse_security_protocol_map(str(self.values["listener.security.protocol.map"]))
        listeners = parse_listeners(texts, protocols, left_out=self._controllers)
        if is_default and advertised is None:
            listeners = tuple(one._replace(also_hosts=("::1",)) for one in listeners)
        return listeners

    @cached_property
    def advertised_listeners(self) -> Mapping[str, Endpoint]:
        """By listener name; empty where the address a client connected to is advertised."""
        texts = self.values["advertised.listeners"]
        if not isinstance(texts, tuple):
            return {}
        return parse_advertised(texts, self.listeners, left_out=self._controllers)

    @cached_property
    def connections_per_ip(self) -> Mapping[str, int]:
        """How many connections single hosts may hold, where that is not `max_connections_per_ip`."""
        limits: dict[str, int] = {}
        for pair in filter(None, self.max_connections_per_ip_overrides.split(",")):
            host, _, count = pair.strip().rpartition(":")
            if not host or not (count.isascii() and count.isdigit()):
                raise ConfigError(f"max.connections.per.ip.overrides: {pair} is not host:count")
            limits[host] = int(count)
        return MappingProxyType(limits)

    def max_connections_of(self, listener: str) -> int:
        """How many connections one listener may hold."""
        return _number(self.for_listener(listener, "max.connections"))

    @property
    def _controllers(self) -> tuple[str, ...]:
        names = self.values["controller.listener.names"]
        return names if isinstance(names, tuple) else ()

    @property
    def is_cordoned(self) -> bool:
        """Whether no directory takes new replicas, by `*` or each by its name (KIP-1066)."""
        names = self.values["cordoned.log.dirs"]
        return isinstance(names, tuple) and ("*" in names or set(names) >= set(self.log_dirs))

    @cached_property
    def topic_defaults(self) -> Mapping[str, Value]:
        """Every topic setting as a topic without settings of its own has it."""
        defaults: dict[str, Value] = {}
        for name, key in TOPIC_KEYS.items():
            defaults[name] = key.default
            if key.synonyms:
                defaults[name] = self._effective(key.synonyms[0])
        return MappingProxyType(defaults)

    def _effective(self, name: str) -> Value:
        return self.__dict__.get(name.replace(".", "_"), self.values[name])

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"a BrokerConfig does not change: {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BrokerConfig) and self._layers() == other._layers()

    def __hash__(self) -> int:
        return hash(tuple(frozenset(layer.items()) for layer in self._layers()))

    def _layers(self) -> tuple[Mapping[str, str], ...]:
        return (self.static, self.dynamic_default, self.dynamic_broker)


def _with_both_ids(static: Mapping[str, str]) -> dict[str, str]:
    """A broker's number has two names; who sets one has set both."""
    texts = dict(static)
    names = ("node.id", "broker.id")
    for name, other in (names, names[::-1]):
        if name in static:
            texts.setdefault(other, static[name])
    if texts.get("node.id") != texts.get("broker.id"):
        raise ConfigError("You must set `node.id` to the same value as `broker.id`.")
    return texts


def _readable(texts: Mapping[str, str], problems: list[str]) -> Mapping[str, str]:
    readable: dict[str, str] = {}
    for name, text in texts.items():
        key = BROKER_KEYS.get(base_name(name))
        if key is not None:
            try:
                key.parse(text)
            except ConfigError as error:
                problems.append(str(error))
                continue
        readable[name] = text
    return MappingProxyType(readable)


def _attributes(values: Mapping[str, Value]) -> dict[str, Value]:
    attributes = {name: values[name.replace("_", ".")] for name in _Attributes.__annotations__}
    attributes["log_dirs"] = values["log.dirs"] or values["log.dir"]
    if values["log.roll.ms"] is None:
        attributes["log_roll_ms"] = _number(values["log.roll.hours"]) * 3_600_000
    if values["log.roll.jitter.ms"] is None:
        attributes["log_roll_jitter_ms"] = _number(values["log.roll.jitter.hours"]) * 3_600_000
    if values["log.flush.interval.ms"] is None:
        attributes["log_flush_interval_ms"] = values["log.flush.scheduler.interval.ms"]
    attributes["log_retention_ms"] = _retention_ms(values)
    return attributes


def _retention_ms(values: Mapping[str, Value]) -> int:
    """In milliseconds, minutes or hours, the first that is set; anything negative is for ever."""
    for name, unit in (
        ("log.retention.ms", 1),
        ("log.retention.minutes", 60_000),
        ("log.retention.hours", 3_600_000),
    ):
        if values[name] is not None:
            number = _number(values[name]) * unit
            return number if number >= 0 else -1
    raise AssertionError("hours have a default")


def _number(value: Value) -> int:
    assert isinstance(value, int)
    return value


def _check(config: BrokerConfig) -> None:
    """What Kafka refuses to start with although each setting is legal by itself."""
    values = config.values
    number = {name: value for name, value in values.items() if isinstance(value, int)}
    idle = config.connections_max_idle_ms
    delay = "connection.failed.authentication.delay.ms"
    refusals = (
        (config.log_roll_ms < 1, "log.roll.ms must be greater than or equal to 1"),
        (config.log_roll_jitter_ms < 0, "log.roll.jitter.ms must be greater than or equal to 0"),
        (
            config.log_retention_ms == 0,
            "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
        ),
        (not config.log_dirs, "log.dirs names no directory"),
        (
            config.offsets_topic_compression_codec not in CompressionType.__members__.values(),
            f"Unknown compression type id: {config.offsets_topic_compression_codec} "
            "(offsets.topic.compression.codec)",
        ),
        (
            config.group_min_session_timeout_ms > config.group_max_session_timeout_ms,
            "group.min.session.timeout.ms must not be above group.max.session.timeout.ms",
        ),
        (
            number["replica.fetch.wait.max.ms"] > number["replica.socket.timeout.ms"],
            "replica.fetch.wait.max.ms must not be above replica.socket.timeout.ms",
        ),
        (
            number["replica.fetch.wait.max.ms"] > config.replica_lag_time_max_ms,
            "replica.fetch.wait.max.ms must not be above replica.lag.time.max.ms",
        ),
        (
            0 < config.queued_max_request_bytes < config.socket_request_max_bytes,
            "queued.max.request.bytes must be larger or equal to socket.request.max.bytes",
        ),
        (
            config.max_connections_per_ip == 0 and not config.connections_per_ip,
            "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides "
            "property is set.",
        ),
        (
            0 <= idle <= number[delay],
            f"{delay}={number[delay]} must be less than connections.max.idle.ms={idle}",
        ),
    )
    for is_wrong, problem in refusals:
        if is_wrong:
            raise ConfigError(problem)
    config.connections_per_ip  # noqa: B018
    config.listeners  # noqa: B018
    config.advertised_listeners  # noqa: B018
