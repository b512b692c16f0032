"""Settings of one client metrics subscription (KIP-714)."""

from ottla.config.key import ConfigType, Effect, Key, Update, table
from ottla.config.validators import ListOf

CLUSTER_WIDE = Update.CLUSTER_WIDE
NOT_YET = Effect.NOT_YET
_ANY = ListOf(may_be_empty=True)

# fmt: off
CLIENT_METRICS_KEYS = table((
    Key("metrics", ConfigType.LIST, (), _ANY, CLUSTER_WIDE, NOT_YET,
        "The metrics that clients push, as prefixes of their names; `*` takes all."),
    Key("interval.ms", ConfigType.INT, 300_000, None, CLUSTER_WIDE, NOT_YET,
        "How often clients push, from 100 ms to an hour."),
    Key("match", ConfigType.LIST, (), _ANY, CLUSTER_WIDE, NOT_YET,
        "Which clients push: pairs of a client's property and a regular expression, all of which must "
        "match; empty takes every client."),
))
# fmt: on
