"""Train a model and evaluate it; or, with --eval-only, evaluate a checkpoint.

examples:
  sgovss train --config-file sgovss_tiny.yaml
  sgovss train --config-file dubai_tiny.yaml --eval-only MODEL.WEIGHTS output/model_final.pth
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from sgovss.engine.launch import is_first, start, together
from sgovss.engine.preparation import argument_parser, prepare_config
from sgovss.errors import command
from sgovss.files import sole_run


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sgovss train``; returns its exit status."""
    args = argument_parser(__doc__).parse_args(argv)
    cfg = prepare_config(args)
    # Only the first process locks the output folder; those of other machines write to the same one.
    with together(args), sole_run(cfg.OUTPUT_DIR) if is_first(args) else nullcontext():
        start(cfg, args)
    return 0
