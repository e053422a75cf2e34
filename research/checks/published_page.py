"""Write docs/published.md from the published results that come with sgovss.

    python -m research.checks.published_page

A test checks that the page is up to date.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from sgovss.evaluation.comparison import PublishedRow, PublishedTable, markdown, published_tables
from sgovss.paths import config_file

PAGE = Path(__file__).resolve().parents[2] / "docs" / "published.md"

SHARED = ("iSAID", "Vaihingen", "Potsdam", "LoveDA")
"""Test sets whose names stand in the paper's table and in that of SegEarth-OV's protocol."""

_COMPARED = {
    "paper_dlrsd": ("SegEarth-OV (not trained)", "OVRS", "the paper"),
    "segearth_eight": ("SegEarth-OV", "ReAttnCLIP", "TMPA (at test time, on SegEarth-OV)", "SegEarth-OV3"),
    "ovrsisbench_v1_dlrsd": ("RSKT-Seg",),
}

INTRODUCTION = """\
# Published results

Written by `python -m research.checks.published_page` from `sgovss/assets/published.yaml`. All numbers on this page are
those of others, quoted from the sources that are named. None was measured here. Ours are in [Evidence](evidence.md):
small models on small sets, not comparable with anything on this page.

`sgovss train --eval-only --config-file protocols/NAME.yaml MODEL.WEIGHTS model.pth` evaluates a model under a protocol
and writes its table with one more row, that of the run.

## Where the paper's method stands

The paper reports two tables of its own, trained on DLRSD and on iSAID. No source that we could read has its numbers
under another protocol, and there are no weights of it to measure them with. So it can only be placed by what the tables
have in common: test sets of the same name, and SegEarth-OV.

"""

CONCLUSION = """
- In its own tables, the paper's method is ahead of all others on every set, except LoveDA when trained on DLRSD.
- SegEarth-OV differs by up to 28 points between the two tables, on test sets of the same name: the image size, the
  windows, the words, the thresholds and the images that are tested on are other ones. A difference of that size between
  methods of different tables says nothing about the methods.
- Numbers without any training have since risen: with SAM 3 they are above those of all methods that are trained on
  DLRSD, on Vaihingen, Potsdam and LoveDA. How much of this is the protocol is not known: on LoveDA, SegEarth-OV alone
  differs by 17 points between the tables, and SegEarth-OV3 and the paper by 21.
- Training on more land cover helps more than a method does: HG-RSOVSSeg gains 11 points by OpenEarthMap in the place of
  Globe230k, and 2 over the next method.
- We therefore claim nothing about the paper's rank today. What would settle it are runs of one implementation under
  `segearth_eight` and `hrlc_openearthmap`, with full-size encoders, on a GPU; they have not been done.

"""


def shared_table(tables: dict[str, PublishedTable]) -> str:
    """A Markdown table of the methods that are compared, on the test sets whose names the protocols share."""
    rows = [
        [f"`{name}`", f"{row.method}{'' if row.first_hand else ' †'}", *(_number(row, heading) for heading in SHARED)]
        for name, methods in _COMPARED.items()
        for row in tables[name].rows
        if row.method in methods
    ]
    return tabulate(rows, headers=["protocol", "method", *SHARED], tablefmt="github", disable_numparse=True)


def page() -> str:
    """Return the text of docs/published.md."""
    tables = published_tables()
    parts = [INTRODUCTION, shared_table(tables), "\n\n† not read in the source itself, but in a text that quotes it\n"]
    parts.append(CONCLUSION)
    for name, table in tables.items():
        parts.append(_with_protocol(name, markdown(table, None, [])))
    return "".join(parts)


def _with_protocol(name: str, text: str) -> str:
    """Insert the name of the protocol file below the heading of a table."""
    heading, rest = text.split("\n", 1)
    protocols = config_file("base.yaml").parent / "protocols"
    files = sorted(path.name for path in protocols.glob("*.yaml") if f"PUBLISHED: {name}\n" in path.read_text("utf-8"))
    line = ", ".join(f"`protocols/{file}`" for file in files) or "no protocol file"
    return f"{heading}\n\nTable `{name}`, {line}.\n{rest}\n"


def _number(row: PublishedRow, heading: str) -> str:
    return "" if heading not in row.values else f"{row.values[heading]:.2f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m research.checks.published_page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(argv)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
