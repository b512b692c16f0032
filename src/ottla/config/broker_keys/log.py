"""Broker settings: log directories, segments, retention, flushing, compaction.

Most are the defaults of the topic settings in `topic_keys`.
"""

from ottla.config.key import ConfigType, Effect, Key, Update
from ottla.config.validators import GzipLevel, ListOf, OneOf, at_least, between

BOOLEAN = ConfigType.BOOLEAN
DOUBLE = ConfigType.DOUBLE
INT = ConfigType.INT
LIST = ConfigType.LIST
LONG = ConfigType.LONG
STRING = ConfigType.STRING
CLUSTER_WIDE = Update.CLUSTER_WIDE
PER_BROKER = Update.PER_BROKER
READ_ONLY = Update.READ_ONLY
NEVER = Effect.NEVER
NOT_YET = Effect.NOT_YET
YES = Effect.YES
MAX_LONG = 2**63 - 1
MAX_DOUBLE = 1.7976931348623157e308

# fmt: off
LOG_KEYS = (
    Key("log.dir", LIST, ("./ottla-data",), ListOf(), READ_ONLY, YES,
        "The directory of the logs when `log.dirs` is not set. Ottla's default is `./ottla-data`."),
    Key("log.dirs", LIST, None, ListOf(may_be_null=True), READ_ONLY, YES,
        "The directories that hold the logs, separated by commas. When unset, `log.dir` is used."),
    Key("cordoned.log.dirs", LIST, (), ListOf(may_be_empty=True, may_be_null=True), PER_BROKER, YES,
        "With `*` the broker gets no new replicas; what it holds stays. In its file all directories "
        "by name are `*`, too; single ones have no effect."),
    Key("log.dir.failure.timeout.ms", LONG, 30000, at_least(1), READ_ONLY, NOT_YET,
        "A broker that cannot report a failed directory for this long stops."),
    Key("log.dir.max.bytes", LONG, -1, at_least(-1), CLUSTER_WIDE, YES,
        "The most that each log directory may hold of records; -1 sets no limit. Shortly before it is "
        "reached, the oldest closed segments are deleted: of topics whose settings let records be "
        "deleted, never of internal or compacted ones. Where that does not help, records are refused "
        "until there is room. Ottla's own setting."),
    Key("log.segment.bytes", INT, 1_073_741_824, at_least(1_048_576), CLUSTER_WIDE, YES,
        "The size at which a log starts a new segment file."),
    Key("log.roll.ms", LONG, None, None, CLUSTER_WIDE, YES,
        "The age at which a log starts a new segment even when it is not full. When unset, "
        "`log.roll.hours` is used."),
    Key("log.roll.hours", INT, 168, at_least(1), READ_ONLY, YES,
        "The same age in hours, used when `log.roll.ms` is not set."),
    Key("log.roll.jitter.ms", LONG, None, None, CLUSTER_WIDE, YES,
        "The most by which the rolling age is shortened at random, so that logs do not all roll at "
        "once. When unset, `log.roll.jitter.hours` is used."),
    Key("log.roll.jitter.hours", INT, 0, at_least(0), READ_ONLY, YES,
        "The same jitter in hours, used when `log.roll.jitter.ms` is not set."),
    Key("log.retention.ms", LONG, None, None, CLUSTER_WIDE, YES,
        "How long records are kept before their segment is deleted; -1 keeps them for ever. When "
        "unset, `log.retention.minutes` is used."),
    Key("log.retention.minutes", INT, None, None, READ_ONLY, YES,
        "The same time in minutes, used when `log.retention.ms` is not set; without it, "
        "`log.retention.hours` counts."),
    Key("log.retention.hours", INT, 168, None, READ_ONLY, YES,
        "The same time in hours, used when neither milliseconds nor minutes are set."),
    Key("log.retention.bytes", LONG, -1, None, CLUSTER_WIDE, YES,
        "The size of a partition above which its oldest segments are deleted; -1 sets no limit."),
    Key("log.retention.check.interval.ms", LONG, 300_000, at_least(1), READ_ONLY, YES,
        "How often logs are looked at for segments to delete."),
    Key("log.cleanup.policy", LIST, ("delete",), ListOf("compact", "delete", may_be_empty=True), CLUSTER_WIDE, YES,
        "What happens to old segments: `delete`, `compact`, both, or nothing at all when the list is "
        "empty."),
    Key("log.segment.delete.delay.ms", LONG, 60000, at_least(0), CLUSTER_WIDE, YES,
        "How long a deleted segment's files stay on disk, for readers that are still in them."),
    Key("log.index.interval.bytes", INT, 4096, at_least(0), CLUSTER_WIDE, YES,
        "How many bytes of log lie between two entries of the offset index."),
    Key("log.index.size.max.bytes", INT, 10_485_760, at_least(4), CLUSTER_WIDE, YES,
        "The size at which an index is full, so that its segment rolls."),
    Key("log.preallocate", BOOLEAN, False, None, CLUSTER_WIDE, NOT_YET,
        "Whether a new segment's file gets its full size at once."),
    Key("log.flush.interval.messages", LONG, MAX_LONG, at_least(1), CLUSTER_WIDE, YES,
        "How many records a log takes before it is forced to disk. 1 means that every acknowledged "
        "record is on disk: Ottla then flushes waiting appends together."),
    Key("log.flush.interval.ms", LONG, None, None, CLUSTER_WIDE, YES,
        "The longest a record stays unflushed. When unset, `log.flush.scheduler.interval.ms` is used."),
    Key("log.flush.scheduler.interval.ms", LONG, MAX_LONG, None, READ_ONLY, YES,
        "The longest a record stays unflushed, where neither the topic nor `log.flush.interval.ms` says "
        "so. Ottla looks every second."),
    Key("log.flush.offset.checkpoint.interval.ms", INT, 60000, at_least(0), READ_ONLY, YES,
        "How often it is noted on disk up to where each log is known to be flushed."),
    Key("log.flush.start.offset.checkpoint.interval.ms", INT, 60000, at_least(0), READ_ONLY, YES,
        "How often the first offset of each log is noted on disk. Records deleted since may be "
        "readable again after a broker was killed."),
    Key("log.message.timestamp.type", STRING, "CreateTime", OneOf("CreateTime", "LogAppendTime"), CLUSTER_WIDE, YES,
        "Whether records carry the time their producer set (`CreateTime`) or the time of the append "
        "(`LogAppendTime`)."),
    Key("log.message.timestamp.before.max.ms", LONG, MAX_LONG, at_least(0), CLUSTER_WIDE, YES,
        "How far a record's own timestamp may lie in the past before it is refused. Has no meaning "
        "with LogAppendTime."),
    Key("log.message.timestamp.after.max.ms", LONG, 3_600_000, at_least(0), CLUSTER_WIDE, YES,
        "How far a record's own timestamp may lie in the future before it is refused. Has no meaning "
        "with LogAppendTime."),
    Key("message.max.bytes", INT, 1_048_588, at_least(0), CLUSTER_WIDE, YES,
        "The largest record batch taken, measured as it arrives. Topics set `max.message.bytes`."),
    Key("compression.type", STRING, "producer", OneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"), CLUSTER_WIDE, YES,
        "How batches are stored: `producer` leaves them as they come, a codec's name recompresses "
        "those that differ, `uncompressed` expands them."),
    Key("compression.gzip.level", INT, -1, GzipLevel(), CLUSTER_WIDE, YES,
        "How hard gzip works when the broker compresses: 1 to 9, or -1 for its default."),
    Key("compression.lz4.level", INT, 9, between(1, 17), CLUSTER_WIDE, YES,
        "How hard lz4 works when the broker compresses."),
    Key("compression.zstd.level", INT, 3, between(-131_072, 22), CLUSTER_WIDE, YES,
        "How hard zstd works when the broker compresses; negative levels are the fastest."),
    Key("num.recovery.threads.per.data.dir", INT, 2, at_least(1), CLUSTER_WIDE, NEVER,
        "Kafka's count of threads per directory for recovery at start. Ottla recovers one log after the "
        "other."),
    Key("log.cleaner.enable", BOOLEAN, True, None, READ_ONLY, YES,
        "Whether logs with the compact policy are compacted. Switching it off lets internal topics "
        "grow without end."),
    Key("log.cleaner.threads", INT, 1, at_least(0), CLUSTER_WIDE, YES,
        "Kafka's count of compactions at once. Ottla runs one at a time, in a worker process; 0 "
        "switches compaction off, and the memory below is shared by so many."),
    Key("log.cleaner.backoff.ms", LONG, 15000, at_least(0), CLUSTER_WIDE, YES,
        "How long the compactor rests when there is nothing to compact."),
    Key("log.cleaner.dedupe.buffer.size", LONG, 134_217_728, None, CLUSTER_WIDE, YES,
        "The memory for the map of keys while compacting, over all compactions."),
    Key("log.cleaner.io.buffer.load.factor", DOUBLE, 0.9, None, CLUSTER_WIDE, YES,
        "How full the map of keys may become before a compaction has to take another round."),
    Key("log.cleaner.io.buffer.size", INT, 524_288, at_least(0), CLUSTER_WIDE, YES,
        "The memory for reading and writing while compacting."),
    Key("log.cleaner.io.max.bytes.per.second", DOUBLE, MAX_DOUBLE, None, CLUSTER_WIDE, YES,
        "The most bytes per second that compaction reads and writes together."),
    Key("log.cleaner.min.cleanable.ratio", DOUBLE, 0.5, between(0, 1), CLUSTER_WIDE, YES,
        "The share of a log that must be uncompacted before it is compacted."),
    Key("log.cleaner.delete.retention.ms", LONG, 86_400_000, at_least(0), CLUSTER_WIDE, YES,
        "How long a deletion marker stays in a compacted log, so that readers from the beginning see "
        "it."),
    Key("log.cleaner.min.compaction.lag.ms", LONG, 0, at_least(0), CLUSTER_WIDE, YES,
        "How long a record is safe from compaction."),
    Key("log.cleaner.max.compaction.lag.ms", LONG, MAX_LONG, at_least(1), CLUSTER_WIDE, YES,
        "The longest a record may wait for compaction, whatever the share of uncompacted log."),
    Key("log.local.retention.ms", LONG, -2, at_least(-2), CLUSTER_WIDE, NOT_YET,
        "With tiered storage, how long segments stay on local disk; -2 means as long as "
        "`log.retention.ms`."),
    Key("log.local.retention.bytes", LONG, -2, at_least(-2), CLUSTER_WIDE, NOT_YET,
        "With tiered storage, how large the local part of a partition may be; -2 means "
        "`log.retention.bytes`."),
)
# fmt: on
