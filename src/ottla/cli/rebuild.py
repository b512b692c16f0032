"""`ottla cluster export-metadata` and `ottla cluster rebuild-metadata`."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from ottla.broker import restoring
from ottla.broker.etcd_store import etcd_store
from ottla.broker.restoring import Found
from ottla.broker.system import System
from ottla.cli.connect import Failure, guarded
from ottla.cli.exports import export_text, parse_export
from ottla.cli.output import echo_json, echo_lines, table
from ottla.cli.serve import settings_option
from ottla.config.broker_config import BrokerConfig
from ottla.config.key import ConfigError
from ottla.config.resolve import combine, from_file, from_flags
from ottla.metadata.rebuild import Rebuilt, Weight, rebuild
from ottla.model.errors import PeerError, StorageError
from ottla.model.holdings import Holdings
from ottla.storage import checkpoints
from ottla.storage.disk import RealDisk, is_read_only
from ottla.storage.holdings import read_holdings
from ottla.storage.roots import LogsError

DIRECTORY = click.Path(exists=True, file_okay=False)
FILE = click.Path(exists=True, dir_okay=False)


@click.command(
    "export-metadata",
    epilog="""\b
Examples:
  ottla cluster export-metadata --data /var/lib/ottla > broker-1.json

Run it on each machine, its broker stopped; nothing is changed. Then, anywhere:
  ottla cluster rebuild-metadata --export broker-1.json --export broker-2.json ...
""",
)
@click.option("-d", "--data", "paths", multiple=True, required=True, type=DIRECTORY, metavar="DIR")
def export_metadata(paths: tuple[str, ...]) -> None:
    """Write down what data directories know of the metadata, for `rebuild-metadata`."""
    click.echo(guarded(lambda: export_text(_read(paths))))


@click.command(
    "rebuild-metadata",
    epilog="""\b
Examples:
  ottla cluster rebuild-metadata --etcd http://e1:2379 --export 1.json --export 2.json --dry-run
  ottla cluster rebuild-metadata --config server.properties --data /var/lib/ottla --yes

Brokers must be stopped. What was found and what is chosen is said first; then
it asks, or with --yes writes. Logs are never changed: a broker that has less
than the one chosen to lead follows it when it starts.
""",
)
@click.option(
    "-d", "--data", "paths", multiple=True, type=DIRECTORY, metavar="DIR", help="A data directory."
)
@click.option(
    "-e",
    "--export",
    "exports",
    multiple=True,
    type=FILE,
    metavar="FILE",
    help="What `export-metadata` wrote on another machine.",
)
@click.option("--etcd", metavar="URL,...", help="The etcd to write to (metadata.etcd.endpoints).")
@click.option(
    "--config", "config_file", type=FILE, metavar="FILE", help="A broker's settings, for its etcd."
)
@settings_option
@click.option(
    "--without",
    multiple=True,
    type=int,
    metavar="BROKER",
    help="Its data, or what of it is not given, is lost.",
)
@click.option("--merge", is_flag=True, help="The store has metadata already: put it right.")
@click.option("--dry-run", is_flag=True, help="Only say what would be written.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table")
def rebuild_metadata(
    paths: tuple[str, ...],
    exports: tuple[str, ...],
    etcd: str | None,
    config_file: str | None,
    overrides: dict[str, str],
    without: tuple[int, ...],
    merge: bool,
    dry_run: bool,
    yes: bool,
    output: str,
) -> None:
    """Bring the metadata back from the brokers' data directories when etcd's data is lost."""
    if not paths and not exports:
        raise click.UsageError("Give the data directories: --data DIR, or --export FILE.")
    config = _config(etcd, config_file, overrides)

    def work() -> None:
        holdings = [*_read(paths), *_parse(exports)]
        asyncio.run(_rebuild(config, holdings, without, merge, dry_run, yes, output))

    guarded(work)


def _config(etcd: str | None, file: str | None, overrides: Mapping[str, str]) -> BrokerConfig:
    flags = [(name, text, f"--set {name}") for name, text in overrides.items()]
    if etcd is not None:
        flags.append(("metadata.etcd.endpoints", etcd, "--etcd"))
    read = {} if file is None else from_file(Path(file).read_text(encoding="utf-8"), file)
    try:
        config = BrokerConfig(combine(from_flags(flags), read).texts())
    except (ConfigError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    if not config.values["metadata.etcd.endpoints"]:
        raise click.UsageError("Name the etcd: --etcd URL,..., or --config FILE.")
    return config


def _read(paths: Sequence[str]) -> list[Holdings]:
    """Read directories that no broker has open."""
    disk = RealDisk()
    found = []
    for path in map(os.path.abspath, paths):
        lock = None
        file = f"{path}/{checkpoints.LOCK}"
        try:
            if disk.exists(file):
                lock = disk.lock(file)
        except BlockingIOError:
            raise Failure(f"{path} is in use by a broker", "Stop it first") from None
        except OSError as error:
            if not is_read_only(error):
                raise
        try:
            found.append(read_holdings(disk, path))
        except LogsError as error:
            raise Failure(str(error)) from error
        finally:
            if lock is not None:
                lock.release()
    return found


def _parse(exports: Sequence[str]) -> list[Holdings]:
    found = []
    for path in exports:
        try:
            found += parse_export(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise Failure(f"{path}: {error}") from None
    return found


async def _rebuild(
    config: BrokerConfig,
    holdings: Sequence[Holdings],
    without: Sequence[int],
    merge: bool,
    dry_run: bool,
    yes: bool,
    output: str,
) -> None:
    system = System.real(asyncio.get_running_loop())
    where = ",".join(map(str, config.values["metadata.etcd.endpoints"]))  # type: ignore[arg-type]
    store = None
    try:
        store = etcd_store(config, system.transport_clock, system.network)
        found = await restoring.look(store)
        _refuse(found, where, merge)
        rebuilt = rebuild(holdings, found.copy, without)
        _show(holdings, rebuilt, output)
        if rebuilt.is_refused:
            raise Failure("nothing was written", "Every line that says REFUSED needs an answer")
        if not dry_run and not yes:
            if not sys.stdin.isatty():
                raise Failure("nothing was written", "--yes writes it, --dry-run only shows it")
            click.confirm(f"Write this to {where}?", abort=True, err=True)
        if dry_run:
            click.echo("Nothing was changed (dry run).", err=True)
            return
        await restoring.write(store, found, rebuilt)
        click.echo(f"{len(rebuilt.keys)} keys were written. Start the brokers.", err=True)
    except (PeerError, StorageError) as error:
        raise Failure(f"{where}: {error}") from error
    finally:
        if store is not None:
            await store.close()
        await system.workers.close()


def _refuse(found: Found, where: str, merge: bool) -> None:
    if found.alive:
        alive = ", ".join(map(str, found.alive))
        raise Failure(
            f"{where}: broker {alive} is running",
            "Stop all brokers; one that was killed counts until its lease has run out",
        )
    if found.foreign:
        raise Failure(
            f"{where}: {found.foreign} keys of something else are below the prefix",
            "Set metadata.etcd.prefix to the cluster's",
        )
    if found.copy is not None and not found.is_unfinished and not merge:
        raise Failure(
            f"{where} has metadata of cluster {found.copy.cluster_id}",
            "--merge puts what the directories know on top of it; --dry-run shows what that means",
        )


def _show(holdings: Sequence[Holdings], rebuilt: Rebuilt, output: str) -> None:
    directories = [
        {
            "broker": each.node_id,
            "directory": each.path,
            "partitions": len(each.logs),
            "stopped": "cleanly" if each.stopped_cleanly else "killed",
            "copy_revision": each.copy.revision if each.copy is not None else None,
            "copy_decisions": each.copy.decisions if each.copy is not None else None,
            "copy_generation": each.copy.generation if each.copy is not None else None,
        }
        for each in holdings
    ]
    partitions = [
        {
            "partition": f"{each.topic}-{each.partition}",
            "leader_epoch": each.state.leader_epoch,
            "replicas": list(each.state.replicas),
            "in_sync": list(each.state.isr),
            "ends": [f"{b}:{end}@{epoch}" for b, (epoch, end) in each.ends.items()],
        }
        for each in rebuilt.partitions
    ]
    if output == "json":
        echo_json(
            {
                "cluster_id": rebuilt.cluster_id,
                "generation": rebuilt.generation,
                "directories": directories,
                "partitions": partitions,
                "findings": [{"weight": w.value, "text": text} for w, text in rebuilt.findings],
                "keys": len(rebuilt.keys),
            }
        )
        return
    echo_lines(table(directories, list(directories[0])))
    if partitions:
        echo_lines(["", *table(partitions, list(partitions[0]))])
    if rebuilt.findings:
        click.echo("")
    for weight, text in rebuilt.findings:
        click.echo(f"{weight.value.upper() if weight is not Weight.NOTE else weight.value}: {text}")
    topics = sum(key.startswith("topic/") for key in rebuilt.keys)
    click.echo(
        f"\ncluster {rebuilt.cluster_id}: {topics} topics, {len(partitions)} partitions, "
        f"{len(rebuilt.keys)} keys; rebuilt for time {rebuilt.generation}"
    )
