"""`ottla group why`: the last rebalances of groups, and what each was for."""

from typing import Any

import click

from ottla.cli.connect import Failure, brokers_option, run
from ottla.cli.moments import moment_text
from ottla.cli.output import echo_json, echo_lines, format_option, table
from ottla.client.cluster_view import ClusterView
from ottla.client.groups import Groups
from ottla.model.errors import ApiError, ErrorCode

COLUMNS = ("time", "from", "to", "members", "seconds", "cause")


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="GROUP...")
@brokers_option
@format_option
def why(names: tuple[str, ...], brokers: str, output: str) -> None:
    """Show the last rebalances of groups, the oldest first, and their causes.

    FROM and TO are generations (group epochs), SECONDS is the time until the group was stable. The
    broker keeps the last twenty of each group, in memory.
    """

    async def action(view: ClusterView) -> list[dict[str, Any]]:
        found = []
        for name in names:
            try:
                rebalances = await Groups(view).rebalances(name)
            except ApiError as error:
                if error.code is ErrorCode.UNSUPPORTED_VERSION:
                    raise Failure("this broker is not Ottla's: it does not say why") from error
                raise
            found += [{"group": name, **_described(each)} for each in rebalances]
        return found

    rows = run(brokers, action)
    if output == "json":
        echo_json(rows)
        return
    if output == "name":
        echo_lines(dict.fromkeys(row["group"] for row in rows))
        return
    columns = COLUMNS if len(names) == 1 else ("group", *COLUMNS)
    if rows:
        echo_lines(table([_for_people(row) for row in rows], columns))
    else:
        click.echo("No rebalance since the broker started.", err=True)


def _described(rebalance: Any) -> dict[str, Any]:
    """Moments in milliseconds since 1970, None for what has not happened."""
    return {
        "started_at": rebalance.started_at_ms,
        "joined_at": _known(rebalance.joined_at_ms),
        "stable_at": _known(rebalance.stable_at_ms),
        "from": rebalance.from_generation,
        "to": _known(rebalance.generation),
        "members": rebalance.member_count,
        "causes": [
            {
                "at": cause.at_ms,
                "why": cause.why,
                "member_id": cause.member_id,
                "instance_id": cause.instance_id,
                "client_id": cause.client_id,
                "reason": cause.reason,
            }
            for cause in rebalance.causes
        ],
        "more_causes": rebalance.more_causes,
    }


def _known(number: int) -> int | None:
    return None if number < 0 else number


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    stable_at = row["stable_at"]
    causes = [_in_words(cause) for cause in row["causes"]]
    if row["more_causes"]:
        causes.append(f"and {row['more_causes']} more")
    return {
        **row,
        "time": moment_text(row["started_at"]),
        "seconds": None if stable_at is None else round((stable_at - row["started_at"]) / 1000, 3),
        "cause": "; ".join(causes),
    }


def _in_words(cause: dict[str, Any]) -> str:
    who = cause["instance_id"] or cause["member_id"]
    words = f"{who} {cause['why']}" if who else cause["why"]
    return f"{words} ({cause['reason']})" if cause["reason"] else words
