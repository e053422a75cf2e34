"""Write the regions of a label raster as polygons, a band of rows at a time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyogrio
import rasterio
import shapely
from affine import Affine
from rasterio.features import shapes
from rasterio.windows import Window

from sgovss.files import atomic_path
from sgovss.rasters.areas import PixelAreas, pixel_areas
from sgovss.vocabulary import Vocabulary

_ROWS = 2048
_POLYGONS = 10_000  # written in one batch


class Region(NamedTuple):
    """A region of pixels of one class.

    Attributes:
        polygon: in pixels, columns as x and rows as y.
        label: class id.
    """

    polygon: shapely.Geometry
    label: int


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


def regions(raster: rasterio.io.DatasetReader, rows: int) -> Iterator[Region]:
    """Yield the regions of a label raster, each when its last row has been read."""
    open_regions = _OpenRegions()
    for top in range(0, raster.height, rows):
        bottom = min(top + rows, raster.height)
        ids = raster.read(1, window=Window(0, top, raster.width, bottom - top))
        found = [
            Region(shapely.geometry.shape(geometry), int(value))
            for geometry, value in shapes(ids, mask=ids != raster.nodata, transform=Affine.translation(0, top))
        ]
        yield from open_regions.join(found, top, bottom, last=bottom == raster.height)


class _OpenRegions:
    """The regions that touch the last row that was read. Each consists of one part for each band of rows."""

    def __init__(self) -> None:
        self._parts: list[list[Region]] = []

    def join(self, found: Sequence[Region], top: int, bottom: int, last: bool) -> Iterator[Region]:
        """Join the regions of the next rows with those above that they touch; yield those that are finished."""
        groups = [*self._parts, *([region] for region in found)]
        members = list(range(len(groups)))

        def root(i: int) -> int:
            while members[i] != i:
                members[i] = members[members[i]]
                i = members[i]
            return i

        for above, below in _touching(groups, len(self._parts), top):
            members[root(above)] = root(below)
        joined: dict[int, list[Region]] = {}
        for i, parts in enumerate(groups):
            joined.setdefault(root(i), []).extend(parts)
        self._parts = []
        for parts in joined.values():
            if not last and any(region.polygon.bounds[3] == bottom for region in parts):
                self._parts.append(parts)
            else:
                yield _united(parts)


def _touching(groups: Sequence[Sequence[Region]], above: int, seam: int) -> Iterator[tuple[int, int]]:
    """Find the groups, the first ``above`` of them above the seam, that share a side of a pixel of the same class."""
    spans: tuple[list, list] = ([], [])
    for i, parts in enumerate(groups):
        for region in parts:
            edge = 3 if i < above else 1
            if region.polygon.bounds[edge] == seam:
                spans[i >= above].extend((*span, region.label, i) for span in _spans(region.polygon, seam))
    upper, lower = (sorted(side) for side in spans)
    j = 0
    for left, right, label, i in upper:
        while j < len(lower) and lower[j][1] <= left:
            j += 1
        k = j
        while k < len(lower) and lower[k][0] < right:
            if lower[k][2] == label:
                yield i, lower[k][3]
            k += 1


def _spans(polygon: shapely.Polygon, row: int) -> Iterator[tuple[float, float]]:
    """The parts of a horizontal line that are sides of a polygon of pixels."""
    for ring in (polygon.exterior, *polygon.interiors):
        points = shapely.get_coordinates(ring)
        on_line = (points[:-1, 1] == row) & (points[1:, 1] == row)
        for x, other in zip(points[:-1, 0][on_line], points[1:, 0][on_line], strict=True):
            yield min(x, other), max(x, other)


def _united(parts: Sequence[Region]) -> Region:
    """Unite the parts of a region. The corners that only the seams have are removed."""
    if len(parts) == 1:
        return parts[0]
    whole = shapely.union_all([region.polygon for region in parts])
    return Region(shapely.simplify(whole, 0), parts[0].label)


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
