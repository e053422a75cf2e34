"""Vector files: read an area of interest, write the regions of a label raster as polygons."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import rasterio
import shapely
from affine import Affine
from rasterio.features import geometry_mask
from rasterio.windows import Window, transform

from sgovss.errors import InputError
from sgovss.files import atomic_path
from sgovss.rasters.areas import PixelAreas, on_ground, pixel_areas
from sgovss.rasters.polygons import Region, regions
from sgovss.rasters.source import RasterSource
from sgovss.vocabulary import Vocabulary

_ROWS = 2048
_POLYGONS = 10_000  # written in one batch


class AreaOfInterest:
    """The polygons of a vector file as a mask of the pixels of a raster.

    Args:
        path: a file of polygons that OGR reads.
        source: the raster; polygons are transformed to its coordinates.

    Raises:
        InputError: the file is not a vector file, has no polygon, has coordinates that cannot be transformed, or does
            not overlap with the raster.
    """

    def __init__(self, path: Path, source: RasterSource) -> None:
        try:
            metadata, _, geometries, _ = pyogrio.raw.read(path, columns=[])
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
            raise InputError(f"--aoi {path}: not a vector file that can be read ({error})") from error
        polygons = [shape for shape in shapely.from_wkb(geometries) if shape is not None and shape.area > 0]
        if not polygons:
            raise InputError(f"--aoi {path}: no polygon in this file; give a file of polygons")
        if source.crs is not None and metadata["crs"] is not None:
            polygons = _reprojected(polygons, metadata["crs"], source)
        self._transform = source.transform
        self._index = shapely.STRtree(polygons)
        self._polygons = polygons
        if not self(Window(0, 0, source.width, source.height), coarse=True).any():
            raise InputError(f"--aoi {path}: does not overlap with {source.path}; check the coordinates of both")

    def __call__(self, window: Window, coarse: bool = False) -> np.ndarray:
        """Compute which pixels of a window are inside the polygons.

        Args:
            window: window of the raster in pixels.
            coarse: shrink the mask to at most 512 pixels along a side, and include all pixels that a polygon touches.

        Returns:
            (height, width) bool; true for pixels whose centre is inside.
        """
        height, width = int(window.height), int(window.width)
        here = transform(window, self._transform)
        if coarse:
            factor = max(1.0, max(height, width) / 512)
            height, width, here = math.ceil(height / factor), math.ceil(width / factor), _coarser(here, factor)
        corners = [on_ground(here, *corner) for corner in ((0, 0), (width, 0), (width, height), (0, height))]
        near = self._index.query(shapely.Polygon(corners))
        if not len(near):
            return np.zeros((height, width), bool)
        found = [self._polygons[i] for i in near]
        return geometry_mask(found, (height, width), here, invert=True, all_touched=coarse)


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


def _coarser(transform: Affine, factor: float) -> Affine:
    a, b, c, d, e, f = tuple(transform)[:6]
    return Affine(a * factor, b * factor, c, d * factor, e * factor, f)


def _reprojected(polygons: list[shapely.Geometry], crs: str, source: RasterSource) -> list[shapely.Geometry]:
    try:
        across = pyproj.Transformer.from_crs(crs, source.crs.to_wkt(), always_xy=True).transform
    except pyproj.exceptions.ProjError as error:
        raise InputError(f"--aoi: its coordinates cannot be transformed to those of {source.path} ({error})") from error
    return [shapely.transform(polygon, across, interleaved=False) for polygon in polygons]
