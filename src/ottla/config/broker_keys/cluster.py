"""Broker settings: identity, defaults of new topics, replication, throttles."""

from ottla.config.key import ConfigType, Effect, Key, Update
from ottla.config.validators import at_least

BOOLEAN = ConfigType.BOOLEAN
INT = ConfigType.INT
LIST = ConfigType.LIST
LONG = ConfigType.LONG
PASSWORD = ConfigType.PASSWORD
STRING = ConfigType.STRING
CLUSTER_WIDE = Update.CLUSTER_WIDE
READ_ONLY = Update.READ_ONLY
NEVER = Effect.NEVER
NOT_YET = Effect.NOT_YET
YES = Effect.YES
MAX_LONG = 2**63 - 1

# fmt: off
CLUSTER_KEYS = (
    Key("node.id", INT, 1, at_least(0), READ_ONLY, YES,
        "This broker's number in the cluster. Ottla's default is 1; Kafka insists on being told."),
    Key("broker.id", INT, -1, None, READ_ONLY, YES,
        "The older name of `node.id`, used when that one is not set."),
    Key("broker.rack", STRING, None, None, READ_ONLY, YES,
        "Where this broker stands. Replicas are spread over racks, and a consumer in the same rack "
        "may read from the replica there."),
    Key("metadata.etcd.endpoints", LIST, (), None, READ_ONLY, YES,
        "The members of the etcd that the brokers of this cluster share, like "
        "http://10.0.0.1:2379,http://10.0.0.2:2379. Without any, this broker is alone and keeps the "
        "metadata in its first log directory. Ottla's own setting."),
    Key("metadata.etcd.prefix", STRING, "/ottla/", None, READ_ONLY, YES,
        "What the keys of this cluster begin with in etcd; another cluster has another. Ottla's own "
        "setting."),
    Key("metadata.etcd.user", STRING, None, None, READ_ONLY, YES,
        "The user that etcd knows us as, where it asks. Ottla's own setting."),
    Key("metadata.etcd.password", PASSWORD, None, None, READ_ONLY, YES,
        "That user's password. Ottla's own setting."),
    Key("metadata.etcd.ssl.ca", STRING, None, None, READ_ONLY, YES,
        "A PEM file with the authorities that etcd's certificates are of; without it, the system's. "
        "Ottla's own setting."),
    Key("metadata.etcd.ssl.certificate", STRING, None, None, READ_ONLY, YES,
        "A PEM file with the certificate that we show to etcd. Ottla's own setting."),
    Key("metadata.etcd.ssl.key", STRING, None, None, READ_ONLY, YES,
        "A PEM file with the key of that certificate. Ottla's own setting."),
    Key("broker.session.timeout.ms", INT, 4_000, at_least(500), READ_ONLY, YES,
        "How long the cluster believes that a broker lives which it hears nothing of. Kafka's default "
        "is 9000."),
    Key("auto.create.topics.enable", BOOLEAN, True, None, READ_ONLY, YES,
        "Whether asking for a topic that does not exist may create it, with `num.partitions` and "
        "`default.replication.factor`."),
    Key("delete.topic.enable", BOOLEAN, True, None, READ_ONLY, YES,
        "Whether topics may be deleted at all."),
    Key("num.partitions", INT, 1, at_least(1), READ_ONLY, YES,
        "How many partitions a topic gets when its creator leaves the number to the broker."),
    Key("default.replication.factor", INT, 1, None, READ_ONLY, YES,
        "How many replicas a topic gets when its creator leaves the number to the broker."),
    Key("auto.leader.rebalance.enable", BOOLEAN, True, None, READ_ONLY, YES,
        "Whether leadership is moved back to the preferred replicas by itself."),
    Key("leader.imbalance.check.interval.seconds", LONG, 300, at_least(1), READ_ONLY, YES,
        "How often the leaders are compared with the preferred replicas."),
    Key("controlled.shutdown.enable", BOOLEAN, True, None, READ_ONLY, YES,
        "Whether a stopping broker first hands its partitions to others."),
    Key("unclean.leader.election.enable", BOOLEAN, False, None, CLUSTER_WIDE, YES,
        "Whether a replica outside the in-sync set may lead when no other is left, at the price of "
        "lost records. Topics may set their own."),
    Key("unclean.leader.election.interval.ms", LONG, 300_000, at_least(1), READ_ONLY, NOT_YET,
        "How often partitions without a leader are looked at for an unclean election.", is_internal=True),
    Key("min.insync.replicas", INT, 1, at_least(1), CLUSTER_WIDE, YES,
        "How many in-sync replicas, the leader included, an `acks=all` write needs before it is "
        "taken. Topics may set their own."),
    Key("num.replica.fetchers", INT, 1, at_least(1), CLUSTER_WIDE, NEVER,
        "How many connections a follower opens to each leader it copies from. Ottla always opens one, "
        "which asks for all partitions at once."),
    Key("replica.fetch.backoff.ms", INT, 1000, at_least(0), READ_ONLY, YES,
        "How long a follower rests after a failed fetch."),
    Key("replica.fetch.max.bytes", INT, 1_048_576, at_least(0), READ_ONLY, YES,
        "How much a follower asks of one partition at a time; a larger first batch still comes whole."),
    Key("replica.fetch.min.bytes", INT, 1, None, READ_ONLY, YES,
        "How much a leader gathers before it answers a follower, within `replica.fetch.wait.max.ms`."),
    Key("replica.fetch.response.max.bytes", INT, 10_485_760, at_least(0), READ_ONLY, YES,
        "How much a follower takes in one answer over all partitions."),
    Key("replica.fetch.wait.max.ms", INT, 500, None, READ_ONLY, YES,
        "How long a leader may hold a follower's fetch while there is little to send. Keep it below "
        "`replica.lag.time.max.ms`."),
    Key("replica.high.watermark.checkpoint.interval.ms", LONG, 5000, None, READ_ONLY, NOT_YET,
        "How often the high watermarks are written to disk."),
    Key("replica.lag.time.max.ms", LONG, 30000, None, READ_ONLY, YES,
        "A follower that has not caught up with its leader for this long leaves the in-sync set."),
    Key("replica.selector.class", STRING, None, None, READ_ONLY, YES,
        "How a leader picks the replica a consumer should read from. Kafka's rack-aware class name "
        "switches rack-aware reading on; Ottla loads no Java classes."),
    Key("replica.socket.receive.buffer.bytes", INT, 65536, None, READ_ONLY, NOT_YET,
        "The kernel's receive buffer for a follower's connections."),
    Key("replica.socket.timeout.ms", INT, 30000, None, READ_ONLY, YES,
        "How long a follower waits on its connection; at least `replica.fetch.wait.max.ms`."),
    Key("leader.replication.throttled.rate", LONG, MAX_LONG, at_least(0), CLUSTER_WIDE, YES,
        "The most bytes per second this broker sends to throttled followers.", is_internal=True),
    Key("follower.replication.throttled.rate", LONG, MAX_LONG, at_least(0), CLUSTER_WIDE, YES,
        "The most bytes per second this broker takes in as a throttled follower.", is_internal=True),
    Key("replica.alter.log.dirs.io.max.bytes.per.second", LONG, MAX_LONG, at_least(0), CLUSTER_WIDE, YES,
        "The most bytes per second for moving replicas between this broker's log directories.", is_internal=True),
    Key("num.replica.alter.log.dirs.threads", INT, None, None, READ_ONLY, NEVER,
        "Kafka's count of threads that move replicas between directories; unset means one per "
        "directory. Ottla moves them as bounded upkeep."),
    Key("quota.window.num", INT, 11, at_least(1), READ_ONLY, NOT_YET,
        "Over how many windows client quotas are averaged."),
    Key("quota.window.size.seconds", INT, 1, at_least(1), READ_ONLY, NOT_YET,
        "How long one window of a client quota lasts."),
    Key("replication.quota.window.num", INT, 11, at_least(1), READ_ONLY, YES,
        "Over how many windows replication throttles are averaged."),
    Key("replication.quota.window.size.seconds", INT, 1, at_least(1), READ_ONLY, YES,
        "How long one window of a replication throttle lasts."),
    Key("alter.log.dirs.replication.quota.window.num", INT, 11, at_least(1), READ_ONLY, NOT_YET,
        "Over how many windows the throttle of moves between directories is averaged."),
    Key("alter.log.dirs.replication.quota.window.size.seconds", INT, 1, at_least(1), READ_ONLY, NOT_YET,
        "How long one window of that throttle lasts."),
    Key("controller.quota.window.num", INT, 11, at_least(1), READ_ONLY, NOT_YET,
        "Over how many windows the quota on topic and partition changes is averaged."),
    Key("controller.quota.window.size.seconds", INT, 1, at_least(1), READ_ONLY, NOT_YET,
        "How long one window of that quota lasts."),
)
# fmt: on
