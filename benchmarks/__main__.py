"""`python -m benchmarks`: by turns on the real Kafka and on Ottla. Nothing else may run meanwhile."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
from tools.kafka import RealKafka
from tools.subject import Ottla, free_port

from benchmarks import clusters, compare, java_tools
from benchmarks.cases import CASES, LONE, LONE_TOGETHER, NEEDS, TOGETHER, Case, Lone
from benchmarks.clusters import Together
from benchmarks.measure import Contestant, Figures
from benchmarks.results import ON, Run

Subject = TypeVar("Subject", Contestant, Together)
Made = Callable[[Path, str | None, Mapping[str, str]], dict[str, Subject]]

SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    # What a round wrote is gone before the next, so that all find the same memory for their pages.
    "log.segment.delete.delay.ms": "0",
    "log.initial.task.delay.ms": "0",
}

ATTEMPTS = 3


def contestants(
    folder: Path, only: str | None, settings: Mapping[str, str]
) -> dict[str, Contestant]:
    """One broker of each kind, not started, each with a folder of its own."""
    both: dict[str, Contestant] = {}
    if only != "ottla":
        both["kafka"] = RealKafka(home=folder / "kafka", extra=dict(settings))
    if only != "kafka":
        (folder / "ottla").mkdir(parents=True)
        data = folder / "ottla" / "data"
        both["ottla"] = Ottla(data, port=free_port(), settings=dict(settings))
    return both


def three_of_each(
    folder: Path, only: str | None, settings: Mapping[str, str]
) -> dict[str, Together]:
    """Three brokers of each kind, not started."""
    both: dict[str, Together] = {}
    if only != "ottla":
        both["kafka"] = clusters.kafka(folder / "kafka", settings)
    if only != "kafka":
        both["ottla"] = clusters.ottla(folder / "ottla", settings)
    return both


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="benchmarks-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Report:
    """Says each round as it ends, with the time since the beginning, and keeps it."""

    def __init__(self, run: Run, disk: str | None) -> None:
        self._run = run
        self._disk = disk
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """One line of progress."""
        click.echo(f"[{time.monotonic() - self._began:6.0f} s] {text}")

    def keep(
        self, case: str, subject: Contestant | Together, number: int, figures: Figures
    ) -> None:
        """One round."""
        if self._disk is not None:
            case = f"{case}{ON}{self._disk}"
        self._run.add(case, subject.name, number, figures)
        shown = ", ".join(f"{name} {value:,.4g}" for name, value in figures.items())
        untimed = " (untimed)" if number < 1 else ""
        self.say(f"{case} round {number}{untimed}, {subject.name}: {shown}")


def by_turns(
    cases: Mapping[str, Case[Subject]],
    make: Made[Subject],
    rounds: int,
    only: str | None,
    report: Report,
) -> None:
    """Run cases on fresh contestants that stay up; who goes first changes each round.

    The last of `cases` is the one that was asked for, the others are what it needs.
    """
    *_, last = cases.values()
    with scratch() as folder:
        pair = make(folder, only, SETTINGS)
        try:
            for subject in pair.values():
                subject.start()
            for number in range(1 - last.untimed, rounds + 1):
                order = list(pair.values())
                for subject in order if number % 2 else reversed(order):
                    a_round(cases, subject, number, report)
        finally:
            java_tools.TOOLS.close()
            for subject in pair.values():
                subject.kill9()


def a_round(
    cases: Mapping[str, Case[Subject]], subject: Subject, number: int, report: Report
) -> None:
    """One round of one case, and of what it needs; a round that fails is said and repeated.

    An idempotent producer of a busy broker may lose a batch to its delivery timeout; such a round
    says nothing about speed. Three failures in a row are a failure.
    """
    *_, name = cases
    for attempt in range(ATTEMPTS):
        try:
            for each, case in cases.items():
                os.sync()
                figures = case.run(subject, number + attempt * 1000)
                report.keep(each, subject, number, figures)
            return
        except RuntimeError as problem:
            last = str(problem).strip().splitlines()[-1:]
            report.say(f"{name} round {number}, {subject.name}: failed, {last}")
    raise RuntimeError(f"{name} failed {ATTEMPTS} times on {subject.name}")


def alone(
    name: str,
    lone: Lone[Subject],
    make: Made[Subject],
    rounds: int,
    only: str | None,
    report: Report,
) -> None:
    """Run a measurement on fresh processes each time."""
    for number in range(1, (lone.rounds or rounds) + 1):
        for which in ("kafka", "ottla"):
            if only not in (None, which):
                continue
            with scratch() as folder:
                subject = make(folder, which, {**SETTINGS, **lone.settings})[which]
                try:
                    if lone.running:
                        subject.start()
                    report.keep(name, subject, number, lone.run(subject))
                finally:
                    subject.kill9()


NAMES = [*CASES, *LONE, *TOGETHER, *LONE_TOGETHER]


@click.command(
    help=f"Measure NAMES (all by default): {', '.join(NAMES)}. "
    "Rounds are appended to benchmarks/results and docs/benchmarks.md is made anew."
)
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option("--rounds", default=3, show_default=True, help="Timed rounds, after the untimed.")
@click.option(
    "--disk",
    help="Say what TMPDIR is on, where it is not the machine's own disk: its figures get lines of "
    "their own.",
)
@click.option("--only", type=click.Choice(["ottla", "kafka"]), help="Measure one side alone.")
def main(names: tuple[str, ...], rounds: int, only: str | None, disk: str | None) -> None:
    """Run what was asked for, in the order of the tables."""
    report = Report(Run(" ".join(["python -m benchmarks", *sys.argv[1:]])), disk)
    chosen = [name for name in CASES if not names or name in names]
    chosen += [need for need in NEEDS.values() if need in names and need not in chosen]
    for needer, need in NEEDS.items():
        # What a case needs runs with it; asked for alone it runs as part of that case too.
        if need in chosen and needer not in chosen:
            chosen.append(needer)
    for name in CASES:
        if name in chosen and name not in NEEDS.values():
            asked = (NEEDS[name], name) if name in NEEDS else (name,)
            by_turns({each: CASES[each] for each in asked}, contestants, rounds, only, report)
    for name, lone in LONE.items():
        if not names or name in names:
            alone(name, lone, contestants, rounds, only, report)
    for name, case in TOGETHER.items():
        if not names or name in names:
            by_turns({name: case}, three_of_each, rounds, only, report)
    for name, many in LONE_TOGETHER.items():
        if not names or name in names:
            alone(name, many, three_of_each, rounds, only, report)
    report.say(f"wrote {compare.write()}")


if __name__ == "__main__":
    main()
