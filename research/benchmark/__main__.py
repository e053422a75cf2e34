"""Measurements that only maintainers run; ``sgovss benchmark`` measures the models themselves.

    python -m research.benchmark scenes --sizes 3000 12000 --classes 10 100
    python -m research.benchmark profile --config-file sgovss_vitb16_384.yaml --size 384 --classes 150
    python -m research.benchmark megapixel --size 3000 --classes 10 100 300
    python -m research.benchmark workers --size 6000 --workers 1 2
    python -m research.benchmark strides --files scene.tif
    python -m research.benchmark views --datasets generated_scenes_test dubai_mbrsc_test
    python -m research.benchmark edges --datasets generated_scenes_test dubai_mbrsc_test
    python -m research.benchmark words --datasets dronedeploy_sample dubai_mbrsc
    python -m research.benchmark start

``scenes`` segments georeferenced rasters and reports the time of start and work, the ratio of the work to the bare
model (encoder and head over the same windows from memory, in the same process), and peak memory.
``profile`` shows the time of each part and operator of an inference, and lower bounds (floors) of the whole time.
``megapixel`` shows where the processor time of a megapixel of a raster goes.
``workers`` segments one raster on several numbers of single-threaded local workers.
``strides`` compares maps with other overlaps of the windows.
``views`` compares sets of views by time and mIoU.
``edges`` compares scores with and without smoothing along edges, likewise.
``words`` scores words that other images chose.
``start`` measures whole commands on small images.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from research.benchmark import edges, megapixel, profile_model, scenes, start, strides, views, words, workers
from sgovss.allocator import keep_freed_memory
from sgovss.engine.benchmark import machine
from sgovss.errors import command


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m research.benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser_class: Any = partial(argparse.ArgumentParser, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, parser_class=parser_class)
    scenes.add_command(commands)
    profile_model.add_command(commands)
    megapixel.add_command(commands)
    views.add_command(commands)
    edges.add_command(commands)
    workers.add_command(commands)
    strides.add_command(commands)
    words.add_command(commands)
    start.add_command(commands)
    args = parser.parse_args(argv)
    args.origin = {"command": shlex.join(argv), "machine": machine(torch.device("cpu"))}
    args.run(args)
    return 0


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
