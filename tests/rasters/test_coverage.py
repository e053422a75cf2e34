"""Simplified regions have no gaps and no overlaps, also where bands of rows meet."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import rasterio
import shapely

from sgovss.rasters.coverage import Tolerance, border_nodes, with_nodes
from sgovss.rasters.polygons import regions

from .test_polygons import RASTERS, spiral

TOLERANCES = [Tolerance(0), Tolerance(2), Tolerance(3, 2.0), Tolerance(4, 0.9999999987)]


def overlap(polygons: list) -> float:
    pairs = ((one, other) for one, other in combinations(polygons, 2) if one.intersects(other))
    return sum(shapely.intersection(one, other).area for one, other in pairs)


def vertices(polygons: list) -> int:
    return len(shapely.get_coordinates(polygons))


@pytest.fixture(params=RASTERS)
def raster(request, write_raster):
    path = write_raster(RASTERS[request.param][None], nodata=255)
    with rasterio.open(path) as opened:
        yield opened


@pytest.mark.parametrize("rows", [2, 16, 1000])
@pytest.mark.parametrize(
    "tolerance", [Tolerance(0), Tolerance(2), Tolerance(3, 2.0), Tolerance(4, 0.9999999987)], ids=str
)
def test_no_gaps_and_no_overlaps(raster, rows, tolerance):
    raw = [*regions(raster, rows)]
    found = [*regions(raster, rows, tolerance)]
    polygons = [region.polygon for region in found]
    assert sorted(region.label for region in found) == sorted(region.label for region in raw)
    assert shapely.is_valid(polygons).all() and {polygon.geom_type for polygon in polygons} <= {"Polygon"}
    assert shapely.coverage_is_valid(polygons)
    whole = shapely.union_all(polygons).area
    assert sum(polygon.area for polygon in polygons) == pytest.approx(whole, abs=1e-9)
    if len(polygons) < 50:
        assert overlap(polygons) == 0
    if (raster.read(1) != 255).all():
        assert whole == raster.width * raster.height
    holes = sum(shapely.get_num_interior_rings([region.polygon for region in raw]))
    assert sum(shapely.get_num_interior_rings(polygons)) == holes


@pytest.mark.parametrize("kind", ["spiral", "noise", "a ring"])
def test_tolerance_zero_keeps_every_region(write_raster, kind):
    with rasterio.open(write_raster(RASTERS[kind][None], nodata=255)) as raster:
        key = lambda region: (region.polygon.bounds, region.polygon.area)  # noqa: E731
        for one, other in zip(
            sorted(regions(raster, 7), key=key), sorted(regions(raster, 7, Tolerance(0)), key=key), strict=True
        ):
            assert shapely.equals(one.polygon, other.polygon) and one.label == other.label


def test_polygon_by_polygon_leaves_gaps_and_overlaps_and_this_does_not(write_raster):
    with rasterio.open(write_raster(spiral(160)[None], nodata=255)) as raster:
        raw = [region.polygon for region in regions(raster, 64)]
        together = [region.polygon for region in regions(raster, 64, Tolerance(3))]
    alone = [shapely.simplify(polygon, 1.5) for polygon in raw]
    assert vertices(together) < vertices(raw) / 3 and vertices(alone) < vertices(raw) / 3
    assert overlap(alone) > 10 and 160 * 160 - shapely.union_all(alone).area > 1
    assert overlap(together) == 0 and shapely.union_all(together).area == 160 * 160


def test_a_seam_adds_few_vertices_and_moves_no_border_by_more_than_the_tolerance(write_raster):
    with rasterio.open(write_raster(spiral(100)[None], nodata=255)) as raster:
        whole = [region.polygon for region in regions(raster, 1000, Tolerance(3))]
        parts = [region.polygon for region in regions(raster, 50, Tolerance(3))]
        near = shapely.union_all([region.polygon.boundary for region in regions(raster, 1000)]).buffer(4, quad_segs=1)
    assert vertices(parts) < 1.3 * vertices(whole)
    assert near.covers(shapely.union_all([polygon.boundary for polygon in parts]))


def test_high_pixels_are_simplified_by_their_shape_on_the_ground(write_raster):
    """A step is larger on the ground if the pixels are higher."""
    ids = (np.subtract.outer(np.arange(60), np.arange(60) // 6) > 20).astype(np.uint8)
    with rasterio.open(write_raster(ids[None], nodata=255)) as raster:
        low = vertices([region.polygon for region in regions(raster, 60, Tolerance(2, 0.5))])
        high = vertices([region.polygon for region in regions(raster, 60, Tolerance(2, 4.0))])
    assert low < high


@pytest.mark.parametrize("reverse", [False, True])
def test_nodes_are_inserted_in_the_direction_of_the_side(reverse):
    square = shapely.Polygon([(0, 0), (0, 4), (6, 4), (6, 0)], [[(1, 1), (3, 1), (3, 3), (1, 3)]])
    square = square.reverse() if reverse else square
    nodes = np.array([[2, 0], [5, 0], [0, 1], [0, 3], [2, 1], [6, 4], [4, 2], [3, 2]])
    (found,) = with_nodes([square], nodes)
    assert shapely.equals(found, square) and shapely.is_valid(found)
    assert shapely.get_num_coordinates(found) == shapely.get_num_coordinates(square) + 6
    assert shapely.length(found) == shapely.length(square)


def test_border_nodes_are_where_three_borders_meet():
    ids = np.array([[0, 0, 0], [1, 1, 2], [1, 1, 2], [1, 0, 2]], np.uint8)
    assert border_nodes(ids, 10).tolist() == [[2, 11], [2, 13]]
