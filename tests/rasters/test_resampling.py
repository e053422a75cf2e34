"""Resampling: weights and pixels that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sgovss.rasters.resampling import pixels_around, resample, resampling_weights


@pytest.mark.parametrize(
    ("start", "length", "count", "begin", "end", "expected"),
    [
        # Twice as many pixels: their centres are at 0.25, 0.75, 1.25 and so on, those of the old ones at 0.5 and 1.5.
        (0, 2, 4, 0, 2, [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]),
        (2, 2, 4, 1, 5, [[0.25, 0.75, 0, 0], [0, 0.75, 0.25, 0], [0, 0.25, 0.75, 0], [0, 0, 0.75, 0.25]]),
        # The same as before, without the pixels around.
        (2, 2, 4, 2, 4, [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]),
        # Beyond the old pixels there is their border.
        (-2, 5, 5, 0, 2, [[1, 0], [1, 0], [1, 0], [0, 1], [0, 1]]),
        # One and a half old pixels for each new one.
        (0.5, 3, 2, 0, 4, [[1 / 3, 2 / 3, 0, 0], [0, 0, 2 / 3, 1 / 3]]),
        (6, 4, 2, 5, 10, [[0, 0.5, 0.5, 0, 0], [0, 0, 0, 0.5, 0.5]]),
        # Pixels of the same size, between the old ones.
        (1.25, 2, 2, 0, 4, [[0, 0.75, 0.25, 0], [0, 0, 0.75, 0.25]]),
    ],
)
def test_weights(start, length, count, begin, end, expected):
    found = resampling_weights(start, length, count, begin, end)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array(expected), abs=1e-6)


@pytest.mark.parametrize(
    ("start", "length", "limit", "expected"),
    [
        (3, 2, 10, (2, 6)),  # half a pixel on each side, for the interpolation
        (3.5, 2, 10, (3, 6)),
        (3.4, 2.2, 10, (2, 7)),
        (0, 10, 10, (0, 10)),
        (0.25, 1, 10, (0, 2)),
        (8, 2, 9, (7, 9)),
    ],
)
def test_pixels_around_a_part(start, length, limit, expected):
    assert pixels_around(start, length, limit) == expected


def test_pixels_without_a_value_have_no_weight():
    pixels = np.array([[[10, 20, 99, 40], [30, 99, 99, 99]]], np.float32)
    valid = np.array([[True, True, False, True], [True, False, False, False]])
    down, across = resampling_weights(0, 2, 1, 0, 2), resampling_weights(0, 4, 2, 0, 4)
    found, known = resample(pixels, valid, down, across)
    assert known.tolist() == [[True, True]]
    assert found == pytest.approx(np.array([[[20, 40]]]))  # (10 + 20 + 30) / 3, and 40 alone
    found, known = resample(pixels, valid & (np.arange(4) < 2), down, across)
    assert known.tolist() == [[True, False]]
    assert found == pytest.approx(np.array([[[20, 0]]]))


def test_every_band_is_resampled():
    pixels = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    found, known = resample(pixels, np.ones((2, 2), bool), np.float32([[0.5, 0.5]]), np.float32([[0, 1]]))
    assert known.all() and found.tolist() == [[[2]], [[6]], [[10]]]
