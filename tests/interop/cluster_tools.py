"""What Kafka's operators' tools are asked about three brokers, and how the answers are kept.

Each script is a conversation with three brokers that run; it leaves all three running. What the
real Kafka printed is kept in `tests/goldens/cluster_tools` (`cluster_tool_goldens`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.interop.clients import CLIENTS, Record
from tests.interop.cluster_session import ClusterSession
from tests.interop.sessions import (
    API_VERSIONS,
    CONFIGS,
    GROUPS,
    LOG_DIRS,
    TOPICS,
)

REASSIGN = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
ELECT = "org.apache.kafka.tools.LeaderElectionCommand"
QUORUM = "org.apache.kafka.tools.MetadataQuorumCommand"
FEATURES = "org.apache.kafka.tools.FeatureCommand"
CLUSTER = "org.apache.kafka.tools.ClusterTool"

SETTINGS = {
    "auto.leader.rebalance.enable": "false",
    "offsets.topic.num.partitions": "3",
}
DIRECTORIES = 2
"""Log directories of each broker: `data` and `data2`, side by side."""

SLOW, FAST = "2000", "500000000"
"""Bytes a second at which a move does not end here, and at which it is over at once."""

BIG = bytes(500_000)
BIG_RECORDS = 40
"""Over its quota a move still copies a megabyte in each eleven seconds, as in Kafka."""


def plan(*rows: tuple[str, int, list[int]], dirs: Sequence[str] | None = None) -> dict[str, Any]:
    """What is to be where, as the tool reads it."""
    named = {} if dirs is None else {"log_dirs": list(dirs)}
    return {
        "version": 1,
        "partitions": [
            {"topic": topic, "partition": number, "replicas": replicas, **named}
            for topic, number, replicas in rows
        ],
    }


def create(session: ClusterSession, topic: str, assignment: str, *more: str) -> None:
    """Create a topic with replicas where they are said to be."""
    session.tool(TOPICS, "--create", "--topic", topic, "--replica-assignment", assignment, *more)
    session.until(f"Topic: {topic}", TOPICS, "--describe", "--topic", topic)


def fill(session: ClusterSession, topic: str, *partitions: int) -> None:
    """Put more into partitions than a slow move copies."""
    with CLIENTS["confluent"].sender(session.nodes.bootstrap) as sender:
        for partition in partitions:
            sender.send(topic, [Record(None, BIG)] * BIG_RECORDS, partition)


THERE, NONE = "leader.replication.throttled", "are:$"


def throttles(session: ClusterSession, topic: str, says: str) -> None:
    """Show what throttles there are, once the broker that is asked knows of the last change."""
    describe = (CONFIGS, "--describe", "--entity-type")
    session.until(says, *describe, "topics", "--entity-name", topic)
    for broker in "123":
        session.until(says, *describe, "brokers", "--entity-name", broker)


def reassignments(session: ClusterSession) -> None:
    """Moves that do not end, are listed, changed, cancelled, and throttled moves that end."""

    def reassign(*arguments: str) -> str:
        return session.tool(REASSIGN, *arguments)

    def carry_out(content: Mapping[str, Any] | str, *arguments: str) -> str:
        path = session.file(content)
        reassign("--reassignment-json-file", path, "--execute", *arguments)
        return path

    create(session, "moves", "1:2,2:3,3:1,1:2")
    create(session, "single", "1,1")
    fill(session, "moves", 0, 1)
    for topics, brokers in ((["single"], "2"), (["single"], "9"), (["absent"], "2")):
        wanted = session.file({"version": 1, "topics": [{"topic": name} for name in topics]})
        reassign("--topics-to-move-json-file", wanted, "--broker-list", brokers, "--generate")
    reassign("--list")
    first = carry_out(plan(("moves", 0, [3, 2])), "--throttle", SLOW)
    reassign("--list")
    throttles(session, "moves", THERE)
    session.until("Adding Replicas: 3", TOPICS, "--describe", "--topic", "moves")
    reassign("--reassignment-json-file", first, "--verify", "--preserve-throttles")
    carry_out(plan(("moves", 1, [2, 1])), "--throttle", SLOW)
    second = carry_out(plan(("moves", 1, [2, 1])), "--throttle", SLOW, "--additional")
    reassign("--list")
    throttles(session, "moves", THERE)
    reassign("--reassignment-json-file", second, "--cancel", "--preserve-throttles")
    reassign("--list")
    reassign("--reassignment-json-file", second, "--cancel")
    carry_out(plan(("moves", 0, [3, 2])), "--throttle", FAST, "--additional")
    session.until("moves-0 is completed", REASSIGN, "--reassignment-json-file", first, "--verify")
    throttles(session, "moves", NONE)
    reassign("--list")
    session.until("Partition: 0 Leader: 3 Replicas: 3,2 ", TOPICS, "--describe", "--topic", "moves")
    session.tool(ELECT, "--election-type", "preferred", "--topic", "moves", "--partition", "0")
    for replicas in ([1, 2, 3], [3]):
        path = carry_out(plan(("moves", 2, replicas)))
        session.until(
            "moves-2 is completed", REASSIGN, "--reassignment-json-file", path, "--verify"
        )
        placed = f"Partition: 2 Leader: 3 Replicas: {','.join(map(str, replicas))} "
        session.until(placed, TOPICS, "--describe", "--topic", "moves")
    carry_out(plan(("moves", 2, [1, 2])), "--disallow-replication-factor-change")
    for row in (("moves", 3, [1, 9]), ("moves", 7, [1]), ("absent", 0, [1]), ("moves", 3, [1, 1])):
        carry_out(plan(row))
    carry_out(plan(("moves", 3, [])))
    carry_out(plan(("moves", 3, [2, 1]), ("moves", 3, [1, 2])))
    carry_out("{not json")
    carry_out(plan())
    path = session.file(plan(("moves", 3, [3, 1])))
    reassign("--reassignment-json-file", path, "--verify")


def directories(session: ClusterSession) -> None:
    """Replicas between brokers into a directory, and between directories of one broker."""
    create(session, "homes", "1:2,2:3")
    for dirs in (
        ("any", session.nodes.folder(3, "data2")),
        ("any", session.nodes.folder(3, "data")),
    ):
        path = session.file(plan(("homes", 0, [1, 3]), dirs=dirs))
        session.tool(
            REASSIGN,
            *("--reassignment-json-file", path, "--execute"),
            *("--throttle", FAST, "--replica-alter-log-dirs-throttle", FAST),
        )
        session.until(
            "Clearing topic-level.* is completed.*homes-0-3 completed successfully",
            *(REASSIGN, "--reassignment-json-file", path, "--verify"),
        )
        throttles(session, "homes", NONE)
    path = session.file(plan(("homes", 1, [2, 3]), dirs=("any", "any", "any")))
    session.tool(REASSIGN, "--reassignment-json-file", path, "--execute")
    path = session.file(plan(("homes", 1, [2, 3]), dirs=("any", "/no/such/folder")))
    soon = ("--timeout", "500")
    session.tool(REASSIGN, "--reassignment-json-file", path, "--execute", *soon)
    place = ((r"from log dir \S+", "from log dir DIRECTORY"),)
    session.tool(REASSIGN, "--reassignment-json-file", path, "--verify", masks=place)
    session.tool(LOG_DIRS, "--describe", "--topic-list", "homes")
    session.tool(LOG_DIRS, "--describe", "--topic-list", "homes", "--broker-list", "9,1")
    session.tool(LOG_DIRS, "--describe", "--topic-list", "absent", "--broker-list", "1,3")


ELSEWHERE = ((r"(__consumer_offsets|homes|moves)-\d+,", ""),)
"""Partitions of other scripts, and those that a broker placed as it liked."""

LOOKED_AT = ("--topic", "leads|pair|alone|strict|__consumer_offsets")


def looks(session: ClusterSession) -> None:
    """Every filter of `--describe`, that say something about partitions that lack replicas."""
    session.tool(TOPICS, "--list", "--exclude-internal", *LOOKED_AT)
    for what in (
        "under-replicated-partitions",
        "unavailable-partitions",
        "under-min-isr-partitions",
        "at-min-isr-partitions",
    ):
        session.tool(TOPICS, "--describe", f"--{what}", "--exclude-internal", *LOOKED_AT)


def elections(session: ClusterSession) -> None:
    """Brokers stop and come back; who leads then, and who is made to."""
    brokers = session.nodes.brokers

    def elect(kind: str, *arguments: str, masks: Sequence[tuple[str, str]] = ()) -> None:
        session.tool(ELECT, "--election-type", kind, *arguments, masks=masks)

    session.tool(GROUPS, "--describe", "--group", "nobody")
    for topic, assignment, minimum in (
        ("leads", "1:2:3,2:3:1,3:1:2", 2),
        ("pair", "3:1", 1),
        ("alone", "1,2", 1),
        ("strict", "2:1:3", 3),
    ):
        create(session, topic, assignment, "--config", f"min.insync.replicas={minimum}")
    session.tool(TOPICS, "--create", "--topic", "bad", "--replica-assignment", "1:9")
    session.tool(TOPICS, "--create", "--topic", "bad", "--replica-assignment", "1:1")
    session.tool(TOPICS, "--create", "--topic", "bad", "--replica-assignment", "1:2,3")
    session.tool(
        TOPICS, "--create", "--topic", "bad", "--partitions", "1", "--replication-factor", "4"
    )
    session.tool(
        TOPICS, "--alter", "--topic", "pair", "--partitions", "2", "--replica-assignment", "3:1,1:3"
    )
    session.until("Partition: 1", TOPICS, "--describe", "--topic", "pair")
    session.tool(
        TOPICS,
        "--alter",
        "--topic",
        "pair",
        "--partitions",
        "3",
        "--replica-assignment",
        "3:1,1:3,9:1",
    )
    looks(session)
    rate = ("--add-config", f"leader.replication.throttled.rate={SLOW}")
    session.tool(CONFIGS, "--alter", "--entity-type", "brokers", "--entity-name", "3", *rate)
    slow = ("--add-config", "leader.replication.throttled.replicas=*")
    session.tool(CONFIGS, "--alter", "--entity-type", "topics", "--entity-name", "pair", *slow)

    brokers[1].stop()
    session.until("Leader: none", TOPICS, "--describe", "--topic", "alone")
    looks(session)
    fill(session, "pair", 0)
    session.command(CLUSTER, "list-endpoints")
    session.command(CLUSTER, "list-endpoints", "--include-fenced-brokers")
    elect("preferred", "--topic", "leads", "--partition", "0")
    elect("unclean", "--topic", "alone", "--partition", "0")
    session.tool(LOG_DIRS, "--describe", "--topic-list", "absent")

    session.command(CLUSTER, "unregister", "--id", "1")
    session.command(CLUSTER, "list-endpoints", "--include-fenced-brokers")

    brokers[1].start()
    session.until("Leader: 1", TOPICS, "--describe", "--topic", "alone")
    session.until("(Isr: 1,2,3 .*){3}", TOPICS, "--describe", "--topic", "leads")
    session.until("Partition: 1 .* Isr: 1,3 ", TOPICS, "--describe", "--topic", "pair")
    rows = [("leads", 0), ("leads", 1), ("pair", 1), ("absent", 0), ("leads", 9)]
    named = [{"topic": topic, "partition": number} for topic, number in rows]
    elect("preferred", "--path-to-json-file", session.file({"partitions": named[:3]}))
    elect("preferred", "--path-to-json-file", session.file({"partitions": named}))
    elect("preferred", "--path-to-json-file", session.file({"partitions": named[:1] * 2}))
    elect("preferred", "--path-to-json-file", session.file("[]"))
    elect("preferred", "--topic", "leads", "--partition", "0")
    elect("unclean", "--topic", "leads", "--partition", "0")
    session.tool(TOPICS, "--describe", "--topic", "pair")

    brokers[3].stop()
    session.until("Leader: none", TOPICS, "--describe", "--topic", "pair")
    looks(session)
    elect("preferred", "--topic", "pair", "--partition", "0")
    elect(
        "unclean",
        "--path-to-json-file",
        session.file({"partitions": [{"topic": "pair", "partition": 0}]}),
    )
    session.tool(TOPICS, "--describe", "--topic", "pair")
    brokers[3].start()
    session.until("(Isr: 1,3 .*){2}", TOPICS, "--describe", "--topic", "pair")
    session.until("(Isr: 1,2,3 .*){4}", TOPICS, "--describe", "--topic", "leads|strict")
    elect("preferred", "--all-topic-partitions", masks=ELSEWHERE)
    elect("preferred", "--all-topic-partitions")
    elect("unclean", "--all-topic-partitions")
    looks(session)
    for topic in ("leads", "pair", "alone", "strict"):
        session.tool(TOPICS, "--describe", "--topic", topic)


NUMBERS = (
    (r"(LeaderId|LeaderEpoch|HighWatermark): \d+", r"\1: N"),
    (r"(MaxFollowerLag|MaxFollowerLagTimeMs): -?\d+", r"\1: N"),
    (r"ClusterId: [\w-]{22}", "ClusterId: ID"),
    (r"Cluster ID: [\w-]{22}", "Cluster ID: ID"),
    (r"FinalizedVersionLevel: [^\t ]+", "FinalizedVersionLevel: LEVEL"),
    (r"Epoch: \d+", "Epoch: N"),
    (r"controller \d", "controller N"),
)
VOTERS = (*NUMBERS, (r"Current(Voters|Observers): .*", r"Current\1: THEM"), (r"(?m)^\d.*\n", ""))
"""Where etcd decides, etcd's members are the voters, and the brokers observe."""

OWN_LEVELS = (*NUMBERS, (r"(?m)^Feature: (eligible|kraft|ottla).*\n", ""))
"""What only one of the two has levels for."""


def the_cluster(session: ClusterSession) -> None:
    """Who is there, what controls it, and which levels are in force."""
    session.command(CLUSTER, "cluster-id", masks=NUMBERS)
    session.command(CLUSTER, "list-endpoints")
    session.command(CLUSTER, "list-endpoints", "--include-fenced-brokers")
    session.command(CLUSTER, "unregister", "--id", "9")
    session.tool(QUORUM, "describe", "--status", masks=VOTERS)
    session.tool(QUORUM, "describe", "--replication", masks=VOTERS)
    session.tool(QUORUM, "describe", "--replication", "--human-readable", masks=VOTERS)
    session.tool(FEATURES, "describe", masks=OWN_LEVELS)
    for level in ("2", "1", "1", "9"):
        session.tool(
            FEATURES, "downgrade", "--feature", f"transaction.version={level}", masks=NUMBERS
        )
    for level in ("2", "2", "9"):
        session.tool(
            FEATURES, "upgrade", "--feature", f"transaction.version={level}", masks=NUMBERS
        )
    session.tool(FEATURES, "upgrade", "--feature", "no.such.version=1", masks=NUMBERS)
    session.tool(FEATURES, "upgrade", "--feature", "share.version=1", "--dry-run", masks=NUMBERS)
    session.tool(
        FEATURES,
        "upgrade",
        "--feature",
        "share.version=1",
        "--feature",
        "group.version=9",
        masks=NUMBERS,
    )
    session.tool(FEATURES, "version-mapping", "--release-version", "4.0")
    session.tool(FEATURES, "feature-dependencies", "--feature", "transaction.version=2")
    session.tool(FEATURES, "feature-dependencies", "--feature", "no.such.version=2")
    session.tool(API_VERSIONS)


SCRIPTS: Mapping[str, Callable[[ClusterSession], None]] = {
    "reassignments": reassignments,
    "directories": directories,
    "elections": elections,
    "the_cluster": the_cluster,
}
