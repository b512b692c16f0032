"""Write the generated pages of the documentation; `--check` only says whether they would change."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tools.docgen.architecture import architecture_picture
from tools.docgen.cluster import death_picture, parts_picture, record_picture
from tools.docgen.configuration import configuration_page
from tools.docgen.terminal import status_picture

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES: dict[str, Callable[[], str]] = {
    "docs/design/architecture.svg": architecture_picture,
    "docs/images/cluster-death.svg": death_picture,
    "docs/images/cluster-parts.svg": parts_picture,
    "docs/images/cluster-record.svg": record_picture,
    "docs/images/cluster-status.svg": status_picture,
    "docs/reference/configuration.md": configuration_page,
}


def stale_pages(root: Path = REPOSITORY) -> list[str]:
    """Return the pages that are not what the tables say."""
    return [
        page
        for page, render in PAGES.items()
        if not (root / page).exists() or (root / page).read_text(encoding="utf-8") != render()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.docgen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if stale")
    options = parser.parse_args()
    stale = stale_pages()
    for page in stale:
        if options.check:
            print(f"{page} is stale: run python -m tools.docgen", file=sys.stderr)
        else:
            path = REPOSITORY / page
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(PAGES[page](), encoding="utf-8")
            print(f"wrote {page}")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
