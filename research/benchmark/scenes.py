"""Time of a scene compared with the bare model's, and its peak memory, on georeferenced rasters."""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from sgovss.engine.workloads import aerial_class_names
from sgovss.errors import InputError
from sgovss.files import write_json_atomically
from sgovss.synthetic import generate_image

_TILE = 512
_KINDS = 8  # number of different synthetic images in a raster
LAYOUTS: dict[str, dict[str, Any]] = {
    "tiles": {"driver": "GTiff", "tiled": True, "blockxsize": _TILE, "blockysize": _TILE, "compress": "deflate"},
    "strips": {"driver": "GTiff", "blockysize": 16, "compress": "lzw"},
    "jp2": {"driver": "JP2OpenJPEG"},
}
"""Creation options of the rasters, by name."""


@dataclass(frozen=True)
class SceneRun:
    """One run; times are pairs of seconds on the wall and of all processors.

    Attributes:
        start: seconds on the wall until the model is loaded and the words are embedded.
        work: from there to the last output.
        bare: encoder and head, to logits, over the same windows from memory, in the best batch and the same process.
        megabytes: peak memory without that of ``bare``.
    """

    start: float
    work: tuple[float, float]
    bare: tuple[float, float]
    megabytes: float

    @property
    def ratio(self) -> float:
        """Processor time of the work divided by that of the bare model: other programs on the machine matter little."""
        return self.work[1] / self.bare[1]


def add_command(commands: Any) -> None:
    """Add ``scenes`` to the subcommands of an argument parser."""
    parser = commands.add_parser("scenes", help="large georeferenced rasters through SceneMapper")
    parser.add_argument("--config-file", default="sgovss_tiny.yaml", metavar="FILE")
    parser.add_argument("--sizes", type=int, nargs="+", default=[3000, 12000], help="sides of the rasters in pixels")
    parser.add_argument(
        "--files", type=Path, nargs="+", default=[], metavar="FILE", help="rasters instead of drawn ones"
    )
    parser.add_argument("--gsd", type=float, default=0.0, metavar="METRES", help="pixel size for the model; default "
                        "that of its training")  # fmt: skip
    parser.add_argument("--classes", type=int, nargs="+", default=[17], help="numbers of classes")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=["tiles"], help="layouts of the files")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--repeats", type=int, default=1, help="default 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    parser.set_defaults(run=benchmark_scenes)


def benchmark_scenes(args: argparse.Namespace) -> None:
    """Segment rasters with each number of classes; print a table, and write ``--json``."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for scene, layout, (height, width) in _scenes(args, Path(folder)):
            for classes in args.classes:
                runs = [_run(args, scene, classes, Path(folder) / "out") for _ in range(args.repeats)]
                about = {"pixels": f"{height} x {width}", "layout": layout, "classes": classes}
                rows.append({**about, **_figures(height * width, runs)})
                print(tabulate(rows[-1:], headers="keys", floatfmt=".3g"), flush=True)
    print(tabulate(rows, headers="keys", floatfmt=".3g"))
    if args.json:
        write_json_atomically(args.json, {**args.origin, "rows": rows})


def _scenes(args: argparse.Namespace, folder: Path) -> Iterator[tuple[Path, str, tuple[int, int]]]:
    """Yield the rasters to segment: file, layout, and (height, width)."""
    import rasterio

    for file in args.files:
        with rasterio.open(file) as raster:
            yield file, file.name, raster.shape
    for size, layout in itertools.product([] if args.files else args.sizes, args.layouts):
        scene = folder / f"scene_{size}_{layout}"
        write_scene(scene, size, layout)
        yield scene, layout, (size, size)


def _figures(pixels: int, runs: Sequence[SceneRun]) -> dict[str, Any]:
    """Medians, and the range of the ratio."""
    ratios = [run.ratio for run in runs]
    return {
        "start s": round(statistics.median(run.start for run in runs), 1),
        "work s": round(statistics.median(run.work[0] for run in runs), 1),
        "bare model s": round(statistics.median(run.bare[0] for run in runs), 1),
        "ratio": round(statistics.median(ratios), 3),
        "range": f"{min(ratios):.2f} to {max(ratios):.2f}",
        "megapixels / s": round(pixels / 1e6 / statistics.median(run.work[0] for run in runs), 3),
        "peak MB": round(max(run.megabytes for run in runs)),
    }


def write_scene(path: Path, size: int, layout: str) -> None:
    """Write a georeferenced raster of ``size`` x ``size`` pixels of 0.3 m, composed of synthetic images."""
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    tiles = [generate_image(70_001 + kind, _TILE, "b").image.transpose(2, 0, 1) for kind in range(_KINDS)]
    form: dict[str, Any] = {"height": size, "width": size, "count": 3, "dtype": "uint8"}
    place: dict[str, Any] = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, 0.3, 0.3)}
    with rasterio.open(path, "w", **form, **place, **LAYOUTS[layout]) as raster:
        for top in range(0, size, _TILE):
            for left in range(0, size, _TILE):
                height, width = min(_TILE, size - top), min(_TILE, size - left)
                tile = tiles[(3 * top // _TILE + left // _TILE) % _KINDS]
                raster.write(tile[:, :height, :width], window=Window(left, top, width, height))


def _run(args: argparse.Namespace, scene: Path, classes: int, output: Path) -> SceneRun:
    """Run :mod:`research.benchmark.scene_run` in a new process.

    Raises:
        InputError: the run failed; the message ends with its last line.
    """
    shutil.rmtree(output, ignore_errors=True)
    names = ", ".join(aerial_class_names(classes))
    given = [
        args.config_file,
        scene,
        output / "scene",
        names,
        args.precision,
        args.gsd,
        *(["--opts", *args.opts] if args.opts else []),
    ]
    argv = [sys.executable, "-m", "research.benchmark.scene_run", *map(str, given)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise InputError(f"the run ended with status {done.returncode}: {last}")
    return SceneRun(**json.loads(done.stdout.splitlines()[-1]))
