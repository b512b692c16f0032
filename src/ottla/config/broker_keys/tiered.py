"""Broker settings: tiered storage."""

from ottla.config.key import ConfigType, Effect, Key, Update
from ottla.config.validators import NonEmpty, at_least, between

BOOLEAN = ConfigType.BOOLEAN
DOUBLE = ConfigType.DOUBLE
INT = ConfigType.INT
LONG = ConfigType.LONG
STRING = ConfigType.STRING
CLUSTER_WIDE = Update.CLUSTER_WIDE
READ_ONLY = Update.READ_ONLY
NOT_YET = Effect.NOT_YET
MAX_LONG = 2**63 - 1

# fmt: off
TIERED_KEYS = (
    Key("remote.log.storage.system.enable", BOOLEAN, False, None, READ_ONLY, NOT_YET,
        "Whether tiered storage is available on this broker. Without it no topic can set "
        "`remote.storage.enable`."),
    Key("remote.fetch.max.wait.ms", INT, 500, at_least(1), CLUSTER_WIDE, NOT_YET,
        "The longest a fetch waits for tiered storage."),
    Key("remote.list.offsets.request.timeout.ms", LONG, 30000, at_least(1), CLUSTER_WIDE, NOT_YET,
        "The longest an offset look-up waits for tiered storage."),
    Key("remote.log.index.file.cache.total.size.bytes", LONG, 1_073_741_824, at_least(1), CLUSTER_WIDE, NOT_YET,
        "How much local disk may hold copies of tiered segments' indexes."),
    Key("remote.log.index.file.cache.ttl.ms", LONG, 900_000, at_least(-1), READ_ONLY, NOT_YET,
        "How long an unused copy of an index is kept; -1 until space is needed.", is_internal=True),
    Key("remote.log.manager.copier.thread.pool.size", INT, 10, at_least(1), CLUSTER_WIDE, NOT_YET,
        "How many copies to tiered storage may run at once."),
    Key("remote.log.manager.expiration.thread.pool.size", INT, 10, at_least(1), CLUSTER_WIDE, NOT_YET,
        "How many deletions from tiered storage may run at once."),
    Key("remote.log.manager.follower.thread.pool.size", INT, 2, at_least(1), CLUSTER_WIDE, NOT_YET,
        "How many followers may read their tiered state at once."),
    Key("remote.log.manager.thread.pool.size", INT, 2, at_least(1), READ_ONLY, NOT_YET,
        "How many other tiered storage tasks may run at once."),
    Key("remote.log.manager.task.interval.ms", LONG, 30000, at_least(1), READ_ONLY, NOT_YET,
        "How often segments are looked at for copying to, or deleting from, tiered storage."),
    Key("remote.log.manager.task.retry.backoff.ms", LONG, 500, at_least(1), READ_ONLY, NOT_YET,
        "How long to wait after the first failed task; it grows with each.", is_internal=True),
    Key("remote.log.manager.task.retry.backoff.max.ms", LONG, 30000, at_least(1), READ_ONLY, NOT_YET,
        "The longest such wait.", is_internal=True),
    Key("remote.log.manager.task.retry.jitter", DOUBLE, 0.2, between(0, 0.5), READ_ONLY, NOT_YET,
        "By what share these waits vary at random.", is_internal=True),
    Key("remote.log.manager.copy.max.bytes.per.second", LONG, MAX_LONG, at_least(1), CLUSTER_WIDE, NOT_YET,
        "The most bytes per second copied to tiered storage."),
    Key("remote.log.manager.copy.quota.window.num", INT, 11, at_least(1), READ_ONLY, NOT_YET,
        "Over how many windows that rate is averaged."),
    Key("remote.log.manager.copy.quota.window.size.seconds", INT, 1, at_least(1), READ_ONLY, NOT_YET,
        "How long one such window lasts."),
    Key("remote.log.manager.fetch.max.bytes.per.second", LONG, MAX_LONG, at_least(1), CLUSTER_WIDE, NOT_YET,
        "The most bytes per second read from tiered storage."),
    Key("remote.log.manager.fetch.quota.window.num", INT, 11, at_least(1), READ_ONLY, NOT_YET,
        "Over how many windows that rate is averaged."),
    Key("remote.log.manager.fetch.quota.window.size.seconds", INT, 1, at_least(1), READ_ONLY, NOT_YET,
        "How long one such window lasts."),
    Key("remote.log.metadata.custom.metadata.max.bytes", INT, 128, at_least(0), READ_ONLY, NOT_YET,
        "The most that a storage plug-in may note about each tiered segment."),
    Key("remote.log.metadata.manager.listener.name", STRING, None, NonEmpty(), READ_ONLY, NOT_YET,
        "The listener over which tiered storage's metadata topic is reached."),
    Key("remote.log.reader.threads", INT, 10, at_least(1), CLUSTER_WIDE, NOT_YET,
        "How many reads from tiered storage may run at once."),
    Key("remote.log.reader.max.pending.tasks", INT, 100, at_least(1), READ_ONLY, NOT_YET,
        "How many reads from tiered storage may wait; further ones fail."),
    Key("follower.fetch.last.tiered.offset.enable", BOOLEAN, False, None, CLUSTER_WIDE, NOT_YET,
        "Whether an empty follower starts after what is already tiered instead of copying everything."),
)
# fmt: on
