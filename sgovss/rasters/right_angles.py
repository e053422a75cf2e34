"""Outlines with right angles only, fitted to polygons such as those of buildings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import shapely


class _Line(NamedTuple):
    """A horizontal line, whose place is y, or a vertical one, whose place is x."""

    horizontal: bool
    place: float


_ROUGHNESS = 1.5  # pixels by which a straight side is off its line, as a staircase of pixels
_ALIKE = 0.85  # least intersection over union of a polygon and its fit; that of a circle and a square is 0.83


def squared(polygon: shapely.Polygon, roughness: float = _ROUGHNESS) -> shapely.Polygon | None:
    """Fit an outline with right angles.

    Two directions are tried: the mean one of the sides, and that of the smallest rectangle around the polygon. Sides
    that run more along an axis than across are put on one line, and lines shorter than twice the roughness are left
    out. Holes get the direction of the outline; those that are too small for a rectangle are kept as they are.

    Args:
        polygon: in pixels that are square on the ground.
        roughness: largest distance in pixels of a straight side from its line.

    Returns:
        a valid polygon of the same area, whose intersection over union with the given one is at least 0.85; None if
        there is none.
    """
    smooth = shapely.simplify(shapely.remove_repeated_points(polygon), roughness)
    best, most = None, _ALIKE
    for angle in (_mean_direction(smooth), _mean_direction(shapely.minimum_rotated_rectangle(polygon))):
        fit = _fitted(smooth, angle, 2 * roughness)
        if fit is None:
            continue
        fit = _scaled(fit, np.sqrt(polygon.area / fit.area))
        alike = fit.intersection(polygon).area / fit.union(polygon).area
        if fit.is_valid and alike >= most:
            best, most = fit, alike
    return best


def _mean_direction(polygon: shapely.Polygon) -> float:
    """The mean direction of the sides by their lengths, as an angle in -45..45 degrees, in radians."""
    points = shapely.get_coordinates(polygon.exterior)
    sides = np.diff(points, axis=0)
    lengths, angles = np.hypot(*sides.T), np.arctan2(sides[:, 1], sides[:, 0])
    # Directions that differ by a right angle are the same: four times the angle is a full turn.
    return float(np.angle((lengths * np.exp(4j * angles)).sum()) / 4)


def _fitted(polygon: shapely.Polygon, angle: float, shortest: float) -> shapely.Polygon | None:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shell = _rectilinear(shapely.get_coordinates(polygon.exterior) @ turn, shortest)
    if shell is None:
        return None
    result = shapely.Polygon(shell @ turn.T)
    for hole in polygon.interiors:
        points = shapely.get_coordinates(hole)
        ring = _rectilinear(points @ turn, shortest)
        if result.is_valid:
            result = result.difference(shapely.Polygon(points if ring is None else ring @ turn.T).buffer(0))
    return result if result.is_valid and result.geom_type == "Polygon" and not result.is_empty else None


def _rectilinear(points: np.ndarray, shortest: float) -> np.ndarray | None:
    """Fit horizontal and vertical lines, in turn, to a closed ring (N, 2); returns their corners, or None."""
    lines = _lines(points)
    while len(lines) >= 4:
        places = np.array([line.place for line in lines])
        lengths = np.abs(np.roll(places, -1) - np.roll(places, 1))
        short = int(lengths.argmin())
        if lengths[short] >= shortest:
            horizontal = np.array([line.horizontal for line in lines])[:, None]
            corners = np.stack([places, np.roll(places, -1)], axis=1)  # y and x if the first line is horizontal
            return np.where(horizontal, corners[:, ::-1], corners)
        lines = _without(lines, short, lengths)
    return None


def _lines(points: np.ndarray) -> list[_Line]:
    """The lines on which the sides of a ring are put: consecutive sides that run more along than across, together."""
    sides = np.diff(points, axis=0)
    horizontal = np.abs(sides[:, 0]) >= np.abs(sides[:, 1])
    begins = np.flatnonzero(horizontal & ~np.roll(horizontal, 1))
    if not len(begins):
        return []
    order = np.roll(np.arange(len(sides)), -begins[0])
    lines = []
    for run in np.split(order, np.flatnonzero(np.diff(horizontal[order])) + 1):
        axis = 0 if horizontal[run[0]] else 1
        middles = (points[run, 1 - axis] + points[run + 1, 1 - axis]) / 2
        lines.append(_Line(axis == 0, float(np.average(middles, weights=np.abs(sides[run, axis])))))
    return lines


def _without(lines: Sequence[_Line], short: int, lengths: np.ndarray) -> list[_Line]:
    """Leave a line out, and put the two beside it on one line between them."""
    before, after = (short - 1) % len(lines), (short + 1) % len(lines)
    beside = [before, after]
    place = np.average([lines[i].place for i in beside], weights=np.maximum(lengths[beside], 1e-9))
    merged = _Line(lines[before].horizontal, float(place))
    return [merged if i == before else line for i, line in enumerate(lines) if i not in (short, after)]


def _scaled(polygon: shapely.Polygon, factor: float) -> shapely.Polygon:
    middle = shapely.get_coordinates(polygon.centroid)
    return shapely.transform(polygon, lambda xy: middle + (xy - middle) * factor)
