"""The georeference of a raster: an affine transform, ground control points, or rational polynomial coefficients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.rpc import RPC
from rasterio.transform import RPCTransformer, from_gcps

from sgovss.errors import InputError

_NO_WIDTH = 1e-9  # of its length, by which a line of points may be wide, because coordinates are rounded
_SIDE = 5  # points along a side of the grid that a transform is fitted to


@dataclass(frozen=True)
class RasterGeoreference:
    """The position of a raster on the ground, as its file states it.

    Attributes:
        crs: of the affine transform; None if there is none.
        transform: from (column, row) to coordinates; the identity if there is none.
        gcps: ground control points.
        gcps_crs: their coordinate reference system.
        rpcs: rational polynomial coefficients; None if there are none.
        ground: CRS and affine transform that are right enough for sizes of pixels: the exact ones, or those fitted to
            the points or coefficients. None if the raster is not georeferenced.
        remark: one line for the user; empty if there is nothing to say.
        arrays: whether it has geolocation arrays instead, which are not read.
    """

    crs: CRS | None
    transform: Affine
    gcps: tuple[GroundControlPoint, ...] = ()
    gcps_crs: CRS | None = None
    rpcs: RPC | None = None
    ground: tuple[CRS, Affine] | None = None
    remark: str = ""
    arrays: bool = False

    @classmethod
    def of(cls, dataset: DatasetReader, fit: bool = False) -> RasterGeoreference:
        """Read the georeference of a raster.

        Args:
            dataset: an open raster.
            fit: replace ground control points and coefficients by the affine transform that fits them best.

        Raises:
            InputError: the transform cannot be fitted.
        """
        points, points_crs = dataset.gcps
        found = cls(dataset.crs, dataset.transform, tuple(points), points_crs, dataset.rpcs)
        if not found.transform.is_identity:
            return found if found.crs is None else replace(found, ground=(found.crs, found.transform))
        if not found.gcps and found.rpcs is None:
            if not dataset.tags(ns="GEOLOCATION"):
                return found
            remark = "its geolocation arrays are not read or copied; bring it to a map first, with gdalwarp -geoloc"
            return replace(found, arrays=True, remark=remark)
        try:
            ground, error = found._fitted(dataset.height, dataset.width)
        except (RasterioError, ValueError, np.linalg.LinAlgError) as failure:
            if fit:
                message = f"--fit-gcps: {dataset.name}: no transform fits its {found.kind} ({failure})"
                raise InputError(message) from failure
            remark = f"its {found.kind} are copied to the outputs, but the size of its pixels cannot be computed"
            return replace(found, remark=remark)
        if fit:
            remark = f"an affine transform was fitted to its {found.kind}; it is up to {error:.2g} pixels off them"
            return cls(*ground, ground=ground, remark=remark)
        remark = f"georeferenced by {found.kind}, which are copied to the outputs; for areas in square metres and "
        return replace(found, ground=ground, remark=f"{remark}polygons on the ground give --fit-gcps")

    @property
    def kind(self) -> str:
        """What a raster without an affine transform is georeferenced by, in words."""
        return f"{len(self.gcps)} ground control points" if self.gcps else "rational polynomial coefficients (RPC)"

    @property
    def exists(self) -> bool:
        """Whether the raster has any georeference. A CRS alone is none."""
        return not self.transform.is_identity or bool(self.gcps) or self.rpcs is not None

    @property
    def profile(self) -> dict[str, Any]:
        """``crs`` and ``transform`` for :func:`rasterio.open`. GDAL writes ground control points in their place."""
        return {} if self.gcps and self.transform.is_identity else {"crs": self.crs, "transform": self.transform}

    def write_to(self, dataset: DatasetWriter) -> None:
        """Write what :attr:`profile` does not hold to a raster of the same size: points and coefficients."""
        if self.gcps and self.transform.is_identity:
            dataset.gcps = list(self.gcps), self.gcps_crs or CRS()
        if self.rpcs is not None:
            dataset.rpcs = self.rpcs

    def _fitted(self, height: int, width: int) -> tuple[tuple[CRS, Affine], float]:
        """Fit an affine transform; returns it with its CRS, and the largest distance from it in pixels.

        Raises:
            ValueError: nothing to fit, or a transform that maps all pixels to a line.
        """
        if self.gcps:
            crs, points = self.gcps_crs, list(self.gcps)
        else:
            crs, points = CRS.from_epsg(4326), _points_of(self.rpcs, height, width)
        if not crs:
            raise ValueError("they have no coordinate reference system")
        if any(_on_a_line(each) for each in ([(p.col, p.row) for p in points], [(p.x, p.y) for p in points])):
            raise ValueError("they lie on a line")
        transform = from_gcps(points)
        inverse = ~transform
        a, b, c, d, e, f = tuple(inverse)[:6]
        distances = [np.hypot(a * p.x + b * p.y + c - p.col, d * p.x + e * p.y + f - p.row) for p in points]
        return (crs, transform), float(max(distances))


def _on_a_line(places: list[tuple[float, float]]) -> bool:
    """Return whether places determine no transform. rasterio then returns one of whatever the memory holds.

    Two places determine one that does not rotate, unless one is beside or below the other.
    """
    offsets = np.array(places) - np.mean(places, axis=0)
    if len(places) <= 2:
        return not offsets.all()
    largest, smallest = np.linalg.svd(offsets, compute_uv=False)
    return bool(smallest <= _NO_WIDTH * largest)


def _points_of(rpcs: RPC | None, height: int, width: int) -> list[GroundControlPoint]:
    """Return a grid of points computed from coefficients, at the height in the middle of their range."""
    rows, columns = (g.ravel() for g in np.meshgrid(np.linspace(0, height, _SIDE), np.linspace(0, width, _SIDE)))
    middle = getattr(rpcs, "height_off", 0.0)
    with RPCTransformer(rpcs, RPC_HEIGHT=middle) as across:
        xs, ys = across.xy(rows, columns, offset="ul")
    return [GroundControlPoint(row=r, col=c, x=x, y=y) for r, c, x, y in zip(rows, columns, xs, ys, strict=True)]
