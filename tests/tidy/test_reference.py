"""The generated pages of the documentation say what the code says."""

from pathlib import Path

from tools.docgen.__main__ import PAGES, REPOSITORY, stale_pages
from tools.docgen.faults import SAID, row, silences


def test_generated_pages_are_up_to_date() -> None:
    assert stale_pages() == []


def test_a_changed_page_is_found(tmp_path: Path) -> None:
    for page, render in PAGES.items():
        path = tmp_path / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render().replace("Do not edit", "Edit", 1), encoding="utf-8")
    assert stale_pages(tmp_path) == list(PAGES)


def test_the_failure_table_says_what_was_counted() -> None:
    page = (REPOSITORY / "docs/cluster.md").read_text(encoding="utf-8").splitlines()
    counted = silences()
    assert counted.keys() == SAID.keys()
    assert [row(*each) for each in counted.items() if row(*each) not in page] == []
