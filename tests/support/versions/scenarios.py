"""Everything that is asked, registered."""

from tests.support.versions import (  # noqa: F401
    ask_cluster,
    ask_configs,
    ask_consumer_groups,
    ask_fetch,
    ask_group_offsets,
    ask_groups,
    ask_metadata,
    ask_offsets,
    ask_otherwise,
    ask_produce,
    ask_share,
    ask_streams,
    ask_topics,
    ask_transactions,
)
from tests.support.versions.talk import SCENARIOS

__all__ = ["SCENARIOS"]
