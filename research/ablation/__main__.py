"""Train and score the variants of a protocol, and write tables and curves of the results.

    DETECTRON2_DATASETS=DATA python -m research.ablation run                # everything; takes days on a CPU
    DETECTRON2_DATASETS=DATA python -m research.ablation run --tasks generated --variants zero_shot plain --screen
    python -m research.ablation run --variants full --settings encoder_lr=0.3 weight=1.0   # without screening
    python -m research.ablation report                                      # tables and curves of the records
    python -m research.ablation overlays --tasks generated --image 3        # predictions of every variant on one image

A budget is a number of training steps. Screening trains all settings of a variant's grid with the first seed and the
short budgets. The settings with the best validation score are then trained with all seeds up to the longest budget.
Each finished run is recorded in one JSON file. To continue an interrupted run, call the command again. A report
contains all tasks and variants that have records.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from research.ablation.output import write_overlays, write_report
from research.ablation.protocol import load_protocol
from research.ablation.runs import Runner
from research.ablation.study import Study
from sgovss.errors import command

CHECKOUT = Path(__file__).resolve().parents[2]
EVIDENCE = CHECKOUT / "research" / "evidence"
PICTURES = CHECKOUT / "docs" / "evidence"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    protocol = load_protocol(args.protocol)
    gpus, cores = visible_gpus(), os.cpu_count() or 1
    # On CPUs, several runs with one thread each finish sooner than one run with several threads.
    jobs = args.jobs or len(gpus) or cores
    devices = list(itertools.islice(itertools.cycle(gpus), jobs))
    runner = Runner(protocol, CHECKOUT / "train_net.py", args.records, args.work, max(1, cores // jobs), devices)
    study = Study(protocol, runner, args.tasks, args.variants, jobs, dict(args.settings) if args.settings else None)
    if args.action == "run":
        if not args.settings:
            study.screen()
        if not args.screen:
            study.finish(args.longest or max(protocol.steps))
    if args.action == "overlays":
        write_overlays(study, args.report, args.image)
    else:
        write_report(Study(protocol, runner), args.report)
    return 0


def visible_gpus() -> list[str]:
    """Return the GPUs that torch finds, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    count = torch.cuda.device_count()
    return [named[index] if index < len(named) and named[index] else str(index) for index in range(count)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m research.ablation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("run", "report", "overlays"))
    parser.add_argument("--protocol", type=Path, default=EVIDENCE / "protocol.yaml", help="default: the project's own")
    parser.add_argument(
        "--records", type=Path, default=EVIDENCE / "runs", help="folder of the records, one JSON file per run"
    )
    parser.add_argument("--work", type=Path, default=Path("output/ablation"), help="folder of checkpoints and logs")
    parser.add_argument("--report", type=Path, default=PICTURES, help="folder for tables and pictures")
    parser.add_argument("--tasks", nargs="*", default=(), help="default: all")
    parser.add_argument("--variants", nargs="*", default=(), help="default: all")
    parser.add_argument("--screen", action="store_true", help="stop after screening")
    parser.add_argument(
        "--settings", nargs="+", type=_setting, metavar="AXIS=VALUE", help="run these settings without screening"
    )
    parser.add_argument("--jobs", type=int, help="runs at a time; default: one per GPU, or per core without a GPU")
    parser.add_argument("--longest", type=int, metavar="STEPS", help="longest budget of the final runs; default: all")
    parser.add_argument("--image", type=int, default=0, help="number of the test image of the overlays; default 0")
    return parser


def _setting(text: str) -> tuple[str, str]:
    axis, equals, value = text.partition("=")
    if not (axis and equals and value):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form AXIS=VALUE, such as encoder_lr=0.3")
    return axis, value


if __name__ == "__main__":
    sys.exit(main())
