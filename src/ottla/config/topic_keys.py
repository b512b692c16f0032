"""Topic settings, with the broker settings they default to."""

from ottla.config.key import ConfigType, Effect, Key, Update, table
from ottla.config.validators import GzipLevel, ListOf, OneOf, ThrottledReplicas, at_least, between

BOOLEAN = ConfigType.BOOLEAN
DOUBLE = ConfigType.DOUBLE
INT = ConfigType.INT
LIST = ConfigType.LIST
LONG = ConfigType.LONG
STRING = ConfigType.STRING
CLUSTER_WIDE = Update.CLUSTER_WIDE
NOT_YET = Effect.NOT_YET
YES = Effect.YES
MAX_LONG = 2**63 - 1

# fmt: off
TOPIC_KEYS = table((
    Key("cleanup.policy", LIST, ("delete",), ListOf("compact", "delete", may_be_empty=True), CLUSTER_WIDE, YES,
        "What happens to old segments: `delete` removes them by age and size, `compact` keeps the "
        "last record of each key, both together do both, and an empty list keeps everything.", ("log.cleanup.policy",)),
    Key("compression.gzip.level", INT, -1, GzipLevel(), CLUSTER_WIDE, YES,
        "How hard gzip works when the broker compresses: 1 to 9, or -1 for its default.", ("compression.gzip.level",)),
    Key("compression.lz4.level", INT, 9, between(1, 17), CLUSTER_WIDE, YES,
        "How hard lz4 works when the broker compresses.", ("compression.lz4.level",)),
    Key("compression.type", STRING, "producer", OneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"), CLUSTER_WIDE, YES,
        "How batches are stored: `producer` leaves them as they come, a codec's name recompresses "
        "those that differ, `uncompressed` expands them.", ("compression.type",)),
    Key("compression.zstd.level", INT, 3, between(-131_072, 22), CLUSTER_WIDE, YES,
        "How hard zstd works when the broker compresses; negative levels are the fastest.", ("compression.zstd.level",)),
    Key("delete.retention.ms", LONG, 86_400_000, at_least(0), CLUSTER_WIDE, YES,
        "How long a deletion marker stays in a compacted log. A reader that starts from the beginning "
        "must finish within this time to see all deletions.", ("log.cleaner.delete.retention.ms",)),
    Key("file.delete.delay.ms", LONG, 60000, at_least(0), CLUSTER_WIDE, YES,
        "How long a deleted segment's files stay on disk, for readers that are still in them.", ("log.segment.delete.delay.ms",)),
    Key("flush.messages", LONG, MAX_LONG, at_least(1), CLUSTER_WIDE, YES,
        "How many records a log takes before it is forced to disk. 1 means that every acknowledged "
        "record is on disk: Ottla then flushes waiting appends together.", ("log.flush.interval.messages",)),
    Key("flush.ms", LONG, MAX_LONG, at_least(0), CLUSTER_WIDE, YES,
        "The longest a record stays unflushed. Replication and the page cache usually protect enough.", ("log.flush.interval.ms", "log.flush.scheduler.interval.ms")),
    Key("follower.replication.throttled.replicas", LIST, (), ThrottledReplicas(), CLUSTER_WIDE, YES,
        "The replicas that are throttled while they copy, as `partition:broker` pairs separated by "
        "commas, or `*` for all."),
    Key("index.interval.bytes", INT, 4096, at_least(0), CLUSTER_WIDE, YES,
        "How many bytes of log lie between two entries of the offset index: smaller finds faster and "
        "takes more space.", ("log.index.interval.bytes",)),
    Key("leader.replication.throttled.replicas", LIST, (), ThrottledReplicas(), CLUSTER_WIDE, YES,
        "The replicas that are throttled while others copy from them, as `partition:broker` pairs "
        "separated by commas, or `*` for all."),
    Key("local.retention.bytes", LONG, -2, at_least(-2), CLUSTER_WIDE, NOT_YET,
        "With tiered storage, how large the local part of a partition may be; -2 means "
        "`retention.bytes`.", ("log.local.retention.bytes",)),
    Key("local.retention.ms", LONG, -2, at_least(-2), CLUSTER_WIDE, NOT_YET,
        "With tiered storage, how long segments stay on local disk; -2 means as long as "
        "`retention.ms`.", ("log.local.retention.ms",)),
    Key("max.compaction.lag.ms", LONG, MAX_LONG, at_least(1), CLUSTER_WIDE, YES,
        "The longest a record may wait for compaction, whatever the share of uncompacted log.", ("log.cleaner.max.compaction.lag.ms",)),
    Key("max.message.bytes", INT, 1_048_588, at_least(0), CLUSTER_WIDE, YES,
        "The largest record batch taken, measured as it arrives.", ("message.max.bytes",)),
    Key("message.timestamp.after.max.ms", LONG, 3_600_000, at_least(0), CLUSTER_WIDE, YES,
        "How far a record's own timestamp may lie in the future before it is refused. Has no meaning "
        "with LogAppendTime.", ("log.message.timestamp.after.max.ms",)),
    Key("message.timestamp.before.max.ms", LONG, MAX_LONG, at_least(0), CLUSTER_WIDE, YES,
        "How far a record's own timestamp may lie in the past before it is refused. Has no meaning "
        "with LogAppendTime.", ("log.message.timestamp.before.max.ms",)),
    Key("message.timestamp.type", STRING, "CreateTime", OneOf("CreateTime", "LogAppendTime"), CLUSTER_WIDE, YES,
        "Whether records carry the time their producer set (`CreateTime`) or the time of the append "
        "(`LogAppendTime`).", ("log.message.timestamp.type",)),
    Key("min.cleanable.dirty.ratio", DOUBLE, 0.5, between(0, 1), CLUSTER_WIDE, YES,
        "The share of the log that must be uncompacted before it is compacted: lower saves space and "
        "costs more work.", ("log.cleaner.min.cleanable.ratio",)),
    Key("min.compaction.lag.ms", LONG, 0, at_least(0), CLUSTER_WIDE, YES,
        "How long a record is safe from compaction.", ("log.cleaner.min.compaction.lag.ms",)),
    Key("min.insync.replicas", INT, 1, at_least(1), CLUSTER_WIDE, YES,
        "How many in-sync replicas, the leader included, an `acks=all` write needs before it is "
        "taken; with fewer the producer gets NOT_ENOUGH_REPLICAS.", ("min.insync.replicas",)),
    Key("preallocate", BOOLEAN, False, None, CLUSTER_WIDE, NOT_YET,
        "Whether a new segment's file gets its full size at once.", ("log.preallocate",)),
    Key("remote.log.copy.disable", BOOLEAN, False, None, CLUSTER_WIDE, NOT_YET,
        "With tiered storage, stops copying further segments while what is tiered stays readable."),
    Key("remote.log.delete.on.disable", BOOLEAN, False, None, CLUSTER_WIDE, NOT_YET,
        "Whether switching tiered storage off for the topic deletes what was tiered."),
    Key("remote.storage.enable", BOOLEAN, False, None, CLUSTER_WIDE, NOT_YET,
        "Whether the topic's older segments go to tiered storage. The broker must have "
        "`remote.log.storage.system.enable`."),
    Key("retention.bytes", LONG, -1, None, CLUSTER_WIDE, YES,
        "The size of a partition above which its oldest segments are deleted; -1 sets no limit. It "
        "counts for each partition by itself.", ("log.retention.bytes",)),
    Key("retention.ms", LONG, 604_800_000, at_least(-1), CLUSTER_WIDE, YES,
        "How long records are kept before their segment is deleted; -1 keeps them for ever.", ("log.retention.ms", "log.retention.minutes", "log.retention.hours")),
    Key("segment.bytes", INT, 1_073_741_824, at_least(1_048_576), CLUSTER_WIDE, YES,
        "The size at which the log starts a new segment file. Retention and compaction work on whole "
        "segments.", ("log.segment.bytes",)),
    Key("segment.index.bytes", INT, 10_485_760, at_least(4), CLUSTER_WIDE, YES,
        "The size at which a segment's index is full, so that the segment rolls.", ("log.index.size.max.bytes",)),
    Key("segment.jitter.ms", LONG, 0, at_least(0), CLUSTER_WIDE, YES,
        "The most by which `segment.ms` is shortened at random, so that partitions do not all roll at "
        "once.", ("log.roll.jitter.ms", "log.roll.jitter.hours")),
    Key("segment.ms", LONG, 604_800_000, at_least(1), CLUSTER_WIDE, YES,
        "The age at which the log starts a new segment even when it is not full, so that retention "
        "can reach old records.", ("log.roll.ms", "log.roll.hours")),
    Key("unclean.leader.election.enable", BOOLEAN, False, None, CLUSTER_WIDE, YES,
        "Whether a replica outside the in-sync set may lead when no other is left, at the price of "
        "lost records.", ("unclean.leader.election.enable",)),
))
# fmt: on
