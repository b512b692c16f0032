"""Which API is served by which function, and in which versions.

What is not in this table is not advertised, and asking for it closes the
connection. Modules are imported when their first request comes, so a broker is
up before it has loaded what nobody asked for.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from ottla.wire.apis import API, request_class

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
    32: "configs:describe_configs",
    33: "configs:alter_configs",
    35: "log_dirs:describe_log_dirs",
    37: "topics:create_partitions",
    42: "groups:delete_groups",
    44: "configs:incremental_alter_configs",
    47: "group_offsets:offset_delete",
    60: "metadata:describe_cluster",
    74: "configs:list_config_resources",
    75: "metadata:describe_topic_partitions",
}
"""API key -> module and function below `ottla.handlers`."""


class Handler(NamedTuple):
    serve: Callable[..., Any]
    request_class: type[Any]
    min_version: int
    max_version: int
    flexible_from: int


_NEVER = 1 << 15
_loaded: dict[int, Handler] = {}


def handler(api_key: int) -> Handler | None:
    """The handler of an API, loaded on first use; None if it is not implemented."""
    found = _loaded.get(api_key)
    if found is None and api_key in HANDLERS:
        module, _, function = HANDLERS[api_key].partition(":")
        info = API[api_key]
        found = _loaded[api_key] = Handler(
            getattr(import_module(f"ottla.handlers.{module}"), function),
            request_class(api_key),
            info.min_version,
            info.max_version,
            _NEVER if info.flexible_from is None else info.flexible_from,
        )
    return found


def supported() -> list[tuple[int, int, int]]:
    """(API key, lowest version, highest version) of what is implemented, ascending."""
    return [(key, API[key].min_version, API[key].max_version) for key in sorted(HANDLERS)]
