#!/usr/bin/env python
"""Two short runs on the CPU whose digits are stored, so that a change of results is always a decision.

    python -m research.checks.golden_run            # compare with the stored digits
    python -m research.checks.golden_run --write    # after a change that is meant to change them; commit the file

``steps``: the losses of ten steps of the trainer, with the full method, on a small ConvNeXt with compensation that
differs from its frozen encoder. ``main_job``: the commands train (ten steps), evaluate and segment, with the embedded
model.

Both compute in float64, on one thread, with weights and images that are drawn from integers. So they do not depend on
the machine: float64 rounds at 1e-16, and ``--sensitivity`` measures how much ten steps enlarge a change of the weights
(2.4 times). So the digits may differ by 1e-13 or so; they are compared to a relative 1e-9. Without AVX instructions
(``ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41``) they are the same within it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import yaml
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from torch import nn

from sgovss.commands.segment import main as segment
from sgovss.commands.train import main as train
from sgovss.errors import InputError, command
from sgovss.files import write_json_atomically
from sgovss.modeling import build_model
from sgovss.modeling.meta_arch import SGOVSS
from sgovss.precision import PRECISIONS
from tests.conftest import CHECKOUT
from tests.engine.small_training import WORDS, make_trainer, small_model
from tests.modeling.conftest import make_batch

STORED = CHECKOUT / "tests" / "golden_run.json"
TOLERANCE = 1e-9
STEPS = 10
WIDTH = 96  # of the images, in pixels


@contextlib.contextmanager
def in_float64(nudge: float) -> Iterator[None]:
    """Context in which one thread computes in float64 whatever the code calls float32.

    Models that are built in it are plain CLIP, with a head whose weights are drawn, see :func:`draw`.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def build(cfg: CfgNode) -> nn.Module:
        model = build_model(cfg)
        assert isinstance(model, SGOVSS)
        model.text_embedder.build()  # otherwise it would be built later, in float32
        return draw(model.double(), ["head"], nudge)

    try:
        with (
            patch.object(torch.Tensor, "float", torch.Tensor.double),
            patch.dict(PRECISIONS, {"float32": torch.float64}),
            patch("sgovss.engine.trainer.build_model", build),
            patch("sgovss.inference.predictor.build_model", build),
        ):
            yield
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def draw(model: nn.Module, parts: Sequence[str], nudge: float, gates: float = 0.0) -> nn.Module:
    """Draw weights from integers, because torch's own draws differ by a rounding between processors.

    Args:
        model: the model; it is changed.
        parts: names of its modules.
        nudge: each drawn weight changes by at most this fraction of itself.
        gates: gates, scales and biases change by up to this much; 0 keeps those that are initialised to a constant.
    """
    rng, other = np.random.default_rng(0), np.random.default_rng(1)
    for each in (weight for part in parts for weight in model.get_submodule(part).parameters()):
        if each.dim() == 0 or (each.dim() == 1 and not gates and (each == each[0]).all()):
            continue
        drawn = rng.integers(-(2**20), 2**20, each.shape) / 2**20
        drawn *= math.sqrt(3 / each[0].numel()) if each.dim() > 1 else gates or 0.1
        drawn += each.eq(1).numpy() if each.dim() == 1 else 0
        each.copy_(torch.from_numpy(drawn * (1 + nudge * other.uniform(-1, 1, each.shape))))
    return model


def steps(nudge: float = 0.0) -> dict[str, list[float]]:
    """The losses of each step, by name."""
    with in_float64(nudge), tempfile.TemporaryDirectory() as folder:
        parts = ["image_encoder", "frozen_encoder", "text_embedder", "head"]
        model = draw(small_model().double(), parts, nudge, gates=0.1)
        batches = [make_batch(WORDS, seed=seed) for seed in range(STEPS)]
        history: list[dict[str, torch.Tensor]] = []
        model.register_forward_hook(lambda _, __, losses: history.append(losses))
        options = ["SOLVER.MAX_ITER", STEPS, "SOLVER.WARMUP_ITERS", 3, "SOLVER.BASE_LR", 0.001]
        named = [[{**entry, "file_name": "drawn.png"} for entry in batch] for batch in batches]
        make_trainer(named, Path(folder), options, model).train()
    return {name: [losses[name].item() for losses in history] for name in sorted(history[0])}


def write_images(folder: Path) -> list[str]:
    """Write six images of squares with noise and their labels; return the options of a run on them."""
    rng = np.random.default_rng(0)
    colours = np.array([(230, 230, 230), (0, 30, 60), (60, 110, 40)])
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number in range(6):
        labels = np.kron(rng.integers(0, 3, (3, 3)), np.ones((WIDTH // 3, WIDTH // 3))).astype(np.uint8)
        pixels = np.clip(colours[labels] + rng.integers(-9, 10, (WIDTH, WIDTH, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"{'aaaabb'[number]}_{number}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{'aaaabb'[number]}_{number}.png")
    files = {"images": "images", "labels": "labels", "image_suffix": ".png"}
    names = ("building", "water", "forest")
    content = {
        "name": "golden", "title": "Squares", "source": None, "licence": None, "citation": None,
        "verified": "unverified", "ground_sample_distance": 0.3, "root": str(folder.parent), "folder": folder.name,
        "classes": [{"name": name, "color": [value, 0, 0], "value": value} for value, name in enumerate(names)],
        "splits": {"train": {**files, "select": "a_*"}, "test": {**files, "select": "b_*"}},
    }  # fmt: skip
    (folder / "golden.yaml").write_text(yaml.safe_dump(content))
    options = {
        "DATASETS.SPECIFICATIONS": f"('{folder / 'golden.yaml'}',)", "DATASETS.TRAIN": "('golden_train',)",
        "DATASETS.TEST": "('golden_test',)", "DATASETS.UNSEEN": "('forest',)", "MODEL.DEVICE": "cpu",
        "INPUT.MIN_SIZE_TRAIN": "(96,)", "INPUT.CROP.SIZE": "[64,64]", "INPUT.COLOR_AUG_SSD": "False",
        "SOLVER.IMS_PER_BATCH": "2", "SOLVER.MAX_ITER": str(STEPS), "SOLVER.WARMUP_ITERS": "2",
        "SOLVER.BASE_LR": "0.0002", "MODEL.CLIP.KEEP_TEXT": "False", "OUTPUT_DIR": str(folder / "run"),
    }  # fmt: skip
    return [word for pair in options.items() for word in pair]


def main_job(nudge: float = 0.0) -> dict[str, Any]:
    """Train, evaluate and segment a raster; the losses, IoUs and pixels of each class."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"SGOVSS_CACHE": folder}):
        root = Path(folder, "golden")
        root.mkdir()
        try:
            return _main_job(root, nudge)
        finally:
            for split in ("golden_train", "golden_test"):
                DatasetCatalog.remove(split)
                MetadataCatalog.remove(split)


def _main_job(folder: Path, nudge: float) -> dict[str, Any]:
    import rasterio

    options = write_images(folder)
    with in_float64(nudge):
        if train(["--config-file", "sgovss_tiny.yaml", *options]):
            raise InputError("training ended with an error")
        lines = [json.loads(line) for line in (folder / "run" / "metrics.json").read_text().splitlines()]
        scores = json.loads((folder / "run" / "evaluation" / "golden_test.json").read_text())
        parts = [np.asarray(Image.open(folder / "images" / f"{name}.png")) for name in ("b_4", "b_5")]
        scene = np.concatenate(parts, axis=1).transpose(2, 0, 1)
        place = {"crs": "EPSG:32632", "transform": rasterio.transform.from_origin(500_000, 5_300_000, 0.3, 0.3)}
        with rasterio.open(
            folder / "scene.tif", "w", driver="GTiff", count=3, height=WIDTH, width=2 * WIDTH, dtype="uint8", **place
        ) as raster:
            raster.write(scene)
        flags = ["--input", folder / "scene.tif", "--output", folder / "out", "--precision", "float32", "--confidence"]
        flags += ["--vocabulary", "building, water, forest, road, bare soil, grass, car"]
        windows = ["MODEL.WEIGHTS", folder / "run" / "model_inference.pth", "MODEL.DEVICE", "cpu"]
        windows += ["TEST.SCENE.WINDOW", 64, "TEST.SCENE.STRIDE", 48, "MODEL.CLIP.KEEP_TEXT", False]
        if segment(["--config-file", "sgovss_tiny.yaml", *map(str, [*flags, "--opts", *windows])]):
            raise InputError("segmenting the raster ended with an error")
    with rasterio.open(folder / "out" / "scene_labels.tif") as raster:
        pixels = np.bincount(raster.read(1).ravel(), minlength=7).tolist()
        confidence = float(raster.read(2).mean(dtype=np.float64))
    losses = sorted(name for name in lines[0] if name.startswith("loss_") or name == "gradient_norm")
    return {
        **{name: [line[name] for line in lines[:STEPS]] for name in losses},
        "mIoU": scores["mIoU"],
        "IoU": [row["iou"] for row in scores["per_class"]],
        "pixels": pixels,
        "confidence": confidence,
    }


def differences(found: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """A line for each number or list that is not the stored one."""
    lines = [f"{name}: only in one of both" for name in sorted(found.keys() ^ stored.keys())]
    for name in sorted(found.keys() & stored.keys()):
        now, before = (np.atleast_1d(np.array(each[name], float)) for each in (found, stored))
        if now.shape != before.shape:
            lines.append(f"{name}: {len(now)} numbers, {len(before)} stored")
        elif not np.allclose(now, before, rtol=TOLERANCE, atol=1e-12):
            place = int(np.argmax(np.abs(now - before)))
            lines.append(f"{name}: {now[place]!r} at {place}, {before[place]!r} stored")
    return lines


RUNS = (steps, main_job)


def growth(found: Mapping[str, Any], nudged: Mapping[str, Any]) -> float:
    """How much larger the largest relative change of a loss is than that of the weights, which is 1e-12."""
    losses = [name for name in found if name.startswith("loss") and min(found[name]) > 0]
    return max(np.abs(np.array(nudged[name]) / found[name] - 1).max() for name in losses) / 1e-12


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m research.checks.golden_run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--write", action="store_true", help="store the digits of this version")
    parser.add_argument("--sensitivity", action="store_true", help="also change the weights by 1e-12 and compare")
    args = parser.parse_args(argv)
    found = {run.__name__: run() for run in RUNS}
    if args.sensitivity:
        for run in RUNS:
            factor = growth(found[run.__name__], run(1e-12))
            print(f"{run.__name__}: a change of the weights grows at most {factor:.2g} times")
    if args.write:
        write_json_atomically(STORED, found)
        return 0
    stored = json.loads(STORED.read_text())
    lines = [f"{run}: {line}" for run in found for line in differences(found[run], stored[run])]
    print("\n".join(lines) or "all digits are the stored ones")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
