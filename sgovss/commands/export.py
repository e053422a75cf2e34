"""Export a model's image path, with text embeddings as an input, and check the file against the model.

    python tools/export_model.py --config-file configs/sgovss_tiny.yaml --output model.onnx \\
        --opts MODEL.WEIGHTS output/sgovss_tiny/model_inference.pth
    python tools/export_model.py --format torch --output model.pt2 --config-file configs/sgovss_tiny.yaml

Images of any number and size, words and classes of any number: images (B, 3, H, W) float32 RGB in 0..255, embeddings
(N, D) of the words, starts (T,) the row of each class's first word -> scores (B, T, H, W) in 0..1. All classes are
computed at once, so memory grows with their number. Needs the extra onnx.

demo/demo.py --onnx runs an ONNX file. torch.export.load("model.pt2").module(check_guards=False) is the other kind, for
sides larger than the encoder's stride; its guards are about the order of memory, which makes no difference to results.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode

from sgovss.errors import InputError, command
from sgovss.export.image_path import TOLERANCE, expect_equal, trace
from sgovss.export.onnx_file import OPSET, OnnxImagePath, expect_packages, metadata_of, write_onnx
from sgovss.files import atomic_path
from sgovss.inference.predictor import Predictor
from sgovss.modeling.checkpoint import config_of

_SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    args = _parser().parse_args(argv)
    if args.output.suffix != _SUFFIXES[args.format]:
        raise InputError(f"--output {args.output}: a file of --format {args.format} ends in {_SUFFIXES[args.format]}")
    if args.format == "onnx":
        expect_packages("onnx", "onnxscript", "onnxruntime")
    predictor = Predictor(args.config_file, options=(*args.opts, "MODEL.DEVICE", "cpu", "TEST.PRECISION", "float32"))
    export(predictor, args.format, args.output, args.size)
    return 0


def export(predictor: Predictor, kind: str, path: Path, size: int) -> None:
    """Write the image path of a predictor's model to a file, checked; none is left if it is not equal.

    Args:
        predictor: on the CPU, in float32.
        kind: ``onnx`` or ``torch``.
        path: the file.
        size: see :func:`expect_equal`.
    """
    divisor = predictor.model.image_encoder.size_divisibility
    if size < 2 * divisor:
        raise InputError(f"--size {size}: give at least {2 * divisor}, twice what the image encoder divides by")
    program = trace(predictor.model)
    metadata = metadata_of(predictor.model, _carried(predictor.cfg))
    with atomic_path(path) as partial:
        if kind == "onnx":
            write_onnx(program, metadata, partial)
            run = OnnxImagePath(partial)
        else:
            torch.export.save(program, partial, extra_files={"sgovss.json": json.dumps(metadata)})
            run = torch.export.load(partial).module(check_guards=False)
        difference = expect_equal(predictor.model, run, size, str(path))
    megabytes = path.stat().st_size / 2**20
    what = f"ONNX, opset {OPSET}" if kind == "onnx" else f"torch.export, for sides above {divisor} pixels"
    print(f"{path}: {megabytes:.1f} MB, {what}; batch, height, width, words and classes are free")
    print(f"scores differ from the model's by {difference:.1e} at most (tolerance {TOLERANCE:g})")


def _carried(cfg: CfgNode) -> CfgNode:
    """The config to carry in the file: without the checkpoint, which is in it, but with CLIP's weights."""
    cfg = cfg.clone()
    if cfg.MODEL.WEIGHTS and cfg.MODEL.CLIP.WEIGHTS == "random":
        # The checkpoint held them all; the text encoder's have to come from where they once came from.
        cfg.MODEL.CLIP.WEIGHTS = config_of(cfg.MODEL.WEIGHTS).MODEL.CLIP.WEIGHTS
    cfg.MODEL.WEIGHTS = ""
    return cfg


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE", help="a config, or the name of one of sgovss")
    parser.add_argument("--format", choices=_SUFFIXES, default="onnx", help="default onnx")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help=".onnx or, for torch, .pt2")
    parser.add_argument("--size", type=int, default=512, metavar="PIXELS", help="side of the largest images that the "
                        "file is checked with; default 512")  # fmt: skip
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    return parser
