"""`python -m benchmarks`: by turns on the real Kafka and on Ottla. Nothing else may run meanwhile."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
from tools.kafka import RealKafka
from tools.subject import Ottla, free_port

from benchmarks import compare, java_tools
from benchmarks.cases import CASES, LONE, NEEDS, Lone
from benchmarks.measure import Contestant, Figures
from benchmarks.results import ON, Run

SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    # What a round wrote is gone before the next, so that all find the same memory for their pages.
    "log.segment.delete.delay.ms": "0",
    "log.initial.task.delay.ms": "0",
}

ATTEMPTS = 3


def contestants(
    folder: Path, only: str | None, settings: Mapping[str, str] = SETTINGS
) -> dict[str, Contestant]:
    """The two, not started, each with a folder of its own."""
    both: dict[str, Contestant] = {}
    if only != "ottla":
        both["kafka"] = RealKafka(home=folder / "kafka", extra=dict(settings))
    if only != "kafka":
        (folder / "ottla").mkdir(parents=True)
        data = folder / "ottla" / "data"
        both["ottla"] = Ottla(data, port=free_port(), settings=dict(settings))
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

    def keep(self, case: str, subject: Contestant, number: int, figures: Figures) -> None:
        """One round."""
        if self._disk is not None:
            case = f"{case}{ON}{self._disk}"
        self._run.add(case, subject.name, number, figures)
        shown = ", ".join(f"{name} {value:,.4g}" for name, value in figures.items())
        untimed = " (untimed)" if number < 1 else ""
        self.say(f"{case} round {number}{untimed}, {subject.name}: {shown}")


def by_turns(name: str, rounds: int, only: str | None, report: Report) -> None:
    """Run a case on a fresh pair of brokers that stay up; who goes first changes each round."""
    needed = NEEDS.get(name)
    cases = (needed, name) if needed else (name,)
    untimed = CASES[name].untimed
    with scratch() as folder:
        pair = contestants(folder, only)
        try:
            for subject in pair.values():
                subject.start()
            for number in range(1 - untimed, rounds + 1):
                order = list(pair.values())
                for subject in order if number % 2 else reversed(order):
                    a_round(cases, subject, number, report)
        finally:
            java_tools.TOOLS.close()
            for subject in pair.values():
                subject.kill9()


def a_round(cases: tuple[str, ...], subject: Contestant, number: int, report: Report) -> None:
    """One round of one case, and of what it needs; a round that fails is said and repeated.

    An idempotent producer of a busy broker may lose a batch to its delivery timeout; such a round
    says nothing about speed. Three failures in a row are a failure.
    """
    for attempt in range(ATTEMPTS):
        try:
            for case in cases:
                os.sync()
                figures = CASES[case].run(subject, number + attempt * 1000)
                report.keep(case, subject, number, figures)
            return
        except RuntimeError as problem:
            last = str(problem).strip().splitlines()[-1:]
            report.say(f"{cases[-1]} round {number}, {subject.name}: failed, {last}")
    raise RuntimeError(f"{cases[-1]} failed {ATTEMPTS} times on {subject.name}")


def alone(name: str, lone: Lone, rounds: int, only: str | None, report: Report) -> None:
    """Run a measurement on a fresh process each time."""
    for number in range(1, (lone.rounds or rounds) + 1):
        for which in ("kafka", "ottla"):
            if only not in (None, which):
                continue
            with scratch() as folder:
                subject = contestants(folder, which, {**SETTINGS, **lone.settings})[which]
                try:
                    if lone.running:
                        subject.start()
                    report.keep(name, subject, number, lone.run(subject))
                finally:
                    subject.kill9()


@click.command(
    help=f"Measure NAMES (all by default): {', '.join([*CASES, *LONE])}. "
    "Rounds are appended to benchmarks/results and docs/benchmarks.md is made anew."
)
@click.argument("names", nargs=-1, type=click.Choice([*CASES, *LONE]))
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
            by_turns(name, rounds, only, report)
    for name, lone in LONE.items():
        if not names or name in names:
            alone(name, lone, rounds, only, report)
    report.say(f"wrote {compare.write()}")


if __name__ == "__main__":
    main()
