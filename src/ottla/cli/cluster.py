"""`ottla cluster`: status, health, balance, move, elect, up, rebuild-metadata."""

import asyncio
from typing import Any

import click

from ottla.cli.cluster_up import up
from ottla.cli.connect import Failure, brokers_option, run
from ottla.cli.moving import brokers_of, carry_out, moving_options, partition_of, show
from ottla.cli.output import block, echo_json, echo_lines, echo_rows, format_option, table
from ottla.cli.rebuild import export_metadata, rebuild_metadata
from ottla.client.balance import Move, NoRoomError, Site, balance
from ottla.client.cluster_view import ClusterView
from ottla.client.elections import foreseen
from ottla.client.operations import Operations
from ottla.model.errors import ApiError, ErrorCode, PeerError
from ottla.model.ids import TopicPartition

BROKER_COLUMNS = ("broker", "host", "port", "rack", "state", "leaders", "replicas", "bytes")
LOOK_S = 0.5


@click.group()
def cluster() -> None:
    """Look at a cluster, balance it, move replicas, elect leaders, start one to try."""


for _command in (up, export_metadata, rebuild_metadata):
    cluster.add_command(_command)


async def broker_rows(view: ClusterView) -> list[dict[str, Any]]:
    """Every broker with what it leads and holds."""
    operations = Operations(view)
    await view.refresh()
    known = await operations.brokers()
    alive = [each.broker_id for each in known if not each.is_fenced]
    sizes = await operations.sizes(alive)
    topics = await operations.topics()
    partitions = [(topic.name, each) for topic in topics for each in topic.partitions]
    return [
        {
            "broker": each.broker_id,
            "host": each.host,
            "port": each.port,
            "rack": each.rack,
            "state": "down" if each.is_fenced else "alive",
            "leaders": sum(p.leader == each.broker_id for _, p in partitions),
            "replicas": sum(each.broker_id in p.replicas for _, p in partitions),
            "bytes": sum(
                sizes.get(TopicPartition(name, p.partition), 0)
                for name, p in partitions
                if each.broker_id in p.replicas
            ),
        }
        for each in known
    ]


async def _condition(view: ClusterView) -> dict[str, Any]:
    """Counts of what is not as it should be."""
    operations = Operations(view)
    await view.refresh()
    known = await operations.brokers()
    topics = await operations.topics()
    partitions = [each for topic in topics for each in topic.partitions]
    moving = await operations.reassignments()
    without = sum(each.leader < 0 for each in partitions)
    under = sum(len(each.isr) < len(each.replicas) for each in partitions)
    down = sum(each.is_fenced for each in known)
    quorum = await operations.has_quorum()
    return {
        "cluster_id": view.cluster.cluster_id,
        "controller": view.cluster.controller,
        "metadata_quorum": quorum,
        "healthy": not without
        and not under
        and not down
        and quorum
        and view.cluster.controller >= 0,
        "brokers": len(known),
        "brokers_down": down,
        "topics": len(topics),
        "partitions": len(partitions),
        "without_leader": without,
        "under_replicated": under,
        "not_led_by_preferred": sum(
            each.leader >= 0 and each.leader != each.replicas[0] for each in partitions
        ),
        "moving": len(moving),
    }


@cluster.command()
@brokers_option
@format_option
def status(brokers: str, output: str) -> None:
    """Show brokers, what they lead and hold, and what is not as it should be."""

    async def action(view: ClusterView) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        return await _condition(view), await broker_rows(view)

    condition, rows = run(brokers, action)
    if output == "json":
        echo_json({**condition, "broker_list": rows})
    elif output == "name":
        echo_lines(str(row["broker"]) for row in rows)
    else:
        echo_lines([*block(condition), "", *table(rows, BROKER_COLUMNS)])


@cluster.command()
@brokers_option
@click.option("--wait", type=float, default=0, metavar="SECONDS", help="Wait until it is healthy.")
@format_option
def health(brokers: str, wait: float, output: str) -> int:
    """Say whether all brokers live, all replicas are in sync, etcd decides; exit 1 if not."""

    async def action(view: ClusterView) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        while True:
            try:
                condition = await _condition(view)
                if condition["healthy"] or loop.time() >= end:
                    return condition
            except PeerError:
                if loop.time() >= end:
                    raise
            await asyncio.sleep(LOOK_S)

    condition = run(brokers, action)
    if output == "json":
        echo_json(condition)
    elif output == "name":
        click.echo("healthy" if condition["healthy"] else "unhealthy")
    else:
        echo_lines(block(condition))
    return 0 if condition["healthy"] else 1


@cluster.command(
    "balance",
    epilog="""\b
Examples:
  ottla cluster balance --dry-run
  ottla cluster balance --throttle 50000000
""",
)
@brokers_option
@moving_options
@format_option
def balance_command(
    brokers: str, dry_run: bool, throttle: int | None, no_wait: bool, output: str
) -> None:
    """Spread replicas, bytes and leaders over brokers and racks, with few moves."""

    async def action(view: ClusterView) -> list[Move]:
        operations = Operations(view)
        await view.refresh()
        alive = [each for each in await operations.brokers() if not each.is_fenced]
        drained = [e.broker_id for e in alive if await operations.is_cordoned(e.broker_id)]
        placed = await operations.placed([each.broker_id for each in alive])
        sites = [Site(each.broker_id, each.rack) for each in alive]
        try:
            moves = balance(sites, placed, without=drained)
        except NoRoomError as error:
            raise Failure(str(error), "start another broker first") from error
        if moves and not dry_run:
            await carry_out(view, moves, throttle=throttle, wait=not no_wait)
        return moves

    moves = run(brokers, action)
    if not moves and output == "table":
        click.echo("Everything is balanced.", err=True)
    show(moves, output, done=not dry_run and not no_wait)


@cluster.command(
    epilog="""\b
Examples:
  ottla cluster move rides:0 1,2,3
  ottla cluster move rides:0 --cancel
"""
)
@click.argument("partition", metavar="TOPIC:PARTITION")
@click.argument("replicas", metavar="BROKERS", required=False)
@click.option("--cancel", is_flag=True, help="Go back to the replicas of before.")
@brokers_option
@moving_options
@format_option
def move(
    partition: str,
    replicas: str | None,
    cancel: bool,
    brokers: str,
    dry_run: bool,
    throttle: int | None,
    no_wait: bool,
    output: str,
) -> None:
    """Give a partition these replicas; the first is to lead."""
    if cancel == (replicas is not None):
        raise click.UsageError("Name the brokers, or --cancel.")
    which = partition_of(partition)
    target = None if replicas is None else brokers_of(replicas)

    async def action(view: ClusterView) -> list[Move]:
        operations = Operations(view)
        if target is None:
            if not dry_run:
                await operations.reassign({which: None})
            elif which not in {
                (each.topic, each.partition) for each in await operations.reassignments()
            }:
                raise ApiError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, partition)
            return []
        (topic,) = await view.find_topics([which.topic])
        found = [each for each in topic.partitions if each.partition == which.partition]
        if not found:
            raise ApiError(
                ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
                f"topic {which.topic!r} has no partition {which.partition}",
            )
        alive = [each.broker_id for each in view.cluster.brokers]
        size = (await operations.sizes(alive)).get(which, 0)
        moves = [Move(*which, found[0].replicas, target, size)]
        if not dry_run:
            await carry_out(view, moves, throttle=throttle, wait=not no_wait)
        elif unknown := set(target) - {each.broker_id for each in await operations.brokers()}:
            raise ApiError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"there is no broker {min(unknown)}"
            )
        elif len(set(target)) < len(target):
            raise ApiError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, "a broker is named twice")
        return moves

    show(run(brokers, action), output, done=not dry_run and not no_wait)


@cluster.command()
@click.argument("partitions", nargs=-1, metavar="[TOPIC:PARTITION]...")
@click.option("--unclean", is_flag=True, help="Let any live replica lead; records may be lost.")
@click.option("--dry-run", is_flag=True, help="Say who would be elected, and elect nobody.")
@brokers_option
@format_option
def elect(
    partitions: tuple[str, ...], unclean: bool, dry_run: bool, brokers: str, output: str
) -> int:
    """Have preferred replicas lead, of some partitions or of all."""
    asked = [partition_of(text) for text in partitions] or None

    async def action(view: ClusterView) -> dict[TopicPartition, ApiError | None]:
        operations = Operations(view)
        if not dry_run:
            return await operations.elect(asked, unclean=unclean)
        await view.refresh()
        alive = {each.broker_id for each in await operations.brokers() if not each.is_fenced}
        return foreseen(await operations.topics(), asked, alive, unclean=unclean)

    results = run(brokers, action)
    done = "would be elected" if dry_run else "elected"
    fine = (None, ErrorCode.ELECTION_NOT_NEEDED)
    rows = [
        {
            "partition": f"{each.topic}:{each.partition}",
            "result": done if error is None else error.code.name,
        }
        for each, error in sorted(results.items())
    ]
    echo_rows(
        rows, ["partition", "result"], output, name="partition", empty="No election was needed."
    )
    return int(any((error and error.code) not in fine for error in results.values()))
