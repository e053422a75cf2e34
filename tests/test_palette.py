"""Colours for classes, and the colour difference that they are chosen by."""

from __future__ import annotations

import time

import numpy as np
import pytest

from sgovss.palette import LEAST_DIFFERENCE, _distinct_colors, color_difference, distinct_colors, lab_from_rgb

# Pairs of CIELAB colours and their CIEDE2000 difference, of the test data of Sharma, Wu and Dalal, 2005.
PUBLISHED = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, -1, 2), (50, 0, 0), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (61, -5, 29), 22.8977),
    ((50, 2.5, 0), (56, -27, -3), 31.9030),
    ((50, 2.5, 0), (58, 24, 15), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((6.7747, -0.2908, -2.4247), (5.8714, -0.0985, -2.2286), 0.6377),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


def test_colour_difference_is_ciede2000():
    first, second, expected = (np.array(column, float) for column in zip(*PUBLISHED, strict=True))
    np.testing.assert_allclose(color_difference(first, second), expected, atol=1e-4)
    np.testing.assert_allclose(color_difference(second, first), expected, atol=1e-4)


def test_lab_of_known_colours():
    rgb = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 0, 255]])
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(lab_from_rgb(rgb), expected, atol=0.02)


@pytest.mark.parametrize("taken", [(), ((255, 0, 0), (116, 0, 162), (0, 0, 0))])
def test_colours_are_well_apart_and_a_longer_list_begins_alike(taken):
    colors = distinct_colors(61, taken)
    assert colors == distinct_colors(200, taken)[:61]
    lab = lab_from_rgb(np.array([*taken, *colors]))
    differences = color_difference(lab[:, None], lab[None])
    assert differences[~np.eye(len(lab), dtype=bool)].min() >= LEAST_DIFFERENCE


def test_any_number_of_colours():
    assert distinct_colors(0) == []
    assert len(set(distinct_colors(500))) == 500
    assert len(distinct_colors(5000)) == 5000
    assert all(isinstance(channel, int) and 0 <= channel <= 255 for color in distinct_colors(9) for channel in color)


def test_colours_are_chosen_quickly():
    distinct_colors(1)
    for count, most in ((64, 0.05), (500, 1.0)):
        seconds = []
        for _ in range(3):
            _distinct_colors.cache_clear()
            started = time.process_time()
            distinct_colors(count)
            seconds.append(time.process_time() - started)
        assert min(seconds) < most
