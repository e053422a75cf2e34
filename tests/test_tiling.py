"""Windows cover an image, lie inside it, and differ from each other."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sgovss.tiling import starts, total_weights, windows


@given(length=st.integers(1, 500), window=st.integers(1, 120), data=st.data())
@settings(max_examples=150, deadline=None)
def test_windows_cover_a_side_and_lie_inside(length, window, data):
    stride = data.draw(st.integers(1, window))
    found = starts(length, window, stride)
    covered = {pixel for start in found for pixel in range(start, min(start + window, length))}
    assert covered == set(range(length))
    assert all(start == 0 or start + window <= length for start in found)
    assert len(found) == len(set(found))


@given(height=st.integers(1, 90), width=st.integers(1, 90), window=st.integers(1, 40), data=st.data())
@settings(max_examples=100, deadline=None)
def test_an_image_is_covered_by_windows_of_one_size(height, width, window, data):
    stride = data.draw(st.integers(1, window))
    seen = np.zeros((height, width), int)
    for top, bottom, left, right in windows(height, width, window, stride):
        assert (bottom - top, right - left) == (min(window, height), min(window, width))
        seen[top:bottom, left:right] += 1
    assert seen.min() >= 1


def test_the_last_window_moves_inwards():
    assert starts(884, 256, 206) == [0, 206, 412, 618, 628]
    assert starts(256, 256, 206) == [0]
    assert starts(100, 256, 206) == [0]


def test_weights_of_overlapping_windows_add_up():
    total = total_weights(5, [0, 2], np.array([1, 2, 3], np.float32))
    assert total.dtype == np.float32
    assert total.tolist() == [1, 2, 4, 2, 3]
