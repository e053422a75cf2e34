"""Convert a published dataset for training: colours or raw label values to class ids, large images to tiles.

examples:
  sgovss prepare loveda --source ~/downloads/LoveDA --root $DETECTRON2_DATASETS
  sgovss prepare my_dataset.yaml --source raw --root prepared --splits val

The source (a folder or an archive) is only read. After an interruption, run the command again: it continues where it
stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sgovss.data.archives import RawFiles
from sgovss.data.class_table import class_table
from sgovss.data.preparation import SplitPreparation, Totals
from sgovss.data.raw_labels import interpolation_note
from sgovss.data.specification import DatasetSpecification
from sgovss.data.specification_file import find_specification
from sgovss.errors import InputError, command

_SHOWN = 20


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sgovss prepare``; returns 0, 1 if some images could not be prepared, or 2 if nothing could be done."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", metavar="NAME", help="a dataset that comes with sgovss, or a YAML file")
    parser.add_argument("--source", required=True, type=Path, help="folder or archive with the published data")
    parser.add_argument("--root", type=Path, help="parent of the dataset's folder; default $DETECTRON2_DATASETS")
    parser.add_argument("--splits", nargs="+", help="default: all splits found in the source")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes; default: all cores")
    args = parser.parse_args(argv)
    spec = find_specification(args.dataset)
    if spec.prepared_by is not spec:
        print(f"{spec.name} is a variant of {spec.prepared_by.name} and reads its files; preparing those")
        spec = spec.prepared_by
    source = RawFiles(args.source)
    problems: list[str] = []
    for preparation in _preparations(spec, source, args.root, args.splits):
        totals, failed = preparation.run(args.workers)
        problems += failed
        print(summary(preparation, totals), flush=True)
    for problem in problems[:_SHOWN]:
        print(f"error: {problem}", file=sys.stderr)
    if len(problems) > _SHOWN:
        print(f"error: {len(problems) - _SHOWN} more images could not be prepared", file=sys.stderr)
    return 1 if problems else 0


def _preparations(
    spec: DatasetSpecification, source: RawFiles, root: Path | None, splits: Sequence[str] | None
) -> list[SplitPreparation]:
    """Find the files of all requested splits before the first file is written.

    Args:
        splits: names of splits; by default those that the source has.

    Raises:
        InputError: the dataset needs no preparation, or a split is unknown or not in the source.
    """
    if spec.preparation is None:
        raise InputError(
            f"{spec.name}: its file has no 'preparation'. {spec.notes or ''} Training reads "
            f"{', '.join(f'{name}: {part.images[0]} and {part.labels[0]}' for name, part in spec.splits.items())}"
        )
    for name in splits or ():
        if name not in spec.preparation.splits:
            raise InputError(
                f"--splits: {spec.name} has no raw split '{name}'; there are {', '.join(spec.preparation.splits)}"
            )
    all_splits = [SplitPreparation(spec, name, source, root) for name in splits or spec.preparation.splits]
    # A download may be incomplete: archives are often fetched one by one.
    found = [preparation for preparation in all_splits if preparation.pairs]
    for preparation in all_splits:
        if preparation not in found:
            problem = (
                f"{source.source}: no files of {spec.name}_{preparation.split} here; expected {preparation.expected}"
            )
            if splits or not found:
                raise InputError(f"{problem} (source of the data: {spec.source})")
            print(f"left out: {problem}")
    return found


def summary(preparation: SplitPreparation, totals: Totals) -> str:
    """Return the counts of pairs and pixels of a prepared split as text, next to the expected counts."""
    spec, split = preparation.spec, preparation.split
    raw, part = spec.required_preparation.splits[split], spec.splits[split]
    lines = [
        f"{spec.name}_{split} in {preparation.folder}",
        f"  published pairs: {totals.pairs} done, {len(preparation.pairs)} in the source, "
        + _expected(raw.count, totals.pairs),
        f"  prepared pairs: {totals.tiles}, {_expected(part.count, totals.tiles)}",
    ]
    if preparation.unlabelled:
        lines.append(f"  images without a label, left out: {preparation.unlabelled}")
    if left := preparation.passed_over:
        lines.append(
            f"  note: {len(left)} files have names of labels but another suffix, such as {left[0]}; if they are "
            "labels, add patterns with their suffix and that of their images to 'preparation' in the dataset file"
        )
    if totals.interpolated:
        lines.append(f"  note: {interpolation_note(totals.interpolated)}")
    table = class_table(spec, totals.pixels, totals.images)
    return "\n".join([*lines, table, ""])


def _expected(count: int | None, found: int) -> str:
    if count is None:
        return "expected number not known"
    return f"expected {count}" + ("" if count == found else f" (differs by {found - count:+d})")
