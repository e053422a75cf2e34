"""Cost and gain of smoothing the scores along edges: time and mIoU of ``sgovss segment --edges`` on datasets."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tabulate import tabulate

from research.benchmark.views import evaluated_miou
from sgovss.config import load_config
from sgovss.data import register_datasets
from sgovss.engine.trainer import Trainer
from sgovss.files import write_json_atomically
from sgovss.inference.predictor import Predictor
from sgovss.modeling.class_scores import resize
from sgovss.modeling.guided_filter import RADIUS, smooth_along_edges
from sgovss.modeling.meta_arch import SGOVSS

_DATASETS = ("generated_scenes_test", "dubai_mbrsc_test", "dronedeploy_sample_test")

Smoothing = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Score maps (B, T, h, w) and images (B, 3, H, W) -> score maps."""


def add_command(commands: Any) -> None:
    """Add ``edges`` to the subcommands of an argument parser."""
    parser = commands.add_parser("edges", help="time and mIoU of smoothing along edges")
    parser.add_argument("--config-file", default="sgovss_tiny.yaml", metavar="FILE")
    parser.add_argument("--datasets", nargs="+", default=_DATASETS, metavar="NAME", help=f"default {_DATASETS}")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th image of each dataset")
    parser.add_argument("--weights", metavar="FILE", help="a checkpoint; without it the model is not fine-tuned")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here too")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    parser.set_defaults(run=compare_smoothing)


def smoothings() -> dict[str, Smoothing]:
    """What is compared. Plain means show how much of the gain is due to the edges."""
    return {
        "none": lambda maps, images: maps,
        "edges": smooth_along_edges,
        # An even guide leaves nothing but means of means.
        "plain means": lambda maps, images: smooth_along_edges(maps, torch.zeros_like(images)),
        "edges, half the radius": lambda maps, images: smooth_along_edges(maps, images, RADIUS // 2),
    }


def compare_smoothing(args: argparse.Namespace) -> None:
    """Print a table: mIoU of each dataset, and the CPU time as a percentage of that of the model."""
    cfg = load_config(args.config_file, [*args.opts, "DATALOADER.NUM_WORKERS", "0"])
    register_datasets(cfg.DATASETS.SPECIFICATIONS)
    model = Predictor(cfg, args.weights).model
    found = {name: evaluate(model, cfg, name, args.every) for name in args.datasets}
    rows: list[dict[str, Any]] = [{"scores": kind, "cost": 0.0} for kind in smoothings()]
    for name, results in found.items():
        for row, result in zip(rows, results.values(), strict=True):
            row[name] = f"{result['mIoU']:.1f} ({result['mIoU'] - results['none']['mIoU']:+.1f})"
            row["cost"] = max(row["cost"], result["cost"])
    print(tabulate([{**row, "cost": f"{row['cost']:.1%}"} for row in rows], headers="keys", tablefmt="github"))
    if args.json:
        write_json_atomically(args.json, {**args.origin, "results": found})


@torch.no_grad()
def evaluate(model: SGOVSS, cfg: Any, dataset: str, every: int = 1) -> dict[str, dict[str, float]]:
    """Segment every so-many-th image in one piece; returns mIoU in percent and relative cost of each smoothing."""
    cfg = cfg.clone()
    cfg.DATASETS.TEST = (dataset,)
    kinds, seconds = smoothings(), dict.fromkeys(["model", *smoothings()], 0.0)
    evaluators = {kind: Trainer.build_evaluator(cfg, dataset) for kind in kinds}
    for evaluator in evaluators.values():
        evaluator.reset()
    for batch in itertools.islice(Trainer.build_test_loader(cfg, dataset), 0, None, every):
        image, size = _padded(batch[0]["image"], model.size_divisibility), batch[0]["image"].shape[-2:]
        started = time.process_time()
        maps = model.score_maps(image.to(model.device), batch[0]["vocabulary"])
        seconds["model"] += time.process_time() - started
        for kind, smooth in kinds.items():
            started = time.process_time()
            smoothed = smooth(maps, image)
            seconds[kind] += time.process_time() - started
            whole = resize(smoothed[0], (image.shape[-2], image.shape[-1]), antialias=False)[:, : size[0], : size[1]]
            final = (batch[0].get("height", size[0]), batch[0].get("width", size[1]))
            evaluators[kind].process(batch, [{"sem_seg": resize(whole, final, antialias=False)}])
    return {
        kind: {"mIoU": evaluated_miou(evaluators[kind]), "cost": seconds[kind] / seconds["model"]} for kind in kinds
    }


def _padded(image: torch.Tensor, step: int) -> torch.Tensor:
    """An image (3, H, W) as a batch, of which the border is repeated up to a multiple of ``step``."""
    beyond = [-side % step for side in image.shape[-2:]]
    return F.pad(image[None].float(), (0, beyond[1], 0, beyond[0]), mode="replicate")
