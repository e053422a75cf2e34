#!/usr/bin/env python
"""Measure time and memory; every claim of speed comes from here.

    python tools/benchmark.py inference --config-file sgovss_vitb16_384.yaml --size 384 --classes 17 150 --json F
    python tools/benchmark.py training --config-file sgovss_vitb16_384.yaml --size 384 --classes 17 --batch 2
    python tools/benchmark.py parameters --config-file sgovss_vitb16_384.yaml --size 384 --classes 17
    python tools/benchmark.py scenes --sizes 3000 12000 --classes 10 100

Times are medians of a process of its own, in which the bare open_clip image encoder takes turns with the model: what
counts on a noisy machine is the ratio. Peak memory is that of another process without the bare encoder.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from tabulate import tabulate
from torch import nn

from sgovss.allocator import keep_freed_memory
from sgovss.config import load_config
from sgovss.data.specification_file import load_specification
from sgovss.engine.trainer import Trainer
from sgovss.errors import InputError, command
from sgovss.evaluation.cost import count_flops, count_parameters
from sgovss.files import write_json_atomically
from sgovss.modeling.clip_models import create_model, model_configuration
from sgovss.paths import dataset_files
from sgovss.precision import autocast, cast_weights
from sgovss.resources import peak_megabytes
from sgovss.vocabulary import Vocabulary

DEMO = Path(__file__).resolve().parent.parent / "demo" / "demo.py"
_TILE = 512
_ADJECTIVES = ("", "wide ", "old ", "red ", "round ")
_KINDS = 8  # different scenes that a large one is laid out of


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    args = _parser().parse_args(argv)
    if args.what == "worker":
        print(json.dumps(_WORKERS[args.task](args)))
        return 0
    rows = {"scenes": benchmark_scenes, "parameters": benchmark_parameters}.get(args.what, benchmark_model)(args)
    print(tabulate(rows, headers="keys", floatfmt=".3g"))
    if args.json:
        content = {"command": " ".join(sys.argv[1:] if argv is None else argv), "machine": machine(), "rows": rows}
        write_json_atomically(args.json, content)
    return 0


def benchmark_model(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Inference or training steps, for each size, number of classes and precision."""
    rows = []
    for size, classes, dtype in itertools.product(args.size, args.classes, args.dtype):
        timed = _work(args, args.what, size, classes, dtype)
        alone = _work(args, f"{args.what}-memory", size, classes, dtype)
        ratios = [ours / bare / args.batch for ours, bare in zip(timed["ours"], timed["bare"], strict=True)]
        row = {
            "config": Path(args.config_file).stem,
            "size": size,
            "classes": classes,
            "batch": args.batch,
            "dtype": dtype,
            "seconds": round(statistics.median(timed["ours"]), 3),
            "range": f"{min(timed['ours']):.2f} to {max(timed['ours']):.2f}",
            "bare encoder": round(statistics.median(timed["bare"]), 3),
            "x bare an image": round(statistics.median(ratios), 2),
            "x range": f"{min(ratios):.2f} to {max(ratios):.2f}",
            "peak MB": round(alone["megabytes"]),
        }
        print(tabulate([row], headers="keys", floatfmt=".3g"), flush=True)
        rows.append(row)
    return rows


def benchmark_parameters(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Parameters of each part, and operations of an inference."""
    model, cfg = _model(args, training=False)
    rows = []
    for name, count in count_parameters(model).items():
        rows.append({"part": name, **{key: f"{value / 1e6:.2f} M" for key, value in count.items()}})
    for size, classes in itertools.product(args.size, args.classes):
        text = model.text_embedder(_words(classes)).embeddings
        flops = count_flops(_ImagePath(model), (torch.zeros(1, 3, size, size), text))
        bare = count_flops(_bare_encoder(cfg.MODEL.CLIP.NAME, size), (torch.zeros(1, 3, size, size),))
        rows.append({"part": f"operations at {size}, {classes} classes", "total": f"{flops / 1e9:.2f} G"})
        rows.append({"part": f"bare encoder at {size}", "total": f"{bare / 1e9:.2f} G"})
    return rows


def benchmark_scenes(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Each size with each number of words, in a process of its own; medians and ranges over the repeats."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            scene = Path(folder) / f"scene_{size}.tif"
            write_scene(scene, size)
            for classes in args.classes:
                runs = [_segment(args, scene, classes, Path(folder) / "out") for _ in range(args.repeats)]
                rows.append(_scene_row(size, classes, runs))
                print(tabulate([rows[-1]], headers="keys", floatfmt=".3g"), flush=True)
    return rows


def write_scene(path: Path, size: int) -> None:
    """A georeferenced scene of ``size`` by ``size`` pixels at 0.3 m, laid out of generated ones."""
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    from sgovss.data.scenes import generate_scene

    tiles = [generate_scene(70_001 + kind, _TILE, "b").image.transpose(2, 0, 1) for kind in range(_KINDS)]
    profile = {"driver": "GTiff", "height": size, "width": size, "count": 3, "dtype": "uint8", "compress": "deflate"}
    place = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, 0.3, 0.3)}
    layout = {"tiled": True, "blockxsize": _TILE, "blockysize": _TILE}
    with rasterio.open(path, "w", **profile, **place, **layout) as raster:
        for top in range(0, size, _TILE):
            for left in range(0, size, _TILE):
                height, width = min(_TILE, size - top), min(_TILE, size - left)
                tile = tiles[(3 * top // _TILE + left // _TILE) % _KINDS]
                raster.write(tile[:, :height, :width], window=Window(left, top, width, height))


def machine() -> str:
    """What the figures were measured on."""
    return f"{torch.get_num_threads()} of {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"


class _ImagePath(nn.Module):
    """From normalised images and text embeddings to logits: what an image costs once the words are known."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.image_encoder, self.head = model.image_encoder, model.head

    def forward(self, images: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return self.head(self.image_encoder(images), text)


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
        commands.add_parser("worker"),
    ]
    models[-1].add_argument("task", choices=tuple(_WORKERS))
    for each in models:
        each.add_argument("--size", type=int, nargs="+", default=[384], help="side of the image in pixels")
        each.add_argument("--batch", type=int, default=1)
        each.add_argument("--dtype", nargs="+", default=["float32"], choices=("float32", "bfloat16"))
        each.add_argument("--repeats", type=int, default=5)
        each.add_argument("--warm-up", type=int, default=1)
        each.add_argument("--compile", action="store_true", help="our image encoder and head through torch.compile")
    for each in (models[0], models[-1]):
        each.add_argument("--scene", action="store_true", help="drawn scenes and words of aerial images, not noise")
    for each in (scenes, *models):
        each.add_argument("--config-file", default="sgovss_tiny.yaml")
        each.add_argument("--classes", type=int, nargs="+", default=[17], help="numbers of words")
        each.add_argument("--json", type=Path, help="write the figures here too")
        each.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    return parser


def _work(args: argparse.Namespace, task: str, size: int, classes: int, dtype: str) -> dict[str, Any]:
    """A measurement in a process of its own."""
    given = {"--config-file": args.config_file, "--size": size, "--classes": classes, "--dtype": dtype}
    given |= {"--batch": args.batch, "--repeats": args.repeats, "--warm-up": args.warm_up}
    argv = [word for pair in given.items() for word in map(str, pair)]
    argv += [flag for flag in ("--compile", "--scene") if getattr(args, flag[2:], False)]
    options = ["--opts", *args.opts] if args.opts else []
    done = subprocess.run(
        [sys.executable, __file__, "worker", task, *argv, *options], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise InputError(f"{task} of {args.config_file}: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _time_inference(args: argparse.Namespace) -> dict[str, list[float]]:
    ours, bare = _inference(args), _bare_forward(args)
    return _take_turns(args, ours, bare)


def _time_training(args: argparse.Namespace) -> dict[str, list[float]]:
    ours, bare = _training(args), _bare_forward(args)
    return _take_turns(args, ours, bare)


def _take_turns(
    args: argparse.Namespace, ours: Callable[[], object], bare: Callable[[], object]
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    for turn in range(args.warm_up + args.repeats):
        for name, work in (("bare", bare), ("ours", ours)):
            started = time.perf_counter()
            work()
            if turn >= args.warm_up:
                times[name].append(time.perf_counter() - started)
    return times


def _memory_of(build: Callable[[argparse.Namespace], Callable[[], object]]):
    def measure(args: argparse.Namespace) -> dict[str, float]:
        work = build(args)
        for _ in range(2):
            work()
        return {"megabytes": peak_megabytes()}

    return measure


def _inference(args: argparse.Namespace) -> Callable[[], object]:
    model, _ = _model(args, training=False)
    images, words = _drawn(args) if args.scene else _noise(args)
    # As the predictor does.
    for part in (model.image_encoder, model.head):
        cast_weights(part, args.dtype[0])
        if args.compile:
            part.compile()

    @torch.no_grad()
    def step() -> None:
        model.scores(images.to(model.device), words)

    return step


def _noise(args: argparse.Namespace) -> tuple[torch.Tensor, Vocabulary]:
    size = args.size[0]
    return torch.randint(0, 256, (args.batch, 3, size, size), dtype=torch.uint8), _words(args.classes[0])


def _drawn(args: argparse.Namespace) -> tuple[torch.Tensor, Vocabulary]:
    from sgovss.data.scenes import generate_scene

    scenes = [generate_scene(70_001 + number, args.size[0], "b").image for number in range(args.batch)]
    images = torch.stack([torch.from_numpy(scene).permute(2, 0, 1) for scene in scenes])
    return images, Vocabulary.from_string(", ".join(scene_words(args.classes[0])))


def _training(args: argparse.Namespace) -> Callable[[], object]:
    model, cfg = _model(args, training=True)
    size, classes = args.size[0], args.classes[0]
    words, device = _words(classes), torch.device(cfg.MODEL.DEVICE)
    generator = torch.Generator().manual_seed(0)
    batch = [
        {
            "image": torch.randint(0, 256, (3, size, size), generator=generator, dtype=torch.uint8),
            "sem_seg": torch.randint(0, classes, (size, size), generator=generator),
            "vocabulary": words,
        }
        for _ in range(args.batch)
    ]
    optimizer = Trainer.build_optimizer(cfg, model)
    if args.compile:
        model.image_encoder.compile()
        model.head.compile()

    def step() -> None:
        optimizer.zero_grad()
        with autocast(args.dtype[0], device):
            loss = sum(model(batch).values())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE)
        optimizer.step()

    return step


def _bare_forward(args: argparse.Namespace) -> Callable[[], object]:
    """open_clip's own image encoder on one image."""
    cfg = load_config(args.config_file, args.opts)
    device = torch.device(cfg.MODEL.DEVICE)
    encoder = _bare_encoder(cfg.MODEL.CLIP.NAME, args.size[0]).to(device)
    image = torch.randn(1, 3, args.size[0], args.size[0], device=device)

    @torch.no_grad()
    def forward() -> None:
        with autocast(args.dtype[0], device):
            encoder(image)

    return forward


def _bare_encoder(name: str, size: int) -> nn.Module:
    vision = {**model_configuration(name)["vision_cfg"], "image_size": size}
    return create_model(name, vision_cfg=vision).visual.eval()


def _model(args: argparse.Namespace, training: bool) -> tuple[nn.Module, CfgNode]:
    cfg = load_config(args.config_file, ["MODEL.CLIP.WEIGHTS", "random", "TEST.PRECISION", args.dtype[0], *args.opts])
    cfg.MODEL.SGOVSS.COMPENSATION.ENABLED = training and cfg.MODEL.SGOVSS.COMPENSATION.ENABLED
    torch.manual_seed(0)
    return build_model(cfg).train(training), cfg


def _words(classes: int) -> Vocabulary:
    return Vocabulary.from_string(", ".join(f"thing number {number}" for number in range(classes)))


def scene_words(classes: int) -> list[str]:
    """The class names of the datasets that come with sgovss, then those with adjectives: words of aerial images.

    Raises:
        InputError: there are not so many.
    """
    specifications = map(load_specification, dataset_files())
    names = sorted({entry.name.lower() for each in specifications for entry in each.vocabulary})
    words = [f"{adjective}{name}" for adjective in _ADJECTIVES for name in names]
    if classes > len(words):
        raise InputError(f"--classes: {classes} words of aerial images were asked for, {len(words)} are known here")
    return words[:classes]


_WORKERS = {
    "inference": _time_inference,
    "training": _time_training,
    "inference-memory": _memory_of(_inference),
    "training-memory": _memory_of(_training),
}


def _segment(args: argparse.Namespace, scene: Path, classes: int, output: Path) -> dict[str, float]:
    words = ", ".join(scene_words(classes))
    argv = ["--config-file", args.config_file, "--input", scene, "--vocabulary", words, "--output", output]
    options = ["--opts", *args.opts] if args.opts else []
    code = (
        "import json, runpy, sys\n"
        "from sgovss.resources import peak_megabytes\n"
        "sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    if end.code: raise\n"
        "print(json.dumps(peak_megabytes()))"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, str(DEMO), *map(str, argv), *options], capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    if done.returncode:
        raise InputError(f"demo.py ended with status {done.returncode}: {done.stderr.strip().splitlines()[-1]}")
    return {"seconds": seconds, "megabytes": json.loads(done.stdout.splitlines()[-1])}


def _scene_row(size: int, classes: int, runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    seconds = [run["seconds"] for run in runs]
    median = statistics.median(seconds)
    return {
        "pixels": f"{size} x {size}",
        "words": classes,
        "seconds": round(median, 1),
        "range": f"{min(seconds):.1f} to {max(seconds):.1f}",
        "megapixels / s / core": round(size * size / 1e6 / median / torch.get_num_threads(), 4),
        "peak MB": round(max(run["megabytes"] for run in runs)),
    }


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
