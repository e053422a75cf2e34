#!/usr/bin/env python
"""Write datasets/README.md from the dataset files.

    python -m research.checks.dataset_table

A test checks that the page is up to date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from sgovss.data.specification import DatasetSpecification
from sgovss.data.specification_file import load_specification
from sgovss.paths import dataset_files

README = Path(__file__).resolve().parents[2] / "datasets" / "README.md"

INTRODUCTION = """\
# Datasets

Each dataset is one YAML file: its classes with synonyms and colours, its label values and splits, where to get it, and
how the published archive is converted for training. This page is written by `python -m research.checks.dataset_table`.

```sh
sgovss prepare loveda --source ~/downloads/LoveDA --root $DETECTRON2_DATASETS  # convert, tile, split
sgovss check loveda --preview 8  # read every file, and draw a sheet of labelled images
sgovss train --config-file protocols/ovrs_dlrsd.yaml --eval-only MODEL.WEIGHTS model.pth  # evaluate
```

`sgovss prepare` only reads the source: folders, or archives (.zip, .tar, .tar.gz, .tgz). After an interruption, run it
again and it continues. At the end it prints the pixels of each class, and the number of pairs next to the expected
number. A colour or value that belongs to no class is an error. A note names masks that look resized with interpolation.

**A dataset of your own** needs `name`, `classes` and `splits`; everything else is optional:

```yaml
name: my_dataset
root: .  # the images are in my_dataset/images beside this file
classes:
  - {name: background}
  - {name: building, synonyms: [house, roof]}
splits:
  train: {images: images, labels: labels, select: "train_*"}
  val: {images: images, labels: labels, select: "val_*"}
```

A label is a one-channel image of class ids. The id of a class is its position in the list, unless it states a `value`.
`ignore: {values: [255]}` lists the values to ignore. `sgovss/data/specification_fields.py` describes all fields. Name
the file in `DATASETS.SPECIFICATIONS` or `$SGOVSS_DATASETS`.

**A variant** reads the prepared files of another dataset with other classes, so nothing is prepared twice. The base is
a file beside the variant's file, or a dataset of this table:

```yaml
name: my_variant
variant_of: uavid
ignore: [human]  # classes of the base to ignore
merge: {car: [static car, moving car]}  # new class from classes of the base
rename: {tree: {name: woods, synonyms: [forest]}}
splits: [train, val]  # default: all splits of the base
```

`ignored_as: {name: background}` makes the ignored pixels of the base the first class.

**verified** says how a file was checked. *real-sample*: pixel by pixel against original files. *documented*: against
the dataset's own documentation or that of a well-maintained library, without original files. *unverified*: second-hand
sources only. `references` and `notes` in the file give the sources, differences between related projects, and open
questions. Counts, licences and layouts that no source states are left empty.

The **vocabulary** of a dataset is its classes with their synonyms. At inference, the highest score of a class's names
is used. A test class counts as seen if one of its names is a name of a training class. `MODEL.CLIP.TEMPLATES` sets the
prompts. `sgovss segment` also reads class lists in the formats of related projects: JSON, or text with commas between
synonyms.

"""


def table(specs: list[DatasetSpecification]) -> str:
    """Return a Markdown table with one row per dataset."""
    rows = [
        [
            f"[{spec.name}]({spec.name}.yaml)",
            spec.title,
            len(spec.classes),
            "; ".join(f"{name} {_number(part.count)}" for name, part in spec.splits.items()),
            _gsd(spec),
            spec.licence or "not known",
            spec.source or "",
            spec.verified,
            _command(spec),
        ]
        for spec in specs
    ]
    headers = ["name", "title", "classes", "pairs", "m / pixel", "licence", "where to get it", "verified", "prepare"]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def page() -> str:
    """Return the text of datasets/README.md."""
    specs = [load_specification(path) for path in dataset_files()]
    return f"{INTRODUCTION}{table(specs)}\n"


def _number(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _gsd(spec: DatasetSpecification) -> str:
    """Format the ground sample distance in metres per pixel, or its range."""
    gsd = spec.ground_sample_distance
    if gsd is None:
        return "?"
    return f"{gsd:g}" if isinstance(gsd, float) else f"{gsd[0]:g} to {gsd[1]:g}"


def _command(spec: DatasetSpecification) -> str:
    if spec.generator is not None:
        return "drawn on first use"
    if spec.prepared_by is not spec:
        return f"reads the files of {spec.prepared_by.name}"
    return f"`sgovss prepare {spec.name} --source DOWNLOAD`" if spec.preparation else "used as it is"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m research.checks.dataset_table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(argv)
    README.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
