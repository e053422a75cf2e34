"""Train and evaluate sgovss.

python train_net.py --config-file configs/sgovss_tiny.yaml
python train_net.py --config-file configs/dubai_tiny.yaml --eval-only MODEL.WEIGHTS output/model_final.pth
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from sgovss.engine.launch import start
from sgovss.engine.preparation import argument_parser, prepare_config
from sgovss.errors import command
from sgovss.files import sole_run


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    args = argument_parser(__doc__).parse_args(argv)
    cfg = prepare_config(args)
    # The other machines write to the first one's folder.
    with nullcontext() if args.machine_rank else sole_run(cfg.OUTPUT_DIR):
        start(cfg, args)
    return 0
