"""What every command that talks to a broker shares: its options, its run, its failures."""

import asyncio
import os
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from ottla.client.cluster_view import ClusterView, parse_brokers
from ottla.client.sockets import Sockets
from ottla.model.errors import ApiError, ErrorCode, PeerError, ProtocolError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_BROKERS = "localhost:9092"

HINTS = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: "`ottla topic list` shows what there is, "
    "`ottla topic create NAME` makes one",
    ErrorCode.TOPIC_ALREADY_EXISTS: "`ottla topic describe NAME` shows it, "
    "--if-not-exists accepts it",
    ErrorCode.INVALID_TOPIC_EXCEPTION: "a name has 1 to 249 of a-z A-Z 0-9 . _ -",
    ErrorCode.INVALID_REPLICATION_FACTOR: "a topic cannot have more replicas than there are brokers",
    ErrorCode.INVALID_PARTITIONS: "`ottla topic describe NAME` shows how many there are; "
    "they can only become more",
    ErrorCode.INVALID_CONFIG: "`ottla topic config get NAME` shows names and values",
    ErrorCode.GROUP_ID_NOT_FOUND: "`ottla group list` shows what there is",
    ErrorCode.NON_EMPTY_GROUP: "stop its members first; `ottla group describe NAME` shows them",
    ErrorCode.UNKNOWN_MEMBER_ID: "the group has members: stop them first; "
    "`ottla group describe NAME` shows them",
    ErrorCode.OFFSET_OUT_OF_RANGE: "`ottla topic describe NAME` shows the offsets there are",
    ErrorCode.MESSAGE_TOO_LARGE: "the topic's max.message.bytes is the limit",
    ErrorCode.UNSUPPORTED_VERSION: "the broker is too old, or cannot do this yet",
    ErrorCode.NOT_ENOUGH_REPLICAS: "fewer replicas are in sync than min.insync.replicas asks for",
}


class Failure(click.ClickException):
    """Exit 1 with one message; a second line says what to do next."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def show(self, file: Any = None) -> None:
        click.echo(f"ottla: {self.message}", err=True)
        if self.hint:
            click.echo(f"  {self.hint}.", err=True)


def explain(error: ApiError) -> Failure:
    """A Kafka error as the user sees it: its name, the thing, what to do next."""
    text = error.code.name
    if error.message and error.message != text:
        text += f": {error.message}"
    return Failure(text, HINTS.get(error.code))


def brokers_option(function: F) -> F:
    return click.option(
        "-b",
        "--brokers",
        "--bootstrap-server",
        "brokers",
        metavar="HOST:PORT,...",
        envvar="OTTLA_BROKERS",
        default=DEFAULT_BROKERS,
        show_default=True,
        help="Where to find the cluster (environment: OTTLA_BROKERS).",
    )(function)


def run(brokers: str, action: Callable[[ClusterView], Awaitable[T]]) -> T:
    """Do `action` with a cluster, and turn what goes wrong into a `Failure`."""
    try:
        addresses = parse_brokers(brokers)
    except ValueError as error:
        raise click.UsageError(f"--brokers: {error}") from None

    async def main() -> T:
        async with ClusterView(Sockets(), addresses, client_id="ottla-cli") as view:
            return await action(view)

    return guarded(lambda: asyncio.run(main()))


def guarded(work: Callable[[], T]) -> T:
    """Run `work`; what it raises becomes one readable message."""
    try:
        return work()
    except ApiError as error:
        raise explain(error) from error
    except PeerError as error:
        raise Failure(
            str(error),
            "Is the broker running? `ottla serve` starts one, -b HOST:PORT names another",
        ) from error
    except ProtocolError as error:
        raise Failure(f"what came back cannot be read: {error}") from error
    except KeyboardInterrupt:
        raise click.exceptions.Abort from None
    except (click.ClickException, click.exceptions.Exit, click.exceptions.Abort, BrokenPipeError):
        raise
    except OSError as error:
        raise Failure(str(error)) from error
    except Exception as error:
        if os.environ.get("OTTLA_TRACE"):
            traceback.print_exc()
        raise Failure(
            f"a mistake of ours: {type(error).__name__}: {error}",
            "OTTLA_TRACE=1 shows where; please report it",
        ) from error
