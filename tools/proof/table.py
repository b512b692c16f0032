"""Committed tables of long counts: one JSON line a run, and a page made of all of them."""

import datetime
import json
import subprocess
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
FOLDER = CHECKOUT / "docs" / "proof"


def commit() -> str:
    """The commit that runs, with a `+` when files differ from it: tables of runs do not count."""
    named = _git("rev-parse", "--short=10", "HEAD").strip()
    tables = (":!docs/proof", ":!docs/benchmarks.md", ":!benchmarks/results")
    changed = _git("status", "--porcelain", "--", ".", *tables)
    return f"{named}{'+' if changed else ''}" if named else "unknown"


def source() -> str:
    """The tree of `src` in that commit: the same one where no file of the product differs."""
    return _git("rev-parse", "--short=10", "HEAD:src").strip() or "unknown"


def _git(*arguments: str) -> str:
    said = subprocess.run(
        ["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    return said.stdout


def now() -> str:
    """The time of a run, in UTC, to the minute."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M")


def append(name: str, row: dict[str, Any]) -> Path:
    """Add a row to `docs/proof/NAME.jsonl` and render `NAME.md` anew; the page."""
    made_by = {"time": now(), "commit": commit(), "source": source()}
    FOLDER.mkdir(parents=True, exist_ok=True)
    data = FOLDER / f"{name}.jsonl"
    with data.open("a") as file:
        file.write(json.dumps({**made_by, **row}) + "\n")
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    page = FOLDER / f"{name}.md"
    page.write_text(rendered(name, rows))
    return page


def rendered(name: str, rows: list[dict[str, Any]]) -> str:
    """The page: a table with a column for every key, the raw lists left to the data."""
    columns = [key for key in rows[-1] if not isinstance(rows[-1][key], list | dict)]
    lines = [
        f"# {name}",
        "",
        f"Appended by `make proof`; every run is a line of `{name}.jsonl`.",
        "",
        "| " + " | ".join(column.replace("_", " ") for column in columns) + " |",
        "|" + "---|" * len(columns),
    ]
    for row in rows:
        lines.append("| " + " | ".join(str(row.get(column, "")) for column in columns) + " |")
    return "\n".join(lines) + "\n"
