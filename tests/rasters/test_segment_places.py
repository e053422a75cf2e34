"""Where segments from elsewhere are: on the grid of the scene or beside it, small ones, and what has no area."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.transform import from_origin
from rasterio.windows import Window

from sgovss.errors import InputError
from sgovss.rasters.segments import OUTSIDE, RasterSegments, open_segments
from sgovss.rasters.source import RasterSource

from .conftest import UTM
from .fake import scene_of
from .test_segments import write_polygons

WHOLE = Window(0, 0, 8, 6)
NUMBERS = np.arange(1, 49, dtype=np.int32).reshape(6, 8)


@pytest.fixture
def scene(write_raster):
    """A scene of 8 x 6 pixels."""
    with RasterSource(scene_of(write_raster, 6, 8, **UTM)) as source:
        yield source


def moved(columns: float, rows: float = 0) -> dict:
    """The place of the scene, moved by some pixels."""
    return UTM | {"transform": UTM["transform"] @ Affine.translation(columns, rows)}


@pytest.mark.parametrize(
    ("columns", "rows"), [(1, 0), (-2, 0), (0, 1), (0, -3), (0.6, 0), (-0.6, 0), (0, 0.6), (0.4, 0.4), (7, 5)]
)
def test_a_raster_of_the_same_size_beside_the_scene_is_put_to_its_place(scene, write_raster, columns, rows):
    found = open_segments(write_raster(NUMBERS[None], "segments.tif", **moved(columns, rows)), scene)(WHOLE)
    expected = np.full(NUMBERS.shape, OUTSIDE)
    for row, column in np.ndindex(NUMBERS.shape):
        y, x = int(np.floor(row + 0.5 - rows)), int(np.floor(column + 0.5 - columns))
        if 0 <= y < 6 and 0 <= x < 8:
            expected[row, column] = NUMBERS[y, x]
    assert (found == expected).all()


@pytest.mark.parametrize("change", [moved(1e-8), UTM | {"crs": None}])
def test_a_raster_on_the_grid_of_the_scene_is_read_as_it_is(scene, write_raster, change):
    found = open_segments(write_raster(NUMBERS[None], "segments.tif", **change), scene)
    assert isinstance(found, RasterSegments) and isinstance(found._raster, rasterio.DatasetReader)
    assert (found(WHOLE) == NUMBERS).all()
    assert found(Window(2, 1, 3, 2)).tolist() == [[11, 12, 13], [19, 20, 21]]


def test_a_raster_in_other_coordinates_is_not_on_the_same_grid(scene, write_raster):
    """The same numbers in another zone are a place 6 degrees further east."""
    with pytest.raises(InputError, match=r"segments\.tif: does not overlap with .*scene\.tif"):
        open_segments(write_raster(NUMBERS[None], "segments.tif", **UTM | {"crs": "EPSG:32633"}), scene)


@pytest.mark.parametrize(("nodata", "outside"), [(None, 0), (7, 7), (-1, -1)])
def test_the_no_data_value_is_in_no_segment_else_zero(scene, write_raster, nodata, outside):
    numbers = NUMBERS - 1
    found = open_segments(write_raster(numbers[None], "segments.tif", nodata=nodata, **UTM), scene)(WHOLE)
    assert (found == np.where(numbers == outside, OUTSIDE, numbers)).all()


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32632"])
def test_polygons_are_found_however_small_their_area_is_in_numbers(write_raster, tmp_path, crs):
    """A pixel in degrees has an area of 9e-12; one in metres here of 0.01."""
    size, place = (3e-6, from_origin(9, 48, 3e-6, 3e-6)) if crs == "EPSG:4326" else (0.1, from_origin(9, 48, 0.1, 0.1))
    path = scene_of(write_raster, 6, 8, crs=crs, transform=place)
    left, top = place.c, place.f
    boxes = [
        shapely.box(left + column * size, top - (row + 1) * size, left + (column + 2) * size, top - row * size)
        for row, column in ((0, 1), (4, 6))
    ]
    with RasterSource(path) as source:
        found = open_segments(write_polygons(tmp_path / "s.gpkg", boxes, crs, k=[1, 2]), source)(WHOLE)
    expected = np.full((6, 8), OUTSIDE)
    expected[0, 1:3], expected[4, 6:8] = 1, 2
    assert (found == expected).all()


def test_what_has_no_area_is_no_segment(scene, tmp_path):
    left, top = UTM["transform"].c, UTM["transform"].f
    box = shapely.box(left, top - 0.6, left + 0.6, top)
    line = shapely.LineString([(left, top - 0.15), (left + 2.4, top - 0.15)])
    shapes = [line, box, shapely.Point(left + 2, top - 1), shapely.Polygon()]
    found = open_segments(write_polygons(tmp_path / "s.gpkg", shapes, k=[1, 2, 3, 4]), scene)(WHOLE)
    expected = np.full((6, 8), OUTSIDE)
    expected[:2, :2] = 2
    assert (found == expected).all()
    away = Window(4, 3, 2, 2)
    assert (open_segments(tmp_path / "s.gpkg", scene)(away) == np.full((2, 2), OUTSIDE)).all()
