r"""Pre-train and evaluate the embedded vision-language model.

    python -m sgovss.synthetic --output output/pretraining_images --count 1600 --seed 1000000 --style a
    python -m research.pretraining train --manifest captions_ucm.jsonl --images ucm \
        --synthetic output/pretraining_images --output output/tiny_vlm
    python -m research.pretraining average --weights A.safetensors B.safetensors --output mean.safetensors
    python -m research.pretraining evaluate --data DATA --weights A.safetensors B.safetensors --output output/card
    python -m research.pretraining name-crops

research/pretraining/second_edition.sh has all commands of the second edition.

A manifest is a jsonl file with ``{"file", "captions"}`` in each line and optionally ``class``, the name of the scene.
Files are relative to its ``--images`` folder. Synthetic images are optional; their regions are named after their masks.
``train`` continues from the last checkpoint in ``--output``.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from research.pretraining.commands import WEIGHTS, average, evaluate, name_single_class_crops, train
from research.pretraining.image_encoder import TOWERS
from research.pretraining.sources import LICENCES
from research.pretraining.training import Recipe
from sgovss.allocator import keep_freed_memory
from sgovss.errors import command


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = _parser().parse_args(argv)
    arguments.command_line = shlex.join(["python", "-m", "research.pretraining", *argv])
    _start_log(arguments.output if arguments.run is train else None)
    arguments.run(arguments)
    return 0


def _start_log(output: Path | None) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(output / "log.txt"))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers, force=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m research.pretraining",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser_class: Any = partial(argparse.ArgumentParser, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, parser_class=parser_class)
    _add_train(commands)

    averaging = commands.add_parser("average", help="average image encoders", description=average.__doc__)
    averaging.add_argument("--weights", type=Path, nargs="+", required=True, help="two files or more")
    averaging.add_argument("--output", type=Path, required=True, help="file to write")
    averaging.set_defaults(run=average)

    evaluating = commands.add_parser("evaluate", help="zero-shot accuracy on all sets", description=evaluate.__doc__)
    evaluating.add_argument("--data", type=Path, required=True, help="holds ucm/, dubai_mbrsc/ and the others")
    evaluating.add_argument(
        "--weights", type=Path, nargs="+", default=[WEIGHTS], help="one or more files; default: those of the package"
    )
    evaluating.add_argument("--names", nargs="+", help="a name for each file in the table; default: the files' names")
    evaluating.add_argument("--output", type=Path, help="folder for scorecard.json and scorecard.md")
    evaluating.set_defaults(run=evaluate)

    naming = commands.add_parser(
        "name-crops", help="name crops of synthetic images", description=name_single_class_crops.__doc__
    )
    naming.add_argument("--weights", type=Path, default=WEIGHTS, help="default: those of the package")
    naming.add_argument("--count", type=int, default=200, help="number of images; default 200")
    naming.add_argument("--seed", type=int, default=50_000, help="seed of the first image; default 50000")
    naming.add_argument("--size", type=int, default=256, help="side of an image in pixels; default 256")
    naming.add_argument("--style", default="b", help="style of the images; default b")
    naming.set_defaults(run=name_single_class_crops)
    return parser


def _add_train(commands: Any) -> None:
    parser = commands.add_parser("train", help="train an image encoder", description=train.__doc__)
    _add_data(parser)
    parser.add_argument("--start", type=Path, help="weights to start from, instead of ImageNet weights")
    parser.add_argument("--output", type=Path, required=True, help="folder for checkpoint, log and weights")
    parser.add_argument("--device", help="cpu or cuda; default: cuda if there is one")
    parser.add_argument(
        "--bfloat16", action="store_true", help="compute the image encoder in bfloat16 on a CPU too, as on a GPU"
    )
    parser.add_argument("--checkpoint-every", type=int, default=100, metavar="STEPS", help="default 100")
    recipe = parser.add_argument_group("recipe")
    for name, kind, default, text in (
        ("steps", int, 600, "steps"),
        ("batch", int, 64, "images per step"),
        ("size", int, 192, "side of the crops in pixels, a multiple of 32 times the sides of mosaics"),
        ("seed", int, 0, "seed"),
        ("smallest", float, Recipe.smallest, "smallest side of a crop as a fraction of the image's"),
        ("mosaic-fraction", float, Recipe.mosaic_fraction, "fraction of the steps that show mosaics"),
        ("mosaic-tiles", int, Recipe.mosaic_tiles, "images per step in mosaics"),
        ("coarsest", float, Recipe.coarsest, "largest factor of the ground sample distance"),
        ("synthetic-count", int, Recipe.synthetic_count, "synthetic images per step, if there are any"),
        ("real-count", int, Recipe.real_count, "labelled images of Banepa per step, from --data"),
        ("noun-weight", float, Recipe.noun_weight, "weight of the loss of the captions' nouns"),
        ("region-weight", float, Recipe.region_weight, "weight of the loss of labelled regions"),
        ("average", float, Recipe.average, "factor by which the average of the weights forgets; 0 averages nothing"),
    ):
        recipe.add_argument(f"--{name}", type=kind, default=default, help=f"{text}; default {default}")
    recipe.add_argument("--tower", choices=TOWERS, default=TOWERS[0], help=f"image encoder; default {TOWERS[0]}")
    recipe.add_argument(
        "--mosaic-sides", type=int, nargs="+", default=[2], help="images along a side of a mosaic; default 2"
    )
    parser.set_defaults(run=train)


def _add_data(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("data")
    data.add_argument("--manifest", type=Path, action="append", default=[], help="jsonl file; may be repeated")
    data.add_argument(
        "--images", type=Path, action="append", default=[], help="image folder of the manifest; may be repeated"
    )
    data.add_argument("--data", type=Path, help="train on the sets in this folder: ucm/, rsicd_aid150/")
    data.add_argument(
        "--licence", choices=LICENCES, default="any", help="open: leave AID and RSICD out of --data; default any"
    )
    data.add_argument(
        "--synthetic",
        type=Path,
        nargs="*",
        default=(),
        help="folders of synthetic images with masks, to train on as well",
    )


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
