"""`ottla feature`: list, upgrade, downgrade."""

from typing import Any

import click

from ottla.cli.connect import Failure, brokers_option, run
from ottla.cli.output import echo_rows, format_option
from ottla.client.cluster_view import ClusterView
from ottla.client.features import Feature, Kind, features, update_features

COLUMNS = ("feature", "level", "lowest", "highest")
CHANGE_COLUMNS = ("feature", "before", "level")

dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Let the controller check it, and change nothing."
)


class Level(click.ParamType[tuple[str, int]]):
    """`NAME=LEVEL`."""

    name = "NAME=LEVEL"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, int]:
        name, _, level = str(value).partition("=")
        if not name or not level.isdigit():
            self.fail(f"{value!r} is not NAME=LEVEL, as in ottla.version=1", param, ctx)
        return name, int(level)


@click.group()
def feature() -> None:
    """Show, raise and lower what brokers may write for each other to read."""


@feature.command("list")
@brokers_option
@format_option
def list_features(brokers: str, output: str) -> None:
    """Show each feature's finalized level, and the levels that every broker alive supports."""

    async def action(view: ClusterView) -> list[dict[str, Any]]:
        return [_row(each) for each in await features(view)]

    rows = run(brokers, action)
    echo_rows(rows, COLUMNS, output, name="feature", empty="There are no features.")


def _row(each: Feature) -> dict[str, Any]:
    """Without levels where two brokers have none in common."""
    lowest, highest = (each.low, each.high) if each.low <= each.high else (None, None)
    return {"feature": each.name, "level": each.level, "lowest": lowest, "highest": highest}


@feature.command()
@click.argument("levels", nargs=-1, type=Level())
@dry_run_option
@brokers_option
@format_option
def upgrade(levels: tuple[tuple[str, int], ...], dry_run: bool, brokers: str, output: str) -> None:
    """Raise levels: those given, or all to the highest that every broker alive supports.

    Brokers of an older build cannot be started any more after that.
    """
    _change(dict(levels), Kind.UPGRADE, brokers, output, dry_run=dry_run)


@feature.command()
@click.argument("levels", nargs=-1, required=True, type=Level())
@click.option("--unsafe", is_flag=True, help="Also where metadata is lost by it.")
@dry_run_option
@brokers_option
@format_option
def downgrade(
    levels: tuple[tuple[str, int], ...], unsafe: bool, dry_run: bool, brokers: str, output: str
) -> None:
    """Lower levels, so that brokers of an older build may be started."""
    kind = Kind.UNSAFE_DOWNGRADE if unsafe else Kind.SAFE_DOWNGRADE
    _change(dict(levels), kind, brokers, output, dry_run=dry_run)


def _change(
    wanted: dict[str, int], kind: Kind, brokers: str, output: str, *, dry_run: bool
) -> None:
    async def action(view: ClusterView) -> list[dict[str, Any]]:
        before = {each.name: each for each in await features(view)}
        levels = wanted or _highest(before)
        for name in levels:
            if name not in before:
                raise Failure(f"there is no feature {name}", "`ottla feature list` shows them")
        levels = {name: level for name, level in levels.items() if level != before[name].level}
        if levels:
            await update_features(view, levels, kind, dry_run=dry_run)
        return [
            {"feature": name, "before": before[name].level, "level": level}
            for name, level in levels.items()
        ]

    rows = run(brokers, action)
    echo_rows(rows, CHANGE_COLUMNS, output, name="feature", empty="Nothing changes.")


def _highest(known: dict[str, Feature]) -> dict[str, int]:
    return {name: each.high for name, each in known.items() if each.high > each.level}
