#!/usr/bin/env python
"""Measure time and memory; every claim of speed comes from here.

    python -m research.benchmark inference --config-file sgovss_vitb16_384.yaml --size 384 --classes 17 150 --json F
    python -m research.benchmark training --config-file sgovss_vitb16_384.yaml --size 384 --classes 17 --batch 2
    python -m research.benchmark parameters --config-file sgovss_vitb16_384.yaml --size 384 --classes 17
    python -m research.benchmark scenes --sizes 3000 12000 --classes 10 100

Times are medians of a process of its own, in which the bare open_clip image encoder takes turns with the model: what
counts on a noisy machine is the ratio. Peak memory is that of another process without the bare encoder.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import nn

from research.benchmark.models import Case, bare_encoder, numbered_words, random_model
from research.benchmark.scenes import SceneRuns, scene_words, segment_scene, write_scene
from research.benchmark.worker import measure_memory, measure_times
from sgovss.allocator import keep_freed_memory
from sgovss.errors import command
from sgovss.evaluation.cost import count_flops, count_parameters
from sgovss.files import write_json_atomically

DEMO = Path(__file__).resolve().parents[2] / "demo" / "demo.py"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    args = _parser().parse_args(argv)
    rows = {"scenes": benchmark_scenes, "parameters": benchmark_parameters}.get(args.what, benchmark_model)(args)
    print(tabulate(rows, headers="keys", floatfmt=".3g"))
    if args.json:
        content = {"command": " ".join(sys.argv[1:] if argv is None else argv), "machine": machine(), "rows": rows}
        write_json_atomically(args.json, content)
    return 0


def machine() -> str:
    """What the figures were measured on."""
    return f"{torch.get_num_threads()} of {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"


def benchmark_model(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Inference or training steps, for each size, number of classes and precision."""
    rows = []
    for size, classes, dtype in itertools.product(args.size, args.classes, args.dtype):
        counts = {"batch": args.batch, "repeats": args.repeats, "warm_up": args.warm_up}
        flags = {"compiled": args.compile, "drawn": getattr(args, "scene", False)}
        case = Case(args.config_file, args.opts, size, classes, dtype, **counts, **flags)
        rows.append(_model_row(case, measure_times(args.what, case), measure_memory(args.what, case)))
        print(tabulate(rows[-1:], headers="keys", floatfmt=".3g"), flush=True)
    return rows


def _model_row(case: Case, times: dict[str, list[float]], megabytes: float) -> dict[str, Any]:
    ours, bare = times["ours"], times["bare"]
    ratios = [each / reference / case.batch for each, reference in zip(ours, bare, strict=True)]
    return {
        "config": Path(case.config_file).stem,
        "size": case.size,
        "classes": case.classes,
        "batch": case.batch,
        "dtype": case.dtype,
        "seconds": round(statistics.median(ours), 3),
        "range": f"{min(ours):.2f} to {max(ours):.2f}",
        "bare encoder": round(statistics.median(bare), 3),
        "x bare an image": round(statistics.median(ratios), 2),
        "x range": f"{min(ratios):.2f} to {max(ratios):.2f}",
        "peak MB": round(megabytes),
    }


def benchmark_parameters(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Parameters of each part, and operations of an inference."""
    model, cfg = random_model(args.config_file, args.opts, args.dtype[0], training=False)
    rows = []
    for name, count in count_parameters(model).items():
        rows.append({"part": name, **{key: f"{value / 1e6:.2f} M" for key, value in count.items()}})
    for size, classes in itertools.product(args.size, args.classes):
        text = model.text_embedder(numbered_words(classes)).embeddings
        flops = count_flops(_ImagePath(model), (torch.zeros(1, 3, size, size), text))
        bare = count_flops(bare_encoder(cfg.MODEL.CLIP.NAME, size), (torch.zeros(1, 3, size, size),))
        rows.append({"part": f"operations at {size}, {classes} classes", "total": f"{flops / 1e9:.2f} G"})
        rows.append({"part": f"bare encoder at {size}", "total": f"{bare / 1e9:.2f} G"})
    return rows


class _ImagePath(nn.Module):
    """From normalised images and text embeddings to logits: what an image costs once the words are known."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.image_encoder, self.head = model.image_encoder, model.head

    def forward(self, images: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return self.head(self.image_encoder(images), text)


def benchmark_scenes(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Each size with each number of words, in a process of its own; medians and ranges over the repeats."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            scene = Path(folder) / f"scene_{size}.tif"
            write_scene(scene, size)
            for classes in args.classes:
                words, options = ", ".join(scene_words(classes)), ["--opts", *args.opts] if args.opts else []
                given = ["--config-file", args.config_file, "--input", scene, "--vocabulary", words]
                runs = segment_scene(DEMO, [*given, "--output", Path(folder) / "out", *options], args.repeats)
                rows.append(_scene_row(size, classes, runs))
                print(tabulate(rows[-1:], headers="keys", floatfmt=".3g"), flush=True)
    return rows


def _scene_row(size: int, classes: int, runs: SceneRuns) -> dict[str, Any]:
    return {
        "pixels": f"{size} x {size}",
        "words": classes,
        "seconds": round(runs.median, 1),
        "range": f"{min(runs.seconds):.1f} to {max(runs.seconds):.1f}",
        "megapixels / s / core": round(size * size / 1e6 / runs.median / torch.get_num_threads(), 4),
        "peak MB": round(max(runs.megabytes)),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    scenes = commands.add_parser("scenes", help="georeferenced scenes through demo.py: time, throughput, peak memory")
    scenes.add_argument("--sizes", type=int, nargs="+", default=[3000, 12000], help="side of the scenes in pixels")
    scenes.add_argument("--repeats", type=int, default=1)
    models = [
        commands.add_parser("inference", help="an image, from pixels to scores"),
        commands.add_parser("training", help="a step: forward, frozen twin, backward, optimizer"),
        commands.add_parser("parameters", help="parameters and operations"),
    ]
    for each in models:
        each.add_argument("--size", type=int, nargs="+", default=[384], help="side of the image in pixels")
        each.add_argument("--batch", type=int, default=1)
        each.add_argument("--dtype", nargs="+", default=["float32"], choices=("float32", "bfloat16"))
        each.add_argument("--repeats", type=int, default=5)
        each.add_argument("--warm-up", type=int, default=1)
        each.add_argument("--compile", action="store_true", help="our image encoder and head through torch.compile")
    models[0].add_argument("--scene", action="store_true", help="drawn scenes and words of aerial images, not noise")
    for each in (scenes, *models):
        each.add_argument("--config-file", default="sgovss_tiny.yaml")
        each.add_argument("--classes", type=int, nargs="+", default=[17], help="numbers of words")
        each.add_argument("--json", type=Path, help="write the figures here too")
        each.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    return parser


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
