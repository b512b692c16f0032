"""What balance, move and drain share: the plan shown, begun, and waited for with progress."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from ottla.cli.connect import Failure
from ottla.cli.output import echo_json, echo_lines, table
from ottla.client.balance import Move
from ottla.client.cluster_view import ClusterView
from ottla.client.operations import RATES, THROTTLED, Operations
from ottla.model.ids import TopicPartition

F = TypeVar("F", bound=Callable[..., Any])

COLUMNS = ("topic", "partition", "from", "to", "bytes")
LOOK_S = 0.5
AT_ONCE = 500
"""Partitions in one request."""


def moving_options(function: F) -> F:
    for option in (
        click.option("--dry-run", is_flag=True, help="Show the plan, and move nothing."),
        click.option(
            "--throttle",
            type=click.IntRange(1),
            metavar="BYTES",
            help="Bytes per second and broker.",
        ),
        click.option("--no-wait", is_flag=True, help="Begin, and do not wait for the end."),
    ):
        function = option(function)
    return function


def row_of(move: Move) -> dict[str, Any]:
    return {
        "topic": move.topic,
        "partition": move.partition,
        "from": list(move.before),
        "to": list(move.after),
        "bytes": move.bytes_copied,
    }


def show(moves: Sequence[Move], output: str, *, done: bool) -> None:
    if output == "json":
        echo_json({"done": done, "moves": [row_of(move) for move in moves]})
    elif output == "name":
        echo_lines(f"{move.topic}-{move.partition}" for move in moves)
    elif moves:
        echo_lines(table([row_of(move) for move in moves], COLUMNS))
        copied = sum(move.bytes_copied for move in moves)
        replicas = sum(len(move.added) for move in moves)
        click.echo(
            f"{len(moves)} partitions, {replicas} replicas to copy, {copied} bytes.", err=True
        )


async def carry_out(
    view: ClusterView, moves: Sequence[Move], *, throttle: int | None, wait: bool
) -> None:
    """Move, with progress on stderr; then let the preferred replicas lead, and take throttles off."""
    operations = Operations(view)
    if throttle is not None:
        await view.refresh()
        await operations.throttle(moves, throttle)
    for start in range(0, len(moves), AT_ONCE):
        some = moves[start : start + AT_ONCE]
        await operations.reassign(
            {TopicPartition(move.topic, move.partition): move.after for move in some}
        )
    if not wait:
        if throttle is not None:
            click.echo(
                f"The throttle stays when this is over: {', '.join(RATES)} of the brokers, "
                f"{', '.join(THROTTLED)} of the topics.",
                err=True,
            )
        return
    wanted = {(move.topic, move.partition) for move in moves}
    said = -1
    while True:
        left = wanted & {(each.topic, each.partition) for each in await operations.reassignments()}
        if len(left) != said:
            said = len(left)
            _progress(f"{len(wanted) - said} of {len(wanted)} partitions moved")
        if not left:
            break
        await asyncio.sleep(LOOK_S)
    if throttle is not None:
        await operations.unthrottle(moves)
    await operations.elect([TopicPartition(move.topic, move.partition) for move in moves])


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{text} ", err=True, nl=text.startswith("0 of 0"))
    else:
        click.echo(text, err=True)


def partition_of(text: str) -> TopicPartition:
    """`TOPIC:PARTITION` as a partition."""
    topic, colon, number = text.rpartition(":")
    if not colon or not topic or not number.isdigit():
        raise click.UsageError(f"{text!r}: write TOPIC:PARTITION")
    return TopicPartition(topic, int(number))


def brokers_of(text: str) -> tuple[int, ...]:
    """`1,2,3` as broker ids."""
    try:
        brokers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.UsageError(f"{text!r}: write broker ids, as 1,2,3") from None
    if len(set(brokers)) != len(brokers):
        raise Failure(f"{text}: a broker is named twice")
    return brokers
