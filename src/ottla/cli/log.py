"""`ottla log`: look inside log files, of a broker that runs or one that is gone; check and mend them."""

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import click

from ottla.cli import log_verify
from ottla.cli.connect import guarded
from ottla.cli.output import echo_bytes, echo_lines, table
from ottla.cli.record_json import record_json
from ottla.model.ids import TopicPartition
from ottla.record.records import Record
from ottla.storage import dump as files
from ottla.storage.disk import RealDisk
from ottla.storage.names import parse_partition_directory

MAX_WARNINGS = 20
"""Of one file or directory; the output has them all."""


@click.group()
def log() -> None:
    """Look inside log files, check and repair them."""


@log.command(
    epilog="""\b
Examples:
  ottla log dump ottla-data/rides-0                  one partition
  ottla log dump ottla-data/rides-0/*.index          some files
  ottla log dump ottla-data                          everything
  ottla log dump ottla-data/rides-0 -r | ottla produce restored

Kafka's own files look the same and can be read too, also while a broker uses
them. Status 1 means that something is damaged; what, is in the output and on
standard error.
"""
)
@click.argument(
    "paths", nargs=-1, required=True, metavar="FILE|DIR...", type=click.Path(exists=True)
)
@click.option("-r", "--records", is_flag=True, help="Print the records, as `ottla consume` does.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Tables, or JSON: one entry a line.",
)
def dump(paths: Sequence[str], records: bool, output: str) -> None:
    """Show batches, index entries, producers and epochs, and what is damaged."""

    def show() -> int:
        show_rows = _show_records if records else _show_json if output == "json" else _show_tables
        return sum(show_rows(path) for given in paths for path in _expand(given))

    problems = guarded(show)
    if problems:
        click.echo(f"ottla: {problems} entries are damaged", err=True)
        click.get_current_context().exit(1)


def _expand(path: str) -> list[str]:
    """A log directory stands for itself and its partitions' directories, in order."""
    if not os.path.isdir(path):
        return [path]
    partitions = sorted(
        (partition, name)
        for name in os.listdir(path)
        if (partition := parse_partition_directory(name)) is not None
        and os.path.isdir(os.path.join(path, name))
    )
    return [path, *(os.path.join(path, name) for _, name in partitions)]


def _rows(path: str, *, records: bool) -> Iterator[dict[str, Any]]:
    try:
        yield from files.dump_path(RealDisk(), path, records=records)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _warn(file: str, row: dict[str, Any], before: int) -> int:
    """Say what is wrong with a row, up to a limit; how many problems there are now."""
    problem = row.get("problem")
    if problem is None or before >= MAX_WARNINGS:
        return before + (problem is not None)
    place = next(
        (f"{name} {row[name]}: " for name in ("position", "base_offset", "offset") if name in row),
        "",
    )
    click.echo(f"ottla: {file}: {place}{problem}", err=True)
    return before + 1


def _show_json(path: str) -> int:
    problems = 0
    file = path
    for row in _rows(path, records=False):
        file = row.get("path", file)
        click.echo(json.dumps(files.json_of(row), ensure_ascii=False))
        problems = _warn(file, row, problems)
    return problems


def _show_tables(path: str) -> int:
    """One table for each kind of entry in each file."""
    problems = 0
    file = path
    kind: str | None = None
    rows: list[dict[str, Any]] = []
    for row in _rows(path, records=False):
        if row["kind"] != kind:
            _show_table(rows)
            kind, rows = row["kind"], []
        if kind == "file":
            file = row["path"]
            click.echo(f"{file}  ({row['size']} bytes)")
        elif kind == "unused":
            click.echo(f"{row['entries']} entries are allocated and not used yet\n")
        elif kind != "rest":
            rows.append({name: value for name, value in row.items() if name != "kind"})
        problems = _warn(file, row, problems)
    _show_table(rows)
    return problems


_SHORT = frozenset({"base_timestamp", "timestamp_type", "crc"})
"""Of a batch, what only JSON shows: the table is wide enough."""


def _show_table(rows: list[dict[str, Any]]) -> None:
    if rows:
        columns = {name: None for row in rows for name in row if name not in _SHORT}
        echo_lines(table(rows, list(columns)))
        click.echo()


def _show_records(path: str) -> int:
    """Every record but control records, a JSON object a line."""
    problems = 0
    file = path
    partition = TopicPartition("", -1)
    for row in _rows(path, records=True):
        if row["kind"] == "file":
            file = row["path"]
            parent = os.path.basename(os.path.dirname(os.path.abspath(file)))
            partition = parse_partition_directory(parent) or TopicPartition(parent, -1)
        elif row["kind"] == "record" and "control" not in row:
            headers = tuple((name, value) for name, value in row["headers"])
            record = Record(row["offset"], row["timestamp"], row["key"], row["value"], headers)
            echo_bytes(record_json(partition, record).encode() + b"\n")
        problems = _warn(file, row, problems)
    return problems


log.add_command(log_verify.verify)
log.add_command(log_verify.repair)
