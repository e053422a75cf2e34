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
_LARGEST = 0.99  # above it, the raster itself is constant
_SIDE = 0.25  # share of a side of the raster that a collar takes if it has no corner of it


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
    """Find constant areas of the darkest or brightest colour that are connected to the border of a raster.

    An area must reach a corner or take a quarter of a side, so that a black roof at the border stays. Eight-bit data
    can have black and white collars, other data collars of their smallest or largest value.

    Args:
        pixels: (bands, h, w) an overview of the bands in use, read without interpolation.
        valid: (h, w) bool, its pixels with data.
        height, width: of the raster in pixels.
    """
    found = []
    for colour in _colours(pixels, valid):
        tolerance = float(_LOSSY) if pixels.dtype == np.uint8 else 0.0
        like, exactly = (valid & _near(pixels, colour, allowed) for allowed in (tolerance, 0.0))
        region = _at_border(like, exactly)
        share = float(region.mean())
        # A colour that is as common elsewhere belongs to the picture.
        enough = share >= _SMALLEST and region.sum() >= _PIXELS and 2 * (region & exactly).sum() >= exactly.sum()
        if enough and region.sum() <= _LARGEST * valid.sum():
            # The overview shows one pixel of many, so the area may go on in the next cells.
            wider = cv2.dilate(region.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
            found.append(Collar(colour, wider, height, width, tolerance, share))
    return found


def find_filler(pixels: np.ndarray, valid: np.ndarray) -> tuple[float, float] | None:
    """Find a value that stands for no data: an extreme that lies farther off all others than these lie apart.

    Args:
        pixels: (bands, h, w) an overview of the bands in use, read without interpolation.
        valid: (h, w) bool, its pixels with data.

    Returns:
        the value, and the fraction of the pixels that have it in a band; None if there is none, and for 8-bit data.
    """
    if pixels.dtype.itemsize == 1 or not valid.any():
        return None
    values = pixels[:, valid]
    for extreme in (values.min(), values.max()):
        rest = values[values != extreme].astype(np.float64)
        filled = (values == extreme).any(axis=0)
        # One pixel far off the others may be a defect of the sensor. It does no harm.
        if rest.size and filled.sum() > 1 and _gap(float(extreme), rest) > np.ptp(rest):
            return float(extreme), float(filled.sum() / valid.size)
    return None


def _gap(extreme: float, rest: np.ndarray) -> float:
    return float(np.abs(rest - extreme).min())


def _colours(pixels: np.ndarray, valid: np.ndarray) -> list[tuple[float, ...]]:
    """Return the colours that a collar can have."""
    bands = len(pixels)
    if pixels.dtype == np.uint8:
        return [(0.0,) * bands, (255.0,) * bands]
    if not valid.any():
        return []
    values = pixels[:, valid]
    return [tuple(map(float, values.min(axis=1))), tuple(map(float, values.max(axis=1)))]


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
