"""Which API is served by which function, and in which versions.

What is not in this table is not advertised, and asking for it closes the
connection. Modules are imported when their first request comes, so a broker is
up before it has loaded what nobody asked for.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from ottla.wire.apis import API, request_class, response_class
from ottla.wire.codec import Reader, Writer, reader, writer

HANDLERS: dict[int, str] = {
    0: "produce:produce",
    1: "fetch:fetch",
    2: "offsets:list_offsets",
    3: "metadata:metadata",
    8: "group_offsets:offset_commit",
    9: "group_offsets:offset_fetch",
    10: "producers:find_coordinator",
    11: "groups:join_group",
    12: "groups:heartbeat",
    13: "groups:leave_group",
    14: "groups:sync_group",
    15: "groups:describe_groups",
    16: "groups:list_groups",
    18: "api_versions:api_versions",
    19: "topics:create_topics",
    20: "topics:delete_topics",
    21: "offsets:delete_records",
    22: "producers:init_producer_id",
    23: "offsets:offset_for_leader_epoch",
    24: "transactions:add_partitions_to_txn",
    25: "transactions:add_offsets_to_txn",
    26: "transactions:end_txn",
    27: "markers:write_txn_markers",
    28: "txn_offsets:txn_offset_commit",
    32: "configs:describe_configs",
    33: "configs:alter_configs",
    34: "log_dirs:alter_replica_log_dirs",
    35: "log_dirs:describe_log_dirs",
    37: "topics:create_partitions",
    42: "groups:delete_groups",
    43: "reassignments:elect_leaders",
    44: "configs:incremental_alter_configs",
    45: "reassignments:alter_partition_reassignments",
    46: "reassignments:list_partition_reassignments",
    47: "group_offsets:offset_delete",
    55: "cluster:describe_quorum",
    57: "cluster:update_features",
    58: "forwarded:envelope",
    60: "metadata:describe_cluster",
    61: "markers:describe_producers",
    64: "cluster:unregister_broker",
    65: "transactions:describe_transactions",
    66: "transactions:list_transactions",
    68: "consumer_groups:consumer_group_heartbeat",
    69: "consumer_groups:consumer_group_describe",
    74: "configs:list_config_resources",
    75: "metadata:describe_topic_partitions",
    76: "share_groups:share_group_heartbeat",
    77: "share_groups:share_group_describe",
    78: "share_fetch:share_fetch",
    79: "share_fetch:share_acknowledge",
    83: "share_state:initialize",
    84: "share_state:read",
    85: "share_state:write",
    86: "share_state:delete",
    87: "share_state:read_summary",
    88: "streams_groups:streams_group_heartbeat",
    89: "streams_groups:streams_group_describe",
    90: "share_groups:describe_share_group_offsets",
    91: "share_groups:alter_share_group_offsets",
    92: "share_groups:delete_share_group_offsets",
    28532: "rebalances:describe_rebalances",
}
"""API key -> module and function below `ottla.handlers`."""

FIRST_OF_OURS = 10_000
"""Kafka's API keys are below; what is above is told to our own client alone."""

ENVELOPE = 58
BETWEEN_BROKERS = frozenset({ENVELOPE})
"""Kafka's, and told to our own client alone, too: other brokers are among those."""

FORWARDED = frozenset({19, 20, 33, 37, 43, 44, 45, 57, 64})
"""What the controller answers, whoever was asked. What only reads is answered from the image."""


SHORTCUTS: dict[int, str] = {0: "produce_one:produce_one"}
"""API key -> what is asked first, with the frame as it is; it may decline."""


class Api:
    """One version of one API: how its requests are read, served and answered."""

    __slots__ = (
        "flexible_answer",
        "flexible_request",
        "key",
        "read",
        "serve",
        "shortcut",
        "version",
        "write",
    )

    def __init__(
        self,
        key: int,
        version: int,
        serve: Callable[..., Any],
        shortcut: Callable[..., Any] | None = None,
    ) -> None:
        info = API[key]
        self.shortcut = shortcut
        self.key = key
        self.version = version
        self.serve = serve
        self.flexible_request = info.is_flexible(version)
        self.flexible_answer = self.flexible_request and key != API_VERSIONS
        """Whether a tagged section stands before the answer's body (KIP-511)."""
        self.read: Reader[Any] = reader(request_class(key), version)
        self.write: Writer[Any] = writer(response_class(key), version)


API_VERSIONS = 18
_served: dict[tuple[int, int], Api] = {}


def served(api_key: int, version: int) -> Api | None:
    """One version of an API, loaded on first use; None if it is not implemented."""
    found = _served.get((api_key, version))
    if found is None and api_key in HANDLERS:
        info = API[api_key]
        if info.min_version <= version <= info.max_version:
            from ottla.handlers.forwarded import forwarded

            serve = _load(HANDLERS[api_key])
            found = _served[api_key, version] = Api(
                api_key,
                version,
                forwarded(serve) if api_key in FORWARDED else serve,
                _load(SHORTCUTS[api_key]) if api_key in SHORTCUTS else None,
            )
    return found


def _load(place: str) -> Callable[..., Any]:
    module, _, function = place.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"ottla.handlers.{module}"), function)
    return found


Row = tuple[int, int, int]
"""(API key, lowest version, highest version)"""


def supported() -> list[Row]:
    """What is implemented of Kafka's, ascending."""
    return [_row(key) for key in sorted(HANDLERS) if not _is_ours(key)]


def ours() -> list[Row]:
    """What only our own client is told of, ascending."""
    return [_row(key) for key in sorted(HANDLERS) if _is_ours(key)]


def _is_ours(key: int) -> bool:
    return key >= FIRST_OF_OURS or key in BETWEEN_BROKERS


def _row(key: int) -> Row:
    return key, API[key].min_version, API[key].max_version
