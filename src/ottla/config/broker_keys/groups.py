"""Broker settings: group coordinator and committed offsets."""

from ottla.config.key import ConfigType, Effect, Key, Update
from ottla.config.validators import ListOf, OneOf, at_least, between

BOOLEAN = ConfigType.BOOLEAN
INT = ConfigType.INT
LIST = ConfigType.LIST
LONG = ConfigType.LONG
SHORT = ConfigType.SHORT
STRING = ConfigType.STRING
CLUSTER_WIDE = Update.CLUSTER_WIDE
READ_ONLY = Update.READ_ONLY
NEVER = Effect.NEVER
NOT_YET = Effect.NOT_YET
YES = Effect.YES
MAX_INT = 2**31 - 1

# fmt: off
GROUP_KEYS = (
    Key("group.min.session.timeout.ms", INT, 6000, None, READ_ONLY, YES,
        "The shortest session time a member of a classic group may ask for."),
    Key("group.max.session.timeout.ms", INT, 1_800_000, None, READ_ONLY, YES,
        "The longest session time a member of a classic group may ask for."),
    Key("group.initial.rebalance.delay.ms", INT, 3000, None, READ_ONLY, YES,
        "How long an empty classic group waits for more members before its first rebalance."),
    Key("group.drop.members.on.disconnect", BOOLEAN, False, None, READ_ONLY, YES,
        "Whether a member is removed from its group as soon as its connection closes, instead of when "
        "its session times out. For tests, whose consumers die without leaving; static members, "
        "which are to be back, stay. Ottla's own setting."),
    Key("group.max.size", INT, MAX_INT, at_least(1), READ_ONLY, YES,
        "The most members a classic group may have."),
    Key("group.coordinator.rebalance.protocols", LIST, ("classic", "consumer", "streams"), ListOf("consumer", "classic", "share", "streams"), READ_ONLY, YES,
        "Which kinds of groups the coordinator serves."),
    Key("group.coordinator.threads", INT, 4, at_least(1), READ_ONLY, NEVER,
        "Kafka's count of threads that run group coordinators. Ottla runs them on its event loop."),
    Key("group.coordinator.background.threads", INT, 2, at_least(1), READ_ONLY, NEVER,
        "Kafka's count of threads for coordinators' slow work. Ottla has none."),
    Key("group.coordinator.append.linger.ms", INT, -1, at_least(-1), READ_ONLY, NEVER,
        "How long Kafka gathers a coordinator's records before writing them; -1 adapts. Ottla writes "
        "those of each request at once."),
    Key("group.coordinator.cached.buffer.max.bytes", INT, 1_048_588, at_least(524_288), CLUSTER_WIDE, NEVER,
        "The largest write buffer Kafka's coordinators keep for reuse. Ottla keeps none."),
    Key("group.consumer.assignors", LIST, ("uniform", "range"), ListOf(), READ_ONLY, YES,
        "The assignment strategies the broker offers to consumer groups, the first being the default."),
    Key("group.consumer.assignment.interval.ms", INT, 1000, at_least(0), CLUSTER_WIDE, YES,
        "The shortest time between two assignments of a consumer group."),
    Key("group.consumer.min.assignment.interval.ms", INT, 0, at_least(0), READ_ONLY, YES,
        "The smallest assignment interval a consumer group may be given."),
    Key("group.consumer.max.assignment.interval.ms", INT, 15000, at_least(0), READ_ONLY, YES,
        "The largest assignment interval a consumer group may be given."),
    Key("group.consumer.heartbeat.interval.ms", INT, 5000, at_least(1), READ_ONLY, YES,
        "How often members of consumer groups send heartbeats."),
    Key("group.consumer.settling.heartbeat.interval.ms", INT, 250, at_least(1), READ_ONLY, YES,
        "How often members of a consumer group send heartbeats while their group goes to a new "
        "assignment, and for the time of a usual interval behind it, where that is sooner than usual. "
        "Ottla's own setting."),
    Key("group.streams.settling.heartbeat.interval.ms", INT, 500, at_least(1), READ_ONLY, YES,
        "How often members of a streams group send heartbeats while their group goes to a new "
        "assignment, and for the time of a usual interval behind it, where that is sooner than usual. "
        "Ottla's own setting."),
    Key("group.consumer.min.heartbeat.interval.ms", INT, 5000, at_least(1), READ_ONLY, YES,
        "The smallest heartbeat interval a consumer group may be given."),
    Key("group.consumer.max.heartbeat.interval.ms", INT, 15000, at_least(1), READ_ONLY, YES,
        "The largest heartbeat interval a consumer group may be given."),
    Key("group.consumer.session.timeout.ms", INT, 45000, at_least(1), READ_ONLY, YES,
        "A member of a consumer group that is silent for this long is removed."),
    Key("group.consumer.min.session.timeout.ms", INT, 45000, at_least(1), READ_ONLY, YES,
        "The smallest session time a consumer group may be given."),
    Key("group.consumer.max.session.timeout.ms", INT, 60000, at_least(1), READ_ONLY, YES,
        "The largest session time a consumer group may be given."),
    Key("group.consumer.max.size", INT, MAX_INT, at_least(1), READ_ONLY, YES,
        "The most members a consumer group may have."),
    Key("group.consumer.migration.policy", STRING, "bidirectional", OneOf("DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL", any_case=True), READ_ONLY, YES,
        "Whether classic groups may become consumer groups by themselves (upgrade), the reverse "
        "(downgrade), both or neither."),
    Key("group.consumer.regex.refresh.interval.ms", INT, 600_000, at_least(10000), READ_ONLY, NOT_YET,
        "How often the topics matching a group's regular expressions are looked up again.", is_internal=True),
    Key("group.share.assignors", LIST, ("simple",), ListOf(), READ_ONLY, NOT_YET,
        "The assignment strategy of share groups."),
    Key("group.share.assignment.interval.ms", INT, 1000, at_least(0), CLUSTER_WIDE, YES,
        "The shortest time between two assignments of a share group."),
    Key("group.share.min.assignment.interval.ms", INT, 0, at_least(0), READ_ONLY, YES,
        "The smallest assignment interval a share group may be given."),
    Key("group.share.max.assignment.interval.ms", INT, 15000, at_least(0), READ_ONLY, YES,
        "The largest assignment interval a share group may be given."),
    Key("group.share.heartbeat.interval.ms", INT, 5000, at_least(1), READ_ONLY, YES,
        "How often members of share groups send heartbeats."),
    Key("group.share.settling.heartbeat.interval.ms", INT, 250, at_least(1), READ_ONLY, YES,
        "How often members of a share group send heartbeats while their group goes to a new "
        "assignment, and for the time of a usual interval behind it, where that is sooner than usual. "
        "Ottla's own setting."),
    Key("group.share.min.heartbeat.interval.ms", INT, 5000, at_least(1), READ_ONLY, YES,
        "The smallest heartbeat interval a share group may be given."),
    Key("group.share.max.heartbeat.interval.ms", INT, 15000, at_least(1), READ_ONLY, YES,
        "The largest heartbeat interval a share group may be given."),
    Key("group.share.session.timeout.ms", INT, 45000, at_least(1), READ_ONLY, YES,
        "A member of a share group that is silent for this long is removed."),
    Key("group.share.min.session.timeout.ms", INT, 45000, at_least(1), READ_ONLY, YES,
        "The smallest session time a share group may be given."),
    Key("group.share.max.session.timeout.ms", INT, 60000, at_least(1), READ_ONLY, YES,
        "The largest session time a share group may be given."),
    Key("group.share.max.size", INT, 200, between(1, 1000), READ_ONLY, YES,
        "The most members a share group may have."),
    Key("group.share.max.share.sessions", INT, 2000, at_least(1), READ_ONLY, YES,
        "The most share sessions one broker keeps."),
    Key("group.share.delivery.count.limit", INT, 5, between(2, 10), READ_ONLY, YES,
        "How often a record is delivered to a share group before it is given up."),
    Key("group.share.min.delivery.count.limit", INT, 2, between(2, 5), READ_ONLY, YES,
        "The smallest delivery limit a share group may be given."),
    Key("group.share.max.delivery.count.limit", INT, 10, between(5, 25), READ_ONLY, YES,
        "The largest delivery limit a share group may be given."),
    Key("group.share.partition.max.record.locks", INT, 2000, between(100, 10000), READ_ONLY, YES,
        "The most records of one partition that a share group holds in flight."),
    Key("group.share.min.partition.max.record.locks", INT, 100, between(100, 2000), READ_ONLY, YES,
        "The smallest such limit a share group may be given."),
    Key("group.share.max.partition.max.record.locks", INT, 4000, between(2000, 10000), READ_ONLY, YES,
        "The largest such limit a share group may be given."),
    Key("group.share.record.lock.duration.ms", INT, 30000, between(1000, 3_600_000), READ_ONLY, YES,
        "How long a consumer of a share group holds a record before it is offered to others."),
    Key("group.share.min.record.lock.duration.ms", INT, 15000, between(1000, 30000), READ_ONLY, YES,
        "The smallest lock duration a share group may be given."),
    Key("group.share.max.record.lock.duration.ms", INT, 60000, between(30000, 3_600_000), READ_ONLY, YES,
        "The largest lock duration a share group may be given."),
    Key("group.share.initialize.retry.interval.ms", INT, 30000, at_least(1), READ_ONLY, NOT_YET,
        "How long a share group waits before it tries again to set up its durable state.", is_internal=True),
    Key("group.streams.assignment.interval.ms", INT, 1000, at_least(0), CLUSTER_WIDE, YES,
        "The shortest time between two assignments of a streams group."),
    Key("group.streams.min.assignment.interval.ms", INT, 0, at_least(0), READ_ONLY, YES,
        "The smallest assignment interval a streams group may be given."),
    Key("group.streams.max.assignment.interval.ms", INT, 15000, at_least(0), READ_ONLY, YES,
        "The largest assignment interval a streams group may be given."),
    Key("group.streams.heartbeat.interval.ms", INT, 5000, at_least(1), READ_ONLY, YES,
        "How often members of streams groups send heartbeats."),
    Key("group.streams.min.heartbeat.interval.ms", INT, 5000, at_least(1), READ_ONLY, YES,
        "The smallest heartbeat interval a streams group may be given."),
    Key("group.streams.max.heartbeat.interval.ms", INT, 15000, at_least(1), READ_ONLY, YES,
        "The largest heartbeat interval a streams group may be given."),
    Key("group.streams.session.timeout.ms", INT, 45000, at_least(1), READ_ONLY, YES,
        "A member of a streams group that is silent for this long is removed."),
    Key("group.streams.min.session.timeout.ms", INT, 45000, at_least(1), READ_ONLY, YES,
        "The smallest session time a streams group may be given."),
    Key("group.streams.max.session.timeout.ms", INT, 60000, at_least(1), READ_ONLY, YES,
        "The largest session time a streams group may be given."),
    Key("group.streams.initial.rebalance.delay.ms", INT, 3000, at_least(0), READ_ONLY, YES,
        "How long an empty streams group waits for more members before its first assignment."),
    Key("group.streams.max.size", INT, MAX_INT, at_least(1), READ_ONLY, YES,
        "The most members a streams group may have."),
    Key("group.streams.num.standby.replicas", INT, 0, at_least(0), READ_ONLY, YES,
        "How many warm copies of each task's state a streams group keeps."),
    Key("group.streams.max.standby.replicas", INT, 2, at_least(0), READ_ONLY, YES,
        "The most warm copies a streams group may be given."),
    Key("offset.metadata.max.bytes", INT, 4096, None, READ_ONLY, YES,
        "The longest note a client may attach to a committed offset."),
    Key("offsets.commit.timeout.ms", INT, 5000, at_least(1), READ_ONLY, YES,
        "How long an offset commit may take to be replicated before it fails."),
    Key("offsets.load.buffer.size", INT, 5_242_880, at_least(1), READ_ONLY, NOT_YET,
        "How much of the offsets topic is read at a time when a coordinator loads its groups."),
    Key("offsets.retention.minutes", INT, 10080, at_least(1), READ_ONLY, YES,
        "How long the offsets of an empty group, or of topics a group no longer reads, are kept."),
    Key("offsets.retention.check.interval.ms", LONG, 600_000, at_least(1), READ_ONLY, YES,
        "How often groups are looked at for offsets to drop."),
    Key("offsets.topic.num.partitions", INT, 50, at_least(1), READ_ONLY, YES,
        "How many partitions the offsets topic is created with. Do not change it once the topic "
        "exists."),
    Key("offsets.topic.replication.factor", SHORT, 3, at_least(1), READ_ONLY, YES,
        "How many replicas the offsets topic is created with. Left at its default, there "
        "are not more than usable brokers."),
    Key("offsets.topic.segment.bytes", INT, 104_857_600, at_least(1), READ_ONLY, YES,
        "The segment size of the offsets topic; small segments load fast."),
    Key("offsets.topic.compression.codec", INT, 0, None, READ_ONLY, YES,
        "The codec in which the offsets topic is written: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."),
)
# fmt: on
