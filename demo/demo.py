#!/usr/bin/env python
"""Segment images in words.

    python demo/demo.py --config-file configs/sgovss_tiny.yaml --input scene.jpg photos/ \\
        --vocabulary "building, road, tree|forest, water" --output output/demo \\
        --opts MODEL.WEIGHTS output/sgovss_tiny/model_inference.pth
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from sgovss.errors import InputError, command
from sgovss.inference.files import find_images, segment_file
from sgovss.inference.predictor import Predictor
from sgovss.vocabulary import Vocabulary


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 1 if an image failed, 2 if nothing could be done."""
    args = _parser().parse_args(argv)
    vocabulary = Vocabulary.parse(args.vocabulary)
    images = find_images(args.input)
    predictor = Predictor(args.config_file, options=tuple(args.opts))
    failed = 0
    with tqdm(images.items(), unit="image", disable=len(images) == 1) as progress:
        for path, name in progress:
            try:
                written = segment_file(predictor, path, vocabulary, Path(args.output) / name)
            except InputError as error:
                failed += 1
                progress.write(f"error: {error}", file=sys.stderr)
            else:
                progress.write(f"{path}: {written}")
    if failed:
        print(f"{failed} of {len(images)} images failed", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE", help="a config, or the name of one of sgovss")
    parser.add_argument("--input", required=True, nargs="+", metavar="PATH", help="images, or folders of images")
    parser.add_argument(
        "--vocabulary",
        required=True,
        metavar="WORDS",
        help="classes parted by ',' with synonyms parted by '|', or a .txt, .json or .yaml file",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="where overlays, labels and shares are written")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    return parser


if __name__ == "__main__":
    sys.exit(main())
