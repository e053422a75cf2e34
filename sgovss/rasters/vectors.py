"""Vector files: read an area of interest, write the regions of a label raster."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import shapely
from affine import Affine
from rasterio.features import geometry_mask
from rasterio.windows import Window, transform

from sgovss.errors import InputError
from sgovss.rasters.areas import on_ground
from sgovss.rasters.polygon_files import write_polygons
from sgovss.rasters.source import RasterSource

__all__ = ["AreaOfInterest", "write_polygons"]


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


def _coarser(transform: Affine, factor: float) -> Affine:
    a, b, c, d, e, f = tuple(transform)[:6]
    return Affine(a * factor, b * factor, c, d * factor, e * factor, f)


def _reprojected(polygons: list[shapely.Geometry], crs: str, source: RasterSource) -> list[shapely.Geometry]:
    try:
        across = pyproj.Transformer.from_crs(crs, source.crs.to_wkt(), always_xy=True).transform
    except pyproj.exceptions.ProjError as error:
        raise InputError(f"--aoi: its coordinates cannot be transformed to those of {source.path} ({error})") from error
    return [shapely.transform(polygon, across, interleaved=False) for polygon in polygons]
