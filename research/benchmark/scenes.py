"""Time and peak memory of ``sgovss segment`` on large georeferenced rasters."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from sgovss.engine.workloads import aerial_class_names
from sgovss.errors import InputError
from sgovss.files import write_json_atomically
from sgovss.synthetic import generate_image

_TILE = 512
_KINDS = 8  # number of different synthetic images in a raster
_SEGMENT_AND_PRINT_PEAK_MEMORY = """
import json, sys
from sgovss.commands.segment import main
from sgovss.resources import peak_megabytes
status = main(sys.argv[1:])
print(json.dumps(peak_megabytes()))
sys.exit(status)
"""


@dataclass(frozen=True)
class SceneRuns:
    """Repetitions of one command.

    Attributes:
        seconds: time of each repetition, including the start of the program.
        megabytes: peak memory of each repetition.
    """

    seconds: Sequence[float]
    megabytes: Sequence[float]

    @property
    def median(self) -> float:
        """Median of the seconds."""
        return statistics.median(self.seconds)


def add_command(commands: Any) -> None:
    """Add ``scenes`` to the subcommands of an argument parser."""
    parser = commands.add_parser("scenes", help="large georeferenced rasters through sgovss segment")
    parser.add_argument("--config-file", default="sgovss_tiny.yaml", metavar="FILE")
    parser.add_argument("--sizes", type=int, nargs="+", default=[3000, 12000], help="sides of the rasters in pixels")
    parser.add_argument("--classes", type=int, nargs="+", default=[17], help="numbers of classes")
    parser.add_argument("--repeats", type=int, default=1, help="default 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    parser.set_defaults(run=benchmark_scenes)


def benchmark_scenes(args: argparse.Namespace) -> None:
    """Segment a raster of each size with each number of classes; print a table, and write it to ``--json``."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            scene = Path(folder) / f"scene_{size}.tif"
            write_scene(scene, size)
            for classes in args.classes:
                names, options = ", ".join(aerial_class_names(classes)), ["--opts", *args.opts] if args.opts else []
                given = ["--config-file", args.config_file, "--input", scene, "--vocabulary", names]
                runs = segment_scene([*given, "--output", Path(folder) / "out", *options], args.repeats)
                rows.append(_row(size, classes, runs))
                print(tabulate(rows[-1:], headers="keys", floatfmt=".3g"), flush=True)
    print(tabulate(rows, headers="keys", floatfmt=".3g"))
    if args.json:
        write_json_atomically(args.json, {**args.origin, "rows": rows})


def _row(size: int, classes: int, runs: SceneRuns) -> dict[str, Any]:
    return {
        "pixels": f"{size} x {size}",
        "classes": classes,
        "seconds": round(runs.median, 1),
        "range": f"{min(runs.seconds):.1f} to {max(runs.seconds):.1f}",
        "megapixels / s / core": round(size * size / 1e6 / runs.median / torch.get_num_threads(), 4),
        "peak MB": round(max(runs.megabytes)),
    }


def write_scene(path: Path, size: int) -> None:
    """Write a georeferenced raster of ``size`` x ``size`` pixels of 0.3 m, composed of synthetic images."""
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    tiles = [generate_image(70_001 + kind, _TILE, "b").image.transpose(2, 0, 1) for kind in range(_KINDS)]
    profile = {"driver": "GTiff", "height": size, "width": size, "count": 3, "dtype": "uint8", "compress": "deflate"}
    place = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, 0.3, 0.3)}
    layout = {"tiled": True, "blockxsize": _TILE, "blockysize": _TILE}
    with rasterio.open(path, "w", **profile, **place, **layout) as raster:
        for top in range(0, size, _TILE):
            for left in range(0, size, _TILE):
                height, width = min(_TILE, size - top), min(_TILE, size - left)
                tile = tiles[(3 * top // _TILE + left // _TILE) % _KINDS]
                raster.write(tile[:, :height, :width], window=Window(left, top, width, height))


def segment_scene(arguments: Sequence[str | Path], repeats: int) -> SceneRuns:
    """Run ``sgovss segment`` with these arguments, each time in a new process.

    Raises:
        InputError: a run failed; the message ends with its last line.
    """
    runs = [_run(arguments) for _ in range(repeats)]
    return SceneRuns([seconds for seconds, _ in runs], [megabytes for _, megabytes in runs])


def _run(arguments: Sequence[str | Path]) -> tuple[float, float]:
    argv = [sys.executable, "-c", _SEGMENT_AND_PRINT_PEAK_MEMORY, *map(str, arguments)]
    started = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise InputError(f"sgovss segment ended with status {done.returncode}: {last}")
    return seconds, json.loads(done.stdout.splitlines()[-1])
