"""Check every image and label of a prepared dataset before training.

examples:
  sgovss check loveda --preview 8
  sgovss check my_dataset.yaml --split val

Prints each class's share of pixels and one line for each problem, which names the file. The exit status is 1 if there
are problems.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sgovss.data.class_table import class_table
from sgovss.data.generated import ensure_generated
from sgovss.data.inspection import SplitReport, duplicates, inspect_split
from sgovss.data.label_map import LabelMap
from sgovss.data.labels import load_labels, read_rgb
from sgovss.data.listing import files_of_no_split
from sgovss.data.specification import DatasetSpecification
from sgovss.data.specification_file import find_specification
from sgovss.errors import InputError, command

_SHOWN = 50


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sgovss check``; returns 0, 1 if there are problems, or 2 if the input is wrong."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", metavar="NAME_OR_YAML", help="a dataset that comes with sgovss, or a YAML file")
    parser.add_argument("--split", help="default: all splits")
    parser.add_argument("--root", type=Path, help="parent of the dataset's folder; default $DETECTRON2_DATASETS")
    parser.add_argument("--preview", type=int, default=0, metavar="N", help="draw N labelled images per split")
    parser.add_argument("--output", type=Path, default=Path("output/check"), help="folder of the drawn images")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes; default: all cores")
    args = parser.parse_args(argv)
    if args.preview < 0:
        raise InputError(f"--preview {args.preview}: give a number of images, 0 or more")
    spec = find_specification(args.dataset)
    if args.split is not None and args.split not in spec.splits:
        raise InputError(f"--split: {spec.name} has no split '{args.split}'; there are {', '.join(spec.splits)}")
    if spec.generator is not None:
        ensure_generated(spec, args.root)
    reports: dict[str, SplitReport] = {}
    problems: list[str] = []
    for split in [args.split] if args.split else spec.splits:
        try:
            reports[split] = inspect_split(spec, split, args.root, args.workers)
        except InputError as error:
            problems.append(str(error))
    for split, report in reports.items():
        print(_summary(spec, split, report))
        problems += report.problems
        if args.preview:
            _preview(spec, split, report, args.preview, args.output / f"{spec.name}_{split}.png")
    if left := files_of_no_split(spec, args.root):
        print(
            f"note: {len(left)} files in the folders of {spec.name} belong to no split, such as {left[0]}; if "
            "they should, correct the suffixes or 'select' in the dataset file\n"
        )
    problems += duplicates(spec, reports)
    for problem in problems[:_SHOWN]:
        print(f"problem: {problem}")
    more = f" ({len(problems) - _SHOWN} not shown)" if len(problems) > _SHOWN else ""
    print(f"{spec.name}: {f'{len(problems)} problems{more}' if problems else 'no problem found'}")
    return 1 if problems else 0


def _summary(spec: DatasetSpecification, split: str, report: SplitReport) -> str:
    table = class_table(spec, report.pixels, report.images)
    notes = [f"note: {note}" for note in report.notes]
    return "\n".join([f"{spec.name}_{split}: {len(report.records)} pairs", table, *notes, ""])


def _preview(spec: DatasetSpecification, split: str, report: SplitReport, number: int, path: Path) -> None:
    """Draw labelled images, evenly spread over the split. Unreadable ones were reported before and are skipped."""
    from sgovss.evaluation.pictures import draw_samples  # imports Detectron2, which only previews need

    label_map = LabelMap.from_specification(spec)
    samples = {}
    for index in np.unique(np.linspace(0, len(report.records) - 1, number).round().astype(int)):
        record = report.records[index]
        try:
            image = read_rgb(record["file_name"])
            labels = load_labels(record["sem_seg_file_name"], label_map)
        except InputError:
            continue
        if image.shape[:2] == labels.shape:
            samples[Path(record["file_name"]).name] = image, labels
    if samples:
        draw_samples(samples, spec.vocabulary, f"{spec.name}_{split}", path)
        print(f"{len(samples)} labelled images in {path}\n")
