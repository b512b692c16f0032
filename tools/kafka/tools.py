"""Kafka's own command line tools, run by class name in one long-lived JVM.

A JVM takes longer to start than most tools take to run, so `Tools` keeps one
(`ToolServer.java`, compiled on the fly) and hands it one call after another.
A few need a JVM of their own: `alone`.
"""

import base64
import os
import select
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple

from tools.kafka.jars import HERE, java


class ToolResult(NamedTuple):
    """How one call of a tool ended."""

    status: int
    stdout: str
    stderr: str


class ToolError(RuntimeError):
    """A tool did not answer, or answered with a status that was not wanted."""


class Tools:
    """One JVM that runs tools; a context manager."""

    def __init__(self, heap: str = "-Xmx512m -XX:TieredStopAtLevel=1") -> None:
        """Prepare it; the JVM starts with the first call."""
        self._heap = heap
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def run(self, name: str, *arguments: str, stdin: str = "", seconds: float = 60.0) -> ToolResult:
        """Run the `main` of class `name`.

        Raises:
            ToolError: no end within `seconds`, or the JVM died. The JVM is then
                killed, and the next call starts a fresh one.
        """
        process = self._started()
        assert process.stdin is not None
        line = " ".join(_encoded(word) for word in (stdin, name, *arguments))
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
        answer = self._answer(time.monotonic() + seconds)
        if answer is None:
            self.close()
            raise ToolError(f"{name} {' '.join(arguments)}: no end within {seconds:g} s")
        status, stdout, stderr = answer.split(" ")
        return ToolResult(int(status), _decoded(stdout), _decoded(stderr))

    def check(self, name: str, *arguments: str, stdin: str = "", seconds: float = 60.0) -> str:
        """Run it and return its stdout; a status other than 0 is a ToolError."""
        result = self.run(name, *arguments, stdin=stdin, seconds=seconds)
        if result.status != 0:
            raise ToolError(
                f"{name} {' '.join(arguments)}: status {result.status}\n"
                f"{result.stdout}{result.stderr}"
            )
        return result.stdout

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
            self._process = subprocess.Popen(
                java(str(HERE / "ToolServer.java"), heap=self._heap, level="OFF"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                start_new_session=True,
            )
        return self._process

    def _answer(self, deadline: float) -> str | None:
        assert self._process is not None
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        said: list[bytes] = []
        while not said or not said[-1].endswith(b"\n"):
            readable, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(pipe, 1 << 16) if readable else b""
            if not chunk:
                return None
            said.append(chunk)
        return b"".join(said).decode("ascii").rstrip("\n")

    def close(self) -> None:
        """End the JVM."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def __enter__(self) -> "Tools":
        """Nothing starts yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the JVM."""
        self.close()


def alone(name: str, *arguments: str, seconds: float = 300.0) -> str:
    """Run a tool in a JVM of its own and return its stdout.

    For tools that hang their last words on the JVM's end (VerifiableProducer).

    Raises:
        ToolError: a status other than 0, or no end within `seconds`.
    """
    try:
        done = subprocess.run(
            java(name, *arguments, level="OFF"),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as problem:
        raise ToolError(f"{name}: no end within {seconds:g} s") from problem
    if done.returncode != 0:
        raise ToolError(f"{name}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def compiled(source: Path, into: Path) -> Path:
    """Compile one Java file against Kafka's classes into `into`, and return `into`.

    Raises:
        ToolError: it does not compile; the message is the compiler's.
    """
    class_path = java()[-1]
    done = subprocess.run(
        ["javac", "-cp", class_path, "-d", str(into), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ToolError(done.stderr)
    return into


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode(errors="replace")
