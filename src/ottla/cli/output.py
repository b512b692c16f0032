"""How results look: a table for people, JSON for programs, bare names for pipes.

JSON keys are stable; a table's titles are the same keys in capitals with dashes.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
Row = Mapping[str, Any]

FORMATS = ("table", "json", "name")
GAP = "  "


def format_option(function: F) -> F:
    return click.option(
        "--format",
        "output",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="A table, JSON with stable keys, or only names.",
    )(function)


def title(key: str) -> str:
    """`log_end_offset` -> `LOG-END-OFFSET`."""
    return key.upper().replace("_", "-")


def cell(value: Any) -> str:
    """One value in a table: `-` for nothing, `1,2` for a list."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(cell(each) for each in value) or "-"
    return str(value)


def table(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """The lines of a table; a column of numbers is aligned to the right."""
    cells = [[cell(row.get(column)) for column in columns] for row in rows]
    titles = [title(column) for column in columns]
    widths = [
        max(len(text) for text in (heading, *(line[i] for line in cells)))
        for i, heading in enumerate(titles)
    ]
    right = [_is_numbers([row.get(column) for row in rows]) for column in columns]
    return [
        GAP.join(
            text.rjust(width) if flush else text.ljust(width)
            for text, width, flush in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in [titles, *cells]
    ]


def _is_numbers(values: Sequence[Any]) -> bool:
    present = [value for value in values if value is not None]
    return bool(present) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in present
    )


def block(values: Row) -> list[str]:
    """A header block: one aligned `KEY  value` per line."""
    width = max((len(title(key)) for key in values), default=0)
    return [f"{title(key).ljust(width)}{GAP}{cell(value)}" for key, value in values.items()]


def echo_lines(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def echo_bytes(data: bytes) -> None:
    """All of it, also where Python's standard output is unbuffered and writes what it can."""
    rest = memoryview(data)
    while rest:
        rest = rest[sys.stdout.buffer.write(rest) :]


def echo_json(value: Any) -> None:
    """Indented for a terminal, one line for a pipe."""
    indent = 2 if sys.stdout.isatty() else None
    click.echo(json.dumps(value, indent=indent, ensure_ascii=False))


def echo_rows(
    rows: Sequence[Row], columns: Sequence[str], output: str, *, name: str, empty: str
) -> None:
    """A list of things in the form asked for; `empty` is said (on stderr) when there are none."""
    if output == "json":
        echo_json(list(rows))
    elif output == "name":
        echo_lines(str(row[name]) for row in rows)
    elif rows:
        echo_lines(table(rows, columns))
    else:
        click.echo(empty, err=True)
