"""`python -m tools.kafka`: fetch the real Kafka, run its broker or one of its tools."""

import signal
import subprocess
import sys
from pathlib import Path

import click
from tools.kafka import RealKafka, get, java


@click.group(help="The real Apache Kafka: its jars, its broker, its tools.")
def main() -> None:
    """Group of the commands below."""


@main.command("get", help="Fetch the jars with Maven, unless they are there; print where.")
def fetch() -> None:
    """Print the folder of the jars."""
    click.echo(get())


@main.command(help="Start one node, print `ready HOST:PORT PID`, stop at SIGINT or SIGTERM.")
@click.option("--port", default=0, help="Port of the clients; 0 is a free one.")
@click.option("--home", type=click.Path(path_type=Path), help="Keep data and log there.")
@click.option("--set", "extra", multiple=True, metavar="NAME=VALUE", help="A broker setting.")
def start(port: int, home: Path | None, extra: tuple[str, ...]) -> None:
    """Run a broker until it is told to stop."""
    settings = {name: value for name, _, value in (line.partition("=") for line in extra)}
    with RealKafka(port, settings, home) as kafka:
        click.echo(f"ready {kafka.bootstrap} {kafka.pid}")
        told: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, lambda number, _: told.append(number))
        while not told:
            signal.pause()
        kafka.stop()


@main.command(
    help="Run a tool by class name, for example org.apache.kafka.tools.TopicCommand.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("name")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(name: str, arguments: tuple[str, ...]) -> None:
    """Run the tool in the foreground and end as it ended."""
    sys.exit(subprocess.run(java(name, *arguments), check=False).returncode)


if __name__ == "__main__":
    main()
