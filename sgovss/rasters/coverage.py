"""Simplify the regions of a raster together, so that neighbours keep their common borders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import shapely


class Tolerance(NamedTuple):
    """How much borders are simplified.

    Attributes:
        pixels: square root of the area of the largest triangle that is cut off, in widths of a pixel.
        ratio: height of a pixel on the ground, divided by its width.
    """

    pixels: float
    ratio: float = 1.0


def simplified(polygons: Sequence[shapely.Geometry], nodes: np.ndarray, tolerance: Tolerance) -> list[shapely.Geometry]:
    """Simplify polygons that cover a rectangle of whole pixels, by the algorithm of Visvalingam and Whyatt.

    All vertices that remain are corners of pixels. The outline of the rectangle is kept, with all its vertices, so that
    rectangles which were simplified one by one fit together.

    Args:
        polygons: of whole pixels, in pixels; no gaps and no overlaps.
        nodes: see :func:`border_nodes`.
        tolerance: 0 pixels removes nothing but vertices within straight lines.

    Returns:
        one polygon for each, which again have no gaps and no overlaps.
    """
    # Parts of 64 keep the products exact. A vertex on a side would otherwise move to one side of it.
    down = np.array([1.0, max(1, round(tolerance.ratio * 64)) / 64])
    scaled = shapely.transform(with_nodes(polygons, nodes), lambda xy: xy * down)
    less = shapely.coverage_simplify(scaled, tolerance.pixels, simplify_boundary=False)
    return list(shapely.transform(less, lambda xy: np.rint(xy / down)))


def border_nodes(ids: np.ndarray, top: int) -> np.ndarray:
    """Find the corners of pixels where three or four borders meet.

    Args:
        ids: (h, w) class ids.
        top: row of the raster in which they begin.

    Returns:
        (N, 2) int64 x and y, without those on the outline.
    """
    beside, below = ids[:, 1:] != ids[:, :-1], ids[1:] != ids[:-1]
    meeting = beside[1:].astype(np.uint8) + beside[:-1] + below[:, 1:] + below[:, :-1]
    y, x = np.nonzero(meeting >= 3)
    return np.stack([x + 1, y + 1 + top], axis=1)


def with_nodes(polygons: Sequence[shapely.Geometry], nodes: np.ndarray) -> np.ndarray:
    """Insert nodes as vertices into the sides on which they lie.

    GDAL gives a straight side two vertices, even if several neighbours meet beside it. The polygons of a coverage must
    have equal vertices along their common borders.

    Args:
        polygons: with horizontal and vertical sides between whole numbers.
        nodes: (N, 2) whole numbers x, y.

    Returns:
        array of as many polygons.
    """
    kind, points, (rings, shells) = shapely.to_ragged_array(list(polygons))
    begins, ends = points[:-1].astype(np.int64), points[1:].astype(np.int64)
    added, at = [], []
    for axis in (0, 1):  # horizontal sides, then vertical ones
        along = (begins[:, axis] != ends[:, axis]) & (begins[:, 1 - axis] == ends[:, 1 - axis])
        along[rings[1:-1] - 1] = False  # from one ring to the next
        sides = np.flatnonzero(along)
        side, point = _nodes_on(begins[sides], ends[sides], nodes, axis)
        added.append(point)
        at.append(sides[side] + 1)
    inserted, positions = np.concatenate(added), np.concatenate(at)
    # np.insert keeps the order of values that are inserted at the same position.
    longer = np.insert(points, positions, inserted, axis=0)
    return shapely.from_ragged_array(kind, longer, (rings + np.searchsorted(np.sort(positions), rings), shells))


def _nodes_on(begins: np.ndarray, ends: np.ndarray, nodes: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the nodes within sides that run along an axis.

    Returns:
        (M,) numbers of sides, rising; (M, 2) the nodes on them, in the direction of each side.
    """
    length = 2 + max((int(part.max()) for part in (begins, ends, nodes) if part.size), default=0)

    def key(points: np.ndarray, shift: int = 0) -> np.ndarray:
        return points[:, 1 - axis] * length + points[:, axis] + shift

    nodes = nodes[np.argsort(key(nodes))]
    keys, forward = key(nodes), ends[:, axis] > begins[:, axis]
    low, high = np.where(forward[:, None], begins, ends), np.where(forward[:, None], ends, begins)
    first, last = np.searchsorted(keys, key(low, 1)), np.searchsorted(keys, key(high))
    counts = last - first
    side = np.repeat(np.arange(len(counts)), counts)
    step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return side, nodes[np.where(forward[side], first[side] + step, last[side] - 1 - step)]
