"""Kafka's own command line tools print the same about our broker as about the real one."""

import json
import re
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from tests.interop.clients import CLIENTS, Record
from tests.interop.conftest import create_topic
from tests.interop.groups import Members, settle
from tests.interop.sessions import (
    API_VERSIONS,
    CONFIGS,
    CONSOLE_CONSUMER,
    CONSOLE_PRODUCER,
    DELETE_RECORDS,
    GROUPS,
    LOG_DIRS,
    OFFSETS,
    TOPICS,
    VERIFIABLE_CONSUMER,
    VERIFIABLE_PRODUCER,
    Session,
    assert_same,
)
from tools.kafka import Tools, alone
from tools.subject import Subject, until

pytestmark = pytest.mark.java

VERIFIED = 100_000

#: The records of `fill` are years old.
KEEP = {"retention.ms": "-1"}


def await_partitions(subject: Subject, topic: str, count: int) -> None:
    """Wait until the broker's own metadata shows `count` partitions (0: no such topic)."""
    admin = AdminClient({"bootstrap.servers": subject.bootstrap, "log_level": 2})

    def shown() -> bool:
        found = admin.list_topics(timeout=10).topics.get(topic)
        return (len(found.partitions) if found else 0) == count

    until(f"{topic} has {count} partitions", shown)


def fill(subject: Subject, topic: str, partitions: int, records: int) -> None:
    """Put `records` records of known times into each partition, each a batch of its own."""
    with CLIENTS["confluent"].sender(subject.bootstrap) as sender:
        for partition in range(partitions):
            for n in range(records):
                value = f"{partition}:{n}".encode()
                record = Record(b"key", value, timestamp=1_700_000_000_000 + n * 1000)
                sender.send(topic, [record], partition)


def test_topic_command(broker: Subject, real_kafka: Subject, kafka_tool: Tools, name: str) -> None:
    def script(session: Session) -> None:
        topic = ("--topic", name)
        session.tool(
            TOPICS,
            "--create",
            *topic,
            *("--partitions", "3"),
            *("--config", "retention.ms=3600000", "--config", "cleanup.policy=compact,delete"),
        )
        await_partitions(session.subject, name, 3)
        session.tool(TOPICS, "--list", *topic)
        session.tool(TOPICS, "--describe", *topic)
        session.tool(TOPICS, "--describe", *topic, "--topics-with-overrides")
        session.tool(TOPICS, "--describe", *topic, "--under-replicated-partitions")
        session.tool(TOPICS, "--describe", *topic, "--unavailable-partitions")
        session.tool(TOPICS, "--create", *topic)
        session.tool(TOPICS, "--create", *topic, "--if-not-exists")
        session.tool(TOPICS, "--alter", *topic, "--partitions", "5")
        await_partitions(session.subject, name, 5)
        session.tool(TOPICS, "--describe", *topic)
        session.tool(TOPICS, "--alter", *topic, "--partitions", "2")
        session.tool(TOPICS, "--create", "--topic", f"{name}-3", "--replication-factor", "3")
        session.tool(TOPICS, "--create", "--topic", f"{name}-0", "--partitions", "0")
        session.tool(TOPICS, "--create", "--topic", f"{name}-c", "--config", "no.such=1")
        session.tool(TOPICS, "--create", "--topic", f"{name}-c", "--config", "retention.ms=x")
        session.tool(TOPICS, "--create", "--topic", f"{name}/slash")
        session.tool(TOPICS, "--create", "--topic", "..")
        session.tool(TOPICS, "--create", "--topic", "n" * 250)
        session.tool(TOPICS, "--describe", "--topic", f"{name}-absent")
        session.tool(TOPICS, "--delete", "--topic", f"{name}-absent")
        session.tool(TOPICS, "--delete", *topic)
        await_partitions(session.subject, name, 0)
        session.tool(TOPICS, "--list", *topic)

    assert_same(kafka_tool, broker, real_kafka, script)


def test_config_command_on_topics(
    broker: Subject, real_kafka: Subject, kafka_tool: Tools, name: str
) -> None:
    def script(session: Session) -> None:
        create_topic(session.subject, name, config={"segment.bytes": "2000000"})
        entity = ("--entity-type", "topics", "--entity-name", name)
        session.tool(CONFIGS, "--describe", *entity)
        session.tool(CONFIGS, "--describe", "--all", *entity)
        change = "retention.ms=86400000,cleanup.policy=[compact,delete],compression.type=zstd"
        session.tool(CONFIGS, "--alter", *entity, "--add-config", change)
        session.tool(CONFIGS, "--describe", *entity)
        session.tool(CONFIGS, "--alter", *entity, "--delete-config", "segment.bytes,retention.ms")
        session.tool(CONFIGS, "--describe", *entity)
        session.tool(CONFIGS, "--alter", *entity, "--add-config", "retention.ms=soon")
        session.tool(CONFIGS, "--alter", *entity, "--add-config", "segment.bytes=1")
        session.tool(CONFIGS, "--alter", *entity, "--add-config", "cleanup.policy=shred")
        session.tool(CONFIGS, "--alter", *entity, "--delete-config", "no.such.config")
        session.tool(
            CONFIGS, "--describe", "--entity-type", "topics", "--entity-name", f"{name}-absent"
        )

    assert_same(kafka_tool, broker, real_kafka, script)


def test_config_command_on_brokers_and_groups(
    broker: Subject, real_kafka: Subject, kafka_tool: Tools, name: str
) -> None:
    def script(session: Session) -> None:
        one = ("--entity-type", "brokers", "--entity-name", "1")
        every = ("--entity-type", "brokers", "--entity-default")
        session.tool(CONFIGS, "--describe", *one)
        session.tool(CONFIGS, "--alter", *one, "--add-config", "log.retention.ms=90000000")
        session.tool(CONFIGS, "--alter", *every, "--add-config", "log.segment.bytes=20000000")
        session.tool(CONFIGS, "--describe", *one)
        session.tool(CONFIGS, "--describe", *every)
        session.tool(CONFIGS, "--alter", *one, "--delete-config", "log.retention.ms")
        session.tool(CONFIGS, "--alter", *every, "--delete-config", "log.segment.bytes")
        session.tool(CONFIGS, "--describe", *one)
        session.tool(CONFIGS, "--describe", *every)
        session.tool(CONFIGS, "--alter", *one, "--add-config", "log.retention.ms=never")
        session.tool(CONFIGS, "--alter", *one, "--add-config", "node.id=2")
        group = ("--entity-type", "groups", "--entity-name", name)
        session.tool(
            CONFIGS, "--alter", *group, "--add-config", "consumer.session.timeout.ms=50000"
        )
        session.tool(CONFIGS, "--describe", *group)
        session.tool(CONFIGS, "--alter", *group, "--delete-config", "consumer.session.timeout.ms")
        session.tool(CONFIGS, "--describe", *group)

    assert_same(kafka_tool, broker, real_kafka, script)


def test_offsets_deleted_records_and_log_dirs(
    broker: Subject, real_kafka: Subject, kafka_tool: Tools, name: str, tmp_path: Path
) -> None:
    wanted = {
        "version": 1,
        "partitions": [
            {"topic": name, "partition": 0, "offset": 3},
            {"topic": name, "partition": 1, "offset": -1},
        ],
    }
    below = tmp_path / "below.json"
    below.write_text(json.dumps(wanted))
    beyond = tmp_path / "beyond.json"
    wanted["partitions"] = [{"topic": name, "partition": 0, "offset": 11}]
    beyond.write_text(json.dumps(wanted))

    def script(session: Session) -> None:
        create_topic(session.subject, name, 3, KEEP)
        fill(session.subject, name, 2, 10)
        topic = ("--topic", name)
        for time in ("-1", "-2", "-3", "latest", "earliest", "max-timestamp"):
            session.tool(OFFSETS, *topic, "--time", time)
        for time in ("1700000004000", "1700000004001", "1699999999999", "1700000009001"):
            session.tool(OFFSETS, *topic, "--time", time)
        session.tool(OFFSETS, *topic, "--partitions", "1")
        session.tool(OFFSETS, "--topic-partitions", f"{name}:1-3")
        session.tool(OFFSETS, "--topic", f"{name}-absent")
        session.tool(LOG_DIRS, "--describe", "--topic-list", name)
        session.tool(LOG_DIRS, "--describe", "--topic-list", f"{name}-absent")
        session.tool(DELETE_RECORDS, "--offset-json-file", str(below))
        session.tool(OFFSETS, *topic, "--time", "-2")
        session.tool(OFFSETS, *topic, "--time", "1700000001000")
        session.tool(DELETE_RECORDS, "--offset-json-file", str(beyond))
        consumed = ("--from-beginning", "--max-messages", "7", "--timeout-ms", "20000")
        session.tool(CONSOLE_CONSUMER, *topic, *consumed)

    assert_same(kafka_tool, broker, real_kafka, script)


def test_console_producer_and_consumer(
    broker: Subject, real_kafka: Subject, kafka_tool: Tools, name: str
) -> None:
    lines = "".join(f"h1:a,h2:{n}\tkey {n}\tvalue {n}\n" for n in range(50))
    reader = ("parse.key=true", "parse.headers=true", "key.separator=\t")
    formatter = (
        "print.key=true",
        "print.headers=true",
        "print.offset=true",
        "print.partition=true",
    )

    def script(session: Session) -> None:
        create_topic(session.subject, name, 2)
        properties = [word for line in reader for word in ("--reader-property", line)]
        for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
            session.tool(
                CONSOLE_PRODUCER,
                *("--topic", name, "--sync", "--timeout", "0", "--compression-codec", codec),
                *properties,
                stdin=lines,
            )
        properties = [word for line in formatter for word in ("--formatter-property", line)]
        printed = session.tool(
            CONSOLE_CONSUMER,
            *("--topic", name, "--from-beginning", "--max-messages", "250"),
            *("--timeout-ms", "20000", *properties),
        )
        assert len(printed.splitlines()) == 250

    assert_same(kafka_tool, broker, real_kafka, script)


def test_consumer_group_command(
    broker: Subject, real_kafka: Subject, kafka_tool: Tools, name: str
) -> None:
    def script(session: Session) -> None:
        create_topic(session.subject, name, 2, KEEP)
        fill(session.subject, name, 2, 10)
        group = ("--group", name)
        session.tool(
            CONSOLE_CONSUMER,
            *("--topic", name, *group, "--from-beginning", "--max-messages", "20"),
            *("--timeout-ms", "20000"),
        )
        assert name in session.tool(GROUPS, "--list").splitlines()
        session.steps.pop()
        session.tool(GROUPS, "--describe", *group)
        session.tool(GROUPS, "--describe", *group, "--members", "--verbose")
        session.tool(GROUPS, "--describe", *group, "--state")
        reset = ("--reset-offsets", *group, "--topic", name)
        session.tool(GROUPS, *reset, "--to-earliest", "--dry-run")
        session.tool(GROUPS, *reset, "--to-earliest", "--execute")
        session.tool(GROUPS, "--describe", *group)
        session.tool(GROUPS, *reset, "--shift-by", "4", "--execute")
        session.tool(GROUPS, *reset, "--to-offset", "99", "--execute")
        session.tool(GROUPS, *reset, "--to-datetime", "2023-11-14T22:13:25.000", "--execute")
        session.tool(GROUPS, *reset, "--to-current", "--export")
        session.tool(GROUPS, "--describe", *group, "--offsets")
        session.tool(GROUPS, "--delete-offsets", *group, "--topic", f"{name}:0")
        session.tool(GROUPS, "--describe", *group)
        session.tool(GROUPS, "--delete", *group)
        session.tool(GROUPS, "--describe", *group)
        session.tool(GROUPS, "--delete", *group)
        session.tool(GROUPS, "--delete-offsets", *group, "--topic", name)

    assert_same(kafka_tool, broker, real_kafka, script)


def test_consumer_group_command_while_members_are_there(
    broker: Subject, real_kafka: Subject, kafka_tool: Tools, name: str
) -> None:
    def script(session: Session) -> None:
        create_topic(session.subject, name, 2)
        group = ("--group", name)
        members = Members("confluent", session.subject.bootstrap)
        try:
            member = members.join(name, [name], instance="static")
            settle([member], [(name, 0), (name, 1)], each=2)
            session.tool(GROUPS, "--describe", *group)
            session.tool(GROUPS, "--describe", *group, "--members", "--verbose")
            session.tool(GROUPS, "--describe", *group, "--state")
            session.tool(
                GROUPS, "--reset-offsets", *group, "--topic", name, "--to-latest", "--execute"
            )
            session.tool(GROUPS, "--delete-offsets", *group, "--topic", name)
            session.tool(GROUPS, "--delete", *group)
        finally:
            members.close()

    assert_same(kafka_tool, broker, real_kafka, script)


def test_what_is_advertised_is_as_kafka_advertises_it(
    broker: Subject, real_kafka: Subject, kafka_tool: Tools
) -> None:
    def advertised(subject: Subject) -> dict[str, str]:
        printed = kafka_tool.check(API_VERSIONS, "--bootstrap-server", subject.bootstrap)
        return dict(re.findall(r"^\s*(\w+\(\d+\)): (.*?),?$", printed, re.MULTILINE))

    ours, kafkas = advertised(broker), advertised(real_kafka)
    implemented = {api: text for api, text in ours.items() if text != "UNSUPPORTED"}
    assert implemented == {api: kafkas[api] for api in implemented}
    print(
        f"{len(implemented)} of {len(kafkas)} APIs; not yet: {sorted(set(kafkas) - set(implemented))}"
    )


def test_verifiable_producer_and_consumer_agree(broker: Subject, name: str) -> None:
    create_topic(broker, name, 3)
    server = ("--bootstrap-server", broker.bootstrap, "--topic", name)
    count = ("--max-messages", str(VERIFIED))
    printed = alone(VERIFIABLE_PRODUCER, *server, *count, "--acks", "-1")
    events = [json.loads(line) for line in printed.splitlines()]
    acknowledged = {
        (event["partition"], event["offset"], event["value"])
        for event in events
        if event["name"] == "producer_send_success"
    }
    printed = alone(VERIFIABLE_CONSUMER, *server, *count, "--group-id", name, "--verbose")
    consumed = [
        (event["partition"], event["offset"], event["value"])
        for event in map(json.loads, printed.splitlines())
        if event["name"] == "record_data"
    ]
    assert len(acknowledged) == VERIFIED
    assert len(consumed) == VERIFIED
    assert set(consumed) == acknowledged
