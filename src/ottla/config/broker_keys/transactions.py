"""Broker settings: transactions, idempotent producers, share state."""

from ottla.config.key import ConfigType, Effect, Key, Update
from ottla.config.validators import at_least, between

BOOLEAN = ConfigType.BOOLEAN
INT = ConfigType.INT
SHORT = ConfigType.SHORT
CLUSTER_WIDE = Update.CLUSTER_WIDE
READ_ONLY = Update.READ_ONLY
NEVER = Effect.NEVER
NOT_YET = Effect.NOT_YET
YES = Effect.YES

# fmt: off
TRANSACTION_KEYS = (
    Key("transaction.max.timeout.ms", INT, 900_000, at_least(1), READ_ONLY, YES,
        "The longest time-out a producer may ask for its transactions."),
    Key("transaction.abort.timed.out.transaction.cleanup.interval.ms", INT, 10000, at_least(1), READ_ONLY, NOT_YET,
        "How often open transactions are looked at for those whose time is up."),
    Key("transaction.remove.expired.transaction.cleanup.interval.ms", INT, 3_600_000, at_least(1), READ_ONLY, YES,
        "How often transactional ids are looked at for those that have expired."),
    Key("transactional.id.expiration.ms", INT, 604_800_000, at_least(1), READ_ONLY, YES,
        "How long the coordinator remembers a transactional id that is not used."),
    Key("transaction.partition.verification.enable", BOOLEAN, True, None, CLUSTER_WIDE, YES,
        "Whether a transactional append is checked against the coordinator first, so that no "
        "transaction is left hanging."),
    Key("transaction.two.phase.commit.enable", BOOLEAN, False, None, READ_ONLY, NOT_YET,
        "Whether producers may take part in transactions led by another system, which never time out."),
    Key("transaction.state.log.load.buffer.size", INT, 5_242_880, at_least(1), READ_ONLY, NOT_YET,
        "How much of the transaction topic is read at a time when a coordinator loads."),
    Key("transaction.state.log.min.isr", INT, 2, at_least(1), READ_ONLY, YES,
        "The `min.insync.replicas` of the transaction topic. Left at its default, it is "
        "one less than there are replicas, or 1."),
    Key("transaction.state.log.num.partitions", INT, 50, at_least(1), READ_ONLY, YES,
        "How many partitions the transaction topic is created with. Do not change it once the topic "
        "exists."),
    Key("transaction.state.log.replication.factor", SHORT, 3, at_least(1), READ_ONLY, YES,
        "How many replicas the transaction topic is created with. Left at its default, there "
        "are not more than usable brokers."),
    Key("transaction.state.log.segment.bytes", INT, 104_857_600, at_least(1), READ_ONLY, YES,
        "The segment size of the transaction topic."),
    Key("add.partitions.to.txn.retry.backoff.ms", INT, 20, at_least(1), READ_ONLY, YES,
        "How long the broker waits before it asks the coordinator again to take a partition into a "
        "transaction, while the one before is being ended."),
    Key("add.partitions.to.txn.retry.backoff.max.ms", INT, 100, at_least(0), READ_ONLY, YES,
        "How long it goes on asking before the producer gets the error."),
    Key("producer.id.expiration.ms", INT, 86_400_000, at_least(1), CLUSTER_WIDE, YES,
        "How long a partition remembers an idempotent producer that no longer writes; too short a "
        "time and its retries cannot be recognised."),
    Key("producer.id.expiration.check.interval.ms", INT, 600_000, at_least(1), READ_ONLY, YES,
        "How often partitions are looked at for producers to forget.", is_internal=True),
    Key("share.coordinator.append.linger.ms", INT, -1, at_least(-1), READ_ONLY, NEVER,
        "How long Kafka gathers the share coordinator's records before writing them; -1 adapts. Ottla "
        "writes what one turn of its loop produced."),
    Key("share.coordinator.cached.buffer.max.bytes", INT, 1_048_588, at_least(524_288), CLUSTER_WIDE, NEVER,
        "The largest write buffer Kafka's share coordinator keeps for reuse. Ottla keeps none."),
    Key("share.coordinator.cold.partition.snapshot.interval.ms", INT, 300_000, at_least(1), READ_ONLY, YES,
        "How often the state of share partitions that no longer change is written anew, so that old "
        "state can go.", is_internal=True),
    Key("share.coordinator.load.buffer.size", INT, 5_242_880, at_least(1), READ_ONLY, NOT_YET,
        "How much of the share state topic is read at a time when a coordinator loads."),
    Key("share.coordinator.snapshot.update.records.per.snapshot", INT, 500, between(0, 500), READ_ONLY, YES,
        "How many updates follow a full record of a share partition's state before the next full one."),
    Key("share.coordinator.state.topic.compression.codec", INT, 0, None, READ_ONLY, YES,
        "The codec number in which the share state topic is written; 0 is none."),
    Key("share.coordinator.state.topic.min.isr", SHORT, 2, at_least(1), READ_ONLY, YES,
        "The `min.insync.replicas` of the share state topic. Left at its default, it is "
        "one less than there are replicas, or 1."),
    Key("share.coordinator.state.topic.num.partitions", INT, 50, at_least(1), READ_ONLY, YES,
        "How many partitions the share state topic is created with. Do not change it once the topic "
        "exists."),
    Key("share.coordinator.state.topic.prune.interval.ms", INT, 300_000, at_least(1), READ_ONLY, YES,
        "How often share state that is no longer needed is deleted.", is_internal=True),
    Key("share.coordinator.state.topic.replication.factor", SHORT, 3, at_least(1), READ_ONLY, YES,
        "How many replicas the share state topic is created with. Left at its default, there "
        "are not more than usable brokers."),
    Key("share.coordinator.state.topic.segment.bytes", INT, 104_857_600, at_least(1), READ_ONLY, YES,
        "The segment size of the share state topic."),
    Key("share.coordinator.threads", INT, 1, at_least(1), READ_ONLY, NEVER,
        "Kafka's count of threads for the share coordinator. Ottla runs it on its event loop."),
    Key("share.coordinator.write.timeout.ms", INT, 5000, at_least(1), READ_ONLY, YES,
        "How long a write of share state may take to be replicated before it fails."),
)
# fmt: on
