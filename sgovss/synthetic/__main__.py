"""Write a folder of synthetic aerial images with masks and captions.

python -m sgovss.synthetic --output output/synthetic --count 100 --size 256 --style b
python -m sgovss.synthetic --output output/few --count 8 --preview output/few.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2

from sgovss.errors import InputError, command
from sgovss.synthetic.image import generate_image
from sgovss.synthetic.styles import STYLES
from sgovss.synthetic.writer import contact_sheet, write_images

_PREVIEWED = 24


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m sgovss.synthetic",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write; nothing is done if it is complete")
    parser.add_argument("--count", type=int, default=100, help="number of images; default 100")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first image; default 0")
    parser.add_argument("--size", type=int, default=256, help="side in pixels; default 256")
    parser.add_argument("--style", default="a", help=f"one of {', '.join(STYLES)}; default a")
    parser.add_argument("--split", default="train", help="prefix of the file names; default train")
    parser.add_argument("--workers", type=int, default=2, help="processes; default 2")
    parser.add_argument(
        "--preview", type=Path, help=f"also write an overview of the first {_PREVIEWED} images and masks"
    )
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    args = _parser().parse_args(argv)
    output = args.output.absolute()
    if args.preview is not None and not cv2.haveImageWriter(str(args.preview)):
        raise InputError(f"{args.preview}: not the name of an image file; end it in .png or .jpg")
    splits = {args.split: (args.seed, args.count)}
    folder = write_images(output.parent, output.name, splits, args.size, args.style, args.workers)
    print(f"{args.count} images of style {args.style} in {folder}")
    if args.preview is not None:
        seeds = range(args.seed, args.seed + min(args.count, _PREVIEWED))
        sheet = contact_sheet([generate_image(seed, args.size, args.style) for seed in seeds])
        if not cv2.imwrite(str(args.preview), sheet[..., ::-1]):
            raise InputError(f"{args.preview}: cannot write the contact sheet; make its folder first")
        print(f"contact sheet in {args.preview}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
