"""Long-running Java programs beside a test: started, waited for, killed."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.subject import until


class JavaProcess:
    """A Java program in a process of its own, its stdout and stderr in files of `folder`."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        """Prepare it; each start appends to the same files."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0

    def start(self) -> None:
        """Start it and come back at once."""
        with self.stdout.open("ab") as stdout, self.stderr.open("ab") as stderr:
            self._began = stdout.tell()
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr
            )

    @property
    def stdout(self) -> Path:
        """Where its stdout goes."""
        return self.folder / "stdout"

    @property
    def stderr(self) -> Path:
        """Where its stderr goes."""
        return self.folder / "stderr"

    def said(self) -> list[str]:
        """The lines on its stdout since it was started last."""
        return self.stdout.read_bytes()[self._began :].decode().splitlines()

    def await_line(self, line: str, seconds: float = 60.0) -> None:
        """Wait until it says `line`.

        Raises:
            RuntimeError: it ended before; the message is its stderr.
            TimeoutError: it did not say so in time.
        """

        def shown() -> bool:
            self.assert_running()
            return line in self.said()

        until(f"{self.folder.name} says {line}", shown, seconds)

    def assert_running(self) -> None:
        """Raise a RuntimeError with the end of its stderr if it ended."""
        if self._process is None or self._process.poll() is not None:
            problem = self.stderr.read_text(errors="replace")[-4000:]
            raise RuntimeError(f"{self.folder.name} ended:\n{problem}")

    def finish(self, seconds: float = 40.0) -> int:
        """Close its stdin, wait for its end and return the exit status."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(seconds)

    def kill9(self) -> None:
        """SIGKILL, and wait until it is gone; nothing if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()


@contextmanager
def none_left(*processes: JavaProcess) -> Iterator[None]:
    """Whatever happens inside, none of them runs afterwards."""
    try:
        yield
    finally:
        for process in processes:
            process.kill9()
