"""`ottla topic`: list, create, describe, delete, config, add-partitions."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from ottla.cli.connect import Failure, brokers_option, explain, run
from ottla.cli.output import (
    block,
    echo_json,
    echo_lines,
    echo_rows,
    format_option,
    table,
)
from ottla.client.admin import Admin, ConfigChange, ConfigEntry, ConfigOperation
from ottla.client.cluster_view import ClusterView, Topic
from ottla.client.offsets import bounds
from ottla.model.errors import ApiError, ErrorCode
from ottla.model.ids import TopicPartition, uuid_text
from ottla.model.isolation import ResourceType

PARTITION_COLUMNS = (
    "partition",
    "leader",
    "leader_epoch",
    "replicas",
    "isr",
    "log_start_offset",
    "log_end_offset",
)


@click.group()
def topic() -> None:
    """List, create, describe, change and delete topics."""


def key_values(values: Sequence[str], flag: str) -> dict[str, str]:
    """`KEY=VALUE` arguments as a mapping; a usage error names what is not one."""
    settings = {}
    for value in values:
        key, equals, setting = value.partition("=")
        if not equals or not key.strip():
            raise click.UsageError(f"{flag}: {value!r} is not KEY=VALUE.")
        settings[key.strip()] = setting
    return settings


@topic.command("list")
@brokers_option
@click.option("-i", "--internal", is_flag=True, help="Show internal topics too.")
@format_option
def list_topics(brokers: str, internal: bool, output: str) -> None:
    """Show all topics."""

    async def action(view: ClusterView) -> list[Topic]:
        return await Admin(view).list_topics()

    rows = [
        {
            "topic": each.name,
            "partitions": len(each.partitions),
            "replicas": _replication_factor(each),
            "internal": each.internal,
            "topic_id": uuid_text(each.topic_id),
        }
        for each in run(brokers, action)
        if internal or not each.internal
    ]
    columns = ["topic", "partitions", "replicas", *(["internal"] if internal else [])]
    empty = "There are no topics; `ottla topic create NAME` makes one."
    echo_rows(rows, columns, output, name="topic", empty=empty)


@topic.command(
    epilog="""\b
Examples:
  ottla topic create rides -p 6
  ottla topic create cars -p 6 -c cleanup.policy=compact -c retention.ms=-1
"""
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@brokers_option
@click.option("-p", "--partitions", type=int, default=-1, help="How many (default: the broker's).")
@click.option("-r", "--replicas", type=int, default=-1, help="How many (default: the broker's).")
@click.option("-c", "--config", "configs", multiple=True, metavar="KEY=VALUE", help="A setting.")
@click.option("--if-not-exists", is_flag=True, help="Be content if the topic is there already.")
@click.option("--dry-run", is_flag=True, help="Let the broker check it, and make nothing.")
@format_option
def create(
    names: tuple[str, ...],
    brokers: str,
    partitions: int,
    replicas: int,
    configs: tuple[str, ...],
    if_not_exists: bool,
    dry_run: bool,
    output: str,
) -> None:
    """Make topics."""
    settings = key_values(configs, "--config")

    async def action(view: ClusterView) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for name in names:
            try:
                created = await Admin(view).create_topic(
                    name,
                    partitions=partitions,
                    replication_factor=replicas,
                    configs=settings,
                    validate_only=dry_run,
                )
            except ApiError as error:
                if error.code is not ErrorCode.TOPIC_ALREADY_EXISTS or not if_not_exists:
                    raise
                rows.append({"topic": name, "result": "exists"})
                continue
            rows.append(
                {
                    "topic": name,
                    "result": "would be created" if dry_run else "created",
                    "partitions": created.partitions,
                    "replicas": created.replication_factor,
                    "topic_id": uuid_text(created.topic_id),
                }
            )
        return rows

    columns = ("topic", "partitions", "replicas", "result")
    echo_rows(run(brokers, action), columns, output, name="topic", empty="")


@topic.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@brokers_option
@click.option("-a", "--all-configs", is_flag=True, help="Show default settings too.")
@format_option
def describe(names: tuple[str, ...], brokers: str, all_configs: bool, output: str) -> None:
    """Show partitions, offsets and settings of topics."""

    async def action(view: ClusterView) -> list[dict[str, Any]]:
        return [await _description(view, each) for each in await Admin(view).describe_topics(names)]

    described = run(brokers, action)
    if output == "json":
        echo_json(described)
        return
    if output == "name":
        echo_lines(each["topic"] for each in described)
        return
    for number, each in enumerate(described):
        if number:
            click.echo()
        header = {
            "topic": each["topic"],
            "topic_id": each["topic_id"],
            "partitions": len(each["partitions"]),
            "replicas": each["replicas"],
            "internal": each["internal"],
        }
        echo_lines(block(header))
        configs = [row for row in each["configs"] if all_configs or not row["default"]]
        if configs:
            click.echo()
            echo_lines(table(configs, ("config", "value", "source")))
        click.echo()
        echo_lines(table(each["partitions"], PARTITION_COLUMNS))


async def _description(view: ClusterView, described: Topic) -> dict[str, Any]:
    led = [
        TopicPartition(described.name, each.partition)
        for each in described.partitions
        if each.leader >= 0
    ]
    starts, ends = await bounds(view, led)
    configs = await Admin(view).describe_configs(ResourceType.TOPIC, described.name)
    partitions = [
        {
            "partition": each.partition,
            "leader": each.leader if each.leader >= 0 else None,
            "leader_epoch": each.leader_epoch,
            "replicas": list(each.replicas),
            "isr": list(each.isr),
            "offline_replicas": list(each.offline),
            "log_start_offset": starts.get(TopicPartition(described.name, each.partition)),
            "log_end_offset": ends.get(TopicPartition(described.name, each.partition)),
        }
        for each in described.partitions
    ]
    return {
        "topic": described.name,
        "topic_id": uuid_text(described.topic_id),
        "replicas": _replication_factor(described),
        "internal": described.internal,
        "configs": [_config_row(entry) for entry in configs],
        "partitions": partitions,
    }


def _replication_factor(described: Topic) -> int:
    return max((len(each.replicas) for each in described.partitions), default=0)


@topic.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@brokers_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--if-exists", is_flag=True, help="Be content if there is no such topic.")
@format_option
def delete(names: tuple[str, ...], brokers: str, yes: bool, if_exists: bool, output: str) -> None:
    """Delete topics, with all their records."""
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {', '.join(names)} with all records?", abort=True, err=True)

    async def action(view: ClusterView) -> dict[str, ApiError | None]:
        return await Admin(view).delete_topics(names)

    results = run(brokers, action)
    failed = {
        name: error
        for name, error in results.items()
        if error is not None
        and not (if_exists and error.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    }
    rows = [{"topic": name, "result": "deleted"} for name in names if results.get(name) is None]
    if rows or not failed:
        echo_rows(rows, ("topic", "result"), output, name="topic", empty="Nothing to delete.")
    for error in failed.values():
        explain(error).show()
    if failed:
        click.get_current_context().exit(1)


@topic.command("add-partitions")
@click.argument("name", metavar="NAME")
@brokers_option
@click.option("-n", "--num", type=click.IntRange(1), help="How many more.")
@click.option("--total", type=click.IntRange(1), help="How many there shall be.")
@click.option("--dry-run", is_flag=True, help="Let the broker check it, and change nothing.")
def add_partitions(
    name: str, brokers: str, num: int | None, total: int | None, dry_run: bool
) -> None:
    """Give a topic more partitions. Keys may then go to other partitions than before."""
    if (num is None) == (total is None):
        raise click.UsageError("Say either --num (how many more) or --total.")

    async def action(view: ClusterView) -> tuple[int, int]:
        admin = Admin(view)
        before = len((await admin.describe_topics([name]))[0].partitions)
        after = total if total is not None else before + (num or 0)
        await admin.add_partitions(name, after, validate_only=dry_run)
        return before, after

    before, after = run(brokers, action)
    click.echo(f"{name}: {before} -> {after} partitions{' (dry run)' if dry_run else ''}")


@topic.group()
def config() -> None:
    """Show and change the settings of a topic."""


@config.command("get")
@click.argument("name", metavar="NAME")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@brokers_option
@click.option("--set-only", is_flag=True, help="Only what was set for this topic.")
@format_option
def get_config(name: str, keys: tuple[str, ...], brokers: str, set_only: bool, output: str) -> None:
    """Show settings: all, or those named."""
    entries = run(brokers, lambda view: _configs(view, name, keys))
    missing = set(keys) - {entry.name for entry in entries}
    if missing:
        raise Failure(
            f"INVALID_CONFIG: a topic has no setting {', '.join(sorted(missing))}",
            f"`ottla topic config get {name}` shows all there are",
        )
    rows = [_config_row(entry) for entry in entries]
    if set_only:
        rows = [row for row in rows if row["source"] == "DYNAMIC_TOPIC_CONFIG"]
    columns = ("config", "value", "source")
    echo_rows(rows, columns, output, name="config", empty="Nothing was set for this topic.")


async def _configs(view: ClusterView, name: str, keys: Sequence[str]) -> list[ConfigEntry]:
    return await Admin(view).describe_configs(ResourceType.TOPIC, name, keys or None)


def _config_row(entry: ConfigEntry) -> dict[str, Any]:
    return {
        "config": entry.name,
        "value": entry.value,
        "source": entry.source.name,
        "default": entry.is_default,
    }


@config.command("set", epilog="\b\nExample:\n  ottla topic config set rides retention.ms=3600000")
@click.argument("name", metavar="NAME")
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...")
@brokers_option
@click.option("--dry-run", is_flag=True, help="Let the broker check it, and change nothing.")
def set_config(name: str, settings: tuple[str, ...], brokers: str, dry_run: bool) -> None:
    """Set settings; all or none take effect."""
    changes = [
        ConfigChange(ConfigOperation.SET, key, value)
        for key, value in key_values(settings, "KEY=VALUE").items()
    ]
    _change(brokers, name, changes, dry_run)


@config.command("unset")
@click.argument("name", metavar="NAME")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@brokers_option
@click.option("--dry-run", is_flag=True, help="Let the broker check it, and change nothing.")
def unset_config(name: str, keys: tuple[str, ...], brokers: str, dry_run: bool) -> None:
    """Take settings back to the broker's defaults."""
    changes = [ConfigChange(ConfigOperation.DELETE, key, None) for key in keys]
    _change(brokers, name, changes, dry_run)


def _change(brokers: str, name: str, changes: Sequence[ConfigChange], dry_run: bool) -> None:
    async def action(view: ClusterView) -> None:
        await Admin(view).describe_topics([name])
        await Admin(view).alter_configs(ResourceType.TOPIC, name, changes, validate_only=dry_run)

    run(brokers, action)
    for change in changes:
        shown = "unset" if change.value is None else f"= {change.value}"
        click.echo(f"{name}: {change.name} {shown}{' (dry run)' if dry_run else ''}")
