"""How the units of a scene are divided among processes, and how large they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sgovss.rasters.grid import TILE, Axis
from sgovss.rasters.plan import ScenePlan, plan_units
from sgovss.rasters.units import Unit, UnitGrid


def plan_of(bands: int, strips: int, in_memory: int) -> ScenePlan:
    """The plan of a scene whose last band is a single row, and whose last strip is a single column."""
    height, width = (TILE * (count - 1) + 1 for count in (bands, strips))
    down, across = (Axis.plan(side, 1.0, 96, 64, 32, 8) for side in (height, width))
    return ScenePlan(
        path="scene.tif",
        target="scene",
        bands=(1, 2, 3),
        stretch=None,
        no_data={},
        fit_gcps=False,
        down=down,
        across=across,
        units=UnitGrid(height, width, TILE, TILE),
        batch=2,
        strips=in_memory,
        smallest=1,
        gsd=None,
        settings={},
    )


@pytest.mark.parametrize(
    ("scene", "workers", "most", "expected"),
    [
        # One process takes everything at once, but at most 8 bands.
        ((8, 6, 6), 1, 8, [(8, 6)]),
        ((9, 6, 6), 1, 8, [(5, 6), (4, 6)]),
        ((9, 6, 6), 1, 3, [(3, 6), (3, 6), (3, 6)]),
        # Bands are divided first; strips only where there are more processes than bands.
        ((8, 6, 6), 2, 8, [(4, 6), (4, 6)]),
        ((4, 6, 6), 4, 8, [(1, 6)] * 4),
        ((4, 6, 6), 8, 8, [(1, 3)] * 8),
        ((4, 6, 6), 5, 8, [(1, 3)] * 8),
        ((4, 6, 6), 12, 8, [(1, 2)] * 12),
        ((2, 3, 3), 50, 8, [(1, 1)] * 6),
        # The scores of two strips fit into memory, so three groups of strips keep three processes busy anyway.
        ((9, 6, 2), 3, 8, [(5, 2), (4, 2)] * 3),
        ((8, 6, 2), 6, 8, [(4, 2), (4, 2)] * 3),
        ((8, 5, 2), 6, 8, [(4, 2), (4, 2)] * 2 + [(4, 1), (4, 1)]),
        # As many rectangles as processes, or a multiple of it.
        ((30, 1, 1), 2, 8, [(8, 1)] * 3 + [(6, 1)]),
        ((30, 1, 1), 4, 4, [(4, 1)] * 7 + [(2, 1)]),
    ],
)
def test_rectangles_keep_processes_busy_and_are_few(scene, workers, most, expected):
    plan = plan_of(*scene)
    units = [*plan.units.all()]
    parts = [*plan.parallel_order(units, workers, most)]
    assert sorted(unit for part in parts for unit in part) == sorted(units)
    assert [tuple(len({unit[axis] for unit in part}) for axis in (1, 0)) for part in parts] == expected


def test_only_what_is_wanted_is_divided():
    plan = plan_of(8, 2, 2)
    wanted = [unit for unit in plan.units.all() if unit.band in (1, 2, 7)]
    assert [[*part] for part in plan.parallel_order(wanted, 2)] == [
        [(0, 1), (1, 1), (0, 2), (1, 2)],
        [(0, 7), (1, 7)],
    ]


@pytest.mark.parametrize(
    ("scale", "classes", "megabytes", "probabilities", "columns", "strips"),
    [
        # 24 cells of a window, 32 of a piece and 2 more; a quarter of a cell for each column; so 58 bytes a column.
        (1.0, 1, 10, False, 2048, 88),  # 353 tiles of 512 columns
        (1.0, 10, 1, False, 1536, 1),  # 3 tiles
        (1.0, 100, 1, False, 512, 1),  # not even one
        # The output holds 512 bytes for each column and class: 5,700 bytes a column, 35 tiles.
        (1.0, 10, 100, True, 2048, 8),
        # 24 + 64 + 2 cells down, and half a cell across: 180 bytes a column, 113 tiles.
        (2.0, 1, 10, False, 2048, 28),
    ],
)
def test_units_are_as_wide_as_memory_allows(scale, classes, megabytes, probabilities, columns, strips):
    down, across = (Axis.plan(pixels, scale, 96, 64, 32, 8) for pixels in (9000, 10_000))
    units, found = plan_units(down, across, classes, megabytes, probabilities)
    assert (units, found) == (UnitGrid(9000, 10_000, 512, columns), strips)


@pytest.mark.parametrize("batch", [1, 3])
def test_steps_score_each_window_of_a_rectangle_once_and_finish_its_rows_in_order(batch):
    plan = replace(plan_of(4, 2, 2), batch=batch)
    units = [Unit(strip, band) for band in (1, 2) for strip in (0, 1)]
    steps = [*plan.steps(units)]
    # Windows begin every 64 pixels; those over rows 512 to 1535, which are interpolated from cells up to 1 beyond.
    assert [step.row for step in steps] == [*range(7, 24)]
    count = len(plan.across.starts)
    assert all([column for part in step.batches for column in part] == [*range(count)] for step in steps)
    assert all(len(part) <= batch for step in steps for part in step.batches)
    assert [top for step in steps for top in step.pieces] == [*range(512, 1536, 128)]
    for step in steps[:-1]:
        # What is finished lies above the next window, and all of that is finished.
        beyond = 64 * (step.row + 1)
        assert all(top + 128 <= beyond for top in step.pieces)
        done = [top for each in steps for top in each.pieces if each.row <= step.row]
        assert done == [top for top in range(512, 1536, 128) if top + 128 + 2 <= beyond]
    assert [(step.row, step.bands) for step in steps if step.bands] == [(16, [units[:2]]), (23, [units[2:]])]


def test_a_rectangle_scores_the_batches_that_reach_into_it():
    """Those of the whole row, so that each window is scored with the same ones whatever is wanted."""
    plan = replace(plan_of(2, 4, 1), batch=3)
    # The windows over columns 512 to 1023 are 7 (from 448) to 16 (from 1024, whose first cell is interpolated from).
    for step in plan.steps([Unit(1, 0)]):
        assert step.batches == [[6, 7, 8], [9, 10, 11], [12, 13, 14], [15, 16, 17]]
