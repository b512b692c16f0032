"""What the source tree is meant to be: its layers, what each package is for, and which do no I/O.

The layers come from the import contract in `pyproject.toml`, the purposes from
`src/ottla/README.md`, so the picture of the architecture and the tests about the
code read the same rows as the reader.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src" / "ottla"

CORES: Mapping[str, Mapping[str, str]] = {
    "model": {},
    "config": {},
    "wire": {},
    "record": {},
    "replica": {
        "fetcher": "the shell around a link to a leader",
        "isr_changes": "the shell that writes to the metadata store",
    },
    "metadata": {
        "etcd_client": "calls of etcd, side by side",
        "etcd_deadline": "cancels what takes too long",
        "etcd_http": "connections to etcd",
        "etcd_options": "TLS, when it is configured",
        "store_etcd": "looks after its watches",
        "store_feed": "wakes the watches of an embedded store",
        "store_sqlite": "a thread of its own",
        "store_sqlite_file": "the file",
    },
    "storage": {
        "disk": "the real file operations",
        "memory_disk": "`os.path` and `os.strerror`, no file",
        "dump": "`os.path`, no file",
        "newest": "a lock: the loop and workers write the same files",
    },
    "coordinator": {
        "runtime": "the shell around the shards",
        "share.partition": "the shell around one share partition",
        "share.turns": "one at a time for each group",
    },
    "net": {
        "network": "the types of asyncio, in a protocol",
        "peer": "the link to a broker",
        "transport": "the shell of a connection",
    },
}
"""Packages that do no I/O, with the modules that are their edge and what those need it for."""

_ROW = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \| (.*) \|$", re.MULTILINE)


def layers() -> list[list[str]]:
    """Return the layers from the top down; packages in one row do not know each other."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = project["tool"]["importlinter"]["contracts"]
    return [[name.strip(" ()") for name in row.split("|")] for row in contract["layers"]]


def purposes() -> dict[str, str]:
    """Return what `src/ottla/README.md` says each package is for."""
    found: dict[str, str] = {}
    text = (SOURCE / "README.md").read_text(encoding="utf-8")
    for names, said in _ROW.findall(text):
        packages = [name.strip("` ") for name in names.split(",")]
        parts = said.split("; ") if len(packages) > 1 else [said]
        found.update(zip(packages, parts, strict=True))
    return found
