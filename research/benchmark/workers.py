"""Time of one raster on several numbers of single-threaded local workers."""

from __future__ import annotations

import argparse
import functools
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tabulate import tabulate

from research.benchmark.scenes import write_scene
from sgovss.engine.workloads import aerial_class_names
from sgovss.files import write_json_atomically

_WARM_UP = 4  # small rasters for each worker, so that each has loaded the model before the clock starts


def add_command(commands: Any) -> None:
    """Add ``workers`` to the subcommands of an argument parser."""
    parser = commands.add_parser("workers", help="one raster on several numbers of local workers (extra cluster)")
    parser.add_argument("--config-file", default="sgovss_tiny.yaml", metavar="FILE")
    parser.add_argument("--size", type=int, default=6000, help="side of the raster in pixels")
    parser.add_argument("--classes", type=int, default=10, help="number of classes")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    parser.set_defaults(run=benchmark_workers)


def benchmark_workers(args: argparse.Namespace) -> None:
    """Segment the raster with each number of workers; print a table, and write ``--json``."""
    rows: list[dict[str, Any]] = []
    load = partial(load_mapper, args.config_file, tuple(args.opts), args.precision, args.classes)
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.tif", Path(folder) / "large.tif"
        write_scene(small, 512, "tiles")
        write_scene(large, args.size, "tiles")
        for count in args.workers:
            seconds = _time(load, count, small, large, Path(folder) / f"out{count}")
            first = rows[0]["seconds"] if rows else seconds
            rows.append({"workers": count, "seconds": round(seconds, 2), "times as fast": round(first / seconds, 2)})
            print(tabulate(rows[-1:], headers="keys"), flush=True)
    print(tabulate(rows, headers="keys"))
    if args.json:
        write_json_atomically(args.json, {**args.origin, "rows": rows})


@functools.cache
def load_mapper(config: str, opts: Sequence[str], precision: str, classes: int) -> Any:
    """Load the mapper, once in each process."""
    from sgovss.inference.predictor import Predictor
    from sgovss.rasters.scene import SceneMapper

    return SceneMapper(Predictor(config, None, tuple(opts), precision), ", ".join(aerial_class_names(classes)))


def _time(load: Any, count: int, small: Path, large: Path, output: Path) -> float:
    """Seconds of the large raster, from its plan to its outputs."""
    from sgovss.rasters.cluster import local_workers
    from sgovss.rasters.cluster_mapper import ClusterMapper

    with local_workers(count, threads=1) as client:
        map_scenes = ClusterMapper(client, load(), load)
        _expect_results(map_scenes((str(small), output / f"small{number}") for number in range(_WARM_UP * count)))
        started = time.monotonic()
        _expect_results(map_scenes([(str(large), output / "large")]))
        return time.monotonic() - started


def _expect_results(outcomes: Any) -> None:
    for _, _, outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
