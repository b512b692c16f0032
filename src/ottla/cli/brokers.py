"""`ottla broker`: list, drain, undrain, remove."""

from typing import Any

import click

from ottla.cli.cluster import BROKER_COLUMNS, broker_rows
from ottla.cli.connect import Failure, brokers_option, run
from ottla.cli.moving import carry_out, moving_options, show
from ottla.cli.output import echo_json, echo_rows, format_option
from ottla.client.balance import Move, NoRoomError, Site, empty
from ottla.client.cluster_view import ClusterView
from ottla.client.operations import Operations


@click.group()
def broker() -> None:
    """List brokers, empty one, let it take part again, remove one that is gone."""


@broker.command("list")
@brokers_option
@format_option
def list_brokers(brokers: str, output: str) -> None:
    """Show every broker that is registered, alive or not."""

    async def action(view: ClusterView) -> list[dict[str, Any]]:
        operations = Operations(view)
        rows = await broker_rows(view)
        for row in rows:
            if row["state"] == "alive" and await operations.is_cordoned(row["broker"]):
                row["state"] = "drained" if not row["replicas"] else "draining"
        return rows

    rows = run(brokers, action)
    echo_rows(rows, BROKER_COLUMNS, output, name="broker", empty="There are no brokers.")


@broker.command()
@click.argument("broker_id", type=int)
@brokers_option
@moving_options
@format_option
def drain(
    broker_id: int, brokers: str, dry_run: bool, throttle: int | None, no_wait: bool, output: str
) -> None:
    """Move everything away from a broker, and place nothing new on it."""

    async def action(view: ClusterView) -> list[Move]:
        operations = Operations(view)
        await view.refresh()
        known = {each.broker_id: each for each in await operations.brokers()}
        if broker_id not in known:
            raise Failure(f"there is no broker {broker_id}", "`ottla broker list` shows them")
        alive = [each for each in known.values() if not each.is_fenced]
        others = [each.broker_id for each in alive if each.broker_id != broker_id]
        drained = [each for each in others if await operations.is_cordoned(each)]
        placed = await operations.placed([each.broker_id for each in alive])
        sites = [Site(each.broker_id, each.rack) for each in alive if each.broker_id not in drained]
        mine = [each for each in placed if broker_id in each.replicas]
        try:
            moves = empty(sites, placed, [broker_id]) if mine else []
        except NoRoomError as error:
            raise Failure(str(error), "start another broker first") from error
        moves = [move for move in moves if broker_id in move.before]
        if not dry_run:
            if not known[broker_id].is_fenced:
                await operations.cordon(broker_id, cordoned=True)
            if moves:
                await carry_out(view, moves, throttle=throttle, wait=not no_wait)
        return moves

    moves = run(brokers, action)
    if not moves and output == "table":
        click.echo(f"Broker {broker_id} holds nothing.", err=True)
    show(moves, output, done=not dry_run and not no_wait)


@broker.command()
@click.argument("broker_id", type=int)
@click.option("--dry-run", is_flag=True, help="Say whether it is drained, and change nothing.")
@brokers_option
@format_option
def undrain(broker_id: int, dry_run: bool, brokers: str, output: str) -> None:
    """Let new replicas be placed on a broker again; `ottla cluster balance` gives it its share."""

    async def action(view: ClusterView) -> str:
        operations = Operations(view)
        await view.refresh()
        if dry_run:
            is_drained = await operations.is_cordoned(broker_id)
            return "could be undrained" if is_drained else "is not drained"
        await operations.cordon(broker_id, cordoned=False)
        return "undrained"

    _say(output, broker_id, run(brokers, action))


@broker.command()
@click.argument("broker_id", type=int)
@click.option("--force", is_flag=True, help="Also if partitions still have replicas on it.")
@click.option("--dry-run", is_flag=True, help="Say whether it could be, and remove nothing.")
@brokers_option
@format_option
def remove(broker_id: int, force: bool, dry_run: bool, brokers: str, output: str) -> None:
    """Forget a broker that was drained and stopped."""

    async def action(view: ClusterView) -> None:
        rows = {row["broker"]: row for row in await broker_rows(view)}
        row = rows.get(broker_id)
        if row is None:
            raise Failure(f"there is no broker {broker_id}", "`ottla broker list` shows them")
        if row["state"] != "down":
            raise Failure(
                f"broker {broker_id} is alive",
                f"`ottla broker drain {broker_id}` empties it; then stop it",
            )
        if row["replicas"] and not force:
            raise Failure(
                f"{row['replicas']} partitions have a replica on broker {broker_id}",
                f"`ottla broker drain {broker_id}` moves them; --force leaves them without",
            )
        if not dry_run:
            await Operations(view).unregister(broker_id)

    run(brokers, action)
    _say(output, broker_id, "could be removed" if dry_run else "removed")


def _say(output: str, broker_id: int, result: str) -> None:
    if output == "json":
        echo_json({"broker": broker_id, "result": result})
    elif output == "name":
        click.echo(broker_id)
    else:
        click.echo(f"Broker {broker_id} {result}.")
