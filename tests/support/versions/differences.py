"""Where Ottla answers otherwise than Kafka 4.3.1, on purpose: each with its reason."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

ANY: Any = object()


@dataclass
class Difference:
    """Fields that may differ: patterns as of a shell; `theirs` and `ours` are exact values."""

    reason: str
    api: str
    case: str = "*"
    path: str = "*"
    theirs: Any = ANY
    ours: Any = ANY
    seen: bool = False

    def matches(self, api: str, case: str, path: str, theirs: Any, ours: Any) -> bool:
        return (
            fnmatchcase(api, self.api)
            and fnmatchcase(case, self.case)
            and fnmatchcase(path, self.path)
            and (self.theirs is ANY or self.theirs == theirs)
            and (self.ours is ANY or self.ours == ours)
        )


MALFORMED = (
    "This most likely occurs because of a request being malformed by the client library or the "
    "message was sent to an incompatible broker. See the broker logs for more details."
)

NOT_SERVED = {
    17: "SaslHandshake",
    29: "DescribeAcls",
    30: "CreateAcls",
    31: "DeleteAcls",
    36: "SaslAuthenticate",
    38: "CreateDelegationToken",
    39: "RenewDelegationToken",
    40: "ExpireDelegationToken",
    41: "DescribeDelegationToken",
    48: "DescribeClientQuotas",
    49: "AlterClientQuotas",
    50: "DescribeUserScramCredentials",
    51: "AlterUserScramCredentials",
    80: "AddRaftVoter",
    81: "RemoveRaftVoter",
}
"""What Kafka's ApiVersions has and ours has not. One that is served leaves the table."""

DIFFERENCES = [
    # Kafka stumbles
    Difference(
        "Kafka fails in a way nobody intended and gives no answer at all.",
        "ALTER_CONFIGS",
        "a resource twice",
        theirs="never",
    ),
    Difference(
        "Kafka fails in a way nobody intended and gives no answer at all.",
        "PRODUCE",
        "null records",
        theirs="never",
    ),
    Difference(
        "Kafka answers UNKNOWN_SERVER_ERROR where the request is at fault; we say so.",
        "INCREMENTAL_ALTER_CONFIGS",
        "operation *",
        "*.error_code",
        theirs=-1,
        ours=42,
    ),
    Difference(
        "And we say what is wrong with it.",
        "INCREMENTAL_ALTER_CONFIGS",
        "operation *",
        "*.error_message",
        theirs=None,
    ),
    Difference(
        "Kafka answers UNKNOWN_SERVER_ERROR where the request is at fault; we say so.",
        "CREATE_PARTITIONS",
        "to *, tried",
        "*.error_code",
        theirs=-1,
        ours=44,
    ),
    Difference(
        "In the words it uses where it notices: when topics are created.",
        "CREATE_PARTITIONS",
        "to *, tried",
        "*.error_message",
        theirs=None,
        ours="Excessively large number of partitions per request.",
    ),
    Difference(
        "Kafka answers UNKNOWN_SERVER_ERROR to an empty name; it is an illegal one.",
        "DESCRIBE_TOPIC_PARTITIONS",
        "illegal: empty",
        "*.error_code",
        theirs=-1,
        ours=17,
    ),
    Difference(
        "As for other illegal names.",
        "DESCRIBE_TOPIC_PARTITIONS",
        "illegal: empty",
        "*.topic_authorized_operations",
    ),
    Difference(
        "Kafka answers UNKNOWN_SERVER_ERROR to a null name without an id; it is INVALID_REQUEST.",
        "METADATA",
        "neither name nor id",
        "*error_code",
        theirs=-1,
        ours=42,
    ),
    Difference(
        "The topic in that answer has no name in Kafka's, and ours has no topic from version 13.",
        "METADATA",
        "neither name nor id",
        "topics*",
    ),
    Difference(
        "An isolation level that does not exist counts as read_uncommitted; Kafka answers "
        "UNKNOWN_SERVER_ERROR.",
        "FETCH",
        "isolation 2",
    ),
    Difference(
        "An isolation level that does not exist counts as read_uncommitted; Kafka answers "
        "UNKNOWN_SERVER_ERROR.",
        "LIST_OFFSETS",
        "*, isolation 2",
    ),
    Difference(
        "Less than no bytes count as none, so one batch is returned; Kafka answers "
        "UNKNOWN_SERVER_ERROR.",
        "FETCH",
        "-1 bytes*",
    ),
    Difference(
        "Less than no bytes count as none, so one batch is returned; Kafka answers "
        "UNKNOWN_SERVER_ERROR.",
        "FETCH",
        "max_bytes -1",
    ),
    Difference(
        "Of two batches for one partition Kafka appends the last, drops the other and reports "
        "one success; we append both and answer both.",
        "PRODUCE",
        "a * twice",
    ),
    Difference(
        "A topic id that nobody knows is UNKNOWN_TOPIC_ID for its partition; Kafka answers "
        "UNKNOWN_SERVER_ERROR to the request, and to every one until the session ends.",
        "SHARE_*",
        "a*topic*",
    ),
    Difference(
        "And the session goes on.",
        "SHARE_FETCH",
        "and goes on",
    ),
    Difference(
        "Kafka answers UNKNOWN_SERVER_ERROR for the group; there is no such partition, or group.",
        "DESCRIBE_SHARE_GROUP_OFFSETS",
        "a partition below 0",
    ),
    Difference(
        "Kafka answers UNKNOWN_SERVER_ERROR for the group; there is no such partition, or group.",
        "DESCRIBE_SHARE_GROUP_OFFSETS",
        "no group",
    ),
    # Better on purpose
    Difference(
        "A topic that is created by asking for it is answered at once; Kafka has the client ask "
        "again.",
        "METADATA",
        "create *",
        "topics*error_code",
        theirs=3,
        ours=0,
    ),
    Difference(
        "A topic that is created by asking for it is answered at once.",
        "METADATA",
        "create *",
        "topics*.partitions",
        theirs=[],
    ),
    Difference(
        "A topic that is created by asking for it is answered at once.",
        "METADATA",
        "create *",
        "topics*.topic_id",
        theirs="NO ID",
    ),
    Difference(
        "A name that collides with another topic's is told for good, Kafka has the client ask "
        "for ever.",
        "METADATA",
        "create what collides",
        "*.error_code",
        theirs=3,
        ours=17,
    ),
    Difference(
        "Two new topics of one request may not collide either; Kafka compares with those that "
        "exist.",
        "CREATE_TOPICS",
        "two that collide",
        "topics?1?.*",
    ),
    *(
        Difference(
            "A change of metadata takes milliseconds here; there is nothing that could time out.",
            api,
            case,
            "*error_code",
            theirs=7,
            ours=0,
        )
        for api, case in (
            ("CREATE_TOPICS", "no time"),
            ("CREATE_TOPICS", "time below zero"),
            ("CREATE_PARTITIONS", "no time"),
            ("DELETE_TOPICS", "no time"),
            ("ELECT_LEADERS", "no time"),
        )
    ),
    Difference(
        "The leader is the preferred one already.",
        "ELECT_LEADERS",
        "no time",
        "*.error_code",
        theirs=7,
        ours=84,
    ),
    Difference(
        "The leader is the preferred one already.",
        "ELECT_LEADERS",
        "no time",
        "*.error_message",
        theirs=None,
        ours="Leader election not needed for topic partition.",
    ),
    Difference("And the topic is named.", "DELETE_TOPICS", "no time", "*.topic_id", theirs="NO ID"),
    *(
        Difference("And the topic is described.", "CREATE_TOPICS", case, path, theirs=theirs)
        for case in ("no time", "time below zero")
        for path, theirs in (
            ("topics*.topic_id", "NO ID"),
            ("topics*.num_partitions", -1),
            ("topics*.replication_factor", -1),
            ("topics*.configs", []),
        )
    ),
    Difference(
        "The answer says what is wrong, not only which code that has.",
        "DESCRIBE_CONFIGS",
        "resource type *",
        "*.error_message",
        theirs=MALFORMED,
    ),
    Difference(
        "The answer says what is wrong, not only which code that has.",
        "FIND_COORDINATOR",
        "type *",
        "*error_message",
        theirs=MALFORMED,
    ),
    Difference(
        "The answer says what is wrong, not only which code that has.",
        "FIND_COORDINATOR",
        "share state *",
        "*error_message",
        theirs=MALFORMED,
    ),
    Difference(
        "The answer says why a batch was refused; Kafka's log has it.",
        "PRODUCE",
        "*",
        "*.error_message",
        theirs=None,
    ),
    Difference(
        "The log's start is not repeated with a refused batch: clients look at it after a success.",
        "PRODUCE",
        "*",
        "*.log_start_offset",
        theirs=0,
        ours=-1,
    ),
    # Not offered
    Difference(
        "Offsets of a log that there is none of: the store's revision stands for them.",
        "DESCRIBE_QUORUM",
        path="topics*.high_watermark",
    ),
    Difference(
        "The store's revision stands for them.",
        "DESCRIBE_QUORUM",
        path="topics*.log_end_offset",
    ),
    Difference(
        "There are no controllers beside the brokers, with listeners of their own.",
        "DESCRIBE_QUORUM",
        path="nodes*",
    ),
    *(
        Difference(
            f"{name} is not served, so it is not advertised.",
            "API_VERSIONS",
            path=f"api_keys.{key}",
            ours=None,
        )
        for key, name in NOT_SERVED.items()
    ),
    Difference(
        "Members are asked to come sooner while their group settles.",
        "CONSUMER_GROUP_HEARTBEAT",
        path="heartbeat_interval_ms",
        theirs=5_000,
        ours=250,
    ),
    Difference(
        "Members are asked to come sooner while their group settles.",
        "SHARE_GROUP_HEARTBEAT",
        path="heartbeat_interval_ms",
        theirs=5_000,
        ours=250,
    ),
    Difference(
        "Members are asked to come sooner while their group settles.",
        "STREAMS_GROUP_HEARTBEAT",
        path="heartbeat_interval_ms",
        theirs=5_000,
        ours=500,
    ),
    Difference(
        "Kafka shows the counts it found out only after the group's next record.",
        "STREAMS_GROUP_DESCRIBE",
        path="groups*.topology.subtopologies*_topics*.partitions",
        theirs=0,
    ),
    Difference(
        "Features that are not there are not advertised.",
        "API_VERSIONS",
        path="*_features.*",
        ours=None,
    ),
    Difference(
        "What Ottla itself writes has a level of its own.",
        "API_VERSIONS",
        path="*_features.ottla.version",
        theirs=None,
    ),
    Difference(
        "Kafka sets min.insync.replicas for all brokers where eligible leader replicas are on.",
        "*",
        path="*.configs*.config_source",
        theirs=3,
        ours=5,
    ),
]


def allowed(api: str, case: str, path: str, theirs: Any, ours: Any) -> bool:
    """Whether the table has this difference."""
    found = [row for row in DIFFERENCES if row.matches(api, case, path, theirs, ours)]
    for row in found:
        row.seen = True
    return bool(found)
