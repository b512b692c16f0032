"""Where figures are kept: a line for each round of each case, never rewritten."""

import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.proof.table import commit, now

from benchmarks.measure import Figures

FOLDER = Path(__file__).parent / "results"
FILE = FOLDER / "rounds.jsonl"
ON = " on "
"""Between the name of a case and that of the disk it ran on, where that is not the machine's own."""


class Run:
    """One run of the program: everything it measures carries its time and commit."""

    def __init__(self, command: str) -> None:
        self._fixed = {
            "run": now(),
            "commit": commit(),
            "command": command,
            "machine": machine(),
        }

    def add(self, case: str, subject: str, number: int, figures: Figures) -> None:
        """Append one round; number 0 is the untimed one."""
        FOLDER.mkdir(exist_ok=True)
        rounded = {name: round(value, 6) for name, value in figures.items()}
        line = {**self._fixed, "case": case, "subject": subject, "round": number, **rounded}
        with FILE.open("a") as file:
            file.write(json.dumps(line) + "\n")


def rows() -> Iterator[dict[str, Any]]:
    """Every round ever kept, oldest first."""
    if FILE.exists():
        for line in FILE.read_text().splitlines():
            yield json.loads(line)


def machine() -> str:
    """Processor, cores, memory, kernel and interpreter."""
    cpu = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (
        f"{os.cpu_count()} cores of {cpu}, {memory:.0f} GiB, "
        f"Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"
    )
