#!/usr/bin/env python
"""Write datasets/README.md from the dataset files: python -m research.checks.dataset_table"""

from __future__ import annotations

import sys
from pathlib import Path

from tabulate import tabulate

from sgovss.data.specification import DatasetSpecification
from sgovss.data.specification_file import load_specification
from sgovss.paths import dataset_files

README = Path(__file__).resolve().parents[2] / "datasets" / "README.md"

INTRODUCTION = """\
# Datasets

Each dataset is one YAML file: classes with synonyms and colours, label values, splits, where to get it, and how the
published archive becomes what training reads. This page is written by `python -m research.checks.dataset_table`.

```sh
python datasets/prepare.py loveda --source ~/downloads/LoveDA --root $DETECTRON2_DATASETS  # ids, tiles, splits
python datasets/check.py loveda --preview 8  # every file, and a sheet to look at
python train_net.py --config-file configs/protocols/ovrs_dlrsd.yaml --eval-only MODEL.WEIGHTS model.pth
```

`prepare.py` only reads the source, folders or zip archives, goes on after an interruption, and ends with the pixels of
each class and the number of pairs beside the expected one. A colour or value that belongs to no class is an error, and
so is a mask that was resized with interpolation. What no source states, such as a count, a licence or a layout, is
left empty.

**verified** says what a file rests on: *real-sample*: checked pixel by pixel against original files; *documented*: on
the dataset's own documentation or that of a well kept library, but no original file was at hand; *unverified*: on
second-hand sources. The file's `references` and `notes` say which, where peers differ, and what is not known.

The **vocabulary** of a dataset is its classes with their synonyms: at inference the best-scoring word of a class
counts, and a test class counts as seen if one of its words was a training class's. `MODEL.CLIP.TEMPLATES` names the
prompts. Class lists in the peers' formats, JSON or text with commas between synonyms, are read by the demo.

"""


def table(specs: list[DatasetSpecification]) -> str:
    """One row a dataset."""
    rows = [
        [
            f"[{spec.name}]({spec.name}.yaml)",
            spec.title,
            len(spec.classes),
            "; ".join(f"{name} {_number(part.count)}" for name, part in spec.splits.items()),
            _distance(spec),
            spec.licence or "not known",
            spec.source or "",
            spec.verified,
            "`" + _command(spec) + "`",
        ]
        for spec in specs
    ]
    headers = ["name", "title", "classes", "pairs", "m / pixel", "licence", "where to get it", "verified", "prepare"]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def page() -> str:
    """The whole README."""
    specs = [load_specification(path) for path in dataset_files()]
    return f"{INTRODUCTION}{table(specs)}\n"


def _number(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _distance(spec: DatasetSpecification) -> str:
    distance = spec.ground_sample_distance
    if distance is None:
        return "?"
    return f"{distance:g}" if isinstance(distance, float) else f"{distance[0]:g} to {distance[1]:g}"


def _command(spec: DatasetSpecification) -> str:
    if spec.generator is not None:
        return "drawn on first use"
    return f"datasets/prepare.py {spec.name} --source DOWNLOAD" if spec.preparation else "used as it is"


if __name__ == "__main__":
    README.write_text(page(), encoding="utf-8")
    sys.exit(0)
