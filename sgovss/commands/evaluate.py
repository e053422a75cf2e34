"""Evaluate every checkpoint of a training run, draw curves of the scores, and name the best one.

examples:
  sgovss evaluate --config-file dubai_tiny.yaml --checkpoints output/dubai_tiny
  sgovss evaluate --config-file dubai_tiny.yaml --checkpoints output/dubai_tiny --by dubai_mbrsc_val \\
      --metric harmonic_mIoU --worst 5 DATASETS.TEST "('dubai_mbrsc_val','dubai_mbrsc_test')"

The checkpoints are the numbered ones (SOLVER.CHECKPOINT_PERIOD) and model_final.pth. The best one is chosen by one test
set, which should be a validation set: the score of the choice on that set is too high by the choice itself. Its scores
on the other test sets are not. The results of each checkpoint are in a folder of its own, so that 'sgovss compare' can
compare two of them. One checkpoint alone: sgovss train --eval-only.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from detectron2.config import CfgNode

from sgovss.engine.launch import is_first, start, together
from sgovss.engine.preparation import argument_parser, prepare_config, resolve_launch
from sgovss.engine.worst_page import write_worst_pages
from sgovss.errors import InputError, command
from sgovss.evaluation.selection import METRICS, Evaluated, selection_table, write_selection
from sgovss.evaluation.tables import format_table
from sgovss.files import sole_run
from sgovss.modeling.checkpoint import TRAINING, read_checkpoint

_FIXED = ("MODEL.WEIGHTS", "OUTPUT_DIR")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sgovss evaluate``; returns its exit status."""
    args = _parser().parse_args(argv)
    args.eval_only, args.output = True, args.output or args.checkpoints / "evaluated"
    for key in set(_FIXED) & set(args.opts[::2]):
        raise InputError(f"options: {key} is set by the command; leave it out, and use --checkpoints and --output")
    if args.worst is not None and args.worst < 1:
        raise InputError(f"--worst {args.worst}: give a number of images, 1 or more")
    files = find_checkpoints(args.checkpoints)
    resolve_launch(args)
    # Only the first process locks the output folder; those of other machines write to the same one.
    with together(args), sole_run(args.output) if is_first(args) else nullcontext():
        found = [_evaluate(args, args.opts, path, step, files) for path, step in files.items()]
    if is_first(args):
        best = _report([each for each in found if each is not None], args)
        if args.worst is not None:
            _show_worst(args, args.checkpoints / best.name)
    return 0


def find_checkpoints(folder: Path) -> dict[Path, int]:
    """Find the training checkpoints of a folder and the number of training steps before each, in that order.

    Raises:
        InputError: there is none, or one is damaged.
    """
    numbered = sorted(folder.glob("model_[0-9]*.pth"))
    steps: dict[Path, int] = {}
    for path in (*numbered, *folder.glob("model_final.pth")):
        content = read_checkpoint(path)
        if content["kind"] == TRAINING and (step := content["iteration"] + 1) not in steps.values():
            steps[path] = step
    if not steps:
        raise InputError(
            f"--checkpoints {folder}: no model_0000123.pth or model_final.pth; give the OUTPUT_DIR of 'sgovss train'"
        )
    return dict(sorted(steps.items(), key=lambda item: item[1]))


def _evaluate(
    args: argparse.Namespace, options: Sequence[str], path: Path, step: int, files: dict[Path, int]
) -> Evaluated | None:
    """Evaluate one checkpoint; None in other processes than the first."""
    args.opts = [*options, *_own_options(args, path)]
    cfg = prepare_config(args)
    _validation(cfg, args.by)
    print(f"{path.name}: {step} steps, {list(files).index(path) + 1} of {len(files)} checkpoints")
    start(cfg, args)
    args.opts = options
    if not is_first(args):
        return None
    kept = args.output / path.stem / "evaluation"
    shutil.rmtree(kept, ignore_errors=True)
    kept.parent.mkdir(exist_ok=True)
    (args.output / "evaluation").replace(kept)
    results = {name: json.loads((kept / f"{name}.json").read_text(encoding="utf-8")) for name in cfg.DATASETS.TEST}
    return Evaluated(path.name, step, {name: {key: each[key] for key in METRICS} for name, each in results.items()})


def _own_options(args: argparse.Namespace, path: Path) -> list[str]:
    return ["MODEL.WEIGHTS", str(path), "OUTPUT_DIR", str(args.output), "TEST.PUBLISHED", ""]


def _show_worst(args: argparse.Namespace, path: Path) -> None:
    """Write and name the pages with the worst images of a checkpoint."""
    args.opts = [*args.opts, *_own_options(args, path)]
    for page in write_worst_pages(prepare_config(args), args.output / path.stem / "evaluation", args.worst):
        print(f"worst images of each class: {page}")


def _validation(cfg: CfgNode, wanted: str | None) -> str:
    """The test set to choose by."""
    if wanted is not None and wanted not in cfg.DATASETS.TEST:
        raise InputError(f"--by {wanted}: is not in DATASETS.TEST; give one of {', '.join(cfg.DATASETS.TEST)}")
    return wanted or cfg.DATASETS.TEST[0]


def _report(found: Sequence[Evaluated], args: argparse.Namespace) -> Evaluated:
    """Write and print the scores of all checkpoints and the choice, which is returned."""
    dataset = args.by or next(iter(found[0].scores))
    best = write_selection(found, dataset, args.metric, args.output)
    print(f"\n{format_table(*selection_table(found), 'simple')}\n")
    print(f"best by {args.metric} on {dataset}: {best.name}, {best.scores[dataset][args.metric]:.2f}")
    if len(best.scores) == 1:
        print("note: this score is too high by the choice itself; add a test set that nothing is chosen by")
    print(f"Also in {args.output / 'checkpoints'}.md, .tex, .csv and .json; curves in {args.output}")
    return best


def _parser() -> argparse.ArgumentParser:
    parser = argument_parser(__doc__)
    parser.add_argument("--checkpoints", required=True, type=Path, metavar="DIR", help="OUTPUT_DIR of a training run")
    parser.add_argument("--by", metavar="DATASET", help="test set to choose by; default the first of DATASETS.TEST")
    parser.add_argument("--metric", choices=METRICS, default="mIoU", help="score to choose by; default mIoU")
    parser.add_argument("--worst", type=int, metavar="N", help="also write a page for each test set with the N worst "
                        "images of each class, of the chosen checkpoint")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for the results; default the folder "
                        "'evaluated' beside the checkpoints")  # fmt: skip
    return parser
