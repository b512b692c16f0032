"""`ottla cluster up`: etcd and several brokers on this machine, to try a cluster with.

Each is a process of its own with its data below one directory; what they log comes out with
their names before it, on stderr. When all are ready one line on stdout says where they are. A
signal ends the brokers first, then etcd; so does the end of etcd or of the last broker. A single
broker may be killed, to see what happens.
"""

import asyncio
import contextlib
import random
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from ottla.cli.connect import Failure, guarded
from ottla.cli.etcd_binary import EtcdBinary, EtcdNotFoundError, find_etcd

DEFAULT_DATA = "./ottla-cluster"
READY = "ottla ready "
PATIENCE_S = 30.0
ETCD_LOOK_S = 0.02
#: Below what Linux (32768) and macOS (49152) give to outgoing connections.
SERVER_PORTS = range(25_000, 32_000)
INTERNAL = (
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
    "share.coordinator.state.topic.replication.factor",
)


@click.command(
    epilog="""\b
Examples:
  ottla cluster up
  ottla cluster up --brokers 5 --port 0 --racks a,b,c

When ready it prints one line: ottla cluster ready HOST:PORT,HOST:PORT,...
SIGINT or SIGTERM stops all (exit status 0); what they hold stays in the directory.
"""
)
@click.option("--brokers", "count", type=click.IntRange(1, 99), default=3, show_default=True)
@click.option(
    "-d", "--data", default=DEFAULT_DATA, show_default=True, metavar="DIR", help="Where it all is."
)
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65000),
    default=9092,
    show_default=True,
    help="Port of the first broker, the others behind it; 0 takes free ones.",
)
@click.option("--racks", metavar="RACK,...", help="Racks that the brokers stand in, in turns.")
@click.option(
    "-s", "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A setting of all brokers."
)
def up(count: int, data: str, port: int, racks: str | None, overrides: tuple[str, ...]) -> int:
    """Start etcd and several brokers on this machine, to try things with."""
    try:
        binary = find_etcd()
    except EtcdNotFoundError as error:
        raise Failure(str(error)) from error
    free = _free_ports()
    ports = [port + number if port else next(free) for number in range(count)]
    stands = racks.split(",") if racks else []

    async def main() -> int:
        local = LocalCluster(binary, Path(data), (next(free), next(free)))
        return await local.run(
            {
                number: local.broker_command(number, at, count, stands, overrides)
                for number, at in enumerate(ports, 1)
            },
            [f"127.0.0.1:{at}" for at in ports],
        )

    return guarded(lambda: asyncio.run(main()))


class LocalCluster:
    """The processes, and what they say."""

    def __init__(self, binary: EtcdBinary, data: Path, etcd_ports: tuple[int, int]) -> None:
        self._binary = binary
        self._data = data
        self._etcd_port, self._etcd_peer_port = etcd_ports
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._ready = asyncio.Event()
        self._waiting: set[str] = set()
        self._over = asyncio.Event()
        self._failed = ""

    async def run(self, brokers: dict[int, list[str]], addresses: list[str]) -> int:
        """Start all, say that they are ready, and stay until a signal comes, or too few are left."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, self._over.set)
        self._data.mkdir(parents=True, exist_ok=True)
        try:
            unsound = "" if self._binary.is_for_production else ", not one for production"
            click.echo(f"cluster: {self._binary}{unsound}", err=True)
            await self._start("etcd", self._etcd_command())
            await self._etcd_answers()
            self._waiting = {f"broker-{number}" for number in brokers}
            for number, command in brokers.items():
                if not self._over.is_set():
                    await self._start(f"broker-{number}", command)
            await self._wait_until_ready()
            if not self._over.is_set():
                click.echo(f"ottla cluster ready {','.join(addresses)}")
                sys.stdout.flush()
            await self._over.wait()
        finally:
            await self._stop()
        if self._failed:
            raise Failure(self._failed, "what it said is above")
        return 0

    # Commands

    def _etcd_command(self) -> list[str]:
        url = f"http://127.0.0.1:{self._etcd_port}"
        peer = f"http://127.0.0.1:{self._etcd_peer_port}"
        return [
            self._binary.path,
            "--name=local",
            f"--data-dir={self._data / 'etcd'}",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=local={peer}",
            # Alone it need not wait for others to want to lead.
            "--heartbeat-interval=20",
            "--election-timeout=200",
            "--log-level=warn",
        ]

    def broker_command(
        self, number: int, port: int, count: int, racks: list[str], overrides: tuple[str, ...]
    ) -> list[str]:
        """How broker `number` is started."""
        copies = min(3, count)
        settings = {
            "node.id": str(number),
            "metadata.etcd.endpoints": f"http://127.0.0.1:{self._etcd_port}",
            "default.replication.factor": str(copies),
            "min.insync.replicas": str(max(1, copies - 1)),
            **dict.fromkeys(INTERNAL, str(copies)),
        }
        if racks:
            settings["broker.rack"] = racks[(number - 1) % len(racks)]
        pairs = [f"{name}={value}" for name, value in settings.items()]
        sets = [part for pair in (*pairs, *overrides) for part in ("--set", pair)]
        place = str(self._data / f"broker-{number}")
        command = [sys.executable, "-m", "ottla", "serve", "--port", str(port), "--data", place]
        return [*command, *sets]

    # Processes

    async def _start(self, name: str, command: list[str]) -> None:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C is for us: etcd goes last
        )
        self._processes[name] = process
        click.echo(f"cluster: {name} is process {process.pid}", err=True)
        self._tasks.append(asyncio.create_task(self._follow(name, process)))

    async def _follow(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                continue  # a line too long to be one of ours
            if not line:
                break
            text = line.decode(errors="replace").rstrip()
            if text.startswith(READY):
                self._waiting.discard(name)
                if not self._waiting:
                    self._ready.set()
            click.echo(f"{name}: {text}", err=True)
        status = await process.wait()
        if self._over.is_set():
            return
        said = f"{name} ended with status {status}"
        alive = [each for each in self._processes.values() if each.returncode is None]
        if name != "etcd" and self._ready.is_set() and len(alive) > 1:
            click.echo(f"cluster: {said}", err=True)  # somebody tries what happens then
            return
        self._failed = said
        self._over.set()

    async def _etcd_answers(self) -> None:
        """Come back when etcd takes connections; its leader is itself, a moment later."""
        for _ in range(int(PATIENCE_S / ETCD_LOOK_S)):
            if self._over.is_set():
                return
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._etcd_port)
            except OSError:
                await asyncio.sleep(ETCD_LOOK_S)
            else:
                writer.close()
                return
        self._failed = f"etcd did not answer in {PATIENCE_S:g} s"
        self._over.set()

    async def _wait_until_ready(self) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (self._ready, self._over)]
        done, pending = await asyncio.wait(
            waits, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
        )
        for task in pending:
            task.cancel()
        if not done:
            self._failed = f"{', '.join(sorted(self._waiting))} not ready in {PATIENCE_S:g} s"
            self._over.set()

    async def _stop(self) -> None:
        """End the brokers together, then etcd, which they need to the last."""
        self._over.set()
        etcd = self._processes.pop("etcd", None)
        for process in self._processes.values():
            _terminate(process)
        await asyncio.gather(*(process.wait() for process in self._processes.values()))
        if etcd is not None:
            _terminate(etcd)
            await etcd.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _terminate(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()


def _free_ports() -> Iterator[int]:
    """Each once: ports that no outgoing connection is given while a server starts, or is away."""
    for port in random.sample(SERVER_PORTS, len(SERVER_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            yield port
    raise Failure("no free port was found", "give one with --port")
