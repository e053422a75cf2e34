"""Sums of the scores of segments, computed on the grid of the score maps."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sgovss.files import synchronize
from sgovss.rasters.segments import OUTSIDE


def sums_dtype(classes: int) -> np.dtype:
    """The type of a row of sums: number of the segment, number of its pixels, sums of their scores."""
    return np.dtype([("segment", np.int64), ("pixels", np.int64), ("scores", np.float64, (classes,))])


def sum_scores(maps: np.ndarray, down: np.ndarray, across: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Sum up the scores of the pixels of each segment.

    The score of a pixel is interpolated from at most four cells. So a sum over pixels is a sum over cells, each with a
    weight that is the same for all classes, and no score of a pixel is computed.

    Args:
        maps: (T, r, c) float32 scores.
        down: (h, r) weights of the rows of cells for each row of pixels, at most two of them above 0 and neighbours.
        across: (w, c), the same for columns.
        segments: (h, w) int64, the segment of each pixel; pixels of :data:`OUTSIDE` do not count.

    Returns:
        (N,) rows of :func:`sums_dtype`, with rising numbers of segments.
    """
    numbers, positions = np.unique(segments, return_inverse=True)
    positions = positions.reshape(segments.shape).astype(np.int64)
    cells = maps.shape[1] * maps.shape[2]
    keys, weights = [], []
    for row, of_row in _two(down):
        for column, of_column in _two(across):
            keys.append(positions * cells + (row[:, None] * maps.shape[2] + column))
            weights.append(of_row[:, None] * of_column)
    pairs, at = np.unique(np.stack(keys), return_inverse=True)
    of_pair = np.bincount(at.reshape(-1), np.stack(weights).reshape(-1))
    scores = maps.reshape(len(maps), -1).T[pairs % cells] * of_pair[:, None]
    sums = np.zeros(len(numbers), sums_dtype(len(maps)))
    sums["segment"], sums["pixels"] = numbers, np.bincount(positions.reshape(-1))
    sums["scores"] = np.add.reduceat(scores, np.searchsorted(pairs // cells, np.arange(len(numbers))), axis=0)
    return sums[sums["segment"] != OUTSIDE]


def merge_sums(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Add up the rows of the same segment."""
    rows = np.concatenate(parts)
    numbers, at = np.unique(rows["segment"], return_inverse=True)
    merged = np.zeros(len(numbers), rows.dtype)
    merged["segment"] = numbers
    for name in ("pixels", "scores"):
        np.add.at(merged[name], at, rows[name])
    return merged


class SumsFile:
    """A file to which the sums of units are appended.

    The place of a unit's rows and their checksum are kept elsewhere; rows without such a record do not count.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, rows: Sequence[np.ndarray]) -> list[tuple[int, int, int]]:
        """Append the rows of some units, and wait until they are on the disk.

        Returns:
            the place of each: first byte, number of bytes, checksum.
        """
        places = []
        with self._path.open("ab") as file:
            for part in rows:
                content = part.tobytes()
                places.append((file.tell(), len(content), zlib.crc32(content)))
                file.write(content)
        synchronize(self._path)
        return places

    def read(self, place: Sequence[int], dtype: np.dtype) -> np.ndarray | None:
        """Read the rows at a place; None if they are damaged."""
        first, size, checksum = place
        try:
            with self._path.open("rb") as file:
                file.seek(first)
                content = file.read(size)
        except FileNotFoundError:
            return None
        return np.frombuffer(content, dtype) if (len(content), zlib.crc32(content)) == (size, checksum) else None


def _two(weights: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first and the second cell of each pixel along an axis, and their weights."""
    first = (weights > 0).argmax(axis=1)
    second = np.minimum(first + 1, weights.shape[1] - 1)
    lines = np.arange(len(weights))
    of_second = np.where(second > first, weights[lines, second], 0)
    return [(first, weights[lines, first].astype(np.float64)), (second, of_second.astype(np.float64))]
