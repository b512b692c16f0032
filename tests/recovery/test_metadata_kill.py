"""Kill -9 while the SQLite store commits: whatever was acknowledged is there, and whole."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import ottla
from ottla.metadata.store import Snapshot
from ottla.metadata.store_sqlite import SqliteStore
from ottla.testing.clock import ManualClock

WRITER = """
import asyncio, sys
from ottla.metadata.store_sqlite import SqliteStore
from ottla.testing.clock import ManualClock

async def write(store, writer, path):
    for n in range(1_000_000):
        done = await store.transact([], [(f"{writer}/a", b"%d" % n), (f"{writer}/b", b"%d" % n)])
        print(writer, n, done.revision, flush=True)

async def main():
    store = await SqliteStore.open(sys.argv[1], ManualClock())
    await asyncio.gather(*(write(store, writer, sys.argv[1]) for writer in range(4)))

asyncio.run(main())
"""


def write_and_kill(path: str, after_lines: int) -> list[tuple[int, int, int]]:
    """Return what the writer had acknowledged when it was killed: writer, number, revision."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, path],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(ottla.__file__).parents[1])},
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(after_lines)]
    os.kill(process.pid, signal.SIGKILL)
    lines += process.stdout.readlines()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    complete = [line.split() for line in lines if line.endswith(b"\n")]
    return [(int(writer), int(n), int(revision)) for writer, n, revision in complete]


async def read(path: str) -> Snapshot:
    store = await SqliteStore.open(path, ManualClock())
    snapshot = await store.load()
    await store.close()
    return snapshot


@pytest.mark.parametrize("seed", range(5))
def test_everything_acknowledged_is_there_after_kill_9(tmp_path: Path, seed: int) -> None:
    path = str(tmp_path / "metadata.sqlite")
    choice = random.Random(seed)
    for _ in range(2):
        acknowledged = write_and_kill(path, choice.randint(1, 400))
        snapshot = asyncio.run(read(path))
        last = {writer: (n, revision) for writer, n, revision in acknowledged}
        assert last
        for writer, (n, revision) in last.items():
            assert int(snapshot.items[f"{writer}/a"]) >= n
            assert snapshot.versions[f"{writer}/a"].mod_revision >= revision
        for writer in range(4):
            assert snapshot.items.get(f"{writer}/a") == snapshot.items.get(f"{writer}/b")
        assert snapshot.revision >= max(revision for _, _, revision in acknowledged)
