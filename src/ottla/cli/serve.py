"""`ottla serve`: what was asked for, checked, and handed to the broker."""

import importlib
import os
from collections.abc import Callable
from typing import Any

import click

from ottla.broker.options import ServeOptions, TopicToCreate
from ottla.cli.connect import guarded
from ottla.model.errors import ApiError
from ottla.model.names import check_topic_name

DEFAULT_DATA = "./ottla-data"
CLEANUP_POLICIES = ("delete", "compact", "compact,delete", "delete,compact")


class _TopicType(click.ParamType[TopicToCreate]):
    name = "NAME:PARTITIONS"

    def convert(self, value: Any, param: Any, ctx: Any) -> TopicToCreate:
        if isinstance(value, TopicToCreate):
            return value
        name, *rest = str(value).split(":")
        try:
            check_topic_name(name)
        except ApiError as error:
            self.fail(str(error), param, ctx)
        if len(rest) > 3:
            self.fail(f"{value!r}: write NAME:PARTITIONS[:REPLICAS[:POLICY]]", param, ctx)
        numbers = [-1, -1]
        for place, text in enumerate(rest[:2]):
            if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1_000_000:
                self.fail(f"{value!r}: {text!r} is no number above 0", param, ctx)
            numbers[place] = int(text)
        policy = rest[2] if len(rest) == 3 else None
        if policy is not None and policy not in CLEANUP_POLICIES:
            self.fail(f"{value!r}: the policy is delete, compact or compact,delete", param, ctx)
        return TopicToCreate(name, numbers[0], numbers[1], policy)


def _settings(context: Any, parameter: Any, values: tuple[str, ...]) -> dict[str, str]:
    settings = {}
    for value in values:
        key, equals, setting = value.partition("=")
        if not equals or not key.strip():
            raise click.BadParameter(f"{value!r}: write KEY=VALUE")
        settings[key.strip()] = setting.strip()
    return settings


settings_option = click.option(
    "-s",
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_settings,
    help="A setting under Kafka's name; repeatable.",
)


@click.command(
    epilog="""\b
Examples:
  ottla serve                                    data in ./ottla-data, 127.0.0.1:9092
  ottla serve --memory --port 0 --topic rides:3  nothing on disk, any free port
  ottla serve --dev --memory --port 0            for tests: nothing waits
  ottla serve --config server.properties --set log.retention.hours=24

When ready it prints one line: ottla ready PLAINTEXT://127.0.0.1:9092
Settings have Kafka's names. A flag wins over a KAFKA_* environment variable,
which wins over the file. SIGINT or SIGTERM stops it (exit status 0).
"""
)
@click.option(
    "-d",
    "--data",
    metavar="DIR",
    help=f"Where the data is.  [default: {DEFAULT_DATA}]",
)
@click.option("--memory", is_flag=True, help="Keep everything in memory; gone when it stops.")
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    help="Port on the loopback interface; 0 takes a free one.  [default: 9092]",
)
@click.option(
    "--listen",
    multiple=True,
    metavar="[NAME://]HOST:PORT",
    help="Listen here instead of on the loopback interface (listeners); repeatable.",
)
@click.option(
    "-t",
    "--topic",
    "topics",
    multiple=True,
    type=_TopicType(),
    help="Make this topic unless it exists; repeatable.  NAME[:PARTITIONS[:REPLICAS[:POLICY]]]",
)
@click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False),
    help="A server.properties file.",
)
@settings_option
@click.option(
    "--dev",
    is_flag=True,
    help="Defaults for tests that never wait: groups begin at once, and a member is dropped as soon "
    "as its connection closes.",
)
def serve(
    data: str | None,
    memory: bool,
    port: int | None,
    listen: tuple[str, ...],
    topics: tuple[TopicToCreate, ...],
    config_file: str | None,
    overrides: dict[str, str],
    dev: bool,
) -> int:
    """Start a broker."""
    if memory and data is not None:
        raise click.UsageError("--memory keeps nothing on disk, so --data makes no sense with it.")
    if listen and port is not None:
        raise click.UsageError("--listen names the port; leave out --port.")
    options = ServeOptions(data, memory, port, listen, topics, config_file, overrides, dev)

    def start() -> int:
        run: Callable[..., int] = importlib.import_module("ottla.broker.serve").run
        broken = os.environ.get("OTTLA_BREAK")
        if broken is None:
            return run(options)
        return run(options, prepare=importlib.import_module("ottla.testing.broken").breaker(broken))

    return guarded(start)
