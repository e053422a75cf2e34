"""Overlapping windows over a scene, in strips that bound memory, and the weights for blending them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sgovss.tiling import starts, total_weights

_BYTES = 4  # of a score
_WIDEST = 4096  # pixels of a strip; wider strips save almost nothing, and memory would grow with the scene


@dataclass(frozen=True)
class Chunk:
    """The part of a strip whose scores are final when one row of windows has been added.

    Attributes:
        strip, row: number of the strip, and of the row of windows.
        top, bottom, left, right: pixels of the scene; ``bottom`` and ``right`` are not included.
    """

    strip: int
    row: int
    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.bottom - self.top, self.right - self.left


@dataclass(frozen=True)
class WindowGrid:
    """The windows of a scene, and the order in which they are segmented.

    The scene is segmented in vertical strips, each from top to bottom, so that memory holds the scores of one row of
    windows in one strip only. The width of the strips does not change the result: each pixel is blended from the same
    windows.

    Args:
        height, width: of the scene in pixels.
        window: side of the windows in pixels of the scene.
        stride: pixels from one window to the next.
        strip: width of the strips in pixels.
    """

    height: int
    width: int
    window: int
    stride: int
    strip: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of every window."""
        return min(self.window, self.height), min(self.window, self.width)

    @cached_property
    def tops(self) -> list[int]:
        """First rows of the windows."""
        return starts(self.height, self.window, self.stride)

    @cached_property
    def lefts(self) -> list[int]:
        """First columns of the windows."""
        return starts(self.width, self.window, self.stride)

    @property
    def strips(self) -> int:
        """Number of strips."""
        return -(-self.width // self.strip)

    def chunks(self, strip: int) -> list[Chunk]:
        """The chunks of a strip, one for each row of windows, from top to bottom."""
        left, right = strip * self.strip, min((strip + 1) * self.strip, self.width)
        ends = [*self.tops[1:], self.height]
        return [
            Chunk(strip, row, top, end, left, right) for row, (top, end) in enumerate(zip(self.tops, ends, strict=True))
        ]

    def all_chunks(self) -> Iterator[Chunk]:
        """The chunks of all strips."""
        for strip in range(self.strips):
            yield from self.chunks(strip)

    def lefts_of(self, chunk: Chunk) -> list[int]:
        """First columns of the windows that overlap the strip of a chunk."""
        return [left for left in self.lefts if left < chunk.right and left + self.shape[1] > chunk.left]

    def first_row_for(self, row: int) -> int:
        """Number of the first row of windows that overlaps the chunk of ``row``."""
        return next(i for i, top in enumerate(self.tops) if top + self.shape[0] > self.tops[row])

    @cached_property
    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """(window height,) and (window width,) float32 weights of a window's rows and columns (Hann)."""
        return hann(self.shape[0]), hann(self.shape[1])

    @cached_property
    def totals(self) -> tuple[np.ndarray, np.ndarray]:
        """(height,) and (width,) float32 sums of the weights of all windows in each row and column."""
        return (
            total_weights(self.height, self.tops, self.weights[0]),
            total_weights(self.width, self.lefts, self.weights[1]),
        )


def hann(length: int) -> np.ndarray:
    """Return a Hann window (length,) float32.

    It is above zero everywhere, because pixels at the border of a scene are covered by only one window.
    """
    return np.sin(np.pi * (np.arange(length) + 0.5) / length).astype(np.float32) ** 2


def strip_width(classes: int, window: int, megabytes: int, width: int) -> int:
    """Compute the width in pixels of the widest strip whose scores fit into memory.

    Args:
        classes: number of classes.
        window: height of a row of windows in pixels.
        megabytes: memory for the scores.
        width: of the scene in pixels.

    Returns:
        a multiple of 256, at least one window and at most 4096; or the width of the scene if that is less.
    """
    fitting = megabytes * 2**20 // (classes * window * _BYTES)
    return min(width, max(min(fitting // 256 * 256, _WIDEST), window))
