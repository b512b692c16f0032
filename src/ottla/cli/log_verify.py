"""`ottla log verify` and `ottla log repair`."""

import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click

from ottla.cli.connect import Failure, guarded
from ottla.storage import offline
from ottla.storage.disk import Disk, RealDisk
from ottla.storage.offline import InUseError, Target
from ottla.storage.repair import Action
from ottla.storage.verify import Finding

_PATHS = click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="DIR...",
    type=click.Path(exists=True, file_okay=False),
)


@click.command(
    epilog="""\b
Examples:
  ottla log verify ottla-data             a whole log directory
  ottla log verify ottla-data/rides-0     one partition
  ottla log verify /var/lib/kafka/data    Kafka's

Nothing is changed. Status 1 means that something is wrong: a line each, with
file and position. A directory that a broker has open is refused.
"""
)
@_PATHS
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="A line, or a JSON object, for each finding.",
)
def verify(paths: Sequence[str], output: str) -> None:
    """Check every batch, and every other file against the batches."""

    def check() -> int:
        disk = RealDisk()
        count = size = partitions = 0

        def found(finding: Finding) -> None:
            nonlocal count
            count += 1
            click.echo(_json(finding) if output == "json" else str(finding))

        for target in _targets(disk, paths):
            with _locked(disk, target), _progress(disk, target, "Verifying") as progress:
                offline.verify_target(disk, target, found, progress)
            size += offline.size_of(disk, target)
            partitions += len(target.partitions)
        verdict = f"{count} findings" if count else "nothing is wrong"
        click.echo(f"{verdict} in {size} bytes of {partitions} partitions", err=True)
        return count

    if guarded(check):
        click.get_current_context().exit(1)


@click.command(
    epilog="""\b
Examples:
  ottla log repair --dry-run ottla-data   what would be done, and lost
  ottla log repair ottla-data

Everything that the batches say is restored: indexes, producers, epochs, damaged
batch headers. A log whose batch is damaged under its checksum is cut there; what
is cut off is kept beside it, in a directory whose name ends with -stray. Status
1: something is wrong still, or, with --dry-run, there is something to do.
"""
)
@_PATHS
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def repair(paths: Sequence[str], dry_run: bool) -> None:
    """Put right what `verify` finds, saying first what is lost by it."""

    def mend() -> int:
        disk = RealDisk()
        steps = 0
        left: list[Finding] = []

        def do(action: Action) -> bool:
            nonlocal steps
            steps += 1
            click.echo(str(action))
            if action.run is None or dry_run:
                return False
            action.run()
            return True

        for target in _targets(disk, paths):
            with _locked(disk, target), _progress(disk, target, "Verifying") as progress:
                left += offline.repair_target(disk, target, do, lambda: uuid.uuid4().hex, progress)
        if dry_run:
            click.echo(f"{steps} steps would be taken" if steps else "nothing to repair", err=True)
            return steps
        for finding in left:
            click.echo(f"still wrong: {finding}", err=True)
        return len(left)

    if guarded(mend):
        click.get_current_context().exit(1)


def _targets(disk: Disk, paths: Sequence[str]) -> list[Target]:
    try:
        return [offline.target_of(disk, os.path.abspath(path)) for path in paths]
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@contextmanager
def _locked(disk: Disk, target: Target) -> Iterator[None]:
    try:
        with offline.locked(disk, target):
            yield
    except InUseError as error:
        raise Failure(str(error)) from None


@contextmanager
def _progress(disk: Disk, target: Target, label: str) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where somebody looks at it."""
    size = offline.size_of(disk, target)
    if not size or not sys.stderr.isatty():
        yield lambda more: None
        return
    with click.progressbar(length=size, label=label, file=sys.stderr) as bar:
        yield bar.update


def _json(finding: Finding) -> str:
    return json.dumps(
        {
            "kind": finding.kind.value,
            "path": finding.path,
            "position": finding.position,
            "problem": finding.problem,
        }
    )
