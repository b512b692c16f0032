"""Streams groups (KIP-1071) with Kafka's own tools. Kafka Streams itself: `test_streams_apps`."""

import asyncio
from typing import Any

import pytest
from tests.interop.conftest import create_topic
from tests.interop.group_goldens import Sockets
from tests.interop.sessions import CONFIGS, Session, Step, assert_same
from tests.interop.test_java_tools import await_partitions, fill
from tests.support.raw_client import RawClient
from tests.support.versions.ask_streams import beating, having, joining, subtopology, topology
from tests.support.versions.build import build
from tests.support.versions.talk import NOT_READY
from tools.kafka import Tools
from tools.subject import Subject, until

from ottla.wire.apis import request_class

pytestmark = pytest.mark.java

STREAMS_GROUPS = "org.apache.kafka.tools.streams.StreamsGroupCommand"
ALL_GROUPS = "org.apache.kafka.tools.GroupsCommand"
HEARTBEAT, COMMIT, FIND_COORDINATOR, DELETE_GROUPS = 88, 8, 10, 42
MISSING = frozenset({1, 3})  # a status: source topics, internal topics


def ask(subject: Subject, *requests: tuple[int, int, dict[str, Any]]) -> list[Any]:
    """Send requests, (API key, version, fields), and return what they were answered."""

    async def asked() -> list[Any]:
        client = await RawClient.connect(Sockets(), "127.0.0.1", subject.port)  # type: ignore[arg-type]
        answers = [
            await client.call(build(request_class(key), version, fields), version)
            for key, version, fields in requests
        ]
        client.close()
        return answers

    return asyncio.run(asked())


def began(subject: Subject, group: str) -> None:
    """A group whose one member A has both tasks, and has committed some offsets of its source."""
    changelog = f"{group}-store-changelog"
    create_topic(subject, changelog, 2)
    shape = topology(subtopology(group, state_changelog_topics=[{"name": changelog}]))

    def joined() -> bool:
        """The group anew until its coordinator has heard of both topics, which takes Kafka a while.

        It would hear of them later otherwise, and the group be of a later epoch.
        """
        _, answer = ask(
            subject,
            (FIND_COORDINATOR, 4, {"coordinator_keys": [group]}),
            (HEARTBEAT, 0, joining(group, "A", shape, rack_id="r")),
        )
        assert answer.error_code in (0, *NOT_READY), answer
        if answer.error_code:
            return False
        if MISSING.isdisjoint(status.status_code for status in answer.status or ()):
            return True
        ask(
            subject,
            (HEARTBEAT, 0, beating(group, "A", -1)),
            (DELETE_GROUPS, 2, {"groups_names": [group]}),
        )
        return False

    until("A has joined", joined)
    rows = [
        {"partition_index": number, "committed_offset": 3 + number, "committed_metadata": ""}
        for number in range(2)
    ]
    at = {"group_id": group, "member_id": "A", "generation_id_or_member_epoch": 2}
    commit = {**at, "topics": [{"name": group, "partitions": rows}]}

    def committed() -> bool:
        """Once it knows that both tasks are owned and, in Kafka, has heard of the topic."""
        _, answer = ask(
            subject,
            (HEARTBEAT, 0, beating(group, "A", 2, **having(0, 1))),
            (COMMIT, 9, commit),
        )
        return not any(row.error_code for topic in answer.topics for row in topic.partitions)

    until("the offsets are committed", committed)


def listing(session: Session, tools: Tools, name: str, tool: str, *arguments: str) -> None:
    """Keep only the lines about this group: others may be there, too."""
    result = tools.run(tool, "--bootstrap-server", session.subject.bootstrap, *arguments)
    lines = [line for line in session.normalised(result.stdout) if name in line]
    session.steps.append(Step(f"{tool} {arguments}", result.status, lines))


def test_kafkas_tools_say_the_same_of_a_streams_group(
    broker: Subject, real_kafka: Subject, kafka_tool: Tools, name: str
) -> None:
    """Described while it lives; reset, stripped of offsets and deleted when it does not."""
    group = ("--group", name)

    def script(session: Session) -> None:
        subject = session.subject
        create_topic(subject, name, 2)
        fill(subject, name, 2, 5)
        entity = ("--entity-type", "groups", "--entity-name", name)
        patient = ("--add-config", "streams.session.timeout.ms=60000")
        session.tool(CONFIGS, "--alter", *entity, *patient)
        began(subject, name)
        for tool, *arguments in (
            (STREAMS_GROUPS, "--list"),
            (STREAMS_GROUPS, "--list", "--state"),
            (STREAMS_GROUPS, "--list", "--state", "Stable"),
            (ALL_GROUPS, "--list"),
            (ALL_GROUPS, "--list", "--streams"),
            (ALL_GROUPS, "--list", "--consumer"),
            (ALL_GROUPS, "--list", "--protocol", "streams"),
        ):
            listing(session, kafka_tool, name, tool, *arguments)
        for arguments in (
            (),
            ("--verbose",),
            ("--offsets", "--verbose"),
            ("--members",),
            ("--members", "--verbose"),
            ("--state",),
            ("--state", "--verbose"),
        ):
            session.tool(STREAMS_GROUPS, "--describe", *group, *arguments)
        session.tool(STREAMS_GROUPS, "--delete", *group)
        session.tool(STREAMS_GROUPS, "--delete-offsets", *group, "--input-topic", name)
        ask(subject, (HEARTBEAT, 0, beating(name, "A", -1)))
        session.tool(STREAMS_GROUPS, "--describe", *group, "--state")
        reset = ("--reset-offsets", *group, "--to-earliest")
        session.tool(STREAMS_GROUPS, *reset, "--all-input-topics", "--dry-run")
        session.tool(STREAMS_GROUPS, *reset, "--input-topic", f"{name}:1", "--execute")
        session.tool(STREAMS_GROUPS, "--describe", *group)
        session.tool(STREAMS_GROUPS, "--delete-offsets", *group, "--input-topic", name)
        session.tool(STREAMS_GROUPS, "--delete", *group, "--delete-all-internal-topics")
        await_partitions(subject, f"{name}-store-changelog", 0)
        listing(session, kafka_tool, name, STREAMS_GROUPS, "--list")
        session.tool(STREAMS_GROUPS, "--describe", *group)

    assert_same(kafka_tool, broker, real_kafka, script)
