"""Command: write a folder of generated scenes. ``python -m sgovss.synthetic --help``"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2

from sgovss.errors import InputError, command
from sgovss.synthetic.scene import generate_image
from sgovss.synthetic.styles import STYLES
from sgovss.synthetic.writer import contact_sheet, write_images

_PREVIEWED = 24


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sgovss.synthetic", description="Write generated aerial scenes.")
    parser.add_argument("--output", type=Path, required=True, help="folder to make; left alone when already complete")
    parser.add_argument("--count", type=int, default=100, help="number of scenes")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first scene")
    parser.add_argument("--size", type=int, default=256, help="pixels a side")
    parser.add_argument("--style", default="a", help=f"one of {', '.join(STYLES)}")
    parser.add_argument("--split", default="train", help="prefix of the file names")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--preview", type=Path, help=f"picture to write of the first {_PREVIEWED} scenes and masks")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Write the scenes and, if asked, a contact sheet of them."""
    args = _parser().parse_args(argv)
    output = args.output.absolute()
    if args.preview is not None and not cv2.haveImageWriter(str(args.preview)):
        raise InputError(f"{args.preview}: not a picture file name; end it in .png or .jpg")
    splits = {args.split: (args.seed, args.count)}
    folder = write_images(output.parent, output.name, splits, args.size, args.style, args.workers)
    print(f"{args.count} scenes of style {args.style} in {folder}")
    if args.preview is not None:
        seeds = range(args.seed, args.seed + min(args.count, _PREVIEWED))
        sheet = contact_sheet([generate_image(seed, args.size, args.style) for seed in seeds])
        if not cv2.imwrite(str(args.preview), sheet[..., ::-1]):
            raise InputError(f"{args.preview}: cannot write the contact sheet; is its folder there?")
        print(f"contact sheet in {args.preview}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
