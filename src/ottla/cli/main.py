"""`ottla`: finds the command, and imports only that one.

The table below carries each command's line of help, so that `ottla --help` needs
nothing but click.
"""

import importlib
import sys
from typing import Any

import click

from ottla import __version__

COMMANDS = {
    "serve": ("ottla.cli.serve", "serve", "Start a broker."),
    "topic": ("ottla.cli.topics", "topic", "List, create, describe, change and delete topics."),
    "produce": ("ottla.cli.produce", "produce", "Write records to a topic."),
    "consume": ("ottla.cli.consume", "consume", "Read records from topics."),
    "group": ("ottla.cli.groups", "group", "List, describe, reset and delete consumer groups."),
    "cluster": ("ottla.cli.cluster", "cluster", "Look at a cluster, balance it, start one to try."),
    "broker": ("ottla.cli.brokers", "broker", "List, drain and remove brokers."),
    "feature": ("ottla.cli.features", "feature", "Show, raise and lower what builds agree on."),
    "log": ("ottla.cli.log", "log", "Look inside log files, check and repair them."),
}

EPILOG = """\b
Start here:
  ottla serve --memory                  a broker on localhost:9092
  ottla topic create rides -p 3
  echo hello | ottla produce rides
  ottla consume rides -o start:end

Works with any Kafka: -b HOST:PORT or OTTLA_BROKERS names the brokers.

\b
Exit status: 0 done, 1 failed, 2 wrong usage.
"""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        command = getattr(importlib.import_module(found[0]), found[1])
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, found[2]) for name, found in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _stop_writing()  # whoever read our output has seen enough: that is no failure
            ctx.exit(0)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0].rstrip("s"), COMMANDS, n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            ctx.fail(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="ottla", message="%(prog)s %(version)s")
def cli() -> None:
    """Ottla: an event streaming platform that speaks Apache Kafka's protocol."""


def main(arguments: list[str] | None = None) -> Any:
    """Run a command and leave with its status; never a stack trace."""
    try:
        status = cli.main(args=arguments, prog_name="ottla", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(1)
    except click.ClickException as failure:
        failure.show()
        sys.exit(failure.exit_code)
    sys.exit(status if isinstance(status, int) else 0)


def _stop_writing() -> None:
    """Let what is still buffered go nowhere, at exit too."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
