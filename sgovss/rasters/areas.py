"""Areas of pixels on the ground, computed on the ellipsoid."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import pyproj
from affine import Affine
from rasterio.crs import CRS

from sgovss.rasters.units import Box

# The corners of a pixel and the middles of its sides, because parallels and lines of projections are no geodesics.
_AROUND = ((0, 0), (0.5, 0), (1, 0), (1, 0.5), (1, 1), (0.5, 1), (0, 1), (0, 0.5))
_ROWS = 49  # knots of the interpolation: a unit of 512 rows may reach from pole to pole
_COLUMNS = 5  # the scale of most projections changes slowly along a row


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

    The halves of a pixel's sides are geodesics on the ellipsoid of WGS 84. Areas are therefore also correct for
    coordinates in degrees and for projections that distort areas, such as EPSG:3857 far from the equator.

    Args:
        crs, transform: as rasterio gives them.

    Raises:
        pyproj.exceptions.ProjError: see :class:`Ellipsoid`.
    """

    def __init__(self, crs: CRS, transform: Affine) -> None:
        self._transform = transform
        self.ellipsoid = Ellipsoid(crs)

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Compute the areas of the pixels at positions in pixels.

        Args:
            rows, columns: of the upper left corners, (n,) each.

        Returns:
            (n,) float64 in square metres; NaN outside the projection's range.
        """
        right, down = np.array(_AROUND).T
        xs, ys = on_ground(self._transform, columns[:, None] + right, rows[:, None] + down)
        pixels = zip(*self.ellipsoid.to_degrees(xs, ys), strict=True)
        return np.array([self._area(longitudes, latitudes) for longitudes, latitudes in pixels])

    def within(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Compute the areas of all pixels of a box, as two factors.

        Returns:
            (height, k) and (k, width) float64. Their product is the area of each pixel in square metres: exact at some
            knots, interpolated linearly between them. Knots outside the projection's range, where rasters have no
            data, get the mean of the others; 0 if all are there.
        """
        rows, columns = _knots(box.top, box.bottom, _ROWS), _knots(box.left, box.right, _COLUMNS)
        grid = np.meshgrid(rows, columns, indexing="ij")
        exact = self.at(*(positions.ravel() for positions in grid)).reshape(grid[0].shape)
        inside = np.isfinite(exact)
        exact = np.where(inside, exact, exact[inside].mean() if inside.any() else 0.0)
        return _between(rows, box.top, box.bottom) @ exact, _between(columns, box.left, box.right).T

    def _area(self, longitudes: np.ndarray, latitudes: np.ndarray) -> float:
        if not (np.isfinite(longitudes).all() and np.isfinite(latitudes).all()):
            return math.nan
        return abs(self.ellipsoid.geodesic.polygon_area_perimeter(longitudes, latitudes)[0])


def _knots(first: int, last: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(first, last - 1, min(most, last - first)))


def _between(knots: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return the weights (last - first, knots) of a linear interpolation between knots."""
    positions = np.arange(first, last)
    return np.stack([np.interp(positions, knots, row) for row in np.eye(len(knots))], axis=1)


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


Number = TypeVar("Number", float, np.ndarray)


def on_ground(transform: Affine, column: Number, row: Number) -> tuple[Number, Number]:
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
