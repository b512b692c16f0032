"""The same commands against two brokers, and what they print made comparable.

A `Session` runs Kafka's own tools against one broker and keeps status and
normalised output of each. What must differ (addresses, ids, times, folders) is
replaced by a word; everything else has to be equal.
"""

import difflib
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
from tools.kafka import Tools
from tools.subject import Subject

TOPICS = "org.apache.kafka.tools.TopicCommand"
CONFIGS = "kafka.admin.ConfigCommand"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
OFFSETS = "org.apache.kafka.tools.GetOffsetShell"
DELETE_RECORDS = "org.apache.kafka.tools.DeleteRecordsCommand"
LOG_DIRS = "org.apache.kafka.tools.LogDirsCommand"
API_VERSIONS = "org.apache.kafka.tools.BrokerApiVersionsCommand"
CONSOLE_PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
CONSOLE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
VERIFIABLE_PRODUCER = "org.apache.kafka.tools.VerifiableProducer"
VERIFIABLE_CONSUMER = "org.apache.kafka.tools.VerifiableConsumer"


class Step(NamedTuple):
    """One call of a tool: what was asked, and what came of it."""

    asked: str
    status: int
    printed: list[str]


class Session:
    """Calls of tools against one broker."""

    def __init__(self, tools: Tools, subject: Subject) -> None:
        self.subject = subject
        self.steps: list[Step] = []
        self._tools = tools

    def tool(
        self, name: str, *arguments: str, stdin: str = "", masks: Sequence[tuple[str, str]] = ()
    ) -> str:
        """Run a tool and keep what it prints; returns its stdout as it was.

        `masks` are patterns, and the words for what must differ besides.
        """
        result = self._tools.run(
            name, "--bootstrap-server", self.subject.bootstrap, *arguments, stdin=stdin
        )
        asked = f"{name.rpartition('.')[2]} {' '.join(arguments)}"
        self.steps.append(Step(asked, result.status, self.normalised(result.stdout, masks)))
        return result.stdout

    def normalised(self, text: str, masks: Sequence[tuple[str, str]] = ()) -> list[str]:
        """Its lines, sorted, without what must differ between two brokers."""
        text = text.replace(str(self.subject.data), "DATA")
        text = text.replace(self.subject.bootstrap, "HOST:PORT")
        for pattern, word in (
            (r"TopicId: [\w-]{22}", "TopicId: ID"),
            (r"[\w.-]*-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "MEMBER"),
            (r"/127\.0\.0\.1|/\[?::1\]?", "/LOOPBACK"),
            (r"[ \t]+", " "),
            *masks,
        ):
            text = re.sub(pattern, word, text)
        return sorted(line.strip() for line in text.splitlines() if line.strip())


def assert_same(
    tools: Tools, ours: Subject, theirs: Subject, script: Callable[[Session], None]
) -> None:
    """Run `script` against both brokers; every step must print the same, or all are shown."""
    sessions = [Session(tools, ours), Session(tools, theirs)]
    for session in sessions:
        script(session)
    different = [
        f"{mine.asked}\n  status {mine.status}, of Kafka {kafkas.status}\n"
        + "\n".join(difflib.unified_diff(kafkas.printed, mine.printed, "Kafka", ours.name, n=0))
        for mine, kafkas in zip(sessions[0].steps, sessions[1].steps, strict=True)
        if mine != kafkas
    ]
    if different:
        pytest.fail("\n\n".join(different), pytrace=False)
