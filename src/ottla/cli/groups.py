"""`ottla group`: list, describe, why, reset, delete, offset-delete; of every kind of group."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import click

from ottla.cli.connect import Failure, brokers_option, explain, run
from ottla.cli.lag import age_text, lag_times, write_rates
from ottla.cli.moments import duration_ms, moment_ms
from ottla.cli.output import block, echo_json, echo_lines, echo_rows, format_option, table
from ottla.cli.rebalances import why
from ottla.client.cluster_view import ClusterView, NoSuchTopicError
from ottla.client.described_groups import DescribedGroup, Member
from ottla.client.groups import Groups
from ottla.client.offsets import bounds, list_offsets, partitions_of
from ottla.client.share_offsets import alter_share_offsets, forget_share_topics, share_offsets
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import Offset, TopicPartition

LAG_COLUMNS = (
    "topic",
    "partition",
    "current_offset",
    "log_start_offset",
    "log_end_offset",
    "lag",
    "lag_time",
    "rate",
    "member_id",
    "client_id",
    "host",
)


@click.group()
def group() -> None:
    """List, describe, reset and delete groups: classic, consumer, share and streams groups."""


group.add_command(why)


@group.command("list")
@brokers_option
@click.option("-s", "--state", "states", multiple=True, help="Only groups in this state.")
@format_option
def list_groups(brokers: str, states: tuple[str, ...], output: str) -> None:
    """Show all groups."""

    async def action(view: ClusterView) -> list[dict[str, Any]]:
        return [
            {
                "group": each.group,
                "state": each.state,
                "type": each.kind,
                "protocol_type": each.protocol_type,
                "coordinator": each.coordinator,
            }
            for each in await Groups(view).list_groups(states=states)
        ]

    columns = ("group", "state", "type", "protocol_type", "coordinator")
    echo_rows(run(brokers, action), columns, output, name="group", empty="There are no groups.")


@group.command()
@click.argument("names", nargs=-1, required=True, metavar="GROUP...")
@brokers_option
@format_option
def describe(names: tuple[str, ...], brokers: str, output: str) -> None:
    """Show members, committed offsets and lag of groups.

    LAG-TIME is the age of the oldest record the group has not read, RATE how many records a
    second were written in the last minute. In a share group CURRENT-OFFSET is the first record
    that is not done with, LAG counts those that are not, and members may share a partition.
    """
    now_ms = time.time_ns() // 1_000_000

    async def action(view: ClusterView) -> list[dict[str, Any]]:
        return [await _description(view, name, now_ms) for name in names]

    described = run(brokers, action)
    if output == "json":
        echo_json(described)
        return
    if output == "name":
        echo_lines(each["group"] for each in described)
        return
    for number, each in enumerate(described):
        if number:
            click.echo()
        header = {key: value for key, value in each.items() if key not in ("partitions", "type")}
        echo_lines(block({**header, "members": len(each["members"])}))
        if each["partitions"]:
            click.echo()
            echo_lines(table([_for_people(row) for row in each["partitions"]], LAG_COLUMNS))


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    seconds, count = row["lag_time"], row["members"]
    return {
        **row,
        "lag_time": None if seconds is None else age_text(seconds),
        "member_id": f"{count} members" if count > 1 else row["member_id"],
    }


class _Position(NamedTuple):
    """How far a group is in a partition; `lag` is known already in a share group."""

    offset: Offset
    lag: int | None = None


async def _positions(
    view: ClusterView, described: DescribedGroup
) -> dict[TopicPartition, _Position]:
    if described.kind == "share":
        shared = await share_offsets(view, described.group)
        return {each: _Position(found.offset, found.lag) for each, found in shared.items()}
    committed = await Groups(view).committed(described.group)
    return {each: _Position(found.offset) for each, found in committed.items()}


async def _description(view: ClusterView, name: str, now_ms: int) -> dict[str, Any]:
    """`lag_time` is in seconds, `rate` in records a second."""
    described = await Groups(view).describe(name)
    positions = await _positions(view, described)
    owners = _owners(described)
    shown = sorted({*positions, *owners})
    starts, ends = await _bounds_of_existing(view, shown)
    behind = {
        each: positions[each].offset
        for each in ends
        if each in positions and positions[each].offset < ends[each]
    }
    ages = await lag_times(view, behind, now_ms)
    rates = await write_rates(view, ends, now_ms)
    rows = []
    for partition in shown:
        position = positions.get(partition)
        current = None if position is None else position.offset
        end = ends.get(partition)
        lag = None if position is None else position.lag
        if lag is None and current is not None and end is not None:
            lag = max(0, end - current)
        mine = owners.get(partition, [])
        owner = mine[0] if len(mine) == 1 else None
        rows.append(
            {
                "topic": partition.topic,
                "partition": partition.partition,
                "current_offset": current,
                "log_start_offset": starts.get(partition),
                "log_end_offset": end,
                "lag": lag,
                "lag_time": 0.0 if current is not None and current == end else ages.get(partition),
                "rate": round(rates[partition], 2) if partition in rates else None,
                "members": len(mine),
                "member_id": owner.member_id if owner else None,
                "instance_id": owner.instance_id if owner else None,
                "client_id": owner.client_id if owner else None,
                "host": owner.host if owner else None,
            }
        )
    return {
        "group": described.group,
        "coordinator": described.coordinator,
        "state": described.state,
        "type": described.kind,
        "balancer": described.balancer,
        "members": [_member(each) for each in described.members],
        "total_lag": sum(row["lag"] or 0 for row in rows),
        "partitions": rows,
    }


def _owners(described: DescribedGroup) -> dict[TopicPartition, list[Member]]:
    """Who reads what; several may read a partition of a share group."""
    owners: dict[TopicPartition, list[Member]] = {}
    for member in described.members:
        for partition in member.partitions:
            owners.setdefault(partition, []).append(member)
    return owners


def _member(member: Member) -> dict[str, Any]:
    return {
        "member_id": member.member_id,
        "instance_id": member.instance_id,
        "client_id": member.client_id,
        "host": member.host,
        "partitions": len(member.partitions),
    }


async def _bounds_of_existing(
    view: ClusterView, partitions: Sequence[TopicPartition]
) -> tuple[dict[TopicPartition, Offset], dict[TopicPartition, Offset]]:
    """A group may hold offsets of topics that are gone; those have no bounds."""
    existing = []
    for partition in partitions:
        try:
            await view.leader(partition)
        except NoSuchTopicError:
            continue
        existing.append(partition)
    return await bounds(view, existing)


@group.command(
    epilog="""\b
Examples:
  ottla group reset billing --to-earliest --dry-run
  ottla group reset billing --topic rides:0,1 --to-offset 100
  ottla group reset billing --to-datetime 2026-05-01T12:00:00Z
  ottla group reset billing --by-duration 1h       to an hour ago
  ottla group reset billing --shift-by -10

The group must have no members meanwhile. Offsets are kept within the log.
"""
)
@click.argument("name", metavar="GROUP")
@brokers_option
@click.option(
    "-t",
    "--topic",
    "topics",
    multiple=True,
    metavar="TOPIC[:P,P...]",
    help="Only this topic, or these partitions; repeatable.  [default: all the group has]",
)
@click.option("--to-earliest", is_flag=True, help="To the start of the log.")
@click.option("--to-latest", is_flag=True, help="To the end of the log.")
@click.option("--to-current", is_flag=True, help="To where it is, or to the end.")
@click.option("--to-offset", type=int, help="To an offset.")
@click.option("--to-datetime", metavar="TIME", help="To the first record at or after a time.")
@click.option("--shift-by", type=int, help="So many records on, or back if negative.")
@click.option("--by-duration", metavar="DURATION", help="To so long ago, such as 1h30m or PT1H30M.")
@click.option("--dry-run", is_flag=True, help="Show what would be done.")
@format_option
def reset(
    name: str,
    brokers: str,
    topics: tuple[str, ...],
    dry_run: bool,
    output: str,
    **goals: Any,
) -> None:
    """Move a group's committed offsets."""
    given = {goal: value for goal, value in goals.items() if value not in (None, False)}
    if len(given) != 1:
        raise click.UsageError(
            "Say one of --to-earliest, --to-latest, --to-current, --to-offset, --to-datetime, "
            "--shift-by, --by-duration."
        )
    goal, value = given.popitem()
    now_ms = time.time_ns() // 1_000_000
    try:
        if goal == "to_datetime":
            goal, value = "moment", moment_ms(value, now_ms)
        elif goal == "by_duration":
            goal, value = "moment", now_ms - duration_ms(value)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    chosen = [_topic_partitions(text) for text in topics]

    async def action(view: ClusterView) -> list[dict[str, Any]]:
        return await _reset(view, name, chosen, goal, value, dry_run)

    rows = run(brokers, action)
    columns = ("topic", "partition", "current_offset", "new_offset")
    echo_rows(rows, columns, output, name="topic", empty="The group has no offsets to reset.")
    if dry_run and output == "table":
        click.echo("Nothing was changed (dry run).", err=True)


def _topic_partitions(text: str) -> tuple[str, list[int]]:
    topic, _, numbers = text.partition(":")
    try:
        return topic, [int(number) for number in numbers.split(",")] if numbers else []
    except ValueError:
        raise click.UsageError(f"--topic: {text!r} is not TOPIC or TOPIC:0,1,2.") from None


async def _reset(
    view: ClusterView,
    name: str,
    chosen: Sequence[tuple[str, list[int]]],
    goal: str,
    value: Any,
    dry_run: bool,
) -> list[dict[str, Any]]:
    is_shared = False
    positions: dict[TopicPartition, _Position] = {}
    try:
        described = await Groups(view).describe(name)
    except ApiError as error:
        if error.code is not ErrorCode.GROUP_ID_NOT_FOUND or not chosen:
            raise  # else there will be a group, with these offsets
    else:
        is_shared = described.kind == "share"
        positions = await _positions(view, described)
    partitions = [
        partition
        for topic, numbers in chosen
        for partition in (
            [TopicPartition(topic, number) for number in numbers]
            or await partitions_of(view, topic)
        )
    ] or sorted(positions)
    current = {each: positions[each].offset for each in partitions if each in positions}
    targets = await _targets(view, partitions, current, goal, value)
    if not dry_run and targets:
        try:
            if is_shared:
                await alter_share_offsets(view, name, targets)
            else:
                await Groups(view).commit(name, targets)
        except ApiError as error:
            if error.code is not ErrorCode.UNKNOWN_MEMBER_ID:
                raise
            raise Failure(
                f"UNKNOWN_MEMBER_ID: group {name!r} has members, and only they may move it now",
                f"Stop them first; `ottla group describe {name}` shows them",
            ) from error
    return [
        {
            "topic": partition.topic,
            "partition": partition.partition,
            "current_offset": current.get(partition),
            "new_offset": targets[partition],
        }
        for partition in partitions
    ]


async def _targets(
    view: ClusterView,
    partitions: Sequence[TopicPartition],
    current: Mapping[TopicPartition, Offset],
    goal: str,
    value: Any,
) -> dict[TopicPartition, Offset]:
    """Where each partition goes, within its log."""
    starts, ends = await bounds(view, partitions)
    targets: dict[TopicPartition, Offset] = {}
    if goal == "moment":
        listed = await list_offsets(view, dict.fromkeys(partitions, value))
        targets = {
            each: found.offset if found.offset >= 0 else ends[each]
            for each, found in listed.items()
        }
    else:
        for each in partitions:
            if goal == "to_earliest":
                targets[each] = starts[each]
            elif goal == "to_latest":
                targets[each] = ends[each]
            elif goal == "to_current":
                targets[each] = current.get(each, ends[each])
            elif goal == "to_offset":
                targets[each] = value
            elif each in current:
                targets[each] = current[each] + value
            else:
                raise Failure(
                    f"the group has no offset for partition {each} to shift from",
                    "Use --to-earliest, --to-latest or --to-offset for it",
                )
    return {each: min(max(target, starts[each]), ends[each]) for each, target in targets.items()}


@group.command()
@click.argument("names", nargs=-1, required=True, metavar="GROUP...")
@brokers_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@format_option
def delete(names: tuple[str, ...], brokers: str, yes: bool, output: str) -> None:
    """Delete groups that have no members, with their offsets."""
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {', '.join(names)}?", abort=True, err=True)

    async def action(view: ClusterView) -> dict[str, ApiError | None]:
        results: dict[str, ApiError | None] = {}
        for name in names:
            try:
                await Groups(view).delete(name)
            except ApiError as error:
                results[name] = error
            else:
                results[name] = None
        return results

    results = run(brokers, action)
    rows = [{"group": name, "result": "deleted"} for name, error in results.items() if not error]
    failed = [error for error in results.values() if error]
    if rows:
        echo_rows(rows, ("group", "result"), output, name="group", empty="")
    for error in failed:
        explain(error).show()
    if failed:
        click.get_current_context().exit(1)


@group.command("offset-delete")
@click.argument("name", metavar="GROUP")
@brokers_option
@click.option(
    "-t",
    "--topic",
    "topics",
    multiple=True,
    required=True,
    metavar="TOPIC[:P,P...]",
    help="Of this topic, or these partitions; repeatable.",
)
def offset_delete(name: str, brokers: str, topics: tuple[str, ...]) -> None:
    """Forget committed offsets of topics that no member of the group reads.

    A share group forgets whole topics, while it has no members.
    """
    chosen = [_topic_partitions(text) for text in topics]

    async def action(view: ClusterView) -> list[TopicPartition]:
        groups = Groups(view)
        described = await groups.describe(name)
        wanted = [
            partition
            for partition in sorted(await _positions(view, described))
            for topic, numbers in chosen
            if partition.topic == topic and (not numbers or partition.partition in numbers)
        ]
        if described.kind == "share":
            if any(numbers for _, numbers in chosen):
                raise Failure(
                    f"group {name!r} is a share group, which forgets whole topics",
                    "Say --topic without partitions",
                )
            await forget_share_topics(view, name, [topic for topic, _ in chosen])
        elif wanted:
            await groups.delete_offsets(name, wanted)
        return wanted

    for partition in run(brokers, action):
        click.echo(f"{name}: {partition} forgotten")
