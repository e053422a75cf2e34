"""Pixels and areas of the classes of a scene."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from sgovss.rasters.areas import PixelAreas
from sgovss.rasters.units import Box

_ROWS = 32  # counted at once, so that they stay in the processor's cache


class Counts(NamedTuple):
    """Totals of a part of a scene.

    Attributes:
        pixels: number of pixels of each class.
        areas: square metres of each class; None if the raster is not georeferenced.
    """

    pixels: list[int]
    areas: list[float] | None


class ClassSums(NamedTuple):
    """Totals of the classes of a scene.

    Attributes:
        shares: fraction of the segmented pixels of each class.
        areas: square metres of each class; None if the raster is not georeferenced.
        segmented: fraction of the pixels of the raster that have a class.
    """

    shares: dict[str, float]
    areas: dict[str, float] | None
    segmented: float


def count_classes(ids: np.ndarray, box: Box, classes: int, areas: PixelAreas | None) -> Counts:
    """Count the pixels of each class, and sum up their areas.

    Args:
        ids: (h, w) class ids; others, such as that of no class, do not count.
        box: their place in the scene.
        classes: number of classes.
        areas: areas of the pixels; None if the scene is not georeferenced.
    """
    counts, squares = np.zeros(classes + 1, np.int64), np.zeros(classes + 1)
    down, across = (None, None) if areas is None else areas.within(box)
    for top in range(0, len(ids), _ROWS):
        rows = slice(top, top + _ROWS)
        known = np.minimum(ids[rows], ids.dtype.type(classes)).astype(np.intp).reshape(-1)
        counts += np.bincount(known, minlength=classes + 1)
        if down is not None:
            squares += np.bincount(known, weights=(down[rows] @ across).reshape(-1), minlength=classes + 1)
    return Counts(counts[:classes].tolist(), None if areas is None else squares[:classes].tolist())


def add_up(parts: Iterable[Counts], names: list[str], pixels: int) -> ClassSums:
    """Add up the totals of all parts of a scene of so many pixels."""
    parts = list(parts)
    counts = np.sum([part.pixels for part in parts], axis=0)
    known = [part.areas for part in parts if part.areas is not None]
    total = int(counts.sum())
    return ClassSums(
        shares=dict(zip(names, (counts / max(1, total)).tolist(), strict=True)),
        areas=dict(zip(names, np.sum(known, axis=0).tolist(), strict=True)) if known else None,
        segmented=total / pixels,
    )
