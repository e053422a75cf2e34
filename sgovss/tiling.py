"""Square windows that cover an image with overlap, for tiling datasets and for segmenting large images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


def starts(length: int, window: int, stride: int) -> list[int]:
    """The first pixel of each window along a side of ``length`` pixels.

    Windows are ``stride`` pixels apart. The last one is moved to end at the end of the side.
    """
    last = max(0, length - window)
    return [*range(0, last, stride), last]


def windows(height: int, width: int, window: int, stride: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (top, bottom, left, right) of each window in pixels, row by row.

    If the image is smaller than a window, the window has the size of the image.
    """
    for top in starts(height, window, stride):
        for left in starts(width, window, stride):
            yield top, min(top + window, height), left, min(left + window, width)


def total_weights(length: int, firsts: Sequence[int], weights: np.ndarray) -> np.ndarray:
    """Sum the weights of all windows along a side.

    Args:
        length: length of the side in pixels.
        firsts: the first pixels of the windows; see :func:`starts`.
        weights: (window,) float32, the weight of each pixel of a window.

    Returns:
        (length,) float32.
    """
    total = np.zeros(length, np.float32)
    for first in firsts:
        total[first : first + len(weights)] += weights
    return total


def hann(length: int) -> np.ndarray:
    """Return a Hann window (length,) float32.

    It is above zero everywhere, because pixels at the border of an image are covered by only one window.
    """
    return np.sin(np.pi * (np.arange(length) + 0.5) / length).astype(np.float32) ** 2
