"""Write the regions of a label raster as polygons to a vector file."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from affine import Affine

from sgovss.files import atomic_path
from sgovss.rasters.areas import PixelAreas, pixel_areas
from sgovss.rasters.polygons import Region, regions
from sgovss.vocabulary import Vocabulary

_ROWS = 2048
_POLYGONS = 10_000  # written in one batch


def write_polygons(path: Path, labels: Path, legend: Vocabulary, rows: int = _ROWS) -> int:
    """Write the regions of a label raster as a GeoPackage with ``class``, ``class_id`` and ``area_m2``.

    The area is geodesic, in square metres, or null if the raster is not georeferenced. Regions are 4-connected. Memory
    holds the regions of some rows, and those that reach beyond them.

    Args:
        path: file to write.
        labels: the label raster; see :func:`sgovss.rasters.geotiff.create_labels`.
        legend: its classes.
        rows: number of rows that are read at once.

    Returns:
        the number of polygons.
    """
    total = 0
    with rasterio.open(labels) as raster, atomic_path(path) as partial:
        partial.unlink()
        crs = None if raster.crs is None else raster.crs.to_wkt()
        on_earth = pixel_areas(raster.crs, raster.transform)
        for batch in _batches(regions(raster, rows)):
            placed = [_placed(region.polygon, raster.transform) for region in batch]
            areas = [_area(polygon, on_earth) for polygon in placed]
            _append(partial, placed, [region.label for region in batch], areas, legend, crs, append=total > 0)
            total += len(batch)
    return total


def _batches(found: Iterator[Region]) -> Iterator[list[Region]]:
    """Group regions into batches; one of them, which may be empty, if there is no region."""
    batch: list[Region] = []
    empty = True
    for region in found:
        batch.append(region)
        if len(batch) == _POLYGONS:
            yield batch
            batch, empty = [], False
    if batch or empty:
        yield batch


def _placed(polygon: shapely.Geometry, transform: Affine) -> shapely.Geometry:
    a, b, c, d, e, f = tuple(transform)[:6]
    return shapely.transform(polygon, lambda x, y: (a * x + b * y + c, d * x + e * y + f), interleaved=False)


def _append(
    path: Path,
    polygons: Sequence[shapely.Geometry],
    labels: Sequence[int],
    areas: Sequence[float],
    legend: Vocabulary,
    crs: str | None,
    append: bool,
) -> None:
    ids = np.array(labels, np.int32)
    with warnings.catch_warnings():
        # The coordinate reference system of an image without georeference is None.
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        pyogrio.raw.write(
            path,
            geometry=shapely.to_wkb(np.array(polygons, object)),
            field_data=[np.array([legend.names[i] for i in ids], object), ids, np.array(areas, float)],
            fields=["class", "class_id", "area_m2"],
            geometry_type="Polygon",
            crs=crs,
            driver="GPKG",
            layer="classes",
            append=append,
        )


def _area(polygon: shapely.Geometry, areas: PixelAreas | None) -> float:
    """Area in square metres; NaN if the raster is not georeferenced."""
    if areas is None:
        return math.nan
    degrees = shapely.transform(polygon, areas.ellipsoid.to_degrees, interleaved=False)
    return abs(areas.ellipsoid.geodesic.geometry_area_perimeter(degrees)[0])
