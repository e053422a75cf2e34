"""Resampling of pixels of which some have no value, as two matrix products."""

from __future__ import annotations

import math

import numpy as np


def resample(pixels: np.ndarray, valid: np.ndarray, down: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, ...]:
    """Resample pixels; those without a value have no weight.

    Args:
        pixels: (bands, H, W) float32.
        valid: (H, W) bool.
        down, across: (h, H) and (w, W) weights of :func:`resampling_weights`.

    Returns:
        (bands, h, w) float32, zero where no pixel has a value; (h, w) bool, true where one has.
    """
    known = np.where(valid, pixels, 0)
    weights = down @ valid.astype(np.float32) @ across.T
    found = weights > 1e-6
    return (down @ known @ across.T) / np.where(found, weights, 1), found


def resampling_weights(start: float, length: float, count: int, begin: int, end: int) -> np.ndarray:
    """Weights with which ``count`` new pixels along one axis are computed from old ones.

    A new pixel is the mean of the old pixels that it covers if it is larger than they are; otherwise it is interpolated
    linearly between the two nearest.

    Args:
        start, length: the resampled part of the axis, in old pixels.
        count: number of new pixels.
        begin, end: the old pixels that are at hand; ``end`` is not included.

    Returns:
        (count, end - begin) float32; each row sums up to 1.
    """
    step = length / count
    old = np.arange(begin, end)
    first = start + step * np.arange(count)[:, None]
    if step > 1:
        weights = np.clip(np.minimum(first + step, old + 1) - np.maximum(first, old), 0, None)
    else:
        centre = np.clip(first + step / 2, begin + 0.5, end - 0.5)
        weights = np.clip(1 - np.abs(centre - (old + 0.5)), 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def pixels_around(start: float, length: float, limit: int) -> tuple[int, int]:
    """The old pixels that a resampled part of an axis of ``limit`` pixels needs; the end is not included."""
    return max(0, math.floor(start - 0.5)), min(limit, math.ceil(start + length + 0.5))
