"""The regions of a label raster as polygons, found a band of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import rasterio
import shapely
from affine import Affine
from rasterio.features import shapes
from rasterio.windows import Window


class Region(NamedTuple):
    """A region of pixels of one class.

    Attributes:
        polygon: in pixels, columns as x and rows as y.
        label: class id.
    """

    polygon: shapely.Geometry
    label: int


def regions(raster: rasterio.io.DatasetReader, rows: int) -> Iterator[Region]:
    """Find the regions of a label raster. They are 4-connected.

    Memory holds the regions of some rows, and those that reach beyond them.

    Args:
        raster: an open raster of class ids, with a no-data value.
        rows: number of rows that are read at once.

    Yields:
        each region when its last row has been read.
    """
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
