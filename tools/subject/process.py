"""A broker as a process of its own: what tests and benchmarks may do to it.

A `Subject` is a broker under test. Ours and the real Kafka are both one, so
that a test or a benchmark is written once and runs against either. A subject
only ever signals the process it started itself.
"""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import Protocol

from tools.subject.wait import until

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")

#: A whole ApiVersions version 0 request: size, key 18, version 0, correlation 1, no client id.
API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)


class Subject(Protocol):
    """A broker under test."""

    name: str
    port: int
    pid: int
    data: Path
    log: Path

    @property
    def bootstrap(self) -> str:
        """host:port for clients."""

    def start(self) -> None:
        """Start on the data that is there, and come back when it accepts requests."""

    def stop(self) -> None:
        """Ask it to stop (SIGTERM) and wait until it has."""

    def kill9(self) -> None:
        """SIGKILL, and wait until it is gone."""

    def restart(self) -> None:
        """Stop and start again, on the same port and data."""


def answers(port: int) -> bool:
    """Whether a broker there answers an ApiVersions request."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(API_VERSIONS)
            return len(connection.recv(8)) > 0
    except OSError:
        return False


class Process:
    """The process half of a subject: command, signals, log, and what it costs."""

    name = "process"

    def __init__(self, *, data: Path, log: Path, port: int) -> None:
        self.data = data
        self.log = log
        self.port = port
        self.pid = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """host:port for clients."""
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """What to run."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """The environment it runs in."""
        return dict(os.environ)

    def prepare(self) -> None:
        """Do what must be done once before the first start, if anything."""

    def launch(self) -> None:
        """Start the process, its output appended to the log, without waiting for it to be ready."""
        assert not self.running(), f"{self.name} runs already as {self.pid}"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
                start_new_session=True,
            )
        self.pid = self._process.pid

    def await_ready(self, seconds: float = 60.0) -> None:
        """Come back when it answers requests.

        Raises:
            RuntimeError: it ended, or did not answer in time; the message has
                the end of its log.
        """
        deadline = time.monotonic() + seconds
        while not answers(self.port):
            if not self.running() or time.monotonic() > deadline:
                state = "is not ready" if self.running() else "ended"
                self.kill9()
                raise RuntimeError(f"{self.name} {state}:\n{self.log_tail()}")
            time.sleep(0.005)

    def start(self) -> None:
        """Start on the data that is there, and come back when it accepts requests."""
        self.launch()
        self.await_ready()

    def running(self) -> bool:
        """Whether the process we started still runs."""
        return self._process is not None and self._process.poll() is None

    def ask_to_stop(self) -> None:
        """SIGTERM, without waiting."""
        if self.running():
            self._signal(signal.SIGTERM)

    def stop(self, seconds: float = 60.0) -> None:
        """Ask it to stop and wait until it has.

        Raises:
            RuntimeError: it did not stop in time, and was killed.
        """
        self.ask_to_stop()
        self.await_stopped(seconds)

    def await_stopped(self, seconds: float = 60.0) -> None:
        """Wait until it has stopped, as it was asked to.

        Raises:
            RuntimeError: it did not stop in time, and was killed.
        """
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise RuntimeError(
                f"{self.name} did not stop in {seconds:g} s:\n{self.log_tail()}"
            ) from None
        self._process = None

    @property
    def exit_status(self) -> int | None:
        """What it ended with, None while it runs or after `stop`."""
        return None if self._process is None else self._process.poll()

    def kill9(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop and start again, on the same port and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections, and answers nothing from when this returns."""
        self._signal(signal.SIGSTOP)
        until(f"every thread of {self.name} has stopped", self._is_stopped, every=0.001)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, f"{self.name} does not run"
        self._process.send_signal(number)

    def _is_stopped(self) -> bool:
        threads = Path(f"/proc/{self.pid}/task").glob("*/stat")
        return all(stat.read_text().rpartition(") ")[2][0] == "T" for stat in threads)

    def log_tail(self, lines: int = 30) -> str:
        """The end of what it printed."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def cpu_seconds(self) -> float:
        """User and system time so far, of the process and those it started."""
        return sum(_cpu_ticks(pid) for pid in _family(self.pid)) / TICKS_A_SECOND

    def memory_bytes(self) -> int:
        """Resident memory now, of the process and those it started."""
        return sum(_resident_pages(pid) for pid in _family(self.pid)) * PAGE_SIZE


def _family(pid: int) -> list[int]:
    """`pid` and every living descendant."""
    family = [pid]
    for member in family:
        for thread in _listing(Path(f"/proc/{member}/task")):
            with contextlib.suppress(OSError):
                family.extend(int(child) for child in (thread / "children").read_text().split())
    return family


def _listing(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _cpu_ticks(pid: int) -> int:
    # Fields 14-17 of stat, counted behind the name, which may hold blanks:
    # user, system, and the same of children that were waited for.
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(field) for field in fields[11:15])


def _resident_pages(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
