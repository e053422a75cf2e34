"""Write the regions of a label raster as polygons to a vector file."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from rasterio.features import shapes

from sgovss.files import atomic_path
from sgovss.rasters.areas import PixelAreas, pixel_areas
from sgovss.vocabulary import Vocabulary

_POLYGONS = 10_000  # written in one batch


def write_polygons(path: Path, labels: Path, legend: Vocabulary) -> int:
    """Write the regions of a label raster as a GeoPackage with ``class``, ``class_id`` and ``area_m2``.

    The area is geodesic, in square metres, or null if the raster is not georeferenced. Regions are 4-connected.

    Args:
        path: file to write.
        labels: the label raster; see :func:`sgovss.rasters.writer.write_labels`.
        legend: its classes.

    Returns:
        the number of polygons.
    """
    total = 0
    with rasterio.open(labels) as raster, atomic_path(path) as partial:
        partial.unlink()
        crs = None if raster.crs is None else raster.crs.to_wkt()
        on_earth = pixel_areas(raster.crs, raster.transform)
        found = _regions(raster)
        batch = list(islice(found, _POLYGONS))
        while batch or not total:
            areas = [_area(polygon, on_earth) for polygon, _ in batch]
            _append(partial, batch, areas, legend, crs, append=total > 0)
            total += len(batch)
            batch = list(islice(found, _POLYGONS))
            if not total:
                break
    return total


def _append(
    path: Path,
    regions: list[tuple[shapely.Polygon, int]],
    areas: list[float],
    legend: Vocabulary,
    crs: str | None,
    append: bool,
) -> None:
    ids = np.array([i for _, i in regions], np.int32)
    with warnings.catch_warnings():
        # The coordinate reference system of an image without georeference is None.
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        pyogrio.raw.write(
            path,
            geometry=shapely.to_wkb(np.array([polygon for polygon, _ in regions], object)),
            field_data=[np.array([legend.names[i] for i in ids], object), ids, np.array(areas, float)],
            fields=["class", "class_id", "area_m2"],
            geometry_type="Polygon",
            crs=crs,
            driver="GPKG",
            layer="classes",
            append=append,
        )


def _area(polygon: shapely.Polygon, areas: PixelAreas | None) -> float:
    """Area in square metres; NaN if the raster is not georeferenced."""
    if areas is None:
        return math.nan
    degrees = shapely.transform(polygon, areas.ellipsoid.to_degrees, interleaved=False)
    return abs(areas.ellipsoid.geodesic.geometry_area_perimeter(degrees)[0])


def _regions(raster: rasterio.io.DatasetReader) -> Iterator[tuple[shapely.Polygon, int]]:
    band = rasterio.band(raster, 1)
    for geometry, value in shapes(band, transform=raster.transform):
        if value != raster.nodata:
            yield shapely.geometry.shape(geometry), int(value)
