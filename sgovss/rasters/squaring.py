"""Right angles for the regions of some classes; their neighbours are fitted to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import shapely

from sgovss.rasters.polygons import Region
from sgovss.rasters.right_angles import squared
from sgovss.rasters.stored_polygons import ShapeStore, Stored, side_by_side

_BATCH = 2_000  # regions that are in memory together with their neighbours
_REACH = 0.05  # pixels beyond a piece, in which its neighbours are looked for
_POINTS = 32  # sides of a border that are stored as one line


class Squaring:
    """Gives the regions of some classes outlines with right angles.

    The rule: of outlines that overlap, the earlier region keeps its outline, and the later one is cut by it. All other
    regions are cut by the outlines. What an outline leaves of its region goes to the neighbour with the longest border
    to it that has no right angles. So no regions overlap, and there are no gaps, except where there is no such
    neighbour: beside no data, and between two outlines. Regions that are cut into several parts become several regions,
    and those that an outline covers vanish.

    The regions are kept in files; memory holds some of them, and their neighbours.

    Args:
        labels: ids of the classes.
        size: height and width of the raster in pixels; outlines end there.
        ratio: height of a pixel on the ground, divided by its width.
        folder: for files that do not remain.

    Attributes:
        fitted: number of regions that have got right angles.
        kept: number of those whose form is too far from any outline with right angles, which are left as they are.
    """

    def __init__(self, labels: Sequence[int], size: tuple[int, int], ratio: float, folder: Path) -> None:
        self._labels, self._scale = [*labels], np.array([1.0, ratio])
        self._whole = shapely.box(0, 0, size[1], size[0])
        self._regions, self._outlines, self._borders, self._pieces = (
            ShapeStore(folder / f"squaring_{name}.gpkg") for name in ("regions", "outlines", "borders", "pieces")
        )
        self.fitted = self.kept = 0

    def __call__(self, found: Iterator[Region]) -> Iterator[Region]:
        """Yield the regions, in pixels, with their new outlines; a number of them is less or more than before."""
        while batch := [*islice(found, _BATCH)]:
            self._keep(batch)
        self._outlines.index_owners()
        for regions in self._regions.batches(_BATCH):
            self._find_pieces(regions)
        self._pieces.index_owners()
        for regions in self._regions.batches(_BATCH):
            yield from self._changed(regions)
        for store in (self._regions, self._outlines, self._borders, self._pieces):
            store.remove()

    def _keep(self, batch: Sequence[Region]) -> None:
        """Store regions, the outlines of those that get right angles, and the borders of the others."""
        first = self._regions.count
        polygons = np.array([region.polygon for region in batch], object)
        self._regions.append(polygons, **{
            name: np.array([getattr(region, name) for region in batch]) for name in ("label", "percents", "scored")
        })  # fmt: skip
        numbers = np.arange(first, first + len(batch))
        chosen = np.isin([region.label for region in batch], self._labels)
        outlines = [self._outline(polygon) for polygon in polygons[chosen]]
        self._outlines.append(outlines, owner=numbers[chosen])
        borders = [_short_lines(polygon) for polygon in polygons[~chosen]]
        owners = np.repeat(numbers[~chosen], [len(lines) for lines in borders])
        self._borders.append([line for lines in borders for line in lines], owner=owners)

    def _outline(self, polygon: shapely.Polygon) -> shapely.Geometry:
        fit = squared(shapely.transform(polygon, lambda xy: xy * self._scale))
        self.fitted, self.kept = self.fitted + (fit is not None), self.kept + (fit is None)
        if fit is None:
            return polygon
        return shapely.transform(fit, lambda xy: xy / self._scale).intersection(self._whole)

    def _find_pieces(self, regions: Stored) -> None:
        """Store what outlines leave of their regions, each piece with the region that gets it."""
        chosen = regions.shapes[np.isin(regions.fields["label"], self._labels)]
        found, owners = [], []
        for group in side_by_side(chosen):
            near, borders = self._outlines.near(chosen[group]), self._borders.near(chosen[group])
            left = [polygon.difference(near.union_at(polygon)) for polygon in chosen[group]]
            pieces = shapely.get_parts(np.array(left, object))
            of_piece = _longest_borders(pieces, borders)
            found += [*pieces[of_piece >= 0]]
            owners += [*of_piece[of_piece >= 0]]
        self._pieces.append(found, owner=np.array(owners, np.int64))

    def _changed(self, regions: Stored) -> Iterator[Region]:
        """Yield regions that are cut, and have got the pieces that are theirs."""
        own, pieces = (store.of(regions.numbers[0], regions.numbers[-1]) for store in (self._outlines, self._pieces))
        shapes = np.array(
            [next(iter(own.of(n)), shape) for n, shape in zip(regions.numbers, regions.shapes, strict=True)]
        )
        for group in side_by_side(shapes):
            near = self._outlines.near(shapes[group])
            for i in group:
                shapes[i] = self._fitted(regions.numbers[i], shapes[i], near, own, pieces)
        for i, shape in enumerate(shapes):
            label, percents, scored = (regions.fields[name][i] for name in ("label", "percents", "scored"))
            for part in shapely.get_parts(shape):
                if part.area > 0:  # neither a line nor a point
                    yield Region(part, int(label), float(percents), int(scored))

    @staticmethod
    def _fitted(number: int, shape: shapely.Geometry, near: Stored, own: Stored, pieces: Stored) -> shapely.Geometry:
        """A region without what outlines cover of it, and with the pieces that it gets."""
        has_outline = len(own.of(number)) > 0
        cut = [i for i in near.at(shape) if not has_outline or near.fields["owner"][i] < number]
        shape = shape.difference(shapely.union_all(near.shapes[cut])) if cut else shape
        added = pieces.of(number)
        return shapely.union_all([shape, *added]) if len(added) else shape


def _short_lines(polygon: shapely.Polygon) -> list[shapely.LineString]:
    """The rings of a polygon, cut into short lines, of which those near a place can be read."""
    rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(polygon)]
    return [
        shapely.linestrings(ring[first : first + _POINTS + 1])
        for ring in rings
        for first in range(0, len(ring) - 1, _POINTS)
    ]


def _longest_borders(pieces: np.ndarray, borders: Stored) -> np.ndarray:
    """For each piece, the owner of the borders that run along it for longest: (N,) int64, -1 if there is none."""
    grown = shapely.buffer(pieces, _REACH)
    at, line = shapely.STRtree(borders.shapes).query(grown, predicate="intersects")
    lengths = shapely.length(shapely.intersection(borders.shapes[line], grown[at]))
    pairs, place = np.unique(np.stack([at, borders.fields["owner"][line]]), axis=1, return_inverse=True)
    totals = np.bincount(place.reshape(-1), lengths, minlength=pairs.shape[1])
    owners = np.full(len(pieces), -1, np.int64)
    rising = np.argsort(totals, kind="stable")
    owners[pairs[0, rising]] = pairs[1, rising]  # the longest comes last
    return owners
