"""Overlapping windows over a scene, in strips that bound memory, and the weights that blend them without seams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sgovss.tiling import starts

_BYTES = 4  # of a score
_WIDEST = 4096  # pixels of a strip: beyond, its borders cost next to nothing, and memory would grow with the scene


@dataclass(frozen=True)
class Chunk:
    """A part of the output that is final when one row of windows is done: rows and columns, ends not included."""

    strip: int
    row: int
    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left


@dataclass(frozen=True)
class WindowGrid:
    """Where the windows of a scene lie, and what becomes final when.

    The scene is gone through in vertical strips, each from top to bottom: only the scores of one row of windows in
    one strip are held. All pixels are blended from the same windows whatever the strips are.

    Args:
        height, width: of the scene in pixels.
        window, stride: side of the windows and distance between them in pixels of the scene.
        strip: width of the strips in pixels.
    """

    height: int
    width: int
    window: int
    stride: int
    strip: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every window."""
        return min(self.window, self.height), min(self.window, self.width)

    @cached_property
    def tops(self) -> list[int]:
        return starts(self.height, self.window, self.stride)

    @cached_property
    def lefts(self) -> list[int]:
        return starts(self.width, self.window, self.stride)

    @property
    def strips(self) -> int:
        return -(-self.width // self.strip)

    def chunks(self, strip: int) -> list[Chunk]:
        """The chunks of a strip, one for each row of windows, from top to bottom."""
        left, right = strip * self.strip, min((strip + 1) * self.strip, self.width)
        ends = [*self.tops[1:], self.height]
        return [
            Chunk(strip, row, top, end, left, right) for row, (top, end) in enumerate(zip(self.tops, ends, strict=True))
        ]

    def all_chunks(self) -> Iterator[Chunk]:
        for strip in range(self.strips):
            yield from self.chunks(strip)

    def lefts_of(self, chunk: Chunk) -> list[int]:
        """First columns of the windows that reach into a chunk's strip."""
        return [left for left in self.lefts if left < chunk.right and left + self.shape[1] > chunk.left]

    def first_row_for(self, row: int) -> int:
        """The first row of windows that reaches into the chunk of ``row``."""
        return next(i for i, top in enumerate(self.tops) if top + self.shape[0] > self.tops[row])

    @cached_property
    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """(window height,) and (window width,) float32 weights of a window's rows and columns (Hann)."""
        return hann(self.shape[0]), hann(self.shape[1])

    @cached_property
    def totals(self) -> tuple[np.ndarray, np.ndarray]:
        """(height,) and (width,) float32: what the weights of all windows add up to in each row and column."""
        return (
            _total(self.height, self.tops, self.weights[0]),
            _total(self.width, self.lefts, self.weights[1]),
        )


def hann(length: int) -> np.ndarray:
    """A Hann window (length,) float32 that is above zero everywhere: a pixel at a scene's border has one window."""
    return np.sin(np.pi * (np.arange(length) + 0.5) / length).astype(np.float32) ** 2


def strip_width(classes: int, window: int, megabytes: int, width: int) -> int:
    """The widest strip whose scores fit, at least one window: a multiple of 256 pixels, or the scene's width.
    At most 4096 pixels."""
    fitting = megabytes * 2**20 // (classes * window * _BYTES)
    return min(width, max(min(fitting // 256 * 256, _WIDEST), window))


def _total(length: int, firsts: list[int], weights: np.ndarray) -> np.ndarray:
    total = np.zeros(length, np.float32)
    for first in firsts:
        total[first : first + len(weights)] += weights
    return total
