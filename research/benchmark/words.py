"""Words that some images choose, scored on other images: what ``sgovss words`` gains."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from sgovss.data.specification_file import find_specification
from sgovss.evaluation.metrics import class_counts
from sgovss.files import write_json_atomically
from sgovss.inference.predictor import Predictor
from sgovss.vocabulary import Vocabulary
from sgovss.word_choice.candidates import collect
from sgovss.word_choice.choosing import ChoiceOptions, decide
from sgovss.word_choice.grid import Grid, mean_iou
from sgovss.word_choice.material import from_dataset
from sgovss.word_choice.scoring import ScoredImage, cells_each
from sgovss.word_choice.search import random_choice
from sgovss.word_choice.validation import Chooser

_DATASETS = ("dronedeploy_sample", "dubai_mbrsc", "research/evidence/epfl_roads.yaml")
_RANDOM, _MOST_RANDOM, _SEEDS, _FEW = 100, 3, 3, 5


def add_command(commands: Any) -> None:
    """Add ``words`` to the subcommands of an argument parser."""
    parser = commands.add_parser("words", help="mIoU of words that other images chose")
    parser.add_argument("--config-file", metavar="FILE", help="default the embedded model")
    parser.add_argument("--datasets", nargs="+", default=_DATASETS, metavar="NAME", help=f"default {_DATASETS}")
    parser.add_argument("--choose", default="val", metavar="SPLIT", help="images that choose; default val")
    parser.add_argument("--test", default="test", metavar="SPLIT", help="images that are scored; default test")
    parser.add_argument("--root", type=Path, help="parent of the datasets' folders; default $DETECTRON2_DATASETS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here too")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    parser.set_defaults(run=compare_words)


def compare_words(args: argparse.Namespace) -> None:
    """Print a table: for each dataset and number of images that choose, the mIoU on the images of the other split."""
    predictor = Predictor(args.config_file, options=tuple(args.opts))
    found = {name: measure(predictor, name, args.choose, args.test, args.root) for name in args.datasets}
    print(tabulate(rows(found), headers="keys", floatfmt=".1f", tablefmt="github"))
    if args.json:
        write_json_atomically(args.json, {**args.origin, "results": found})


def measure(predictor: Predictor, dataset: str, choose: str, test: str, root: Path | None) -> dict[str, Any]:
    """Choose words and offsets on one split of a dataset, by all of its images and by a few; score the other split."""
    spec = find_specification(dataset)
    candidates = collect(spec.vocabulary, None, built_in=True)
    choosing, tested = (
        [ScoredImage(predictor, sample) for sample in from_dataset(spec, split, root).samples]
        for split in (choose, test)
    )
    grids = [
        [image.grid(candidates, cells_each(len(images))) for image in tqdm(images, desc=spec.name, unit="image")]
        for images in (choosing, tested)
    ]

    def score(vocabulary: Vocabulary) -> float:
        return mean_iou(class_counts(np.sum([image.matrix(vocabulary) for image in tested], axis=0)))

    draws = [list(range(len(choosing)))]
    for seed in range(_SEEDS if len(choosing) > _FEW else 0):
        draws.append(sorted(np.random.default_rng(seed).permutation(len(choosing))[:_FEW].tolist()))
    results = []
    for images in tqdm(draws, desc=f"{spec.name}: choosing", unit="choice"):
        chosen_by, own_grids = [choosing[place] for place in images], [grids[0][place] for place in images]
        chooser = Chooser(chosen_by, own_grids, candidates, offsets=True)
        validation = chooser.validate(ChoiceOptions.folds)
        without = replace(validation, final=replace(validation.final, offsets=None))
        chosen, shifted = (
            decide(chooser, each, bool(predictor.cfg.MODEL.WEIGHTS))[0] for each in (without, validation)
        )
        results.append(
            {
                "images": len(images),
                "expected_gain": validation.gain("after"),
                "mIoU": score(chosen),
                "mIoU_with_offsets": score(shifted),
                "words": [list(entry.scored_names) for entry in chosen],
            }
        )
    generator, other = np.random.default_rng(0), Grid.join(grids[1])
    spread = [other.score(random_choice(candidates, generator, _MOST_RANDOM)) for _ in range(_RANDOM)]
    return {"tested": len(tested), "in_use": score(candidates.before), "chosen": results, "spread": spread}


def rows(found: Mapping[str, Mapping[str, Any]]) -> Sequence[dict[str, Any]]:
    """Rows of the table; choices by as many images are one row, with their range."""
    table = []
    for name, result in found.items():
        low, middle, high = np.percentile(result["spread"], [0, 50, 100])
        for images in dict.fromkeys(each["images"] for each in result["chosen"]):
            several = [each for each in result["chosen"] if each["images"] == images]
            row: dict[str, Any] = {"dataset": Path(name).stem, "images that choose": images}
            row |= {"images scored": result["tested"], "random words": f"{low:.1f} / {middle:.1f} / {high:.1f}"}
            row |= {"words in use": result["in_use"], "chosen words": _range([each["mIoU"] for each in several])}
            row["with offsets"] = _range([each["mIoU_with_offsets"] for each in several])
            table.append(row)
    return table


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.1f}" if len(values) == 1 else f"{low:.1f} to {high:.1f}"
