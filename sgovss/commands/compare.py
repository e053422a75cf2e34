"""Compare two evaluations of the same test sets: is one of them better than chance would make it?

examples:
  sgovss compare output/plain output/full
  sgovss compare output/plain output/full --dataset loveda_val --output output/plain_and_full

Each run is an output folder of 'sgovss train' or 'sgovss train --eval-only'. For every test set that both have, the
command prints the scores of both, the difference (second minus first), the interval in which 95 % of the differences
lie if the images are drawn again with replacement, and a p-value. Both runs are scored on the same drawn images.

Each p-value is for its row alone. Of twenty rows without any difference, one is below 0.05 by chance. The interval says
nothing about another training with another seed: for that, train more than once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sgovss.errors import InputError, command
from sgovss.evaluation.image_counts import FILE, read_counts
from sgovss.evaluation.significance import HEADERS, compare_runs, difference_rows
from sgovss.evaluation.tables import format_table, write_tables


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sgovss compare``; returns its exit status."""
    args = _parser().parse_args(argv)
    if args.resamples < 1:
        raise InputError(f"--resamples {args.resamples}: give 1 or more")
    for name in _shared(args.first, args.second, args.dataset):
        first, second = (read_counts(_folder(run) / name / FILE) for run in (args.first, args.second))
        rows = difference_rows(compare_runs(first, second, args.resamples))
        print(f"\n{name}: {len(first.images)} images; first {args.first}, second {args.second}\n")
        print(format_table(HEADERS, rows, "simple"))
        if args.output:
            write_tables(HEADERS, rows, args.output / f"{name}_comparison")
            print(f"\nAlso in {args.output / name}_comparison.md, .tex and .csv")
    return 0


def _shared(first: Path, second: Path, wanted: Sequence[str]) -> list[str]:
    """Names of the test sets to compare."""
    present = [{path.parent.name for path in _folder(run).glob(f"*/{FILE}")} for run in (first, second)]
    for run, names in zip((first, second), present, strict=True):
        if not names:
            raise InputError(
                f"{run}: no {_folder(run) / '*' / FILE}; give an output folder of 'sgovss train'; evaluate a run of "
                "an earlier version again, with 'sgovss train --eval-only'"
            )
        if missing := [name for name in wanted if name not in names]:
            raise InputError(
                f"--dataset {missing[0]}: {run} has no scores of it; give one of {', '.join(sorted(names))}"
            )
    if not (shared := present[0] & present[1]):
        raise InputError(
            f"{first} and {second} have no test set in common: {', '.join(sorted(present[0]))}; "
            f"{', '.join(sorted(present[1]))}; evaluate both on the same DATASETS.TEST"
        )
    return list(wanted) or sorted(shared)


def _folder(run: Path) -> Path:
    return run / "evaluation"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path, metavar="FIRST", help="output folder of a run")
    parser.add_argument("second", type=Path, metavar="SECOND", help="output folder of another run")
    parser.add_argument("--dataset", action="append", default=[], metavar="NAME", help="test set to compare; may be "
                        "repeated; default all that both have")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for the tables as Markdown, LaTeX and CSV")
    parser.add_argument("--resamples", type=int, default=1000, metavar="N", help="number of drawn test sets; default "
                        "1000")  # fmt: skip
    return parser
