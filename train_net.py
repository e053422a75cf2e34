#!/usr/bin/env python
"""Train and evaluate sgovss.

python train_net.py --config-file configs/sgovss_tiny.yaml
python train_net.py --config-file configs/dubai_tiny.yaml --eval-only MODEL.WEIGHTS output/model_final.pth
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from detectron2.engine import default_argument_parser, launch

from sgovss.engine.run import prepare_config, run
from sgovss.errors import command


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = default_argument_parser(epilog=__doc__)
    args = parser.parse_args(argv)
    cfg = prepare_config(args.config_file, args.opts, eval_only=args.eval_only)
    launch(
        run,
        args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(cfg, args),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
