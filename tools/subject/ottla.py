"""Ottla as a process: started by its own command, ready by its own word.

The ready line, `ottla ready PLAINTEXT://127.0.0.1:PORT`, is the only line on
its stdout; everything it logs goes to stderr, and from there to the log file.
"""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

from tools.subject.ports import free_port
from tools.subject.process import Process

READY = "ottla ready PLAINTEXT://"

#: `ottla` as the interpreter that runs us has it, so that a checkout under test is the one used.
OTTLA = (sys.executable, "-m", "ottla")

SOURCES = str(Path(__file__).parents[2] / "src")
"""What they are in the search path of that interpreter."""


class Ottla(Process):
    """One `ottla serve`, on a port of its own that a restart keeps."""

    name = "Ottla"

    def __init__(
        self,
        data: Path,
        *,
        log: Path | None = None,
        port: int | None = None,
        settings: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
        arguments: tuple[str, ...] = (),
    ) -> None:
        """Prepare it; `settings` are Kafka's names, handed over as a configuration file."""
        port = free_port() if port is None else port
        super().__init__(data=data, log=log or data.with_suffix(".log"), port=port)
        self.sources = SOURCES
        """Of the build that it runs from its next start on."""
        self._settings = settings or {}
        self._environment = environment or {}
        self._arguments = arguments

    def command(self) -> list[str]:
        """What to run."""
        config = self.data.with_suffix(".properties")
        config.write_text("".join(f"{name}={value}\n" for name, value in self._settings.items()))
        options = ["--config", str(config)] if self._settings else []
        return [
            *OTTLA,
            "serve",
            "--data",
            str(self.data),
            "--port",
            str(self.port),
            *options,
            *self._arguments,
        ]

    def environment(self) -> dict[str, str]:
        """Ours, with the build's sources first."""
        inherited = os.environ.get("PYTHONPATH")
        path = self.sources if not inherited else f"{self.sources}{os.pathsep}{inherited}"
        return {**os.environ, "PYTHONPATH": path, **self._environment}

    def launch(self) -> None:
        """Start the process: stdout into a pipe, for the ready line, stderr into the log."""
        assert not self.running(), f"{self.name} runs already as {self.pid}"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment(),
                start_new_session=True,
            )
        self.pid = self._process.pid

    def await_ready(self, seconds: float = 60.0) -> None:
        """Come back when it said that it is ready.

        Raises:
            RuntimeError: it ended or stayed silent; the message has its log.
        """
        line = self._first_line(time.monotonic() + seconds)
        if not line.startswith(READY):
            status = self.exit_status
            self.kill9()
            raise RuntimeError(
                f"{self.name} said {line!r}, exit status {status}:\n{self.log_tail()}"
            )
        self.port = int(line.rpartition(":")[2])

    def _first_line(self, deadline: float) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        said = b""
        while not said.endswith(b"\n"):
            readable, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(pipe, 4096) if readable else b""
            if not chunk:
                if readable:
                    self._process.wait(5)
                break
            said += chunk
        return said.decode(errors="replace").strip()

    def kill9(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._close_pipe()
        super().kill9()

    def await_stopped(self, seconds: float = 60.0) -> None:
        """Wait until it has stopped, as it was asked to."""
        process = self._process
        super().await_stopped(seconds)
        if process is not None and process.stdout is not None:
            process.stdout.close()

    def _close_pipe(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
