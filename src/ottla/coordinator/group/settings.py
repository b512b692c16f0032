"""The settings of the group coordinator, and who sends a request."""

from dataclasses import dataclass
from typing import NamedTuple

NEW_MEMBER_JOIN_TIMEOUT_MS = 300_000
"""How long a member that has never held its id may wait in a rebalance (Kafka's five minutes)."""


@dataclass(slots=True)
class GroupSettings:
    """Kafka's settings, by their names with '_' for '.'.

    They are read at each decision, but for those that Kafka cannot change while it runs.
    """

    group_min_session_timeout_ms: int = 6_000
    group_max_session_timeout_ms: int = 1_800_000
    group_initial_rebalance_delay_ms: int = 3_000
    group_max_size: int = 2_147_483_647
    offset_metadata_max_bytes: int = 4_096
    offsets_retention_minutes: int = 10_080
    offsets_retention_check_interval_ms: int = 600_000
    offsets_commit_timeout_ms: int = 5_000
    offsets_topic_compression_codec: int = 0


class Caller(NamedTuple):
    """Who asks. `client_host` is printed as Java prints an address: '/127.0.0.1'."""

    client_id: str
    client_host: str
    api_version: int
