"""No committed file knows the machine it was made on, or where packages come from."""

import re

import pytest
from tests.support.tree import texts

_FOLDERS = ("work", "root", "home", "mnt", "Users")
_HOSTS = (
    r"pypi\.org",
    r"pythonhosted\.",
    r"repo1?\.maven",
    r"maven\.org",
    r"npmjs\.",
    r"docker\.io",
    r"quay\.io",
    r"ghcr\.io",
    r"proxy\.golang\.",
    r"crates\.io",
    "artifactory",
)
_PATH = re.compile(rf"(?<![\w.\-/~}}])/(?:{'|'.join(_FOLDERS)})(?=/|\b)(?!\w)")
_TEMPORARY = re.compile(r"(?<![\w.\-/])/tmp/")
_HOST = re.compile("|".join(_HOSTS), re.IGNORECASE)


def traces(text: str, *, page: bool) -> list[str]:
    """Return what in the text only holds on one machine; pages have no temporary files either."""
    found = [match.group() for match in _PATH.finditer(text)]
    found += [match.group() for match in _HOST.finditer(text)]
    if page:
        found += [match.group() for match in _TEMPORARY.finditer(text)]
    return found


def test_no_file_knows_a_machine() -> None:
    here = "tests/tidy/test_machines.py"
    found = {}
    for path, text in texts():
        if path.as_posix() == here:
            continue
        lines = {
            number: line.strip()[:100]
            for number, line in enumerate(text.splitlines(), 1)
            if traces(line, page=path.suffix == ".md")
        }
        if lines:
            found[str(path)] = lines
    assert not found


@pytest.mark.parametrize(
    "line",
    [
        "cd /work/main",
        "log.dirs=/root/data",
        "see /home/ann/x",
        "pip install -i https://pypi.org/simple",
    ],
)
def test_what_is_a_trace(line: str) -> None:
    assert traces(line, page=False)


@pytest.mark.parametrize(
    "line", ["src/work/x", "networks/homework", "./root/x", "topic/root", "/worker", "a /tmp/x"]
)
def test_what_is_none(line: str) -> None:
    assert not traces(line, page=False)


def test_a_page_has_no_temporary_files() -> None:
    assert traces("a /tmp/x", page=True)
