#!/usr/bin/env python
"""Measure time and memory; every claim of speed comes from here.

python tools/benchmark.py scenes --config-file sgovss_tiny.yaml --sizes 3000 12000 --classes 10 100 --json F
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from sgovss.errors import InputError, command
from sgovss.files import write_json_atomically

DEMO = Path(__file__).resolve().parent.parent / "demo" / "demo.py"
_TILE = 512
_KINDS = 8  # different scenes that a large one is laid out of


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    scenes = commands.add_parser("scenes", help="georeferenced scenes through demo.py: time, throughput, peak memory")
    scenes.add_argument("--config-file", default="sgovss_tiny.yaml")
    scenes.add_argument("--sizes", type=int, nargs="+", default=[3000, 12000], help="side of the scenes in pixels")
    scenes.add_argument("--classes", type=int, nargs="+", default=[10], help="numbers of words")
    scenes.add_argument("--repeats", type=int, default=1)
    scenes.add_argument("--json", type=Path, help="write the figures here too")
    scenes.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    args = parser.parse_args(argv)
    figures = benchmark_scenes(args)
    print(tabulate(figures["rows"], headers="keys", floatfmt=".3g"))
    if args.json:
        write_json_atomically(args.json, figures)
    return 0


def benchmark_scenes(args: argparse.Namespace) -> dict[str, Any]:
    """Each size with each number of words, in a process of its own; medians and ranges over the repeats."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            scene = Path(folder) / f"scene_{size}.tif"
            write_scene(scene, size)
            for classes in args.classes:
                runs = [_segment(args, scene, classes, Path(folder) / "out") for _ in range(args.repeats)]
                rows.append(_row(size, classes, runs))
                print(tabulate([rows[-1]], headers="keys", floatfmt=".3g"), flush=True)
    return {"machine": machine(), "config": args.config_file, "options": args.opts, "rows": rows}


def write_scene(path: Path, size: int) -> None:
    """A georeferenced scene of ``size`` by ``size`` pixels at 0.3 m, laid out of generated ones."""
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    from sgovss.data.scenes import generate_scene

    tiles = [generate_scene(70_001 + kind, _TILE, "b").image.transpose(2, 0, 1) for kind in range(_KINDS)]
    profile = {"driver": "GTiff", "height": size, "width": size, "count": 3, "dtype": "uint8", "compress": "deflate"}
    place = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, 0.3, 0.3)}
    layout = {"tiled": True, "blockxsize": _TILE, "blockysize": _TILE}
    with rasterio.open(path, "w", **profile, **place, **layout) as raster:
        for top in range(0, size, _TILE):
            for left in range(0, size, _TILE):
                height, width = min(_TILE, size - top), min(_TILE, size - left)
                tile = tiles[(3 * top // _TILE + left // _TILE) % _KINDS]
                raster.write(tile[:, :height, :width], window=Window(left, top, width, height))


def _segment(args: argparse.Namespace, scene: Path, classes: int, output: Path) -> dict[str, float]:
    words = ", ".join(f"thing number {number}" for number in range(classes))
    argv = ["--config-file", args.config_file, "--input", scene, "--vocabulary", words, "--output", output]
    options = ["--opts", *args.opts] if args.opts else []
    code = (
        "import json, resource, runpy, sys, time\n"
        "sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    if end.code: raise\n"
        "print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, str(DEMO), *map(str, argv), *options], capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    if done.returncode:
        raise InputError(f"demo.py ended with status {done.returncode}: {done.stderr.strip().splitlines()[-1]}")
    return {"seconds": seconds, "megabytes": json.loads(done.stdout.splitlines()[-1]) / 1024}


def _row(size: int, classes: int, runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    seconds = [run["seconds"] for run in runs]
    median = statistics.median(seconds)
    cores = torch.get_num_threads()
    return {
        "pixels": f"{size} x {size}",
        "words": classes,
        "seconds": round(median, 1),
        "range": f"{min(seconds):.1f} to {max(seconds):.1f}",
        "megapixels / s / core": round(size * size / 1e6 / median / cores, 4),
        "peak MB": round(max(run["megabytes"] for run in runs)),
    }


def machine() -> str:
    """What the figures were measured on."""
    return f"{torch.get_num_threads()} of {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"


if __name__ == "__main__":
    sys.exit(main())
