"""The overview picture of a scene, read part by part."""

from __future__ import annotations

import math

import numpy as np
from rasterio.windows import Window

from sgovss.rasters.source import RasterSource
from sgovss.rasters.units import Box, UnitGrid

LONGEST = 1400
"""Longest side of the picture in pixels."""


def picture_factor(height: int, width: int) -> int:
    """The picture has one pixel for so many pixels of the scene along each side."""
    return math.ceil(max(height, width) / LONGEST)


def picture_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of the picture of a scene of this size."""
    factor = picture_factor(height, width)
    return -(-height // factor), -(-width // factor)


def picture_part(box: Box, factor: int) -> tuple[slice, slice]:
    """Rows and columns of the picture whose first pixel of the scene is in a box."""
    top, bottom, left, right = (-(-side // factor) for side in box)
    return slice(top, bottom), slice(left, right)


def read_part(source: RasterSource, box: Box, factor: int) -> np.ndarray:
    """Read the part of the picture that belongs to a box, (h, w, 3) uint8. It may be empty."""
    rows, columns = picture_part(box, factor)
    size = rows.stop - rows.start, columns.stop - columns.start
    if 0 in size:
        return np.zeros((*size, 3), np.uint8)
    top, left = rows.start * factor, columns.start * factor
    bottom, right = min(rows.stop * factor, source.height), min(columns.stop * factor, source.width)
    return source.read(Window(left, top, right - left, bottom - top), size)[0]


def read_picture(source: RasterSource, units: UnitGrid) -> np.ndarray:
    """Read the whole picture, (h, w, 3) uint8, as it is put together from the parts of all units."""
    factor = picture_factor(source.height, source.width)
    picture = np.zeros((*picture_size(source.height, source.width), 3), np.uint8)
    for unit in units.all():
        box = units.box(unit)
        picture[picture_part(box, factor)] = read_part(source, box, factor)
    return picture
