"""Broker settings: listeners, connections, requests."""

from ottla.config.key import ConfigType, Effect, Key, Update
from ottla.config.validators import ListOf, OneOf, at_least

BOOLEAN = ConfigType.BOOLEAN
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
MAX_INT = 2**31 - 1

# fmt: off
NETWORK_KEYS = (
    Key("listeners", LIST, ("PLAINTEXT://127.0.0.1:9092",), ListOf(), PER_BROKER, YES,
        "Where the broker accepts connections, as `NAME://host:port` separated by commas; port 0 "
        "takes a free one, an empty host means every interface. Ottla's default is loopback only "
        "(127.0.0.1 and, where it exists, ::1), Kafka's is every interface."),
    Key("advertised.listeners", LIST, None, ListOf(may_be_null=True), READ_ONLY, YES,
        "The addresses handed out to clients, one per listener that clients should use. When unset, "
        "Ottla advertises on each connection the address the client itself connected to."),
    Key("listener.security.protocol.map", STRING, "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", None, PER_BROKER, YES,
        "Which security protocol each listener name speaks, as `NAME:PROTOCOL` pairs separated by "
        "commas. The four protocols are their own names by default."),
    Key("inter.broker.listener.name", STRING, None, None, READ_ONLY, YES,
        "The listener over which brokers talk to each other. Set this or "
        "`security.inter.broker.protocol`, not both."),
    Key("controller.listener.names", LIST, None, ListOf(), READ_ONLY, YES,
        "Names of listeners meant for Kafka's controller quorum. Ottla has no such quorum: listeners "
        "with these names are left out, so that a Kafka file can be used as it is."),
    Key("connections.max.idle.ms", LONG, 600_000, None, READ_ONLY, YES,
        "A connection without traffic for this long is closed."),
    Key("connection.failed.authentication.delay.ms", INT, 100, at_least(0), READ_ONLY, NOT_YET,
        "How long a failed authentication is left unanswered, to slow down guessing. Must be less "
        "than `connections.max.idle.ms`."),
    Key("connections.max.reauth.ms", LONG, 0, None, READ_ONLY, NOT_YET,
        "The longest an authenticated session may last before the client must authenticate again; 0 "
        "never asks. May be set for one listener and mechanism with their prefix."),
    Key("max.connections", INT, MAX_INT, at_least(0), CLUSTER_WIDE, YES,
        "The most connections the broker keeps at once, or, with its prefix, one listener; further "
        "ones are closed."),
    Key("max.connections.per.ip", INT, MAX_INT, at_least(0), CLUSTER_WIDE, YES,
        "The most connections one address may hold; further ones are closed. Addresses named in "
        "`max.connections.per.ip.overrides` follow that instead, and 0 refuses all others."),
    Key("max.connections.per.ip.overrides", STRING, "", None, CLUSTER_WIDE, YES,
        "Limits for single addresses or hosts in place of `max.connections.per.ip`, as "
        "`address:count` separated by commas."),
    Key("max.connection.creation.rate", INT, MAX_INT, at_least(0), CLUSTER_WIDE, NOT_YET,
        "The most new connections per second for the whole broker, or for one listener with its "
        "prefix; further ones wait."),
    Key("num.network.threads", INT, 3, at_least(1), CLUSTER_WIDE, NEVER,
        "Kafka's count of threads that read and write sockets. Ottla serves all of them from one "
        "event loop."),
    Key("num.io.threads", INT, 8, at_least(1), CLUSTER_WIDE, NEVER,
        "Kafka's count of threads that handle requests. Ottla handles them on its event loop and "
        "keeps a few threads for the disk."),
    Key("background.threads", INT, 10, at_least(1), CLUSTER_WIDE, NEVER,
        "Kafka's count of threads for upkeep. Ottla bounds upkeep per turn of its loop."),
    Key("queued.max.requests", INT, 500, at_least(1), READ_ONLY, NEVER,
        "Kafka's limit on requests waiting for a handler thread. Ottla bounds the unanswered requests "
        "of each connection and the bytes of all."),
    Key("queued.max.request.bytes", LONG, -1, None, READ_ONLY, NOT_YET,
        "The most bytes of requests held at once before reading from connections pauses; -1 is the "
        "broker's own budget."),
    Key("request.timeout.ms", INT, 30000, None, READ_ONLY, YES,
        "How long the broker waits for another broker's answer before it gives up or tries again."),
    Key("socket.connection.setup.timeout.ms", LONG, 10000, None, READ_ONLY, YES,
        "How long connecting to another broker may take before it is tried anew."),
    Key("socket.connection.setup.timeout.max.ms", LONG, 30000, None, READ_ONLY, NOT_YET,
        "The longest that connecting to another broker may take after repeated failures; Ottla does not "
        "take longer then than at first."),
    Key("socket.listen.backlog.size", INT, 50, at_least(1), READ_ONLY, NOT_YET,
        "How many connections the operating system may queue before they are accepted; it may apply a "
        "lower limit of its own."),
    Key("socket.receive.buffer.bytes", INT, 102_400, None, READ_ONLY, NOT_YET,
        "The kernel's receive buffer for client connections; -1 leaves the system's choice."),
    Key("socket.send.buffer.bytes", INT, 102_400, None, READ_ONLY, NOT_YET,
        "The kernel's send buffer for client connections; -1 leaves the system's choice."),
    Key("socket.request.max.bytes", INT, 104_857_600, at_least(1), READ_ONLY, YES,
        "The largest request accepted; a client that announces a larger one is disconnected."),
    Key("fetch.max.bytes", INT, 57_671_680, at_least(1024), READ_ONLY, YES,
        "The most bytes one fetch may return, whatever the client asks; a single batch above it still "
        "comes back whole."),
    Key("fetch.purgatory.purge.interval.requests", INT, 1000, None, READ_ONLY, NEVER,
        "How often Kafka sweeps finished waiting fetches. Ottla forgets them as they finish."),
    Key("producer.purgatory.purge.interval.requests", INT, 1000, None, READ_ONLY, NEVER,
        "How often Kafka sweeps finished waiting produces. Ottla forgets them as they finish."),
    Key("delete.records.purgatory.purge.interval.requests", INT, 1, None, READ_ONLY, NEVER,
        "How often Kafka sweeps finished waiting record deletions. Ottla forgets them as they finish."),
    Key("share.fetch.purgatory.purge.interval.requests", INT, 1000, None, READ_ONLY, NEVER,
        "How often Kafka sweeps finished waiting share fetches. Ottla forgets them as they finish."),
    Key("max.incremental.fetch.session.cache.slots", INT, 1000, at_least(0), READ_ONLY, YES,
        "The most incremental fetch sessions kept; with 0 every fetch is a full one."),
    Key("max.request.partition.size.limit", INT, 2000, at_least(1), READ_ONLY, YES,
        "The most partitions one page of a topic-partitions description holds."),
    Key("telemetry.max.bytes", INT, 1_048_576, at_least(1), READ_ONLY, NOT_YET,
        "The largest metrics payload, after decompression, that a client may push."),
    Key("metrics.num.samples", INT, 2, at_least(1), READ_ONLY, NOT_YET,
        "Over how many windows rates and averages are kept."),
    Key("metrics.recording.level", STRING, "INFO", None, READ_ONLY, NOT_YET,
        "The most detailed level of metrics that is recorded: INFO, DEBUG or TRACE."),
    Key("metrics.sample.window.ms", LONG, 30000, at_least(1), READ_ONLY, NOT_YET,
        "How long one window of a rate or average lasts."),
    Key("unstable.api.versions.enable", BOOLEAN, False, None, READ_ONLY, NEVER,
        "Lets Kafka serve API versions that are still in development. Ottla serves released versions "
        "only.", is_internal=True),
    Key("record.validation", STRING, "full", OneOf("full", "header"), READ_ONLY, YES,
        "How closely produced batches are checked. `full` walks over every record's lengths; `header` "
        "trusts what is inside a batch whose header and checksum are right. Ottla's own setting; "
        "Kafka has no such choice."),
)
# fmt: on
