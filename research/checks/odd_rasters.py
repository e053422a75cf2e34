#!/usr/bin/env python
"""Write docs/odd_rasters.md: what real rasters of odd kinds give.

    python -m research.checks.odd_rasters --data ../shared/data

A slow test segments the rasters again and compares the page.
"""

from __future__ import annotations

import argparse
import logging
import math
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import rasterio
from rasterio.enums import MaskFlags
from tabulate import tabulate

from sgovss.errors import InputError
from sgovss.inference.photographs import segment_photograph
from sgovss.inference.predictor import Predictor
from sgovss.inference.rejection import Rejection
from sgovss.inference.segmentation import Segmentation
from sgovss.rasters.areas import ground_sample_distances
from sgovss.rasters.gdal import gdal_environment
from sgovss.rasters.georeference import RasterGeoreference
from sgovss.rasters.inputs import InputOptions, find_inputs, is_scene
from sgovss.rasters.options import SceneOptions
from sgovss.rasters.planning import metres
from sgovss.rasters.scene import SceneMapper
from sgovss.vocabulary import Vocabulary

PAGE = Path(__file__).resolve().parents[2] / "docs" / "odd_rasters.md"
FOLDERS = "geo_buildings", "geo_orthophotos", "odd_rasters"
WORDS = "building, road, tree|forest, water"
PARTS = {"odd_rasters/rio_tiler/cog_world.tif": (0.0, 40.0, 20.0, 50.0)}
"""Rasters of which a part is segmented: west, south, east, north in degrees."""
_PIXELS = 1e6  # that the model sees of each raster
_SHRUNK = 16  # at most
_ALIKE = 4  # files of a folder with the same result get one row

INTRODUCTION = """\
# Rasters of odd kinds

What real rasters give that are odd in some way: test files of other projects, and orthophotos. They are not part of the
repository. `python -m research.checks.odd_rasters` writes this page; a slow test does the same and compares, and checks
that the outputs have the coordinate reference system, the transform, the control points and the coefficients of GDAL's
own translation of the source, and no data where it has none. Where the outputs have more pixels without data, the
column "lines" says so.

The column "lines" has what the command tells at its defaults, where the model gets pixels of 0.3 m. If it ends with
`error:`, nothing is segmented at the defaults. The column "map" has what `--gsd` gives that shrinks a raster to about a
million pixels for the model: the share of pixels that get a class, and the file's own pixel size. "None" stands for no
map, and then the line says why.
"""


@dataclass(frozen=True)
class Outcome:
    """What a raster gives.

    Attributes:
        name: its path below the folder of all data.
        opened: the name that GDAL opens.
        what: its size, type and georeference.
        lines: what the command tells at its defaults.
        result: the map; None if there is none.
        share: fraction of the pixels that have a class.
        gsd: metres per pixel of the file as text.
    """

    name: str
    opened: str
    what: str
    lines: tuple[str, ...]
    result: Segmentation | None = None
    share: float = 0.0
    gsd: str = ""

    @property
    def row(self) -> list[str]:
        """The row of the table, without the name."""
        found = "none" if self.result is None else ", ".join(filter(None, [f"{100 * self.share:.1f} %", self.gsd]))
        return [self.what, found, " ¦ ".join(f"`{line}`" for line in self.lines)]


def files_of(data: Path) -> list[str]:
    """Return the rasters below a folder, by their paths in it."""
    found = [path for folder in FOLDERS for path in sorted((data / folder).rglob("*"))]
    return [path.relative_to(data).as_posix() for path in found if path.suffix in (".tif", ".vrt")]


def segment(data: Path, name: str, predictor: Predictor, folder: Path) -> Outcome:
    """Segment one raster.

    Args:
        data: the folder of all data.
        name: of the raster below it.
        predictor: the model.
        folder: for the outputs.
    """
    path, target = data / name, folder / Path(name).with_suffix("")
    options = InputOptions(bounds=PARTS.get(name))
    opened = next(iter(find_inputs([str(path)], target.parent, options)))
    with gdal_environment(), rasterio.open(opened) as dataset:
        what, gsd = describe(dataset), _gsd(dataset)
        pixels = dataset.height * dataset.width
    if not is_scene(opened):
        found = segment_photograph(predictor, path, Vocabulary.parse(WORDS), target, Rejection())
        return Outcome(name, opened, f"{what}, a photograph", (), found, 1.0)
    with _told(opened, path.name) as lines:
        try:
            SceneMapper(predictor, WORDS).plan(opened, target)
        except InputError as error:
            lines.append(f"error: {error}")
    try:
        shrunk = 0.0 if gsd is None else math.sqrt(math.prod(gsd)) * min(_SHRUNK, max(1.0, math.sqrt(pixels / _PIXELS)))
        found = SceneMapper(predictor, WORDS, SceneOptions(gsd=shrunk))(opened, target)
    except InputError:
        return Outcome(name, opened, what, tuple(lines))
    share = _segmented(found)
    return Outcome(name, opened, what, tuple(lines), found, share, "" if gsd is None else metres(gsd))


def describe(dataset: rasterio.io.DatasetReader) -> str:
    """Describe size, type and georeference of a raster in a few words."""
    found = RasterGeoreference.of(dataset)
    parts = [f"{dataset.width} x {dataset.height}, {dataset.count} x {dataset.dtypes[0]}"]
    flags = {flag for flags in dataset.mask_flag_enums for flag in flags}
    if dataset.colorinterp[0] == rasterio.enums.ColorInterp.palette:
        parts.append("palette")
    if MaskFlags.alpha in flags:
        parts.append("alpha")
    elif MaskFlags.nodata in flags:
        parts.append(f"no data {dataset.nodata:.3g}")
    elif MaskFlags.per_dataset in flags:
        parts.append("mask")
    if not found.exists:
        return ", ".join([*parts, "not georeferenced"])
    if found.transform.is_identity:
        return ", ".join([*parts, found.kind])
    turned = ", turned" if found.transform.b or found.transform.d else ""
    return ", ".join([*parts, _crs(found.crs) + turned])


def _crs(crs: rasterio.crs.CRS | None) -> str:
    if crs is None:
        return "no CRS"
    code, name = crs.to_epsg(), crs.to_wkt().split('"')[1]
    return f"EPSG:{code}" if code else f"no EPSG code ({crs.to_dict().get('proj') if name == 'unnamed' else name})"


def _gsd(dataset: rasterio.io.DatasetReader) -> tuple[float, float] | None:
    ground = RasterGeoreference.of(dataset).ground
    return None if ground is None else ground_sample_distances(*ground, dataset.height, dataset.width)


def _segmented(found: Segmentation) -> float:
    """Return the fraction of the pixels of a map that have a class."""
    with gdal_environment(), rasterio.open(found.files["labels"]) as labels:
        ids = labels.read(1)
        return float((ids != labels.nodata).mean())


@contextmanager
def _told(opened: str, name: str) -> Iterator[list[str]]:
    """Collect the lines of the command, in which the file has its short name."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("sgovss")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        # What GDAL says of a damaged file depends on its version.
        lines[:] = [re.sub(r"damaged or cut off \(.*\)", "damaged or cut off (…)", line) for line in lines]
        lines[:] = [line.replace(f"{opened}: ", "").replace(opened, name) for line in lines]


def page(outcomes: Sequence[Outcome]) -> str:
    """Return the text of docs/odd_rasters.md."""
    rows = []
    for (folder, row), group in groupby(outcomes, lambda outcome: (str(Path(outcome.name).parent), outcome.row)):
        names = [outcome.name for outcome in group]
        shown = names if len(names) < _ALIKE else [f"{folder}/ ({len(names)} files)"]
        rows += [[f"`{name}`", *row] for name in shown]
    table = tabulate(rows, headers=["raster", "what it is", "map", "lines"], tablefmt="github", disable_numparse=True)
    return f"{INTRODUCTION}\n{len(outcomes)} rasters.\n\n{table}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m research.checks.odd_rasters",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the rasters")
    data = parser.parse_args(argv).data.resolve()
    predictor = Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu"))
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [segment(data, name, predictor, Path(folder)) for name in files_of(data)]
    PAGE.write_text(page(outcomes), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
