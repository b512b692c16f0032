"""Share groups (KIP-932) with Kafka's own consumers and tools."""

import json

import pytest
from tests.interop.clients import CLIENTS, Record
from tests.interop.conftest import create_topic
from tests.interop.sessions import CONFIGS
from tools.kafka import Tools, alone
from tools.subject import Subject

pytestmark = pytest.mark.java

CONSUMER = "org.apache.kafka.tools.consumer.ConsoleShareConsumer"
VERIFIABLE = "org.apache.kafka.tools.VerifiableShareConsumer"
GROUPS = "org.apache.kafka.tools.consumer.group.ShareGroupCommand"
RECORDS = 300


def prepare(subject: Subject, tool: Tools, name: str) -> tuple[str, ...]:
    """A topic with records, and a group of the same name that begins at the earliest."""
    create_topic(subject, name, 3)
    with CLIENTS["confluent"].sender(subject.bootstrap) as sender:
        for partition in range(3):
            records = [Record(b"k", str(n).encode()) for n in range(RECORDS // 3)]
            sender.send(name, records, partition)
    at = ("--bootstrap-server", subject.bootstrap)
    earliest = ("--add-config", "share.auto.offset.reset=earliest")
    entity = ("--entity-type", "groups", "--entity-name", name)
    changed = tool.run(CONFIGS, *at, "--alter", *entity, *earliest)
    assert "Completed" in changed.stdout, changed
    return at


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.split()[1:2] != ["TOPIC"] and line]


def test_records_are_consumed_once_and_offsets_are_told_moved_and_deleted(
    broker: Subject, kafka_tool: Tools, name: str
) -> None:
    at = prepare(broker, kafka_tool, name)
    consume = (CONSUMER, *at, "--topic", name, "--group", name)
    few = ("--max-messages", str(RECORDS), "--timeout-ms", "20000")
    consumed = kafka_tool.run(*consume, *few)
    assert len(consumed.stdout.split()) == RECORDS
    offsets = kafka_tool.run(GROUPS, *at, "--describe", "--group", name)
    found = {row[2]: (row[3], row[4]) for row in rows(offsets.stdout)}
    assert found == {str(n): ("100", "0") for n in range(3)}
    state = kafka_tool.run(GROUPS, *at, "--describe", "--group", name, "--state")
    assert "Empty" in state.stdout
    again = kafka_tool.run(
        *(GROUPS, *at, "--reset-offsets", "--group", name, "--topic", name),
        *("--to-earliest", "--execute"),
    )
    assert [row[3] for row in rows(again.stdout)] == ["0", "0", "0"]
    consumed = kafka_tool.run(*consume, *few)
    assert len(consumed.stdout.split()) == RECORDS
    gone = kafka_tool.run(GROUPS, *at, "--delete-offsets", "--group", name, "--topic", name)
    assert "Successful" in gone.stdout
    deleted = kafka_tool.run(GROUPS, *at, "--delete", "--group", name)
    assert "successful" in deleted.stdout
    assert name not in kafka_tool.run(GROUPS, *at, "--list").stdout.split()


def test_what_is_not_accepted_comes_again(broker: Subject, kafka_tool: Tools, name: str) -> None:
    at = prepare(broker, kafka_tool, name)
    consume = (CONSUMER, *at, "--topic", name, "--group", name, "--timeout-ms", "20000")
    released = kafka_tool.run(*consume, "--release", "--max-messages", str(RECORDS))
    rejected = kafka_tool.run(*consume, "--reject", "--max-messages", str(RECORDS))
    assert sorted(released.stdout.split()) == sorted(rejected.stdout.split())
    nothing = kafka_tool.run(*consume[:-1], "3000")
    assert not nothing.stdout.split()


def test_a_verifiable_consumer_acknowledges_every_record(
    broker: Subject, kafka_tool: Tools, name: str
) -> None:
    prepare(broker, kafka_tool, name)
    lines = alone(
        VERIFIABLE,
        *("--bootstrap-server", broker.bootstrap, "--topic", name, "--group-id", name),
        *("--max-messages", str(RECORDS), "--acknowledgement-mode", "sync"),
    ).splitlines()
    told = [json.loads(line) for line in lines if line.startswith("{")]
    acknowledged = [row for row in told if row["name"] == "offsets_acknowledged"]
    assert all(row["success"] for row in acknowledged)
    offsets = [
        (part["partition"], offset)
        for row in acknowledged
        for part in row["partitions"]
        for offset in part["offsets"]
    ]
    assert len(offsets) == len(set(offsets)) == RECORDS
