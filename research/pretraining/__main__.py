r"""Pre-train and evaluate the embedded vision-language model.

    python -m sgovss.synthetic --output output/pretraining_images --count 1600 --seed 1000000 --style a
    python -m research.pretraining train --manifest captions_ucm.jsonl --images ucm \
        --synthetic output/pretraining_images --output output/tiny_vlm
    python -m research.pretraining average --weights A.safetensors B.safetensors --output mean.safetensors
    python -m research.pretraining evaluate --data DATA
    python -m research.pretraining name-crops

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
from pathlib import Path
from typing import Any

from research.pretraining.commands import WEIGHTS, average, evaluate, name_single_class_crops, train
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
        prog="python -m research.pretraining", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    _add_train(commands)

    averaging = commands.add_parser("average", help="average image encoders", description=average.__doc__)
    averaging.add_argument("--weights", type=Path, nargs="+", required=True, help="two files or more")
    averaging.add_argument("--output", type=Path, required=True, help="file to write")
    averaging.set_defaults(run=average)

    evaluating = commands.add_parser("evaluate", help="scene accuracy and zero-shot mIoU", description=evaluate.__doc__)
    evaluating.add_argument("--data", type=Path, required=True, help="holds ucm/, dubai_mbrsc/ and dronedeploy_sample/")
    evaluating.add_argument("--weights", type=Path, default=WEIGHTS, help="default: those of the package")
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
    parser.add_argument("--manifest", type=Path, action="append", required=True, help="jsonl file; may be repeated")
    parser.add_argument(
        "--images", type=Path, action="append", required=True, help="image folder of the manifest; may be repeated"
    )
    parser.add_argument(
        "--synthetic",
        type=Path,
        nargs="*",
        default=(),
        help="folders of synthetic images with masks, to train on as well",
    )
    parser.add_argument("--start", type=Path, help="weights to start from, instead of ImageNet weights")
    parser.add_argument("--output", type=Path, required=True, help="folder for checkpoint, log and weights")
    parser.add_argument("--steps", type=int, default=600, help="default 600")
    parser.add_argument("--batch", type=int, default=64, help="images per step; default 64")
    parser.add_argument(
        "--size", type=int, default=192, help="side of the crops in pixels, a multiple of 64; default 192"
    )
    parser.add_argument(
        "--smallest",
        type=float,
        default=Recipe.smallest,
        help=f"smallest side of a crop as a fraction of the image's; default {Recipe.smallest}",
    )
    parser.add_argument(
        "--mosaic-fraction",
        type=float,
        default=Recipe.mosaic_fraction,
        help=f"fraction of the steps that show mosaics of 2 x 2 images; default {Recipe.mosaic_fraction}",
    )
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--checkpoint-every", type=int, default=100, metavar="STEPS", help="default 100")
    parser.set_defaults(run=train)


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
