"""The files of the repository: those that are committed, and new ones that git does not ignore."""

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tools.layers import REPOSITORY


@cache
def files() -> list[Path]:
    """Return every file's path, relative to the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    paths = (Path(name) for name in listed.stdout.decode().split("\0") if name)
    return sorted(path for path in paths if (REPOSITORY / path).is_file())


def texts(*suffixes: str) -> Iterator[tuple[Path, str]]:
    """Yield the text files that end so, or all of them; what is not UTF-8 is left out."""
    for path in files():
        if suffixes and path.suffix not in suffixes:
            continue
        try:
            yield path, (REPOSITORY / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
