"""A build of before, taken out of this repository's history."""

import io
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build_of(commit: str, folder: Path) -> str:
    """Put a commit's sources into a folder; return what `Ottla.sources` takes.

    Raises:
        RuntimeError: the commit is not in the history that is here.
    """
    done = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit, "src"], capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(
            f"there is no build of {commit} to be had, which a clone with its whole history has "
            f"(`git fetch --unshallow`): {done.stderr.decode(errors='replace').strip()}"
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return str(folder / "src")
