"""`python -m benchmarks.compare`: the newest run of each case as docs/benchmarks.md."""

import statistics
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES, LONE, LONE_TOGETHER, TOGETHER, Target
from benchmarks.results import ON, rows

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"

HEAD = """\
# Benchmarks

Made by `python -m benchmarks.compare` from `benchmarks/results/rounds.jsonl`, which keeps every
round. Each case has a broker of each kind started for it; they take turns, one untimed round first
(a JVM gets faster for many rounds, so two cases come again after ten); figures are medians of the
timed rounds of a case's newest run, listed below; a + behind a commit stands for rounds that were
not committed yet. CPU is user and system time of the broker's process, or of three brokers
together and, for Ottla, their etcd, as is their memory. EndToEndLatency tells
percentiles in whole milliseconds: its p99 is below what it can tell.

| | work | figure | Kafka | Ottla | ratio | target | |
|---|---|---|---|---|---|---|---|
"""

#: Figures worth a line even without a target.
ALSO_SHOWN = (
    "records_per_s",
    "cpu_us_per_record",
    "transactions_per_s",
    "cpu_us_per_transaction",
    "heartbeats_per_s",
    "topics_per_s",
    "seconds",
    "p50_ms",
    "sync_ms",
)


def newest(case: str) -> dict[str, list[dict[str, Any]]]:
    """Timed rounds of the newest run of a case, by subject (`Ottla`, `Kafka`)."""
    found = [row for row in rows() if row["case"] == case and row["round"] > 0]
    if not found:
        return {}
    run = found[-1]["run"]
    chosen: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        if row["run"] == run:
            chosen.setdefault(row["subject"].partition(" ")[0], []).append(row)
    return chosen


def disks(case: str) -> list[str]:
    """The other disks a case was measured on."""
    return sorted(
        {row["case"].partition(ON)[2] for row in rows() if row["case"].startswith(case + ON)}
    )


def median(measured: list[dict[str, Any]], figure: str) -> float | None:
    """The median of a figure over rounds, None if it is not in them."""
    values = [row[figure] for row in measured if figure in row]
    return statistics.median(values) if values else None


def lines(letter: str, title: str, case: str, targets: tuple[Target, ...]) -> list[str]:
    """A table line for each figure of a case."""
    measured = newest(case)
    kafka, ottla = measured.get("Kafka", []), measured.get("Ottla", [])
    wanted = {target.figure: target for target in targets}
    figures = [*wanted, *(name for name in ALSO_SHOWN if name not in wanted)]
    made = []
    for figure in figures:
        theirs, ours = median(kafka, figure), median(ottla, figure)
        if theirs is None and ours is None:
            continue
        target = wanted.get(figure)
        met = target.met(ours, theirs) if target and ours is not None else None
        made.append(
            f"| {letter} | {title} | {figure.replace('_', ' ')} | {_shown(theirs)} | "
            f"{_shown(ours)} | {f'{ours / theirs:.2f}' if ours and theirs else ''} | "
            f"{target.text() if target else ''} | "
            f"{'' if met is None else 'met' if met else '**missed**'} |"
        )
        letter = title = ""
    return made


def page() -> str:
    """The whole page."""
    table: list[str] = []
    for name, case in CASES.items():
        table += lines(f"({case.letter})", case.title, name, case.targets)
        for disk in disks(name):
            title = f"{case.title}{ON}{disk}"
            table += lines(f"({case.letter})", title, f"{name}{ON}{disk}", case.targets)
    for name, lone in LONE.items():
        table += lines("", lone.title, name, lone.targets)
    for name, together in TOGETHER.items():
        table += lines(f"({together.letter})", together.title, name, together.targets)
    for name, many in LONE_TOGETHER.items():
        table += lines("(m)", many.title, name, many.targets)
    return HEAD + "\n".join([*table, "", *sources(), ""])


def sources() -> list[str]:
    """A line for each run that some case has its figures from, the oldest first."""
    cases_of: dict[tuple[str, str, str], list[str]] = {}
    for case in [
        *CASES,
        *(f"{name}{ON}{disk}" for name in CASES for disk in disks(name)),
        *LONE,
        *TOGETHER,
        *LONE_TOGETHER,
    ]:
        for measured in newest(case).values():
            row = measured[0]
            cases = cases_of.setdefault((row["run"], row["commit"], row["machine"]), [])
            if case not in cases:
                cases.append(case)
    return [
        f"- {run}, commit {commit}, {machine}: {', '.join(cases)}"
        for (run, commit, machine), cases in sorted(cases_of.items())
    ]


def write() -> Path:
    """Render the page anew; where it is."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
    return PAGE


def _shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    print(write())
