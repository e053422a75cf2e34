"""Export a model to ONNX, torch.export, the plugin Deepness of QGIS, or a folder without pickle.

examples:
  sgovss export --config-file sgovss_tiny.yaml --output model.onnx \\
      --opts MODEL.WEIGHTS output/sgovss_tiny/model_inference.pth
  sgovss export --config-file sgovss_tiny.yaml --format torch --output model.pt2
  sgovss export --config-file sgovss_tiny.yaml --format deepness --words "building, road, tree|forest, water" \\
      --output model.onnx

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

--format deepness writes an ONNX file for the plugin Deepness of QGIS. Its words and its size are fixed, its only input
are images (N, 3, size, size) in 0 to 1, and its metadata are the plugin's settings. See docs/qgis.md.

--format folder writes a self-contained model without pickle: model.safetensors, config.yaml, a card (README.md) and a
STAC item (mlm.json). MODEL.WEIGHTS and sgovss.Predictor.from_pretrained take the folder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from sgovss.errors import InputError, command
from sgovss.export import deepness
from sgovss.export.image_path import TOLERANCE, expect_equal, trace
from sgovss.export.onnx_file import OPSET, OnnxImagePath, expect_packages, metadata_of, write_onnx
from sgovss.files import atomic_path
from sgovss.inference.predictor import Predictor
from sgovss.modeling.checkpoint import portable_config
from sgovss.modeling.meta_arch import SGOVSS
from sgovss.vocabulary import Vocabulary

_SUFFIXES = {"onnx": ".onnx", "torch": ".pt2", "deepness": ".onnx", "folder": ""}
_SIZE = 512


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sgovss export``; returns its exit status."""
    args = _parser().parse_args(argv)
    if args.format != "folder" and args.output.suffix != _SUFFIXES[args.format]:
        suffix = _SUFFIXES[args.format]
        raise InputError(
            f"--output {args.output}: give a name that ends in {suffix}, as files of --format {args.format} do"
        )
    _expect_own_options(args)
    vocabulary = _vocabulary(args)
    if args.format in ("onnx", "deepness"):
        expect_packages("onnx", "onnxscript", "onnxruntime")
    predictor = Predictor(args.config_file, options=(*args.opts, "MODEL.DEVICE", "cpu", "TEST.PRECISION", "float32"))
    if args.format == "folder":
        predictor.save_pretrained(args.output, args.licence, args.scores)
        print(f"{args.output}: {', '.join(sorted(path.name for path in args.output.iterdir()))}")
    elif vocabulary is None:
        export(predictor, args.format, args.output, _SIZE if args.size is None else args.size)
    else:
        export_deepness(predictor, vocabulary, args.output, args.size, args.overlap, args.gsd)
    return 0


def _vocabulary(args: argparse.Namespace) -> Vocabulary | None:
    """Return the words of --format deepness; None for another format."""
    if args.format == "deepness":
        if not args.words:
            raise InputError("--words: --format deepness needs the classes, such as --words 'building, road, water'")
        return Vocabulary.parse(args.words)
    return None


def _expect_own_options(args: argparse.Namespace) -> None:
    """Raise an InputError for an option that belongs to another format."""
    for owner, names in {"deepness": ("words", "gsd", "overlap"), "folder": ("licence", "scores")}.items():
        for name in names:
            if args.format != owner and getattr(args, name) is not None:
                raise InputError(f"--{name} belongs to --format {owner}; leave it out, or give --format {owner}")


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
    metadata = metadata_of(model, portable_config(predictor.cfg))
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
    print(_agreement(difference))


def export_deepness(
    predictor: Predictor,
    vocabulary: Vocabulary,
    path: Path,
    size: int | None = None,
    overlap: int | None = None,
    gsd: float | None = None,
) -> None:
    """Write a predictor's model for the plugin Deepness, and check that the file gives the same scores.

    Args:
        predictor: on the CPU, in float32.
        vocabulary: the classes of the file.
        path: the file. It is not written if the scores differ.
        size: side of a tile in pixels; None for the window of rasters, TEST.SCENE.WINDOW.
        overlap: of neighbouring tiles in percent; None for that of the windows of rasters.
        gsd: ground sample distance of a tile in metres per pixel; None for that of the training images.

    Raises:
        InputError: the plugin could not use such a file, or the scores differ.
    """
    model = predictor.model
    assert isinstance(model, SGOVSS)
    scene = predictor.cfg.TEST.SCENE
    size = scene.WINDOW if size is None else size
    overlap = round(100 * (scene.WINDOW - scene.STRIDE) / scene.WINDOW) if overlap is None else overlap
    gsd = predictor.cfg.INPUT.GROUND_SAMPLE_DISTANCE if gsd is None else gsd
    deepness.check_tiles(model, vocabulary, size, overlap, gsd)
    metadata = deepness.plugin_metadata(vocabulary, size, overlap, resolution=round(100 * gsd, 4))
    program = deepness.trace_words(model, vocabulary, size)
    with atomic_path(path) as partial:
        deepness.write_deepness(program, metadata, partial)
        difference = deepness.expect_same_scores(model, vocabulary, partial, size, str(path))
    print(
        f"{path}: {path.stat().st_size / 2**20:.1f} MB, for Deepness, opset {deepness.OPSET}; {len(vocabulary)} "
        f"classes, tiles of {size} pixels at {gsd:g} m, overlap {overlap} %"
    )
    print(_agreement(difference))


def _agreement(difference: float) -> str:
    return f"scores differ from the model's by {difference:.1e} at most (tolerance {TOLERANCE:g})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE", help="a config, the name of one that comes "
                        "with sgovss, a model folder, or a model of the hub (owner/name)")  # fmt: skip
    parser.add_argument("--format", choices=_SUFFIXES, default="onnx", help="default onnx")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FILE", help=".onnx; .pt2 for torch; a folder for folder"
    )
    parser.add_argument("--size", type=int, metavar="PIXELS", help=f"side of the largest images that the file is "
                        f"checked with, default {_SIZE}; for deepness the side of the tiles, default the window of "
                        "rasters")  # fmt: skip
    plugin = parser.add_argument_group("--format deepness")
    plugin.add_argument("--words", metavar="CLASSES", help="class names separated by ',', with synonyms separated by "
                        "'|'; or a .txt, .json or .yaml file")  # fmt: skip
    plugin.add_argument("--gsd", type=float, metavar="METRES", help="ground sample distance of the tiles, in metres "
                        "per pixel; default as in training")  # fmt: skip
    plugin.add_argument("--overlap", type=int, metavar="PERCENT", help="overlap of neighbouring tiles; default that of "
                        "the windows of rasters")  # fmt: skip
    folder = parser.add_argument_group("--format folder")
    folder.add_argument("--licence", metavar="TEXT", help="licence of the model, for its card")
    folder.add_argument("--scores", type=Path, metavar="DIR", help="OUTPUT_DIR of an evaluation of these weights, for "
                        "the card")  # fmt: skip
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    return parser
