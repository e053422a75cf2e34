"""The regions of a label raster as polygons, found a band of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.features import rasterize, shapes
from rasterio.windows import Window

from sgovss.rasters.coverage import Tolerance, border_nodes, simplified

_ROWS_AT_ONCE = 128  # of scores that are summed


class Region(NamedTuple):
    """A region of pixels of one class.

    Attributes:
        polygon: in pixels, columns as x and rows as y.
        label: class id.
        percents: sum of the scores of its pixels in percent.
        scored: number of its pixels that have a score.
    """

    polygon: shapely.Geometry
    label: int
    percents: float = 0.0
    scored: int = 0

    @property
    def score(self) -> float:
        """Mean score in 0..1; NaN without scores."""
        return self.percents / self.scored / 100 if self.scored else float("nan")


def regions(raster: rasterio.io.DatasetReader, rows: int, tolerance: Tolerance | None = None) -> Iterator[Region]:
    """Find the regions of a label raster. They are 4-connected.

    Memory holds the regions of some rows, and those that reach beyond them.

    Args:
        raster: an open raster of class ids, with a no-data value. Its second band, if it has one, is the score of the
            class in percent.
        rows: number of rows that are read at once.
        tolerance: simplifies the borders. Those between bands of rows keep the places where they cross the seam, so
            that there is no gap. None leaves them along the pixels.

    Yields:
        each region when its last row has been read.
    """
    open_regions = _OpenRegions(tidy=tolerance is None)
    for top in range(0, raster.height, rows):
        bottom = min(top + rows, raster.height)
        found = _regions_of(raster, top, bottom, tolerance)
        yield from open_regions.join(found, top, bottom, last=bottom == raster.height)


def _regions_of(
    raster: rasterio.io.DatasetReader, top: int, bottom: int, tolerance: Tolerance | None
) -> Sequence[Region]:
    """Find the regions of a band of rows."""
    first, last = max(top - 1, 0), min(bottom + 1, raster.height)  # nodes on the seams need the rows beyond
    around = raster.read(1, window=Window.from_slices((first, last), (0, raster.width)))
    ids = around[top - first : bottom - first]
    # No data are simplified with the classes, which therefore cover a whole rectangle.
    mask = None if tolerance is not None else ids != raster.nodata
    found = [*shapes(ids, mask=mask, transform=Affine.translation(0, top))]
    polygons = [shapely.geometry.shape(geometry) for geometry, _ in found]
    if tolerance is not None:
        polygons = simplified(polygons, border_nodes(around, first), tolerance)
    sums = _sums(raster, top, bottom, [geometry for geometry, _ in found])
    return [
        Region(polygon, int(value), *pair)
        for polygon, (_, value), pair in zip(polygons, found, sums, strict=True)
        if value != raster.nodata
    ]


def _sums(
    raster: rasterio.io.DatasetReader, top: int, bottom: int, geometries: Sequence[dict]
) -> list[tuple[float, int]]:
    """Sum and number of the scores in each geometry."""
    if raster.count == 1:
        return [(0.0, 0)] * len(geometries)
    size = len(geometries) + 1
    sums, counts = np.zeros(size), np.zeros(size, np.int64)
    numbers = rasterize(
        zip(geometries, range(1, size), strict=True),
        (bottom - top, raster.width),
        transform=Affine.translation(0, top),
        dtype="int32",
    )
    for row in range(top, bottom, _ROWS_AT_ONCE):
        percents = raster.read(2, window=Window(0, row, raster.width, min(_ROWS_AT_ONCE, bottom - row)))
        scored = percents != raster.nodata
        part = numbers[row - top : row - top + len(percents)][scored]
        sums += np.bincount(part, weights=percents[scored], minlength=size)
        counts += np.bincount(part, minlength=size)
    return list(zip(sums[1:].tolist(), counts[1:].tolist(), strict=True))


class _OpenRegions:
    """The regions that touch the last row that was read. Each consists of one part for each band of rows.

    Args:
        tidy: whether vertices within straight lines are removed where parts are united.
    """

    def __init__(self, tidy: bool) -> None:
        self._parts: list[list[Region]] = []
        self._tidy = tidy

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
                yield _united(parts, self._tidy)


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


def _united(parts: Sequence[Region], tidy: bool) -> Region:
    """Unite the parts of a region. The corners that only the seams have are removed, if wanted."""
    if len(parts) == 1:
        return parts[0]
    whole = shapely.union_all([region.polygon for region in parts])
    return Region(
        shapely.simplify(whole, 0) if tidy else whole,
        parts[0].label,
        sum(region.percents for region in parts),
        sum(region.scored for region in parts),
    )
