"""Train a model and evaluate it; or, with --eval-only, evaluate a checkpoint.

examples:
  sgovss train --config-file sgovss_tiny.yaml
  sgovss train --config-file sgovss_tiny.yaml --dry-run
  sgovss train --config-file dubai_tiny.yaml --eval-only MODEL.WEIGHTS output/model_final.pth
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from detectron2.config import CfgNode

from sgovss.engine.launch import is_first, start, together
from sgovss.engine.preparation import argument_parser, prepare_config
from sgovss.errors import InputError, command
from sgovss.files import sole_run
from sgovss.processes import exit_on_signals


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sgovss train``; returns its exit status."""
    args = _parser().parse_args(argv)
    if args.dry_run and (args.resume or args.eval_only):
        other = "--resume" if args.resume else "--eval-only"
        raise InputError(f"--dry-run and {other} exclude each other, because it tries the first steps; leave one out")
    cfg = prepare_config(args)
    with together(args), _output_folder(cfg, args):
        start(cfg, args)
    return 0


@contextmanager
def _output_folder(cfg: CfgNode, args: argparse.Namespace) -> Iterator[None]:
    """Lock the output folder; for a dry run replace it by a temporary one, in place."""
    if args.dry_run:
        with exit_on_signals(), tempfile.TemporaryDirectory(prefix="sgovss-dry-run-") as folder:
            cfg.defrost()
            cfg.OUTPUT_DIR = folder
            cfg.freeze()
            yield
    # Only the first process locks the folder; those of other machines write to the same one.
    elif is_first(args):
        with sole_run(cfg.OUTPUT_DIR):
            yield
    else:
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argument_parser(__doc__)
    parser.add_argument("--dry-run", action="store_true", help="check everything, train for ten steps, print memory "
                        "and time, and keep no file")  # fmt: skip
    return parser
