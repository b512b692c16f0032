"""The generated pages of the documentation say what the code says."""

from pathlib import Path

from tools.docgen.__main__ import PAGES, stale_pages


def test_generated_pages_are_up_to_date() -> None:
    assert stale_pages() == []


def test_a_changed_page_is_found(tmp_path: Path) -> None:
    for page, render in PAGES.items():
        path = tmp_path / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render().replace("Do not edit", "Edit", 1), encoding="utf-8")
    assert stale_pages(tmp_path) == list(PAGES)
