"""Names that are settings of Kafka, but of parts that Ottla does not have.

They are accepted without effect, so that files and environments written for
Kafka work as they are: what configures the JVM, Java classes, the KRaft quorum,
ZooKeeper, Java's Kerberos, and what older or later releases than 4.3 know.
"""

_PREFIXES = (
    "zookeeper.",
    "controller.",
    "metadata.",
    "internal.metadata.",
    "kafka.metrics.",
    "log4j",
    "sasl.kerberos.",
    "sasl.login.",
    "sasl.oauthbearer.assertion.",
    "sasl.oauthbearer.client.credentials.",
    "config.providers",
    "password.encoder.",
    "confluent.",
)
_SUFFIXES = (".class", ".class.name", ".class.path", ".impl.prefix", ".reporters")
_NAMES = frozenset(
    (
        "broker.heartbeat.interval.ms",
        "broker.id.generation.enable",
        "control.plane.listener.name",
        "controlled.shutdown.max.retries",
        "controlled.shutdown.retry.backoff.ms",
        "early.start.listeners",
        "errors.deadletterqueue.auto.create.topics.enable",
        "errors.deadletterqueue.topic.name.prefix",
        "group.coordinator.new.enable",
        "group.streams.assignors",
        "group.streams.rack.aware.assignment.tags",
        "initial.broker.registration.timeout.ms",
        "inter.broker.protocol.version",
        "log.initial.task.delay.ms",
        "log.message.downconversion.enable",
        "log.message.format.version",
        "log.message.timestamp.difference.max.ms",
        "log.remote.copy.lag.bytes",
        "log.remote.copy.lag.ms",
        "max.decompressed.message.bytes",
        "offsets.commit.required.acks",
        "process.roles",
        "reserved.broker.max.id",
        "sasl.mechanism.controller.protocol",
        "sasl.oauthbearer.allow.unverified.audience",
        "sasl.oauthbearer.allow.unverified.issuer",
        "sasl.oauthbearer.scope",
        "sasl.oauthbearer.token.endpoint.url",
        "security.providers",
        "server.max.startup.time.ms",
        "ssl.keymanager.algorithm",
        "ssl.provider",
        "ssl.secure.random.implementation",
        "ssl.trustmanager.algorithm",
        "unstable.feature.versions.enable",
    )
)


def is_foreign(name: str) -> bool:
    """Ask only about names that are not declared here."""
    return name in _NAMES or name.startswith(_PREFIXES) or name.endswith(_SUFFIXES)
