"""Cores do no I/O: no module of theirs imports what would do it, but for those listed with a reason.

Clock, randomness, disk, workers, network and store are arguments
(`docs/design/architecture.md`). What is looked at is each module's own imports,
inside functions too, and its calls of `open`, `input` and `print`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.layers import CORES, SOURCE, layers

BANNED = frozenset(
    {
        "asyncio", "concurrent", "datetime", "fcntl", "io", "mmap", "multiprocessing", "os",
        "pathlib", "queue", "random", "resource", "sched", "secrets", "select", "selectors",
        "shutil", "signal", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "tempfile",
        "threading", "time", "uuid",
    }
)  # fmt: skip
BANNED_CALLS = frozenset({"open", "input", "print", "__import__"})


def io_of(source: str) -> list[str]:
    """Return what a module uses that may do I/O, in order."""
    return sorted(set(_io_of(ast.parse(source))))


def _io_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in BANNED_CALLS
        ):
            yield f"{node.func.id}()"
            continue
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in BANNED)


def _modules(package: str) -> dict[str, Path]:
    """Return module names below a package, dotted, with their files."""
    root = SOURCE / package
    return {
        ".".join(path.relative_to(root).with_suffix("").parts): path
        for path in sorted(root.rglob("*.py"))
    }


@pytest.mark.parametrize("package", CORES)
def test_a_core_does_no_io(package: str) -> None:
    edge = CORES[package]
    found = {
        module: uses
        for module, path in _modules(package).items()
        if module not in edge and (uses := io_of(path.read_text(encoding="utf-8")))
    }
    assert not found


@pytest.mark.parametrize("package", CORES)
def test_every_module_of_the_edge_is_one(package: str) -> None:
    modules = _modules(package)
    idle = [
        module
        for module in CORES[package]
        if module not in modules or not io_of(modules[module].read_text(encoding="utf-8"))
    ]
    assert not idle, "these do no I/O (any more): take them out of tools/layers.py"


def test_cores_are_packages_of_the_tree() -> None:
    assert set(CORES) <= {package for row in layers() for package in row}


def test_the_client_of_etcd_is_imported_only_when_it_is_needed() -> None:
    """At the head of a module, that is, only by its own modules: a single node does without."""
    found = []
    for path in SOURCE.rglob("*.py"):
        if path.parent == SOURCE / "metadata" and "etcd" in path.stem:
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                ("ottla.metadata.etcd_", "ottla.metadata.store_etcd")
            ):
                found.append(path.relative_to(SOURCE).as_posix())
    assert not found


@pytest.mark.parametrize(
    ("source", "uses"),
    [
        ("import os", ["os"]),
        ("import os.path as paths", ["os.path"]),
        ("from time import monotonic", ["time"]),
        ("from concurrent.futures import Executor", ["concurrent.futures"]),
        ("def later():\n    import asyncio", ["asyncio"]),
        ("text = open('x').read()", ["open()"]),
        ("from ottla.model.clock import Clock", []),
        ("import json, struct", []),
    ],
)
def test_what_counts_as_io(source: str, uses: list[str]) -> None:
    assert io_of(source) == uses
