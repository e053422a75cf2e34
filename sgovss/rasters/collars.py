"""Pixels without data that a file does not declare: collars around the picture, and filler values such as -9999."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from rasterio.windows import Window

_LOSSY = 8  # 8-bit values may differ this much from the collar's colour after lossy compression
_CONSTANT = 0.8  # share of a collar's pixels that have exactly its colour
_SMALLEST = 0.002  # share of the raster below which a constant area is no collar
_PIXELS = 32  # and pixels of the overview
_LARGEST = 0.99  # if they all take more, the raster itself is constant
_FLAT = 0.5  # share of the pixels like their left neighbour above which a picture is a drawing
_COLOURS = 8  # that a collar can have, the commonest at the border
_SIDE = 0.25  # share of a side of the raster that a collar takes if it has no corner of it
_LEAST = -float(np.finfo(np.float32).max)
FILLERS = (-999.0, -9999.0, -99999.0, -32767.0, -32768.0, 65535.0, _LEAST, -_LEAST)
"""Values that programs write for no data."""


@dataclass(frozen=True)
class Collar:
    """A constant area at the border of a raster.

    Args:
        colour: value of each band in use.
        region: (h, w) bool, the area on an overview of the raster.
        height, width: of the raster in pixels.
        tolerance: how much a pixel may differ from the colour.
        share: fraction of the raster.
    """

    colour: tuple[float, ...]
    region: np.ndarray
    height: int
    width: int
    tolerance: float
    share: float

    def as_json(self) -> dict[str, Any]:
        """The collar as JSON."""
        packed = base64.b64encode(zlib.compress(np.packbits(self.region).tobytes())).decode()
        return {**vars(self), "colour": list(self.colour), "region": packed, "shape": list(self.region.shape)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Collar:
        """The inverse of :meth:`as_json`."""
        height, width = content["shape"]
        packed = np.frombuffer(zlib.decompress(base64.b64decode(content["region"])), np.uint8)
        region = np.unpackbits(packed, count=height * width).reshape(height, width).astype(bool)
        rest = {key: content[key] for key in ("height", "width", "tolerance", "share")}
        return cls(tuple(content["colour"]), region, **rest)

    def touches(self, window: Window) -> bool:
        """Whether any pixel of a window may belong to the collar."""
        rows, columns = self._cells(window, (int(window.height), int(window.width)))
        return bool(self.region[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].any())

    def __call__(self, pixels: np.ndarray, window: Window) -> np.ndarray:
        """Compute which pixels belong to the collar: those of its colour in the region where the overview has it.

        Args:
            pixels: (bands, height, width) of the bands in use, read without interpolation.
            window: of the raster, in pixels; may have another size than ``pixels``.

        Returns:
            (height, width) bool.
        """
        inside = self.region[np.ix_(*self._cells(window, pixels.shape[1:]))]
        return inside & _near(pixels, self.colour, self.tolerance)

    def _cells(self, window: Window, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows and columns of the overview at the middles of ``size`` pixels over a window."""
        rows = window.row_off + (np.arange(size[0]) + 0.5) * window.height / size[0]
        columns = window.col_off + (np.arange(size[1]) + 0.5) * window.width / size[1]
        down, across = self.region.shape
        return (
            np.clip(rows * down / self.height, 0, down - 1).astype(int),
            np.clip(columns * across / self.width, 0, across - 1).astype(int),
        )


def find_collars(pixels: np.ndarray, valid: np.ndarray, height: int, width: int) -> list[Collar]:
    """Find constant areas of any colour that are connected to the border of a raster.

    An area must reach a corner or take a quarter of a side, so that a black roof at the border stays. It must hold most
    pixels of its colour, and few others, so that smooth water stays.

    Args:
        pixels: (bands, h, w) an overview of the bands in use, read without interpolation.
        valid: (h, w) bool, its pixels with data.
        height, width: of the raster in pixels.
    """
    found, left_out = [], np.zeros_like(valid)
    for colour in _colours(pixels, valid):
        tolerance = float(_LOSSY) if pixels.dtype == np.uint8 else 0.0
        like, exactly = (valid & _near(pixels, colour, allowed) for allowed in (tolerance, 0.0))
        region = _at_border(like, exactly)
        share, constant = float(region.mean()), int((region & exactly).sum())
        # A colour that is as common elsewhere belongs to the picture, and so does one that is only the commonest here.
        enough = share >= _SMALLEST and region.sum() >= _PIXELS and 2 * constant >= exactly.sum()
        closed = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        enough = enough and constant >= _CONSTANT * closed.sum()
        if enough and (left_out | region).sum() <= _LARGEST * valid.sum():
            left_out |= region
            # The overview shows one pixel of many, so the area may go on in the next cells.
            wider = cv2.dilate(region.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
            found.append(Collar(colour, wider, height, width, tolerance, share))
    return found


def find_fillers(pixels: np.ndarray, valid: np.ndarray) -> dict[float, float]:
    """Find values that stand for no data in pixels that are not 8-bit.

    These are values of :data:`FILLERS` with no other value nearer than half their size, and at most one extreme that
    lies farther off all others than these lie apart. A pixel has no data if one of its bands has such a value.

    Args:
        pixels: (bands, h, w) an overview of the bands in use, read without interpolation.
        valid: (h, w) bool, its pixels with data.

    Returns:
        the values, and the fraction of the pixels that each leaves out.
    """
    if pixels.dtype.itemsize == 1:
        return {}
    values = pixels[:, valid].astype(np.float64)
    found = [value for value in FILLERS if _is_filler(values, value, abs(value) / 2)]
    rest = values[:, ~np.isin(values, found).any(axis=0)]
    for extreme in (rest.min(), rest.max()) if rest.size else ():
        others = rest[rest != extreme]
        if others.size and _is_filler(rest, extreme, np.ptp(others)):
            found.append(float(extreme))
            break
    return {value: float((values == value).any(axis=0).sum() / valid.size) for value in found}


def _is_filler(values: np.ndarray, value: float, far: float) -> bool:
    """Whether pixels (bands, n) have a value, but not all of them, and all other values are farther off it."""
    here = values == value
    filled = here.any(axis=0)
    # One pixel far off the others may be a defect of the sensor. It does no harm.
    return bool(1 < filled.sum() < filled.size) and bool(np.abs(values[~here] - value).min() > far)


def _colours(pixels: np.ndarray, valid: np.ndarray) -> list[tuple[float, ...]]:
    """Return the colours that a collar can have, the likeliest first.

    They are black and white, or in other than 8-bit data the least and largest values, and the commonest at the border.
    In a drawing or a map of classes, the latter belong to the picture.
    """
    if not valid.any():
        return []
    bands, values, border = len(pixels), pixels[:, valid], valid.copy()
    ends = [[0] * bands, [255] * bands] if pixels.dtype == np.uint8 else [values.min(axis=1), values.max(axis=1)]
    border[1:-1, 1:-1] = False
    colours, counts = np.unique(pixels[:, border], axis=1, return_counts=True)
    common = colours[:, np.argsort(-counts)[:_COLOURS]].T
    others = valid & ~np.any([_near(pixels, colour, 0) for colour in (*ends, *common)], axis=0)
    as_beside = (pixels[:, :, 1:] == pixels[:, :, :-1]).all(axis=0)[others[:, 1:]]
    drawing = as_beside.size == 0 or as_beside.mean() > _FLAT
    return list(dict.fromkeys(tuple(map(float, colour)) for colour in (*ends, *(() if drawing else common))))


def _near(pixels: np.ndarray, colour: tuple[float, ...], tolerance: float) -> np.ndarray:
    """Return which pixels (h, w) differ from a colour by at most a tolerance in every band."""
    result = np.ones(pixels.shape[1:], bool)
    for band, value in zip(pixels, colour, strict=True):
        result &= np.abs(band - np.float64(value)) <= tolerance if tolerance else band == value
    return result


def _at_border(like: np.ndarray, exactly: np.ndarray) -> np.ndarray:
    """Return the connected areas of a mask that have a corner or much of a side, and are constant enough."""
    _, areas = cv2.connectedComponents(like.astype(np.uint8), connectivity=4)
    height, width = like.shape
    corners = {int(areas[y, x]) for y in (0, -1) for x in (0, -1)}
    sides = [(areas[0], width), (areas[-1], width), (areas[:, 0], height), (areas[:, -1], height)]
    long = {int(i) for side, length in sides for i in np.flatnonzero(np.bincount(side) >= _SIDE * length)}
    wanted = np.array(sorted((corners | long) - {0}), int)
    sizes = np.bincount(areas.ravel())
    constant = np.bincount(areas.ravel(), weights=exactly.ravel())
    return np.isin(areas, wanted[constant[wanted] >= _CONSTANT * sizes[wanted]])
