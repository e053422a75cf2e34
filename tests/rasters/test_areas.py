"""Areas of classes on the ellipsoid, against geodesic areas of the pixels as polygons with divided sides."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS

from sgovss.rasters.areas import on_ground, pixel_areas
from sgovss.rasters.class_sums import count_classes
from sgovss.rasters.units import Box

GEODESIC = pyproj.Geod(ellps="WGS84")
SIDE = 64


def over(crs: str, west: float, south: float, east: float, north: float) -> Affine:
    """The transform of SIDE x SIDE pixels over a rectangle in degrees."""
    to = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    left, bottom, right, top = to.transform_bounds(west, south, east, north)
    return Affine((right - left) / SIDE, 0, left, 0, (bottom - top) / SIDE, top)


def expected_area(crs: str, transform: Affine, wanted: np.ndarray) -> float:
    back = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform
    total = 0.0
    for row, column in np.argwhere(wanted):
        corners = [on_ground(transform, column + x, row + y) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))]
        pixel = shapely.segmentize(shapely.Polygon(corners), abs(transform.a) / 4)
        total += abs(GEODESIC.geometry_area_perimeter(shapely.transform(pixel, back, interleaved=False))[0])
    return total


@pytest.mark.parametrize(
    ("crs", "bounds"),
    [
        ("EPSG:4326", (15.0, 60.0, 15.01, 60.01)),
        ("EPSG:3857", (15.0, 60.0, 15.01, 60.01)),
        ("EPSG:32633", (15.0, 60.0, 15.01, 60.01)),
        ("EPSG:32633", (12.0, 0.0, 18.0, 6.0)),  # the scale of this projection changes along a row
        ("EPSG:3857", (-20.0, 40.0, 40.0, 70.0)),
        ("EPSG:4326", (-180.0, -90.0, 180.0, 90.0)),
        ("EPSG:3035", (0.0, 40.0, 20.0, 60.0)),
        ("EPSG:3995", (10.0, 60.0, 40.0, 80.0)),
    ],
)
@pytest.mark.parametrize("part", ["left", "top", "middle"])
def test_areas_of_a_class_anywhere_in_a_unit(crs, bounds, part):
    transform = over(crs, *bounds)
    wanted = np.zeros((SIDE, SIDE), bool)
    wanted[{"left": np.s_[:, :9], "top": np.s_[:9], "middle": np.s_[25:40, 30:35]}[part]] = True
    areas = pixel_areas(CRS.from_string(crs), transform)
    counts = count_classes(np.where(wanted, 1, 255), Box(0, SIDE, 0, SIDE), 2, areas)
    assert counts.pixels == [0, wanted.sum()] and counts.areas[0] == 0
    assert counts.areas[1] == pytest.approx(expected_area(crs, transform, wanted), rel=1e-3)


def test_the_whole_earth():
    areas = pixel_areas(CRS.from_epsg(4326), over("EPSG:4326", -180, -90, 180, 90))
    counts = count_classes(np.zeros((SIDE, SIDE), np.uint8), Box(0, SIDE, 0, SIDE), 1, areas)
    assert counts.areas == pytest.approx([510_065_621_724_088.0], rel=1e-3)  # of WGS 84


def test_pixels_beyond_the_projection_do_not_distort_those_beside_them():
    """An equal-area map of the world, whose corners are not on the earth."""
    crs = "ESRI:54009"
    transform = over(crs, -180, -90, 180, 90)
    ids = np.full((SIDE, SIDE), 255)
    ids[30:34, 1:20] = 0
    areas = pixel_areas(CRS.from_string(crs), transform)
    counts = count_classes(ids, Box(0, SIDE, 0, SIDE), 1, areas)
    assert counts.areas == pytest.approx([expected_area(crs, transform, ids == 0)], rel=1e-2)


def test_pixels_that_are_nowhere_on_the_earth_have_no_area():
    crs = "ESRI:54009"
    corner = Box(0, 4, 0, 4)
    areas = pixel_areas(CRS.from_string(crs), over(crs, -180, -90, 180, 90))
    assert count_classes(np.zeros(corner.size, int), corner, 1, areas).areas == [0]


def test_the_place_of_a_unit_counts():
    areas = pixel_areas(CRS.from_epsg(4326), over("EPSG:4326", -180, -90, 180, 90))
    whole = count_classes(np.zeros((SIDE, SIDE), int), Box(0, SIDE, 0, SIDE), 1, areas).areas[0]
    parts = [Box(0, 20, 0, 40), Box(0, 20, 40, 64), Box(20, 64, 0, 40), Box(20, 64, 40, 64)]
    sums = [count_classes(np.zeros(box.size, int), box, 1, areas).areas[0] for box in parts]
    assert sum(sums) == pytest.approx(whole, rel=1e-3) and sums[2] == pytest.approx(whole * 0.486, rel=1e-2)
