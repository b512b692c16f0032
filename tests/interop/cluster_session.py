"""Kafka's tools against three brokers as one subject, and what they print made comparable."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.interop.sessions import Session, Step
from tools.kafka import Tools
from tools.subject import until
from tools.subject.process import Process


class Nodes:
    """Three brokers as one subject."""

    name = "Ottla"

    def __init__(self, brokers: Mapping[int, Process]) -> None:
        self.brokers = brokers
        self.data = Path("/nothing/is/there")

    @property
    def bootstrap(self) -> str:
        """Every broker that runs."""
        return ",".join(each.bootstrap for each in self.brokers.values() if each.running())

    def folder(self, broker: int, name: str) -> str:
        """A log directory's path."""
        return str(self.brokers[broker].data.parent / name)


class ClusterSession(Session):
    """Calls of tools against three brokers."""

    def __init__(self, tools: Tools, nodes: Nodes, folder: Path) -> None:
        super().__init__(tools, nodes)  # type: ignore[arg-type]
        self.nodes = nodes
        self._folder = folder
        self._files = 0

    def file(self, content: Mapping[str, Any] | str) -> str:
        """Write a file for a tool, and return its path."""
        self._files += 1
        path = self._folder / f"file{self._files}.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    def tool(
        self, name: str, *arguments: str, stdin: str = "", masks: Sequence[tuple[str, str]] = ()
    ) -> str:
        """Run a tool and keep what it prints, problems too; returns its stdout as it was."""
        at = ("--bootstrap-server", self.nodes.bootstrap)
        return self._run(name, (*at, *arguments), arguments, masks, stdin)

    def command(
        self, name: str, command: str, *arguments: str, masks: Sequence[tuple[str, str]] = ()
    ) -> str:
        """Run a tool whose subcommand stands before the address of the brokers."""
        at = ("--bootstrap-server", self.nodes.bootstrap)
        return self._run(name, (command, *at, *arguments), (command, *arguments), masks)

    def _run(
        self,
        name: str,
        arguments: Sequence[str],
        shown: Sequence[str],
        masks: Sequence[tuple[str, str]],
        stdin: str = "",
    ) -> str:
        result = self._tools.run(name, *arguments, stdin=stdin)
        asked = self._named(f"{name.rpartition('.')[2]} {' '.join(shown)}")
        printed = self.normalised(f"{result.stdout}\n{result.stderr}", masks)
        self.steps.append(Step(asked, result.status, printed))
        return result.stdout

    def until(self, says: str, name: str, *arguments: str) -> None:
        """Run a tool until it prints what fits an expression; the last answer is kept."""

        def said() -> bool:
            self.tool(name, *arguments)
            if re.search(says, "\n".join(self.steps[-1].printed), re.DOTALL):
                return True
            self.steps.pop()
            return False

        until(says, said, 30, every=0.1)

    def normalised(self, text: str, masks: Sequence[tuple[str, str]] = ()) -> list[str]:
        text = STACK.sub("", self._named(text))
        text = re.sub(r"(Isr:|Configs:|for partitions) ([^\t\n]+)", _in_order, text)
        text = re.sub(r'"log_dirs":\[[^]]+]', '"log_dirs":[...]', text)
        lines = super().normalised(text, (LAST_LEADER, *masks))
        return [
            _without_places(line) if line.startswith(DIRECTORIES_OF) else line for line in lines
        ]

    def _named(self, text: str) -> str:
        text = text.replace(self.nodes.bootstrap, "ALL")
        for number, broker in self.nodes.brokers.items():
            text = text.replace(str(broker.data.parent), f"NODE{number}")
            text = text.replace(f"localhost:{broker.port}", f"BROKER{number}")
            text = text.replace(broker.bootstrap, f"BROKER{number}")
            text = re.sub(rf"(127\.0\.0\.1\s+){broker.port}", rf"\1PORT{number}", text)
        return text.replace(str(self._folder), "FOLDER")


LAST_LEADER = (r"LastKnownElr: \d+", "LastKnownElr:")
"""Kafka names who led last wherever nobody leads, Ottla where nobody is eligible either."""

OF_THE_WHOLE_CLUSTER = "min.insync.replicas=1"
"""What a new Kafka with eligible leader replicas sets for every topic."""

STACK = re.compile(r"^\s*(at \S+\(.*\)|\.\.\. \d+ more)$", re.MULTILINE)
DIRECTORIES_OF = '{"brokers":'


def _in_order(found: re.Match[str]) -> str:
    """A list that says the same in any order, without what is of one of the two clusters alone."""
    items = sorted(item.strip() for item in found[2].split(","))
    return f"{found[1]} {','.join(item for item in items if item != OF_THE_WHOLE_CLUSTER)}"


def _without_places(line: str) -> str:
    """What LogDirsCommand prints, without sizes, and without which directory has which log."""
    rows = []
    for broker in sorted(json.loads(line)["brokers"], key=lambda each: int(each["broker"])):
        directories = sorted(f"{each['logDir']} {each['error']}" for each in broker["logDirs"])
        logs = [log for directory in broker["logDirs"] for log in directory["partitions"]]
        held = sorted(f"{log['partition']} {log['offsetLag']} {log['isFuture']}" for log in logs)
        rows.append(f"{broker['broker']}: {directories} {held}")
    return "; ".join(rows)


def written(steps: Sequence[Step]) -> str:
    """A conversation as a text."""
    return "\n".join(
        "\n".join([f"$ {step.asked.strip()}", f"status {step.status}", *step.printed, ""])
        for step in steps
    )
