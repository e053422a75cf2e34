"""Outlines with right angles that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from shapely import affinity

from sgovss.rasters.right_angles import squared

BOX = shapely.box(0, 0, 30, 20)


def expect_equal(found: shapely.Polygon | None, expected: shapely.Polygon) -> None:
    assert found is not None
    assert shapely.normalize(found).equals_exact(shapely.normalize(expected), 1e-4), found


def scaled(polygon: shapely.Polygon, area: float) -> shapely.Polygon:
    """Brought to an area, about its middle."""
    factor = math.sqrt(area / polygon.area)
    return affinity.scale(polygon, factor, factor)


@pytest.mark.parametrize(
    "polygon",
    [
        BOX,
        shapely.Polygon([(0, 0), (40, 0), (40, 15), (20, 15), (20, 35), (0, 35)]),
        BOX.difference(shapely.box(5, 5, 12, 15)),
        shapely.box(0, 0, 3.001, 3.001),  # sides may be twice as long as the roughness
        shapely.box(0, 0, 3.001, 50),
    ],
)
def test_what_has_right_angles_stays_as_it_is(polygon):
    expect_equal(squared(polygon), polygon)
    small = affinity.scale(polygon, 0.1, 0.1, origin=(0, 0))
    expect_equal(squared(small, roughness=0.15), small)


@pytest.mark.parametrize("polygon", [shapely.box(0, 0, 2.99, 20), shapely.box(0, 0, 1, 1)])
def test_what_is_narrower_than_the_shortest_side_has_no_outline(polygon):
    assert squared(polygon) is None


@pytest.mark.parametrize(
    "polygon",
    [
        shapely.Point(0, 0).buffer(20),
        shapely.Polygon([(0, 0), (60, 0), (30, 50)]),
        shapely.Polygon([(0, 0), (30, 0), (0, 30)]),
        shapely.Polygon([(0, 0), (30, 0), (50, 20), (20, 20)]),
    ],
)
def test_other_forms_have_no_outline(polygon):
    assert squared(polygon) is None


def test_a_narrow_notch_is_left_out_and_the_area_stays():
    notched = BOX.difference(shapely.box(6, 10, 8.5, 20))
    expect_equal(squared(notched), scaled(BOX, 575))


def test_a_low_step_becomes_one_side_between_its_two():
    stepped = shapely.Polygon([(0, 0), (30, 0), (30, 10), (10, 10), (10, 12.8), (0, 12.8)])
    # 20 pixels at a height of 10, and 10 pixels at 12.8.
    expected = shapely.box(0, 0, 30, (20 * 10 + 10 * 12.8) / 30)
    expect_equal(squared(stepped), expected)
    small, expected = (affinity.scale(each, 0.01, 0.01, origin=(0, 0)) for each in (stepped, expected))
    expect_equal(affinity.scale(squared(small, roughness=0.015), 100, 100), affinity.scale(expected, 100, 100))


@pytest.mark.parametrize("height", [3.1, 6])
def test_a_high_step_stays(height):
    stepped = shapely.Polygon([(0, 0), (30, 0), (30, 10), (10, 10), (10, 10 + height), (0, 10 + height)])
    expect_equal(squared(stepped), stepped)


def test_a_small_hole_stays_as_it_is_in_an_outline_that_moves():
    hole = shapely.Polygon([(15, 9), (17, 9), (15, 11)])
    notched = BOX.difference(shapely.box(6, 15, 8.5, 20))
    found = squared(notched.difference(hole))
    assert found.area == pytest.approx(600 - 2.5 * 5 - 2)
    expect_equal(scaled(shapely.Polygon(found.exterior), 600), BOX)
    inside = shapely.Polygon(found.interiors[0])
    assert len(inside.exterior.coords) == 4 and inside.area == pytest.approx(2, rel=0.05)


def test_a_hole_gets_right_angles_in_the_direction_of_the_outline():
    hole = affinity.rotate(shapely.box(9, 6, 21, 14), 8)
    found = squared(BOX.difference(hole))
    sides = np.diff(shapely.get_coordinates(found.interiors[0]), axis=0)
    assert len(sides) == 4 and np.abs(sides).min(axis=1).max() < 1e-6
    assert found.area == pytest.approx(BOX.area - hole.area)


def test_an_outline_is_one_polygon_also_where_a_hole_would_cut_it():
    shell = [(24, 1.5), (2, 2), (5, 17.5), (37, 18), (39, 6.5)]
    hole = [(4, 2.4), (3, 5.6), (10, 9.6), (18, 12.8), (22, 12)]
    assert squared(shapely.Polygon(shell, [hole])).geom_type == "Polygon"


def test_the_smallest_rectangle_gives_the_direction_where_the_sides_give_none():
    """In the mean direction of its sides this polygon has no outline."""
    polygon = shapely.Polygon([(7, 11), (1, 1), (6, 2), (10, 8)])
    found = squared(polygon)
    assert found is not None and found.area == pytest.approx(37)
    assert found.intersection(polygon).area / found.union(polygon).area >= 0.85


@pytest.mark.parametrize("first", range(5))
def test_it_does_not_matter_where_a_ring_begins(first):
    points = [(0, 0), (15, -2), (30, 0), (30, 20), (0, 20)]
    # The two lower sides become one, at their mean height.
    expect_equal(squared(shapely.Polygon(points[first:] + points[:first])), shapely.box(0, -1, 30, 20))


def test_repeated_points_change_nothing():
    points = [(0, 0), (0, 0), (30, 0), (30, 20), (30, 20), (30, 20), (0, 20)]
    expect_equal(squared(shapely.Polygon(points)), BOX)
    few = [(4, 12), (0, 11), (11, 0), (11, 0), (4, 12)]
    assert squared(shapely.Polygon(few)) == squared(shapely.remove_repeated_points(shapely.Polygon(few)))
