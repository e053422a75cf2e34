"""Overlapping windows over a scene, in the pixels that the model sees, and the grid of score maps below them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sgovss.tiling import hann, starts, total_weights

TILE = 512
"""Side of a tile of the outputs in pixels. All parts of a scene that are segmented on their own consist of tiles."""

PIECE = 128
"""Rows of a tile that are computed at once; a divisor of :data:`TILE`."""


@dataclass(frozen=True)
class Axis:
    """One axis of a scene: its pixels, the windows over it, and the cells of the score maps.

    The model sees the scene resampled to another length. Score maps are coarser: ``step`` pixels of the model are
    ``cells`` cells. As all windows begin at whole cells, their maps fall on one grid of cells, and blending needs no
    resampling.

    Args:
        pixels: length of the scene in its own pixels.
        length: the same length in pixels of the model.
        window: side of the windows in pixels of the model, a multiple of ``step``.
        stride: pixels of the model from one window to the next, a multiple of ``step``.
        step: the model takes multiples of this number of pixels.
        cells: cells of a score map for ``step`` pixels.
    """

    pixels: int
    length: int
    window: int
    stride: int
    step: int
    cells: int

    @classmethod
    def plan(cls, pixels: int, scale: float, window: int, stride: int, step: int, cells: int) -> Axis:
        """Plan the windows for a scene that the model gets ``scale`` times as long.

        Args:
            window, stride: as wished; they become multiples of ``step``, and the window at most as long as the scene.
        """
        length = max(1, round(pixels * scale))
        window = _up(min(window, length), step)
        return cls(pixels, length, window, min(max(step, stride // step * step), window), step, cells)

    @property
    def scale(self) -> float:
        """Pixels of the model for one pixel of the scene."""
        return self.length / self.pixels

    @cached_property
    def starts(self) -> list[int]:
        """First pixels of the windows, in pixels of the model. The last window may end outside, see :attr:`covered`."""
        return starts(self.covered, self.window, self.stride)

    @cached_property
    def covered(self) -> int:
        """Length that the windows cover: whole cells, and at least one window."""
        return max(_up(self.length, self.step // math.gcd(self.step, self.cells)), self.window)

    def extent(self, start: int) -> tuple[float, float, int]:
        """First pixel and length of a window inside the scene, in its pixels, and the length in pixels of the model."""
        inside = min(start + self.window, self.length) - start
        return start / self.scale, inside / self.scale, inside

    @property
    def window_cells(self) -> int:
        """Cells of a window."""
        return self.in_cells(self.window)

    def in_cells(self, pixels: int) -> int:
        """Pixels of the model that are whole cells, in cells."""
        return pixels * self.cells // self.step

    def positions(self, first: int, last: int) -> np.ndarray:
        """Positions in cells of the pixels ``first`` to ``last - 1`` of the scene: (last - first,) float64."""
        centres = (np.arange(first, last) + 0.5) * self.scale * self.cells / self.step - 0.5
        return np.clip(centres, 0, self.in_cells(self.covered) - 1)

    def cells_of(self, first: int, last: int) -> tuple[int, int]:
        """The cells from which pixels ``first`` to ``last - 1`` are interpolated; the end is not included."""
        begin, end = self.positions(first, first + 1)[0], self.positions(last - 1, last)[0]
        return math.floor(begin), math.ceil(end) + 1

    def interpolation(self, first: int, last: int) -> np.ndarray:
        """Weights (last - first, cells) float32 that interpolate pixels linearly from the cells of :meth:`cells_of`."""
        begin, end = self.cells_of(first, last)
        distances = np.abs(self.positions(first, last)[:, None] - np.arange(begin, end))
        return np.clip(1 - distances, 0, None).astype(np.float32)

    def windows_over(self, begin: int, end: int) -> range:
        """Numbers of the windows that overlap the cells ``begin`` to ``end - 1``."""
        first = [self.in_cells(start) for start in self.starts]
        inside = [i for i, top in enumerate(first) if top < end and top + self.window_cells > begin]
        return range(inside[0], inside[-1] + 1)

    @cached_property
    def weights(self) -> np.ndarray:
        """(cells of a window,) float32, the weights of its cells."""
        return hann(self.window_cells)

    @cached_property
    def totals(self) -> np.ndarray:
        """(cells,) float32, the sum of the weights of all windows over each cell."""
        return total_weights(self.in_cells(self.covered), [self.in_cells(start) for start in self.starts], self.weights)


def _up(number: int, step: int) -> int:
    return -(-number // step) * step
