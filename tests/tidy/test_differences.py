"""The page of differences names every API that is not served, and none that is."""

import re

from tools.layers import REPOSITORY

from ottla.handlers.registry import HANDLERS
from ottla.wire.apis import API

PAGE = REPOSITORY / "docs" / "compatibility.md"


def named_as_not_served(text: str) -> set[str]:
    """Return the words in the second column of the table of what is not there yet."""
    section = text.split("### What is not there yet")[1].split("###")[0]
    rows = re.findall(r"^\|[^|]*\|([^|]*)\|", section, re.MULTILINE)
    return {word for row in rows[2:] for word in re.findall(r"\w+", row)}


def test_every_api_that_is_not_served_is_named() -> None:
    missing = {
        info.request_name.removesuffix("Request")
        for key, info in API.items()
        if key not in HANDLERS
    }
    assert named_as_not_served(PAGE.read_text(encoding="utf-8")) == missing


def test_what_counts_as_named() -> None:
    text = "### What is not there yet\n| a | b | c |\n|---|---|---|\n| x | Fetch, EndTxn | Produce |\n### y"
    assert named_as_not_served(text) == {"Fetch", "EndTxn"}
