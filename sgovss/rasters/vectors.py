"""Write the regions of a label raster as polygons: GeoPackage, GeoParquet, FlatGeobuf or GeoJSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine

from sgovss.rasters.areas import PixelAreas, ground_sample_distances, pixel_areas
from sgovss.rasters.coverage import Tolerance
from sgovss.rasters.grid import TILE
from sgovss.rasters.polygons import Region, regions
from sgovss.rasters.vector_files import PolygonFile
from sgovss.vocabulary import Vocabulary

_POLYGONS = 10_000  # written in one batch
_PIXELS = 2**24  # read at once
_METRES = 5_000.0  # longest side of which the geodesic is close to the straight line

Fields = Mapping[str, np.ndarray]
"""Values of each field for some polygons, (N,)."""


def rows_at_once(width: int) -> int:
    """Choose a number of rows, so that their pixels take bounded memory: whole tiles, at most 2048."""
    return TILE * max(1, min(4, _PIXELS // (TILE * width)))


def write_polygons(
    path: Path,
    labels: Path,
    legend: Vocabulary,
    source: str | None = None,
    tolerance: Tolerance | None = None,
    working: Path | None = None,
    rows: int | None = None,
    square: Callable[[Iterator[Region]], Iterator[Region]] | None = None,
) -> int:
    """Write the regions of a label raster.

    Fields are ``id`` (from 1), ``class``, ``class_id``, ``area_m2``, ``score`` and ``source``. The area is geodesic, in
    square metres, or null if the raster is not georeferenced. The score is the mean of the pixels' scores in 0..1, or
    null without a band of scores. Regions are 4-connected. Memory holds the regions of some rows, and those that reach
    beyond them.

    Args:
        path: file to write; its suffix gives the format. GeoJSON is in degrees, as its standard demands.
        labels: the label raster; see :func:`sgovss.rasters.geotiff.create_labels`.
        legend: its classes.
        source: name of the scene; by default that of the label raster.
        tolerance: by which borders are simplified; None leaves them along the pixels.
        working: a GeoPackage that is written first, and does not remain; by default beside ``path``.
        rows: number of rows that are read at once; by default :func:`rows_at_once`.
        square: see :class:`sgovss.rasters.squaring.Squaring`; None for no right angles.

    Returns:
        the number of polygons.
    """

    def fields(batch: Sequence[Region]) -> Fields:
        ids = np.array([region.label for region in batch], np.int32)
        return class_fields(ids, np.array([region.score for region in batch], float), legend)

    working = working or path.with_name(f".{path.name}.gpkg")
    return write_regions(path, labels, fields, source or labels.name, tolerance, working, rows, square)


def write_regions(
    path: Path,
    numbers: Path,
    fields: Callable[[Sequence[Region]], Fields],
    source: str,
    tolerance: Tolerance | None,
    working: Path,
    rows: int | None = None,
    square: Callable[[Iterator[Region]], Iterator[Region]] | None = None,
) -> int:
    """Write the regions of a raster of numbers; see :func:`write_polygons`.

    Args:
        fields: the fields of some regions, besides ``id``, ``area_m2`` and ``source``.
    """
    with rasterio.open(numbers) as raster:
        file = PolygonFile(path, working, None if raster.crs is None else raster.crs.to_wkt())
        areas = Areas(raster)
        found = regions(raster, rows or rows_at_once(raster.width), tolerance)
        for batch in _batches(square(found) if square else found):
            polygons = [region.polygon for region in batch]
            on_ground = [placed(polygon, raster.transform) for polygon in polygons]
            file.add(on_ground, with_common(fields(batch), areas(polygons), source, file.count))
    file.finish()
    return file.count


def class_fields(ids: np.ndarray, scores: np.ndarray, legend: Vocabulary) -> Fields:
    """Fields of the classes of some polygons: ``class``, ``class_id`` and ``score``."""
    return {
        "class": np.array([legend.names[i] for i in ids], object),
        "class_id": ids.astype(np.int32),
        "score": scores.astype(float),
    }


def with_common(fields: Fields, areas: Sequence[float], source: str, written: int) -> Fields:
    """Add the fields ``id``, ``area_m2`` and ``source`` to those of some polygons, after ``written`` others."""
    count, known = len(areas), dict(fields)
    return {
        "id": np.arange(written + 1, written + 1 + count),
        "class": known.pop("class"),
        "class_id": known.pop("class_id"),
        "area_m2": np.array(areas, float),
        "score": known.pop("score"),
        "source": np.array([source] * count, object),
        **known,
    }


class Areas:
    """Geodesic areas of polygons.

    Args:
        raster: its georeference is used.
    """

    def __init__(self, raster: rasterio.io.DatasetReader) -> None:
        gsd = ground_sample_distances(raster.crs, raster.transform, raster.height, raster.width)
        self._longest = math.inf if gsd is None else max(1.0, _METRES / max(gsd))
        self._areas, self._transform = pixel_areas(raster.crs, raster.transform), raster.transform

    def __call__(self, polygons: Sequence[shapely.Geometry]) -> list[float]:
        """Square metres of polygons in pixels; NaN without georeference."""
        dense = shapely.segmentize(np.array(polygons, object), self._longest)
        return [_area(placed(polygon, self._transform), self._areas) for polygon in dense]


def _batches(found: Iterator[Region]) -> Iterator[list[Region]]:
    """Group regions into batches; one of them, which may be empty, if there is no region."""
    yield [*islice(found, _POLYGONS)]
    while batch := [*islice(found, _POLYGONS)]:
        yield batch


def placed(polygon: shapely.Geometry, transform: Affine) -> shapely.Geometry:
    """Bring a polygon in pixels to the coordinates of a raster; with the inverse transform, back."""
    a, b, c, d, e, f = tuple(transform)[:6]
    return shapely.transform(polygon, lambda x, y: (a * x + b * y + c, d * x + e * y + f), interleaved=False)


def _area(polygon: shapely.Geometry, areas: PixelAreas | None) -> float:
    """Area in square metres; NaN if the raster is not georeferenced."""
    if areas is None:
        return math.nan
    degrees = shapely.transform(polygon, areas.ellipsoid.to_degrees, interleaved=False)
    degrees = shapely.orient_polygons(degrees)  # otherwise holes may be added, not taken off
    return abs(areas.ellipsoid.geodesic.geometry_area_perimeter(degrees)[0])
