"""Settings of one group (KIP-848, KIP-932, KIP-1071), with the broker settings they default to."""

from ottla.config.key import ConfigType, Effect, Key, Update, table
from ottla.config.validators import OffsetReset, OneOf, at_least

BOOLEAN = ConfigType.BOOLEAN
INT = ConfigType.INT
STRING = ConfigType.STRING
CLUSTER_WIDE = Update.CLUSTER_WIDE
NOT_YET = Effect.NOT_YET
YES = Effect.YES

# fmt: off
GROUP_KEYS = table((
    Key("consumer.assignment.interval.ms", INT, 1000, at_least(0), CLUSTER_WIDE, YES,
        "The shortest time between two assignments of this consumer group.", ("group.consumer.assignment.interval.ms",)),
    Key("consumer.heartbeat.interval.ms", INT, 5000, at_least(1), CLUSTER_WIDE, YES,
        "How often the members of this consumer group send heartbeats.", ("group.consumer.heartbeat.interval.ms",)),
    Key("consumer.session.timeout.ms", INT, 45000, at_least(1), CLUSTER_WIDE, YES,
        "A member of this consumer group that is silent for this long is removed.", ("group.consumer.session.timeout.ms",)),
    Key("share.assignment.interval.ms", INT, 1000, at_least(0), CLUSTER_WIDE, YES,
        "The shortest time between two assignments of this share group.", ("group.share.assignment.interval.ms",)),
    Key("share.auto.offset.reset", STRING, "latest", OffsetReset(), CLUSTER_WIDE, YES,
        "Where this share group starts on a partition it has no state for: `latest`, `earliest`, or "
        "`by_duration:` with an ISO-8601 duration to go back from now."),
    Key("share.delivery.count.limit", INT, 5, at_least(2), CLUSTER_WIDE, YES,
        "How often a record is delivered to this share group before it is given up.", ("group.share.delivery.count.limit",)),
    Key("share.heartbeat.interval.ms", INT, 5000, at_least(1), CLUSTER_WIDE, YES,
        "How often the members of this share group send heartbeats.", ("group.share.heartbeat.interval.ms",)),
    Key("share.isolation.level", STRING, "read_uncommitted", OneOf("read_committed", "read_uncommitted"), CLUSTER_WIDE, YES,
        "Whether this share group sees records of open and aborted transactions (`read_uncommitted`) "
        "or only committed ones."),
    Key("share.partition.max.record.locks", INT, 2000, at_least(100), CLUSTER_WIDE, YES,
        "The most records of one partition that this share group holds in flight.", ("group.share.partition.max.record.locks",)),
    Key("share.record.lock.duration.ms", INT, 30000, at_least(1000), CLUSTER_WIDE, YES,
        "How long a consumer of this share group holds a record before it is offered to others.", ("group.share.record.lock.duration.ms",)),
    Key("share.renew.acknowledge.enable", BOOLEAN, True, None, CLUSTER_WIDE, YES,
        "Whether consumers of this share group may prolong their hold on a record."),
    Key("share.session.timeout.ms", INT, 45000, at_least(1), CLUSTER_WIDE, YES,
        "A member of this share group that is silent for this long is removed.", ("group.share.session.timeout.ms",)),
    Key("streams.assignment.interval.ms", INT, 1000, at_least(0), CLUSTER_WIDE, YES,
        "The shortest time between two assignments of this streams group.", ("group.streams.assignment.interval.ms",)),
    Key("streams.heartbeat.interval.ms", INT, 5000, at_least(1), CLUSTER_WIDE, YES,
        "How often the members of this streams group send heartbeats.", ("group.streams.heartbeat.interval.ms",)),
    Key("streams.initial.rebalance.delay.ms", INT, 3000, at_least(0), CLUSTER_WIDE, YES,
        "How long this streams group waits for more members before its first assignment.", ("group.streams.initial.rebalance.delay.ms",)),
    Key("streams.num.standby.replicas", INT, 0, at_least(0), CLUSTER_WIDE, YES,
        "How many warm copies of each task's state this streams group keeps.", ("group.streams.num.standby.replicas",)),
    Key("streams.session.timeout.ms", INT, 45000, at_least(1), CLUSTER_WIDE, YES,
        "A member of this streams group that is silent for this long is removed.", ("group.streams.session.timeout.ms",)),
))
# fmt: on
