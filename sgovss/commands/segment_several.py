"""The arguments of 'sgovss segment' for several processes."""

from __future__ import annotations

import argparse
from typing import Any

from sgovss.errors import InputError

_REMOVED = ("--processes", "--num-machines", "--machine-rank", "--dist-url")


def add_several_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of several processes."""
    several = parser.add_argument_group("rasters in several processes, see docs/many_machines.md (extra cluster)")
    how = several.add_mutually_exclusive_group()
    how.add_argument("--workers", type=int, metavar="N", help="processes on this machine; on GPUs give one per GPU")
    how.add_argument("--scheduler", metavar="URL", help="use the workers of this Dask scheduler, such as "
                     "tcp://host:8786")  # fmt: skip
    how.add_argument("--share", nargs="?", const="array", metavar="I/N", help="fill only share I of N; without I/N, "
                     "that of this job of an array of Slurm or AWS Batch")  # fmt: skip
    how.add_argument("--finish", action="store_true", help="write the outputs when all shares are filled")
    several.add_argument("--shared-folder", choices=("yes", "no"), default="yes", help="whether the workers of "
                         "--scheduler see --output; with no, all pixels go through the scheduler")  # fmt: skip
    for option in _REMOVED:
        parser.add_argument(option, action=_RemovedOption, help=argparse.SUPPRESS)


class _RemovedOption(argparse.Action):
    def __call__(self, *args: Any, **_: Any) -> None:
        raise InputError(
            f"{self.option_strings[0]}: this option was removed; give --workers N for this machine, --scheduler URL "
            "for several machines, or --share I/N in job arrays"
        )
