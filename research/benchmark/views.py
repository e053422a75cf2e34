"""Cost and gain of views: time and mIoU of TEST.VIEWS on several datasets."""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from sgovss.config import load_config
from sgovss.data import register_datasets
from sgovss.engine.trainer import Trainer
from sgovss.evaluation.evaluator import OpenVocabularyEvaluator
from sgovss.files import write_json_atomically
from sgovss.inference.predictor import Predictor
from sgovss.modeling.meta_arch import SGOVSS
from sgovss.modeling.views import build_view
from sgovss.view_set import parse_views

_DATASETS = ("generated_scenes_test", "dubai_mbrsc_test", "dronedeploy_sample_test")
_VIEWS = ("1", "mirror", "turns", "1,1.5", "turns,1,1.5")


def add_command(commands: Any) -> None:
    """Add ``views`` to the subcommands of an argument parser."""
    parser = commands.add_parser("views", help="time and mIoU of several views")
    parser.add_argument("--config-file", default="sgovss_tiny.yaml", metavar="FILE")
    parser.add_argument("--datasets", nargs="+", default=_DATASETS, metavar="NAME", help=f"default {_DATASETS}")
    parser.add_argument("--views", nargs="+", default=_VIEWS, metavar="VIEWS", help=f"default {_VIEWS}")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th image of each dataset")
    parser.add_argument("--weights", metavar="FILE", help="a checkpoint; without it the model is not fine-tuned")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here too")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    parser.set_defaults(run=compare_views)


def compare_views(args: argparse.Namespace) -> None:
    """Print a table: for each set of views, the time as a multiple of one view's, and the mIoU of each dataset.

    The first set of views is the one that the others are compared with.
    """
    cfg = load_config(args.config_file, [*args.opts, "DATALOADER.NUM_WORKERS", "0"])
    register_datasets(cfg.DATASETS.SPECIFICATIONS)
    model = Predictor(cfg, args.weights).model
    found = {
        views: {name: evaluate(model, cfg, name, views, args.every) for name in args.datasets} for views in args.views
    }
    print(tabulate(rows(found), headers="keys", floatfmt=".1f", tablefmt="github"))
    if args.json:
        write_json_atomically(args.json, {**args.origin, "results": found})


def evaluate(model: SGOVSS, cfg: Any, dataset: str, views: str, every: int = 1) -> dict[str, float]:
    """Segment every so-many-th image of a dataset; returns the mIoU in percent and the CPU seconds of the model."""
    cfg = cfg.clone()
    cfg.DATASETS.TEST = (dataset,)
    cfg.TEST.VIEWS = [] if views == "1" else views.split(",")
    parse_views(cfg.TEST.VIEWS)
    model.view = build_view(cfg)
    evaluator = Trainer.build_evaluator(cfg, dataset)
    evaluator.reset()
    seconds = 0.0
    with torch.no_grad():
        for batch in itertools.islice(Trainer.build_test_loader(cfg, dataset), 0, None, every):
            started = time.process_time()
            outputs = model(batch)
            seconds += time.process_time() - started
            evaluator.process(batch, outputs)
    return {"mIoU": evaluated_miou(evaluator), "seconds": seconds}


def evaluated_miou(evaluator: OpenVocabularyEvaluator) -> float:
    """The mIoU of what an evaluator has processed in this single process, in per cent."""
    metrics = evaluator.evaluate()
    assert metrics is not None
    return float(metrics["sem_seg"]["mIoU"])


def rows(found: dict[str, dict[str, dict[str, float]]]) -> Sequence[dict[str, Any]]:
    """Rows of the table; the cost is the median over the datasets."""
    first = next(iter(found.values()))
    table = []
    for views, results in found.items():
        costs = [result["seconds"] / first[name]["seconds"] for name, result in results.items()]
        row: dict[str, Any] = {"views": views, "number": len(parse_views(views)), "cost": statistics.median(costs)}
        for name, result in results.items():
            row[name] = f"{result['mIoU']:.1f} ({result['mIoU'] - first[name]['mIoU']:+.1f})"
        table.append(row)
    return table
