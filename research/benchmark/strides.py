"""How much the distance of the windows changes a map, and what it costs."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from tabulate import tabulate

from sgovss.files import write_json_atomically
from sgovss.inference.predictor import Predictor
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.scene import SceneMapper

_WORDS = "building|house|roof, road|street, tree|forest, grass|meadow, bare soil, water|river, car, railway"


def add_command(commands: Any) -> None:
    """Add ``strides`` to the subcommands of an argument parser."""
    parser = commands.add_parser("strides", help="share of labels that another overlap of the windows changes")
    parser.add_argument("--config-file", default="sgovss_tiny.yaml", metavar="FILE")
    parser.add_argument("--files", type=Path, nargs="+", required=True, metavar="FILE", help="rasters")
    parser.add_argument("--strides", type=int, nargs="+", default=[256, 320, 384, 416, 448, 480, 512], metavar="PIXELS",
                        help="distances of the windows; the first is what the others are compared with")  # fmt: skip
    parser.add_argument("--gsd", type=float, default=0.0, metavar="METRES", help="pixel size for the model; default "
                        "that of its training")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config options")
    parser.set_defaults(run=compare_strides)


def compare_strides(args: argparse.Namespace) -> None:
    """Print the windows of each stride, and the percentage of labels that differ from the first's, by file."""
    rows: list[dict[str, Any]] = []
    first: dict[Path, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        for stride in args.strides:
            options = (*args.opts, "TEST.SCENE.STRIDE", str(stride))
            mapper = SceneMapper(Predictor(args.config_file, options=options), _WORDS, SceneOptions(gsd=args.gsd))
            row: dict[str, Any] = {"stride": stride, "windows": 0}
            for file in args.files:
                plan = mapper.plan(file, Path(folder) / str(stride) / file.stem)
                row["windows"] += len(plan.down.starts) * len(plan.across.starts)
                labels = _labels(mapper, file, Path(folder) / str(stride) / file.stem)
                known = first.setdefault(file, labels)
                row[file.stem] = round(100 * float((labels != known).mean()), 2)
            rows.append({**row, "mean": round(float(np.mean([row[file.stem] for file in args.files])), 2)})
            print(tabulate(rows[-1:], headers="keys"), flush=True)
    print(tabulate(rows, headers="keys", tablefmt="github"))
    if args.json:
        write_json_atomically(args.json, {**args.origin, "rows": rows})


def _labels(mapper: SceneMapper, file: Path, target: Path) -> np.ndarray:
    mapper(file, target)
    (labels,) = target.parent.glob(f"{target.name}_labels.tif")
    with rasterio.open(labels) as raster:
        return np.asarray(raster.read(1))
