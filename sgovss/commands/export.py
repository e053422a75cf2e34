"""Export a model to ONNX or torch.export, with text embeddings as an input, and compare the file with the model.

examples:
  sgovss export --config-file sgovss_tiny.yaml --output model.onnx \\
      --opts MODEL.WEIGHTS output/sgovss_tiny/model_inference.pth
  sgovss export --config-file sgovss_tiny.yaml --format torch --output model.pt2

inputs of the exported model:
  images      (B, 3, H, W) float32, RGB, 0 to 255
  embeddings  (N, D) float32, text embeddings of all class names and synonyms
  starts      (T,) int64, index of each class's first embedding
output:
  scores      (B, T, H, W) float32, 0 to 1

B, H, W, N and T are free. All classes are computed at once, so memory grows with T. ONNX needs the extra onnx.
'sgovss segment --onnx' runs an ONNX file. Load the other format with
torch.export.load("model.pt2").module(check_guards=False): the guards check only the memory layout, which does not
change results. Its images must be larger than the encoder's stride.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode

from sgovss.errors import InputError, command
from sgovss.export.image_path import TOLERANCE, expect_equal, trace
from sgovss.export.onnx_file import OPSET, OnnxImagePath, expect_packages, metadata_of, write_onnx
from sgovss.files import atomic_path
from sgovss.inference.predictor import Predictor
from sgovss.modeling.checkpoint import config_of
from sgovss.modeling.meta_arch import SGOVSS

_SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sgovss export``; returns its exit status."""
    args = _parser().parse_args(argv)
    if args.output.suffix != _SUFFIXES[args.format]:
        raise InputError(f"--output {args.output}: a file of --format {args.format} ends in {_SUFFIXES[args.format]}")
    if args.format == "onnx":
        expect_packages("onnx", "onnxscript", "onnxruntime")
    predictor = Predictor(args.config_file, options=(*args.opts, "MODEL.DEVICE", "cpu", "TEST.PRECISION", "float32"))
    export(predictor, args.format, args.output, args.size)
    return 0


def export(predictor: Predictor, kind: str, path: Path, size: int) -> None:
    """Write a predictor's model to a file, and check that the file gives the same scores.

    Args:
        predictor: on the CPU, in float32.
        kind: ``onnx`` or ``torch``.
        path: the file. It is not written if the scores differ.
        size: side in pixels of the largest images that the file is checked with.

    Raises:
        InputError: the size is too small, or the scores differ.
    """
    model = predictor.model
    assert isinstance(model, SGOVSS)
    divisor = model.image_encoder.size_divisibility
    if size < 2 * divisor:
        raise InputError(f"--size {size}: give at least {2 * divisor}, twice the image encoder's stride")
    program = trace(model)
    metadata = metadata_of(model, _embedded_config(predictor.cfg))
    with atomic_path(path) as partial:
        if kind == "onnx":
            write_onnx(program, metadata, partial)
            run: Callable[..., torch.Tensor] = OnnxImagePath(partial)
        else:
            torch.export.save(program, partial, extra_files={"sgovss.json": json.dumps(metadata)})
            run = torch.export.load(partial).module(check_guards=False)
        difference = expect_equal(model, run, size, str(path))
    megabytes = path.stat().st_size / 2**20
    details = f"ONNX, opset {OPSET}" if kind == "onnx" else f"torch.export, for sides above {divisor} pixels"
    print(f"{path}: {megabytes:.1f} MB, {details}; batch, height, width, class names and classes are free")
    print(f"scores differ from the model's by {difference:.1e} at most (tolerance {TOLERANCE:g})")


def _embedded_config(cfg: CfgNode) -> CfgNode:
    """Return the config to store in the file. MODEL.WEIGHTS is empty, because the file itself holds the weights."""
    cfg = cfg.clone()
    if cfg.MODEL.WEIGHTS and cfg.MODEL.CLIP.WEIGHTS == "random":
        # The file does not hold the text encoder, so its weights have to be loaded from their original source.
        cfg.MODEL.CLIP.WEIGHTS = config_of(cfg.MODEL.WEIGHTS).MODEL.CLIP.WEIGHTS
    cfg.MODEL.WEIGHTS = ""
    return cfg


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE", help="a config, or the name of one that comes "
                        "with sgovss")  # fmt: skip
    parser.add_argument("--format", choices=_SUFFIXES, default="onnx", help="default onnx")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help=".onnx or, for torch, .pt2")
    parser.add_argument("--size", type=int, default=512, metavar="PIXELS", help="side of the largest images that the "
                        "file is checked with; default 512")  # fmt: skip
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    return parser
