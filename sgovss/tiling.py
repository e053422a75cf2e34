"""Square windows that cover an image with overlap: for cutting datasets, and for looking at large images."""

from __future__ import annotations

from collections.abc import Iterator


def starts(length: int, window: int, stride: int) -> list[int]:
    """First pixels of the windows along a side of ``length`` pixels, every ``stride``; the last ends with the side."""
    last = max(0, length - window)
    return [*range(0, last, stride), last]


def windows(height: int, width: int, window: int, stride: int) -> Iterator[tuple[int, int, int, int]]:
    """(top, bottom, left, right) in pixels, row by row; where the image is smaller than a window, so is that."""
    for top in starts(height, window, stride):
        for left in starts(width, window, stride):
            yield top, min(top + window, height), left, min(left + window, width)
