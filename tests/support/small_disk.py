"""A file system of a few megabytes that only one test sees, so that it is really full when full.

A keeper process holds a mount namespace of its own with a tmpfs in it; brokers are started
inside. Outside, its files are reached through the keeper's root in procfs.
"""

import shutil
import subprocess
from pathlib import Path
from typing import IO

import pytest
from tools.subject import Ottla

MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && exec cat'


class SmallDisk:
    """Mounted at `path` for whoever is inside."""

    def __init__(self, path: Path, size: str) -> None:
        """Skip the test where a user may not mount."""
        self.path = path
        path.mkdir()
        if shutil.which("unshare") is None or shutil.which("nsenter") is None:
            pytest.skip("there is no unshare here")
        self._keeper = subprocess.Popen(
            ["unshare", "-rm", "sh", "-c", MOUNT, "sh", size, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != b"mounted\n":
            self.close()
            pytest.skip("a file system cannot be mounted in a namespace of one's own here")

    @property
    def prefix(self) -> list[str]:
        """Put before a command, it runs inside."""
        pid = str(self._keeper.pid)
        return ["nsenter", "-t", pid, "-U", "-m", "--preserve-credentials", "--wd=/"]

    @property
    def outside(self) -> Path:
        """Where its files are for those outside."""
        return Path(f"/proc/{self._keeper.pid}/root{self.path}")

    def close(self) -> None:
        """Forget it with all it holds."""
        pipes: list[IO[bytes] | None] = [self._keeper.stdin, self._keeper.stdout]
        for pipe in pipes:
            assert pipe is not None
            pipe.close()
        self._keeper.wait()


class OttlaOn(Ottla):
    """A broker inside; its log is outside."""

    def __init__(self, disk: SmallDisk, log: Path, *settings: str) -> None:
        arguments = tuple(part for setting in settings for part in ("--set", setting))
        super().__init__(disk.path / "data", log=log, arguments=arguments)
        self._disk = disk

    def command(self) -> list[str]:
        """What to run."""
        return [*self._disk.prefix, *super().command()]
