"""Measure the speed and the memory of a config's model on this machine.

examples:
  sgovss benchmark --config-file sgovss_tiny.yaml
  sgovss benchmark --config-file sgovss_vitb16_384.yaml --tasks inference --size 512 --classes 17 150
  sgovss benchmark --config-file mine.yaml --tasks training --batch 4 --opts MODEL.DEVICE cuda
  sgovss benchmark --config-file mine.yaml --tasks training --batch 2 4 8 --accumulate 1 2 --precision float32 bfloat16

Times are medians. The column "x bare per image" is the time per image divided by the time of open_clip's image encoder
alone (the bare encoder). The two run alternately in one process, so this ratio depends little on the load of the
machine. Peak memory is measured in a process without the bare encoder; on a GPU it is the memory of the device. Weights
and images are random; no dataset and no checkpoint are read.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import nn

from sgovss.config import load_config
from sgovss.engine.benchmark import machine, measure_memory, measure_times
from sgovss.engine.workloads import Case, bare_encoder, numbered_classes, random_model
from sgovss.errors import InputError, command
from sgovss.evaluation.cost import count_flops, count_parameters
from sgovss.files import write_json_atomically
from sgovss.modeling.meta_arch import SGOVSS
from sgovss.precision import PRECISIONS

TASKS = ("parameters", "inference", "training")
_TIMED = ("inference", "training")

Row = dict[str, Any]


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = _parser().parse_args(argv)
    device = torch.device(load_config(args.config_file, args.opts).MODEL.DEVICE)
    _check(args)
    content: dict[str, Any] = {"command": shlex.join(argv), "machine": machine(device)}
    print(content["machine"])
    if "parameters" in args.tasks:
        content["parameters"] = benchmark_parameters(args)
        _show(content["parameters"])
    if timed := [task for task in _TIMED if task in args.tasks]:
        content["rows"] = [row for task in timed for row in benchmark_model(task, args)]
        _show(content["rows"])
    if args.json:
        write_json_atomically(args.json, content)
    return 0


def _check(args: argparse.Namespace) -> None:
    for flag in ("size", "classes", "batch", "accumulate", "repeats"):
        given = getattr(args, flag)
        if (least := min(given if isinstance(given, list) else [given])) < 1:
            raise InputError(f"--{flag} {least}: give 1 or more")
    if args.warm_up < 0:
        raise InputError(f"--warm-up {args.warm_up}: give 0 or more")


def _show(rows: Sequence[Row]) -> None:
    print(f"\n{tabulate(rows, headers='keys', floatfmt='.3g')}", flush=True)


def benchmark_model(task: str, args: argparse.Namespace) -> list[Row]:
    """Measure a task at each image size, number of classes, batch, number of accumulated batches and precision.

    Args:
        task: ``inference`` or ``training``.
        args: of the command.

    Returns:
        one row of the table for each combination.
    """
    rows = []
    accumulate = args.accumulate if task == "training" else [1]
    for size, classes, precision, batch, batches in itertools.product(
        args.size, args.classes, args.precision, args.batch, accumulate
    ):
        counts = {"batch": batch, "accumulate": batches, "repeats": args.repeats, "warm_up": args.warm_up}
        flags = {"compiled": args.compile, "synthetic": args.synthetic}
        case = Case(args.config_file, args.opts, size, classes, precision, **counts, **flags)
        images = f"{batches} x {batch}" if batches > 1 else f"{batch}"
        print(
            f"measuring {task} of {images} images of {size} x {size}, {classes} classes, {precision}",
            file=sys.stderr,
            flush=True,
        )
        rows.append(_row(task, case, measure_times(task, case), measure_memory(task, case)))
    return rows


def _row(task: str, case: Case, times: dict[str, list[float]], megabytes: float) -> Row:
    ours, bare = times["ours"], times["bare"]
    ratios = [each / reference / case.batch / case.accumulate for each, reference in zip(ours, bare, strict=True)]
    return {
        "task": task,
        "config": Path(case.config_file).stem,
        "size": case.size,
        "classes": case.classes,
        "batch": case.batch,
        "accumulate": case.accumulate,
        "precision": case.precision,
        "seconds": round(statistics.median(ours), 3),
        "range": f"{min(ours):.2f} to {max(ours):.2f}",
        "bare encoder": round(statistics.median(bare), 3),
        "x bare per image": round(statistics.median(ratios), 2),
        "x range": f"{min(ratios):.2f} to {max(ratios):.2f}",
        "peak MB": round(megabytes),
    }


def benchmark_parameters(args: argparse.Namespace) -> list[Row]:
    """Count the parameters of each part and the floating-point operations of one inference; return rows of a table."""
    options = [*args.opts, "MODEL.DEVICE", "cpu"]
    model, cfg = random_model(args.config_file, options, "float32", training=False)
    rows: list[Row] = []
    model.text_embedder.build()
    for name, count in count_parameters(model).items():
        rows.append({"part": name, **{key: f"{value / 1e6:.2f} M" for key, value in count.items()}})
    for size in args.size:
        bare = count_flops(bare_encoder(cfg.MODEL.CLIP.NAME, size), (torch.zeros(1, 3, size, size),))
        rows.append({"part": f"operations of the bare encoder at {size}", "total": f"{bare / 1e9:.2f} G"})
        for classes in args.classes:
            text = model.text_embedder(numbered_classes(classes)).embeddings
            flops = count_flops(_ImagePath(model), (torch.zeros(1, 3, size, size), text))
            rows.append({"part": f"operations at {size}, {classes} classes", "total": f"{flops / 1e9:.2f} G"})
    return rows


class _ImagePath(nn.Module):
    """Normalised images and text embeddings to logits, without the encoding of the class names."""

    def __init__(self, model: SGOVSS) -> None:
        super().__init__()
        self.image_encoder, self.head = model.image_encoder, model.head

    def forward(self, images: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return self.head(self.image_encoder(images), text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="sgovss benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-file", required=True, metavar="FILE", help="a config, the name of one that comes "
                        "with sgovss, a model folder, or a model of the hub (owner/name)")  # fmt: skip
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="default: all of them")
    parser.add_argument(
        "--size", type=int, nargs="+", default=[384], metavar="PIXELS", help="sides of the square images; default 384"
    )
    parser.add_argument(
        "--classes", type=int, nargs="+", default=[17], metavar="N", help="numbers of classes; default 17"
    )
    parser.add_argument(
        "--batch",
        type=int,
        nargs="+",
        default=[1],
        metavar="N",
        help="images per inference or training batch; default 1",
    )
    parser.add_argument(
        "--accumulate",
        type=int,
        nargs="+",
        default=[1],
        metavar="N",
        help="batches per training step (SOLVER.ACCUMULATE); default 1",
    )
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["float32"], help="default float32")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="timed repetitions; default 5")
    parser.add_argument(
        "--warm-up", type=int, default=1, metavar="N", help="repetitions before the timed ones; default 1"
    )
    parser.add_argument("--compile", action="store_true", help="run image encoder and head through torch.compile")
    parser.add_argument(
        "--synthetic",
        action="store_true",
        help="use synthetic aerial images and names of aerial classes for inference, instead of noise and numbers; "
        "TEST.EARLY_REJECTION saves time only on such input",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    return parser
