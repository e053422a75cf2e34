"""Areas of pixels on the ground, computed on the ellipsoid."""

from __future__ import annotations

import math

import numpy as np
import pyproj
from affine import Affine
from rasterio.crs import CRS

_KNOTS = 17


class Ellipsoid:
    """Conversion from the coordinates of a raster to degrees on the ellipsoid of WGS 84.

    Args:
        crs: coordinate reference system, as rasterio gives it.

    Attributes:
        to_degrees: (x, y) -> (longitude, latitude); arrays or numbers.
        geodesic: computes areas from degrees.

    Raises:
        pyproj.exceptions.ProjError: the coordinates have no position on the earth.
    """

    def __init__(self, crs: CRS) -> None:
        self.to_degrees = pyproj.Transformer.from_crs(crs.to_wkt(), "EPSG:4326", always_xy=True).transform
        self.geodesic = pyproj.Geod(ellps="WGS84")


class PixelAreas:
    """Areas of the pixels of a georeferenced raster.

    The sides of a pixel are geodesics on the ellipsoid of WGS 84. Areas are therefore also correct for coordinates in
    degrees and for projections that distort areas, such as EPSG:3857 far from the equator.

    Args:
        crs, transform: as rasterio gives them.

    Raises:
        pyproj.exceptions.ProjError: see :class:`Ellipsoid`.
    """

    def __init__(self, crs: CRS, transform: Affine) -> None:
        self._transform = transform
        self.ellipsoid = Ellipsoid(crs)

    def at(self, row: float, column: float) -> float:
        """Return the area in square metres of the pixel at a position in pixels; NaN outside the projection's range."""
        corners = [on_ground(self._transform, column + x, row + y) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))]
        longitudes, latitudes = self.ellipsoid.to_degrees([x for x, _ in corners], [y for _, y in corners])
        if not np.isfinite([*longitudes, *latitudes]).all():
            return math.nan
        return abs(self.ellipsoid.geodesic.polygon_area_perimeter(longitudes, latitudes)[0])

    def of_rows(self, first: int, last: int, column: float) -> np.ndarray:
        """Compute the areas of the pixels of a column in rows ``first`` to ``last - 1``.

        Returns:
            (last - first,) float64 in square metres: exact in 17 rows, interpolated linearly between them.
        """
        rows = np.arange(first, last)
        knots = np.unique(np.linspace(first, last - 1, min(_KNOTS, len(rows))))
        return np.interp(rows, knots, [self.at(row, column) for row in knots])


def pixel_areas(crs: CRS | None, transform: Affine) -> PixelAreas | None:
    """Return the areas of a raster's pixels; None if the raster is not georeferenced.

    A raster with local coordinates, such as those of a building site, is not georeferenced either.
    """
    if crs is None or transform.is_identity:
        return None
    try:
        return PixelAreas(crs, transform)
    except pyproj.exceptions.ProjError:
        return None


def on_ground(transform: Affine, column: float, row: float) -> tuple[float, float]:
    """Return the coordinates (x, y) of a position in pixels. Affine's own operator differs between its versions."""
    a, b, c, d, e, f = tuple(transform)[:6]
    return a * column + b * row + c, d * column + e * row + f


def ground_sample_distances(crs: CRS | None, transform: Affine, height: int, width: int) -> tuple[float, float] | None:
    """Measure a pixel at the middle of a raster.

    Returns:
        metres per pixel down and across, along geodesics; None if the raster is not georeferenced.
    """
    areas = pixel_areas(crs, transform)
    if areas is None:
        return None
    row, column = height / 2, width / 2
    lines = []
    for begin, end in (((row, column + 0.5), (row + 1, column + 0.5)), ((row + 0.5, column), (row + 0.5, column + 1))):
        points = [on_ground(transform, x, y) for y, x in (begin, end)]
        longitudes, latitudes = areas.ellipsoid.to_degrees([x for x, _ in points], [y for _, y in points])
        lines.append(areas.ellipsoid.geodesic.line_length(longitudes, latitudes))
    down, across = lines
    return (down, across) if 0 < down < math.inf and 0 < across < math.inf else None
