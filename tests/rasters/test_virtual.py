"""Rasters that are described as one: their places, their gaps and the no-data values of their bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from rasterio.enums import ColorInterp as C
from rasterio.transform import from_origin

from sgovss.errors import InputError
from sgovss.rasters.virtual import Tile, mosaic, overlapping, stack


@pytest.fixture
def tile(write_raster):
    """A function that writes pixels (bands, H, W) to a place given by its left and upper border and its pixels."""

    def write(name: str, pixels: np.ndarray, left: float, top: float, size=(2.0, 2.0), **options: object) -> Tile:
        place = {"crs": "EPSG:32632", "transform": from_origin(left, top, *size)}
        path = write_raster(pixels, name=name, **{**place, **options})
        with rasterio.open(path) as dataset:
            return Tile.of(str(path), dataset)

    return write


def numbers(bands: int, height: int, width: int, first: int = 1) -> np.ndarray:
    """(bands, height, width) uint8, all different."""
    return np.arange(first, first + bands * height * width, dtype=np.uint8).reshape(bands, height, width)


def read(description: str):
    """Bounds, pixels and mask of a VRT."""
    with rasterio.open(description) as raster:
        return tuple(raster.bounds), raster.read(), raster.dataset_mask()


# A raster of 10 x 8 pixels, of 2 m width and 4 m height: x from 100 to 120, y from 28 to 60.
@pytest.mark.parametrize(
    ("wanted", "bounds", "rows", "columns"),
    [
        (None, (100, 28, 120, 60), slice(0, 8), slice(0, 10)),
        ((104, 36, 112, 48), (104, 36, 112, 48), slice(3, 6), slice(2, 6)),  # along pixels
        ((104.5, 37, 111.5, 46), (104, 36, 112, 48), slice(3, 6), slice(2, 6)),  # outwards
        ((105.9, 32.4, 112.1, 47.6), (104, 32, 114, 48), slice(3, 7), slice(2, 7)),
        ((101, 30, 103, 58), (100, 28, 104, 60), slice(0, 8), slice(0, 2)),
        ((90, 0, 104, 36), (100, 28, 104, 36), slice(6, 8), slice(0, 2)),  # beyond two borders
        ((116, 52, 150, 70), (116, 52, 120, 60), slice(0, 2), slice(8, 10)),  # and the two others
        ((-1000, -1000, 1000, 1000), (100, 28, 120, 60), slice(0, 8), slice(0, 10)),
        ((105, 41, 105.5, 42), (104, 40, 106, 44), slice(4, 5), slice(2, 3)),  # one pixel
    ],
)
def test_a_part_ends_at_the_borders_of_pixels(tile, wanted, bounds, rows, columns):
    pixels = numbers(1, 8, 10)
    found = read(mosaic([tile("a.tif", pixels, 100, 60, (2.0, 4.0))], wanted))
    assert found[0] == pytest.approx(bounds)
    assert (found[1] == pixels[:, rows, columns]).all() and (found[2] == 255).all()


@pytest.mark.parametrize(
    "wanted", [(90, 36, 100, 48), (120, 36, 130, 48), (104, 0, 112, 28), (104, 60, 112, 70), (0, 0, 1, 1)]
)
def test_a_part_beside_the_raster_is_told(tile, wanted):
    with pytest.raises(InputError, match=r"--bounds: outside of .*a\.tif; give west, south, east, north"):
        mosaic([tile("a.tif", numbers(1, 8, 10), 100, 60, (2.0, 4.0))], wanted)


def test_tiles_leave_a_gap_and_the_last_is_on_top(tile):
    first = tile("a.tif", numbers(1, 3, 4), 0, 6)
    second = tile("b.tif", numbers(1, 2, 3, 100), 4, 2)
    bounds, (pixels,), mask = read(mosaic([first, second]))
    assert bounds == (0, -2, 10, 6)
    assert pixels.tolist() == [
        [1, 2, 3, 4, 0],
        [5, 6, 7, 8, 0],
        [9, 10, 100, 101, 102],
        [0, 0, 103, 104, 105],
    ]
    assert ((mask > 0) == (pixels > 0)).all()
    assert read(mosaic([second, first]))[1][0, 2].tolist() == [9, 10, 11, 12, 102]


def test_only_tiles_within_the_bounds_are_opened(tile):
    places = {"left": (0, 4), "right": (8, 4), "above": (4, 8), "below": (4, 0), "here": (4, 4)}
    tiles = [tile(f"{name}.tif", numbers(1, 2, 2), *place) for name, place in places.items()]
    description = mosaic(tiles, (4, 0, 8, 4))  # touches the others
    assert [name for name in places if f"/{name}.tif<" in description] == ["here"]
    with rasterio.open(description) as raster:
        assert raster.crs == "EPSG:32632"
    with rasterio.open(mosaic([tile("a.tif", numbers(1, 2, 2), 4, 4, crs=None)])) as raster:
        assert raster.crs is None


def test_a_mosaic_has_the_pixels_of_its_finest_tile(tile):
    fine = tile("fine.tif", numbers(1, 4, 4), 0, 4, (1.0, 1.0))
    coarse = tile("coarse.tif", numbers(1, 2, 2, 50), 4, 4)
    for tiles in ([fine, coarse], [coarse, fine]):
        bounds, (pixels,), _ = read(mosaic(tiles))
        assert bounds == (0, 0, 8, 4) and pixels.shape == (4, 8)
        assert (pixels[:, :4] == numbers(1, 4, 4)[0]).all()
        assert (pixels[:, 4:] == np.kron(numbers(1, 2, 2, 50)[0], np.ones((2, 2)))).all()


def test_bands_keep_their_meanings_names_and_colours(tile, tmp_path):
    first = tile("a.tif", numbers(4, 3, 4), 0, 6)
    with rasterio.open(first.name, "r+") as raster:
        raster.colorinterp = C.blue, C.green, C.red, C.undefined
        raster.descriptions = "blue", None, "red", "near infrared"
        first = Tile.of(first.name, raster)
    with rasterio.open(mosaic([first])) as raster:
        assert raster.colorinterp == (C.blue, C.green, C.red, C.undefined)
        assert raster.descriptions == ("blue", None, "red", "near infrared")
    table = {0: (1, 2, 3, 255), 1: (200, 100, 50, 255)}
    with rasterio.open(tile("b.tif", numbers(1, 3, 4), 0, 6).name, "r+") as raster:
        raster.write_colormap(1, table)
    with rasterio.open(tmp_path / "b.tif") as raster:
        described = mosaic([Tile.of("b.tif", raster)])
    with rasterio.open(described) as raster:
        assert {value: raster.colormap(1)[value] for value in table} == table


def test_a_stack_keeps_the_no_data_value_of_each_band(tile):
    red = tile("red.tif", numbers(1, 2, 2), 0, 4, nodata=3)
    green = tile("green.tif", numbers(1, 2, 2, 5), 0, 4)
    blue = tile("blue.tif", numbers(1, 2, 2, 9), 0, 4, nodata=0)
    with rasterio.open(stack([red, green, blue])) as raster:
        assert raster.nodatavals == (3, None, 0)
        assert raster.colorinterp == (C.red, C.green, C.blue) and raster.descriptions == ("red", "green", "blue")
        assert raster.read().reshape(3, 4).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]


def test_a_stack_may_hold_files_of_several_bands(tile):
    two = tile("two.tif", numbers(2, 2, 2), 0, 4)
    one = tile("one.tif", numbers(1, 1, 1, 20), 0, 4, (4.0, 4.0))
    for files in ([two, one], [one, two]):
        with rasterio.open(stack(files)) as raster:
            assert raster.bounds == (0, 0, 4, 4) and raster.count == 3 and raster.shape == (2, 2)
            bands = {tuple(band.ravel().tolist()) for band in raster.read()}
            assert bands == {(1, 2, 3, 4), (5, 6, 7, 8), (20, 20, 20, 20)}
            assert raster.colorinterp == (C.undefined,) * 3


@pytest.mark.parametrize(
    ("names", "meanings"),
    [
        (("b", "g", "r"), (C.blue, C.green, C.red)),
        (("x_Blue", "x_Red", "x_Green"), (C.blue, C.red, C.green)),
        (("B04.10m", "B02.10m", "B03.10m"), (C.red, C.blue, C.green)),
        (("g", "nir", "r", "b"), (C.green, C.undefined, C.red, C.blue)),
        (("red-1", "red-2", "blue"), (C.red, C.green, C.blue)),  # not clear, so by their order
        (("red", "green"), (C.undefined,) * 2),
        (("a", "b", "c", "d"), (C.undefined,) * 4),
    ],
)
def test_the_last_known_word_of_a_name_is_its_colour(tile, names, meanings):
    files = [tile(f"{name}.tif", numbers(1, 2, 2), 0, 4) for name in names]
    with rasterio.open(stack(files)) as raster:
        assert raster.colorinterp == meanings


@pytest.mark.parametrize(("shift", "fits"), [(0.9, True), (1.0, True), (1.1, False), (-1.1, False)])
def test_files_of_a_stack_may_be_apart_by_half_a_pixel(tile, shift, fits):
    files = [tile("a.tif", numbers(1, 3, 3), 0, 6), tile("b.tif", numbers(1, 3, 3), shift, 6)]
    if fits:
        stack(files)
        return
    with pytest.raises(InputError, match=r"--stack: .*b\.tif covers other ground than .*a\.tif; use gdalwarp first"):
        stack(files)


def test_a_stack_has_one_coordinate_system_and_one_type(tile):
    first = tile("a.tif", numbers(1, 3, 3), 0, 6)
    with pytest.raises(InputError, match="covers other ground"):
        stack([first, tile("b.tif", numbers(1, 3, 3), 0, 6, crs="EPSG:32633")])
    with pytest.raises(InputError, match=r"c\.tif is uint16, .*a\.tif is uint8; convert them to one"):
        stack([first, tile("c.tif", numbers(1, 3, 3).astype(np.uint16), 0, 6)])


def named(tile, name: str, pixels: np.ndarray, left: float, meanings) -> Tile:
    """A tile whose bands have other meanings than those that GDAL gives them."""
    path = tile(name, pixels, left, 6).name
    with rasterio.open(path, "r+") as raster:
        raster.colorinterp = meanings
    with rasterio.open(path) as raster:
        assert raster.colorinterp == tuple(meanings)
        return Tile.of(path, raster)


RGB = (C.red, C.green, C.blue)
NIR = C.undefined


@pytest.mark.parametrize(
    ("first", "second", "order"),
    [
        (RGB, RGB, (0, 1, 2)),
        (RGB, RGB[::-1], (2, 1, 0)),
        (RGB[::-1], RGB, (2, 1, 0)),
        (RGB, (C.green, C.blue, C.red), (2, 0, 1)),
        (RGB, (C.gray, NIR, NIR), (0, 1, 2)),  # the first three are red, green and blue if not named
        ((C.gray, NIR, NIR), RGB[::-1], (2, 1, 0)),
        ((*RGB, NIR), (NIR, *RGB), (1, 2, 3, 0)),
        ((*RGB, NIR), (*RGB[::-1], NIR), (2, 1, 0, 3)),
        ((*RGB, C.alpha), (C.alpha, *RGB[::-1]), (3, 2, 1, 0)),
        ((*RGB, NIR), (*RGB, C.alpha), (0, 1, 2, 3)),
        ((*RGB, NIR, C.alpha), (*RGB, C.alpha, NIR), (0, 1, 2, 4, 3)),
        ((C.gray, C.alpha), (C.alpha, C.gray), (1, 0)),
    ],
)
def test_tiles_are_joined_by_the_meanings_of_their_bands(tile, first, second, order):
    pixels = numbers(len(first), 3, 4)
    tiles = [named(tile, "a.tif", pixels, 0, first), named(tile, "b.tif", pixels, 8, second)]
    with rasterio.open(mosaic(tiles)) as raster:
        assert raster.colorinterp == tuple(first)
        found = raster.read()
    assert (found[:, :, :4] == pixels).all() and (found[:, :, 4:] == pixels[list(order)]).all()


def coloured(tile, name: str, left: float, table) -> Tile:
    path = tile(name, numbers(1, 3, 4), left, 6).name
    if table:
        with rasterio.open(path, "r+") as raster:
            raster.write_colormap(1, table)
    with rasterio.open(path) as raster:
        return Tile.of(path, raster)


TABLE = {0: (1, 2, 3, 255), 1: (200, 100, 50, 255), 2: (9, 9, 9, 255)}


@pytest.mark.parametrize(
    "other", [{0: TABLE[1], 1: TABLE[0], 2: TABLE[2]}, {0: TABLE[0]}, {**TABLE, 9: (5, 0, 0, 255)}, {}]
)
def test_tiles_of_other_colour_tables_are_refused(tile, other):
    tiles = [coloured(tile, "a.tif", 0, TABLE), coloured(tile, "b.tif", 8, other)]
    for pair in (tiles, tiles[::-1]):
        line = rf"--mosaic: {pair[1].name} has another colour table than {pair[0].name}; .*'gdal_translate -expand rgb'"
        with pytest.raises(InputError, match=line):
            mosaic(pair)


@pytest.mark.parametrize("other", [TABLE, {key: (*colour[:3], 0) for key, colour in TABLE.items()}])
def test_tiles_of_one_colour_table_are_joined(tile, other):
    tiles = [coloured(tile, "a.tif", 0, TABLE), coloured(tile, "b.tif", 8, other)]
    with rasterio.open(mosaic(tiles)) as raster:
        assert raster.colormap(1)[1] == TABLE[1] and raster.read(1).shape == (3, 8)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [(0, ["a", "b"]), (6.9, ["a", "b"]), (8, []), (7.1, []), (9, []), (-6.9, ["a", "b"]), (-8, [])],
)
def test_tiles_overlap_by_more_than_half_a_pixel(tile, shift, expected):
    tiles = [tile("a.tif", numbers(1, 3, 4), 0, 6), tile("b.tif", numbers(1, 3, 4), shift, 6)]
    far = tile("c.tif", numbers(1, 3, 4), 0, 600)
    assert [Path(found.name).stem for found in overlapping([*tiles, far])] == expected


@pytest.mark.parametrize(
    ("names", "colours", "line"),
    [
        (("B02", "B03", "B04"), "bgr", ""),
        (("B2", "B3", "B4"), "bgr", "B4, B3 and B2 are taken for red, green and blue"),
        (("x_b1", "x_b2", "x_b3", "x_b4"), "-bgr", "x_b4, x_b3 and x_b2 are taken for red, green and blue"),
        (("LC08_B2", "LC08_B3", "LC08_B4"), "bgr", ""),
        (("LC09_L2SP_196025_SR_B2", "LC09_L2SP_196025_SR_B3", "LC09_L2SP_196025_SR_B4"), "bgr", ""),
        (("LT05_SR_B1", "LT05_SR_B2", "LT05_SR_B3", "LT05_SR_B4"), "bgr-", ""),
        (("LE07_B1", "LE07_B2", "LE07_B3"), "bgr", ""),
        (("a_B08", "b_B04", "c_B03", "d_B02", "e_B8A"), "-rgb-", ""),
        (("b_B08", "b_B04", "b_B03", "b_B02"), "-rgb", ""),  # the first letter is no colour
        (("band2", "band3", "band4"), "bgr", "band4, band3 and band2 are taken"),
        (("x Band 02", "x Band 03", "x Band 04"), "bgr", ""),
        (("x-B_1", "x-G_1", "x-R_1"), "bgr", ""),
        (("B_1", "G_1", "R_1", "NIR_1"), "bgr-", ""),
        (("S_Blue_x", "S_Green_x", "S_Red_x"), "bgr", ""),
        (("blue", "green", "nir", "red", "red_edge"), "bg-r-", ""),
        (("x(b)", "x(g)", "x(r)"), "bgr", ""),
        (("IMG_1", "IMG_2", "IMG_3"), "rgb", "(IMG_1, IMG_2, IMG_3) do not say which are red, green and blue"),
        (("B02", "B03", "B08"), "rgb", "(B02, B03, B08) do not say"),
        (("B10", "B11", "B12", "B13"), "----", "do not say"),
        (("red", "red2_red", "blue"), "rgb", "do not say"),
    ],
)
def test_names_say_which_bands_are_red_green_and_blue(tile, names, colours, line, caplog):
    kinds = {"r": C.red, "g": C.green, "b": C.blue, "-": C.undefined}
    with rasterio.open(stack([tile(f"{name}.tif", numbers(1, 2, 2), 0, 4) for name in names])) as raster:
        assert raster.colorinterp == tuple(kinds[letter] for letter in colours)
    assert line in caplog.text and bool(caplog.text) == bool(line)


UTM_32 = pyproj.CRS(25832).to_wkt("WKT1_GDAL").replace(',AUTHORITY["EPSG","25832"]', "")


@pytest.mark.parametrize(
    "crs",
    [
        "+proj=utm +zone=32 +ellps=GRS80 +units=m",
        "+proj=utm +zone=32 +ellps=GRS80 +towgs84=0,0,0,0,0,0,0 +units=m",
        "EPSG:25832+5783",
        "EPSG:25832+7837",
        UTM_32.replace("ETRS89 / UTM zone 32N", "mine"),
    ],
)
def test_one_system_in_several_ways_is_one(tile, crs):
    """Without the name of its datum, or with heights."""
    pair = tile("a.tif", numbers(1, 4, 4), 0, 8, crs="EPSG:25832"), tile("b.tif", numbers(1, 4, 4), 8, 8, crs=crs)
    for tiles in (pair, pair[::-1]):
        assert read(mosaic(tiles))[0] == (0, 0, 16, 8)
    below = tile("c.tif", numbers(1, 4, 4), 0, 8, crs=crs)
    with rasterio.open(stack([pair[0], below])) as raster:
        assert raster.count == 2


@pytest.mark.parametrize(
    ("crs", "shown"),
    [
        ("EPSG:32632", "(EPSG:32632, EPSG:25832)"),
        ("EPSG:32632+5783", "(WGS 84 / UTM zone 32N + DHHN92 height, EPSG:25832)"),
        (None, "(none, EPSG:25832)"),
        (UTM_32.replace("500000", "500001"), "(ETRS89 / UTM zone 32N, EPSG:25832)"),
    ],
)
def test_what_tells_two_systems_apart_is_told(tile, crs, shown):
    tiles = tile("a.tif", numbers(1, 4, 4), 0, 8, crs="EPSG:25832"), tile("b.tif", numbers(1, 4, 4), 8, 8, crs=crs)
    with pytest.raises(InputError) as refused:
        mosaic(tiles)
    assert f"b.tif has another coordinate reference system than {tiles[0].name} {shown}; make" in str(refused.value)
    with pytest.raises(InputError, match="covers other ground"):
        stack([tiles[0], tile("c.tif", numbers(1, 4, 4), 0, 8, crs=crs)])


def test_systems_of_one_name_are_told_apart_by_their_parts(tile):
    tiles = [
        tile(f"{east}.tif", numbers(1, 4, 4), 0, 8, crs=UTM_32.replace("500000", east)) for east in ("400000", "600000")
    ]
    with pytest.raises(InputError, match=r'PARAMETER\["false_easting",600000\], PARAMETER\["false_easting",400000\]'):
        mosaic(tiles)
