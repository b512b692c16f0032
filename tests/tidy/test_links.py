"""Links in Markdown that stay within the repository lead to a file, and to a heading of it."""

import re
from pathlib import Path

import pytest
from tests.support.tree import texts
from tools.layers import REPOSITORY

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_FOREIGN = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)

MADE_BY_COMMANDS = {"docs/benchmarks.md": "make bench"}
"""Pages that need not be there before the command has run once."""


def anchors(text: str) -> set[str]:
    """Return what GitHub makes of the headings."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.replace("`", ""))
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 0
        unique = slug
        while unique in found:
            number += 1
            unique = f"{slug}-{number}"
        found.add(unique)
    return found


def broken_links(path: Path, text: str) -> list[str]:
    """Return the links of the page at `path` that lead nowhere."""
    broken = []
    for target in _LINK.findall(_CODE.sub("", _FENCE.sub("", text))):
        if _FOREIGN.match(target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if (
            not file.is_relative_to(REPOSITORY)
            or not file.exists()
            or (anchor and anchor not in anchors(file.read_text(encoding="utf-8")))
        ):
            broken.append(target)
    return broken


def test_links_lead_somewhere() -> None:
    found = {}
    for path, text in texts(".md"):
        broken = broken_links(REPOSITORY / path, text)
        if path.name == "README.md":
            broken = [target for target in broken if target not in MADE_BY_COMMANDS]
        if broken:
            found[str(path)] = broken
    assert not found


def test_every_page_can_be_reached_from_the_readme() -> None:
    pages = {REPOSITORY / path: text for path, text in texts(".md") if path.parts[0] == "docs"}
    reached: set[Path] = set()
    to_read = [REPOSITORY / "README.md"]
    while to_read:
        page = to_read.pop()
        text = page.read_text(encoding="utf-8")
        for target in _LINK.findall(text):
            file = (page.parent / target.partition("#")[0]).resolve()
            if file in pages and file not in reached:
                reached.add(file)
                to_read.append(file)
    assert not sorted(str(page.relative_to(REPOSITORY)) for page in pages.keys() - reached)


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("[a](page.md)", []),
        ("[a](page.md#two-words)", []),
        ("[a](#the-own-one)\n# The own one", []),
        ("[a](https://example.org/x)", []),
        ("`[a](gone.md)`", []),
        ("```\n[a](gone.md)\n```", []),
        ("[a](gone.md)", ["gone.md"]),
        ("![a](gone.svg)", ["gone.svg"]),
        ("[a](page.md#three-words)", ["page.md#three-words"]),
        ("[a](../../../outside.md)", ["../../../outside.md"]),
    ],
)
def test_what_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, broken: list[str]
) -> None:
    monkeypatch.setattr("tests.tidy.test_links.REPOSITORY", tmp_path)
    (tmp_path / "page.md").write_text("# Two `words`\n")
    page = tmp_path / "own.md"
    page.write_text(text)
    assert broken_links(page, text) == broken
