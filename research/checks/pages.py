"""Write the pages that are made from the code, the dataset files and the tests.

    python -m research.checks.pages

A test checks that they are up to date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from research.checks import architecture, dataset_table, published_page, robustness_table
from research.checks.architecture import ROOT

PAGES = {
    "docs/architecture.md": architecture.page,
    "docs/published.md": published_page.page,
    "docs/robustness.md": robustness_table.page,
    "datasets/README.md": dataset_table.page,
}
"""The function that makes the text of each page."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m research.checks.pages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(argv)
    for name, page in PAGES.items():
        (ROOT / name).write_text(page(), encoding="utf-8")
        print(f"wrote {name}")
    architecture.draw(architecture.PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
