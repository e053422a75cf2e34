"""The drawing surface: colour, class, height and object of every point of an image, in metres."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np

from sgovss.synthetic.classes import Id
from sgovss.synthetic.styles import Style

OVERSAMPLING = 2
"""Sub-pixels per pixel and direction. Drawing on the finer grid gives smooth edges."""


@dataclass(frozen=True, eq=False)
class Window:
    """A rectangular part of the canvas, with coordinates relative to an object.

    Attributes:
        rows, columns: the rows and columns of the canvas that it covers.
        u, v: (h, w) float32, metres from the object's centre along and across the object.
    """

    rows: slice
    columns: slice
    u: np.ndarray
    v: np.ndarray

    @property
    def index(self) -> tuple[slice, slice]:
        return self.rows, self.columns


class Canvas:
    """A square area of ground, seen from above, on which objects and surfaces are drawn.

    World coordinates are metres from the centre, rotated by ``angle`` (radians) relative to the image.

    Attributes (P = size * OVERSAMPLING):
        albedo: (P, P, 3) float32 RGB in 0..1 under even light.
        labels: (P, P) uint8 class ids.
        height: (P, P) float32 metres above ground, for the shadows.
        relief: (P, P) float32 metres above the walls of the object, for the shading of roofs.
        instances: (P, P) int32, a different number for each object, 0 for surfaces.
        trees: (x, y, crown radius) in metres of the trees, which are drawn last, above everything else.
    """

    def __init__(self, rng: np.random.Generator, size: int, gsd: float, angle: float, style: Style) -> None:
        self.rng = rng
        self.style = style
        self.pixel = gsd / OVERSAMPLING
        self.side = size * OVERSAMPLING
        self.span = size * gsd
        self.reach = self.span * 0.5 * (abs(np.cos(angle)) + abs(np.sin(angle)))
        self._cos, self._sin = float(np.cos(angle)), float(np.sin(angle))
        axis = (np.arange(self.side, dtype=np.float32) + 0.5) * self.pixel - self.span / 2
        self.x = self._cos * axis[None, :] + self._sin * axis[:, None]
        self.y = -self._sin * axis[None, :] + self._cos * axis[:, None]
        self.albedo = np.zeros((self.side, self.side, 3), np.float32)
        self.labels = np.full((self.side, self.side), Id.GRASS, np.uint8)
        self.height = np.zeros((self.side, self.side), np.float32)
        self.relief = np.zeros((self.side, self.side), np.float32)
        self.instances = np.zeros((self.side, self.side), np.int32)
        self.trees: list[tuple[float, float, float]] = []
        self.dryness = float(rng.uniform(*style.dryness))
        self._noise: dict[tuple[float, int], np.ndarray] = {}
        self._things = 0

    def pick(self, palette: np.ndarray, jitter: float = 0.06) -> np.ndarray:
        """Choose a random colour of a palette and vary its brightness and hue slightly: (3,) float32 RGB."""
        color = palette[self.rng.integers(len(palette))]
        return (color * self.rng.uniform(1 - jitter, 1 + jitter) + self.rng.normal(0, jitter / 8, 3)).astype(np.float32)

    def random_point(self, extent: float) -> tuple[float, float]:
        """A random world point (x, y) whose coordinates are at most ``extent`` times the reach of the canvas."""
        x, y = self.rng.uniform(-extent, extent, 2) * self.reach
        return x, y

    def to_pixels(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Column and row, in sub-pixels, of world points."""
        column = (self._cos * x - self._sin * y + self.span / 2) / self.pixel - 0.5
        row = (self._sin * x + self._cos * y + self.span / 2) / self.pixel - 0.5
        return column, row

    def label_at(self, x: float, y: float) -> int | None:
        """The class id at a world point; None outside the image."""
        column, row = (round(float(value)) for value in self.to_pixels(np.float64(x), np.float64(y)))
        if not (0 <= column < self.side and 0 <= row < self.side):
            return None
        return int(self.labels[row, column])

    def window(self, x: float, y: float, angle: float, half_u: float, half_v: float) -> Window | None:
        """The window around an object at (x, y); None if it lies outside the image.

        Args:
            x, y: centre in metres.
            angle: direction of the object in radians.
            half_u, half_v: half its length and width in metres.
        """
        cos, sin = np.cos(angle), np.sin(angle)
        along = np.array([half_u, half_u, -half_u, -half_u])
        across = np.array([half_v, -half_v, half_v, -half_v])
        column, row = self.to_pixels(x + cos * along - sin * across, y + sin * along + cos * across)
        left, top = max(int(column.min()) - 1, 0), max(int(row.min()) - 1, 0)
        right, bottom = min(int(column.max()) + 3, self.side), min(int(row.max()) + 3, self.side)
        if left >= right or top >= bottom:
            return None
        rows, columns = slice(top, bottom), slice(left, right)
        dx, dy = self.x[rows, columns] - np.float32(x), self.y[rows, columns] - np.float32(y)
        cos, sin = np.float32(cos), np.float32(sin)
        return Window(rows, columns, cos * dx + sin * dy, cos * dy - sin * dx)

    def everywhere(self) -> Window:
        """The whole canvas in world coordinates."""
        return Window(slice(0, self.side), slice(0, self.side), self.x, self.y)

    def is_free(self, window: Window, mask: np.ndarray, allowed: Collection[int]) -> bool:
        """Whether all points of the mask have one of the allowed classes."""
        return bool(np.isin(self.labels[window.index][mask], list(allowed)).all())

    def paint(
        self,
        window: Window,
        mask: np.ndarray,
        label: Id,
        albedo: np.ndarray,
        height: np.ndarray | float = 0.0,
        base: float = 0.0,
        thing: bool = False,
    ) -> None:
        """Set class, colour and height of the points of a mask.

        Args:
            window: the part of the canvas to draw on.
            mask: (h, w) bool, the points to change.
            label: class id.
            albedo: (h, w, 3) or (3,) RGB in 0..1.
            height: metres above ground.
            base: height of the walls in metres.
            thing: whether the points are one object; if not, they are a surface.
        """
        if not mask.any():
            return
        np.copyto(self.albedo[window.index], albedo, where=mask[..., None])
        np.copyto(self.labels[window.index], np.uint8(label), where=mask)
        np.copyto(self.height[window.index], np.float32(height), where=mask)
        np.copyto(self.relief[window.index], np.float32(height) - np.float32(base), where=mask)
        if thing:
            self._things += 1
        np.copyto(self.instances[window.index], self._things if thing else 0, where=mask)

    def tint(self, window: Window, coverage: np.ndarray, color: np.ndarray) -> None:
        """Blend in a colour by an (h, w) coverage in 0..1. Class and height do not change."""
        row, column = np.nonzero(coverage > 0.004)
        place = row + window.rows.start, column + window.columns.start
        opacity = coverage[row, column][:, None].astype(np.float32)
        self.albedo[place] += opacity * (np.asarray(color, np.float32) - self.albedo[place])

    def noise(self, metres: float, octaves: int = 4) -> np.ndarray:
        """Multi-octave noise of unit standard deviation, (P, P) float32; drawn once for each pair of arguments.

        Args:
            metres: size of the largest features. Features finer than a sub-pixel average out.
            octaves: number of scales.
        """
        key = (metres, octaves)
        if key not in self._noise:
            cell = metres / self.pixel
            gain = np.float32(min(1.0, cell))
            self._noise[key] = gain * fractal_noise(self.rng, self.side, max(cell, 1.0), octaves)
        return self._noise[key]


def fractal_noise(rng: np.random.Generator, side: int, cell: float, octaves: int) -> np.ndarray:
    """Multi-octave noise of zero mean and unit standard deviation: (side, side) float32.

    ``cell`` is the size of the largest features in pixels.
    """
    if cell >= 2 ** (octaves + 1) and side >= 64:
        half = fractal_noise(rng, (side + 1) // 2, cell / 2, octaves)
        return cv2.resize(half, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)[:side, :side]
    total = np.zeros((side, side), np.float32)
    power = 0.0
    for octave in range(octaves):
        step = min(cell / 2**octave, side / 2)
        if step < 1:
            break
        count = int(np.ceil(side / step)) + 1
        grid = rng.standard_normal((count, count), dtype=np.float32)
        fine = max(side, round(count * step))
        amplitude = 0.6**octave
        total += amplitude * cv2.resize(grid, (fine, fine), interpolation=cv2.INTER_CUBIC)[:side, :side]
        power += amplitude**2
    return total / np.float32(0.75 * np.sqrt(power))


def stripe(offset: np.ndarray, width: float, pixel: float) -> np.ndarray:
    """Coverage (0..1) of pixels by a line. A line thinner than a pixel gets a coverage below 1.

    Args:
        offset: signed distance of each point from the middle of the line, metres.
        width: width of the line, metres.
        pixel: side of a sub-pixel, metres.
    """
    half = pixel / 2
    overlap = np.minimum(width / 2, offset + half) - np.maximum(-width / 2, offset - half)
    return np.clip(overlap / pixel, 0, 1)


def rectangle(window: Window, half_u: float, half_v: float) -> np.ndarray:
    """Mask of a rectangle in the coordinates of an object; half sides in metres."""
    return (np.abs(window.u) <= half_u) & (np.abs(window.v) <= half_v)


def textured(color: np.ndarray, *layers: tuple[float, np.ndarray]) -> np.ndarray:
    """Vary the brightness of a colour by layers of (amplitude, noise): (h, w, 3)."""
    variation = reduce(np.add, [amplitude * noise for amplitude, noise in layers])
    return color * (1 + variation)[..., None]
