"""Windows and cells of an axis, and the units of a scene."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sgovss.rasters.grid import Axis, hann
from sgovss.rasters.units import UnitGrid

AXES = st.builds(
    Axis.plan,
    pixels=st.integers(1, 400),
    scale=st.floats(0.1, 8),
    window=st.integers(1, 200),
    stride=st.integers(1, 200),
    step=st.sampled_from([14, 16, 32]),
    cells=st.sampled_from([8, 32]),
)


@given(axis=AXES)
@settings(max_examples=100, deadline=None)
def test_windows_begin_at_cells_and_cover_every_cell(axis):
    assert all(side % axis.step == 0 for side in (axis.window, axis.stride))
    assert all(start * axis.cells % axis.step == 0 for start in axis.starts)
    assert axis.totals.min() > 0
    outside = axis.starts[-1] + axis.window - axis.length
    cell = axis.step // math.gcd(axis.step, axis.cells)  # pixels that are whole cells
    assert outside < (axis.step if len(axis.starts) == 1 else cell)
    assert axis.stride <= axis.window


@given(axis=AXES, data=st.data())
@settings(max_examples=100, deadline=None)
def test_pixels_are_interpolated_from_their_cells(axis, data):
    first = data.draw(st.integers(0, axis.pixels - 1))
    last = data.draw(st.integers(first + 1, axis.pixels))
    begin, end = axis.cells_of(first, last)
    weights = axis.interpolation(first, last)
    assert weights.shape == (last - first, end - begin)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(weights @ np.arange(begin, end), axis.positions(first, last), rtol=1e-4, atol=1e-4)
    windows = axis.windows_over(begin, end)
    for number, start in enumerate(axis.starts):
        cells = range(axis.in_cells(start), axis.in_cells(start) + axis.window_cells)
        assert (number in windows) == (cells.start < end and cells.stop > begin)


@pytest.mark.parametrize("step", [16, 32])
def test_the_interpolation_is_that_of_torch(step):
    axis = Axis.plan(4 * step, 1.0, 2 * step, step, step, 8)
    cells = torch.rand(1, 1, 32)
    expected = F.interpolate(cells, size=4 * step, mode="linear", align_corners=False)[0, 0]
    found = torch.from_numpy(axis.interpolation(0, 4 * step)) @ cells[0, 0]
    torch.testing.assert_close(found, expected)


@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    unit=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    strips=st.integers(1, 4),
    bands=st.one_of(st.none(), st.integers(1, 3)),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_passes_are_rectangles_that_hold_each_unit_once(size, unit, strips, bands, data):
    grid = UnitGrid(*size, *unit)
    seen = np.zeros(size, int)
    for each in grid.all():
        box = grid.box(each)
        seen[box.top : box.bottom, box.left : box.right] += 1
    assert (seen == 1).all()
    wanted = data.draw(st.sets(st.sampled_from([*grid.all()])))
    parts = [*grid.passes(wanted, strips, bands)]
    assert sorted(each for part in parts for each in part) == sorted(wanted)
    for part in parts:
        columns, rows = ({each[axis] for each in part} for axis in (0, 1))
        assert part == [(column, row) for row in sorted(rows) for column in sorted(columns)]
        assert len(columns) <= strips and (bands is None or len(rows) <= bands)
        assert max(columns) - min(columns) < len(columns) and max(rows) - min(rows) < len(rows)


def test_hann_is_symmetric_and_positive():
    for length in (1, 2, 17, 512):
        weights = hann(length)
        assert weights.min() > 0
        np.testing.assert_allclose(weights, weights[::-1], atol=1e-6)
