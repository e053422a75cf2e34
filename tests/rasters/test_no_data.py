"""Collars and filler values that a file does not declare are found; what belongs to the picture stays."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

from sgovss.errors import InputError
from sgovss.rasters.source import RasterSource
from sgovss.rasters.virtual import Tile, mosaic

from .conftest import UTM

H, W = 120, 160
WHOLE = Window(0, 0, W, H)


@pytest.fixture
def picture() -> np.ndarray:
    """(3, 120, 160) uint8 of noise without black and white."""
    return np.random.default_rng(0).integers(20, 236, (3, H, W), dtype=np.uint8)


def corner_triangle() -> np.ndarray:
    """Two corners of a rotated picture."""
    rows, columns = np.mgrid[:H, :W]
    return (rows + columns < 50) | (rows + columns > H + W - 50)


def strip() -> np.ndarray:
    return np.arange(W)[None] < np.full((H, 1), 40)


def notch() -> np.ndarray:
    """A part of a side, as where a tile of a mosaic is missing."""
    rows, columns = np.mgrid[:H, :W]
    return (rows < 30) & (columns > 60) & (columns < 120)


@pytest.mark.parametrize("collar", [corner_triangle, strip, notch])
@pytest.mark.parametrize("colour", [0, 255, 1, 254, 128, (0, 0, 255), (255, 0, 255)])
def test_collars_of_8_bit_pictures(write_raster, picture, collar, colour):
    area = collar()
    picture[:, area] = np.reshape(colour, (-1, 1))
    with RasterSource(write_raster(picture, **UTM)) as source:
        assert (source.valid(WHOLE) == ~area).all()
        window = Window(10, 5, 60, 70)
        assert (source.valid(window) == ~area[5:75, 10:70]).all()
        assert (source.read(WHOLE, (H, W))[0][area] == 128).all()
        share = f"{100 * area.mean():.2g} %"
        assert len(source.remarks) == 1 and share in source.remarks[0] and "--no-data" in source.remarks[0]


def test_a_noisy_collar_of_a_lossy_file(write_raster, picture):
    area = strip()
    picture[:, area] = 0
    path = write_raster(picture, compress="jpeg", photometric="YCBCR", **UTM)
    with RasterSource(path) as source:
        valid = source.valid(WHOLE)
    inner = np.arange(W) < 24
    assert not valid[:, inner].any() and valid[:, 48:].all()


def test_a_lossy_collar_differs_by_at_most_8(write_raster, picture):
    area = strip()
    picture[:, area] = 0
    picture[:, 10:20, 10:20], picture[:, 40:50, 10:20] = 8, 9
    area[40:50, 10:20] = False
    with RasterSource(write_raster(picture, **UTM)) as source:
        assert (source.valid(WHOLE) == ~area).all()


@pytest.mark.parametrize(("length", "collars"), [(31, 0), (32, 1)])
def test_the_smallest_collar_has_32_pixels(write_raster, picture, length, collars):
    picture[:, 0, :length] = 0
    with RasterSource(write_raster(picture[:, :60], **UTM)) as source:
        assert len(source.no_data.collars) == collars


@pytest.mark.parametrize(("elsewhere", "collars"), [(0.6, 1), (1.6, 0)])
def test_a_colour_that_is_more_common_elsewhere_belongs_to_the_picture(write_raster, picture, elsewhere, collars):
    picture[:, strip()] = 0  # 40 columns
    picture[:, :, 50 : 50 + 2 * round(40 * elsewhere) : 2] = 0
    with RasterSource(write_raster(picture, **UTM)) as source:
        assert len(source.no_data.collars) == collars


@pytest.mark.parametrize("turned", [False, True])
def test_a_collar_reaches_one_pixel_beyond_what_is_connected(write_raster, picture, turned):
    """The overview shows one pixel of many; so the next pixels of its colour belong to it, and no others do."""
    area = notch()  # rows 0 to 29, columns 61 to 119
    picture[:, area] = 0
    corners, apart = ([30, 30], [60, 120]), ([10, 10, 31], [59, 121, 90])
    for rows, columns in (corners, apart):
        picture[:, rows, columns] = 0
    area[corners] = True
    if turned:
        picture, area = picture[:, ::-1, ::-1], area[::-1, ::-1]
    with RasterSource(write_raster(picture, **UTM)) as source:
        assert (source.valid(WHOLE) == ~area).all()


def test_a_collar_of_16_bits_has_one_value(write_raster, picture):
    pixels = picture.astype(np.uint16) * 10
    area = strip()
    pixels[:, area] = 0
    pixels[:, 40:50, 10:20] = 1
    area[40:50, 10:20] = False
    with RasterSource(write_raster(pixels, **UTM)) as source:
        assert (source.valid(WHOLE) == ~area).all()


@pytest.mark.parametrize(
    ("dtype", "collar"), [("uint16", 0), ("uint16", 1), ("int16", -5), ("float32", 0), ("float64", 12)]
)
def test_collars_of_other_data_have_their_least_value(write_raster, picture, dtype, collar):
    pixels = picture.astype(dtype) * 10
    pixels[:, strip()] = collar
    with RasterSource(write_raster(pixels, **UTM)) as source:
        assert (source.valid(WHOLE) == ~strip()).all()
        assert source.stretch[0][0] > 200


@pytest.mark.parametrize(
    ("dtype", "collar", "less"), [("float32", 0, -0.003), ("int16", 0, -30), ("uint16", 1, 0), ("uint16", 700, 3)]
)
def test_collars_of_other_data_may_have_pixels_below_them(write_raster, picture, dtype, collar, less):
    pixels = picture.astype(dtype) * 10
    pixels[:, 20:100:9, 50::7] = less
    pixels[:, strip()] = collar
    with RasterSource(write_raster(pixels, **UTM)) as source:
        assert (source.valid(WHOLE) == ~strip()).all()
        assert source.no_data.collars[0].colour == (collar,) * 3 and len(source.remarks) == 1


def test_two_collars(write_raster, picture):
    picture[:, :, :20], picture[:, :, -20:] = 90, 180
    with RasterSource(write_raster(picture, **UTM)) as source:
        assert (source.valid(WHOLE) == (np.arange(W) >= 20) & (np.arange(W) < W - 20)).all()
        assert len(source.remarks) == 2


@pytest.mark.parametrize(("bands", "block"), [(3, 10), (3, 30), (1, 8), (1, 40)])
def test_drawings_have_black_and_white_collars_only(write_raster, bands, block):
    numbers = np.random.default_rng(3).integers(20, 236, (bands, H // 4, W // 4), dtype=np.uint8)
    pixels = numbers.repeat(block, axis=1).repeat(block, axis=2)[:, :H, :W]
    with RasterSource(write_raster(pixels, **UTM)) as source:
        assert source.valid(WHOLE).all() and not source.remarks
    pixels[:, strip()] = 255
    with RasterSource(write_raster(pixels, **UTM)) as source:
        assert (source.valid(WHOLE) == ~strip()).all()


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
@pytest.mark.parametrize("least", [300, 5])
def test_smooth_water_of_other_data_stays(write_raster, picture, dtype, least):
    """Most of its pixels have one value, and are connected."""
    pixels = picture.astype(dtype) * 10
    noise = np.random.default_rng(1).choice([0, 1, 2], (H, 60), p=[0.7, 0.2, 0.1] if least == 5 else [0.1, 0.7, 0.2])
    pixels[:, :, :60] = least + noise
    with RasterSource(write_raster(pixels, **UTM)) as source:
        assert source.valid(WHOLE).all() and not source.remarks


def roof(pixels):
    pixels[:, 50:70, 60:100] = 0


def roof_at_the_border(pixels):
    pixels[:, :30, 60:90] = 0


def dark_noisy_water(pixels):
    pixels[:, :, :60] = np.random.default_rng(1).integers(0, 8, (3, H, 60))


def dark_smooth_water(pixels):
    pixels[:, :, :60] = np.random.default_rng(1).integers(0, 2, (3, H, 60))


def grey_roof_at_the_border(pixels):
    pixels[:, :30, 60:90] = 128


def smooth_blue_water(pixels):
    pixels[:, :, :60] = np.reshape([30, 60, 90], (3, 1, 1)) + np.random.default_rng(1).integers(0, 2, (3, H, 60))


def black_everywhere(pixels):
    pixels[:, :, ::2] = 0


def one_bright_band(pixels):
    pixels[0, :, :60] = 255


def all_black(pixels):
    pixels[:] = 0


def overexposed_spots(pixels):
    pixels[:, ::9, ::7] = 255


@pytest.mark.parametrize(
    "paint",
    [
        roof, roof_at_the_border, grey_roof_at_the_border, dark_noisy_water, dark_smooth_water, smooth_blue_water,
        black_everywhere, one_bright_band, all_black, overexposed_spots,
    ],
)  # fmt: skip
def test_what_belongs_to_the_picture_stays(write_raster, picture, paint):
    paint(picture)
    with RasterSource(write_raster(picture, **UTM)) as source:
        assert source.valid(WHOLE).all() and not source.remarks


def test_a_black_roof_beside_a_black_collar_stays(write_raster, picture):
    area = strip()
    picture[:, area] = 0
    roof(picture)
    with RasterSource(write_raster(picture, **UTM)) as source:
        assert (source.valid(WHOLE) == ~area).all()


@pytest.mark.parametrize(
    ("dtype", "filler"),
    [
        ("float32", -9999), ("float32", -3.4028235e38), ("float64", 1e20), ("float32", 1.7e38),
        ("uint16", 65535), ("int16", -32768), ("int32", -9999), ("uint32", 2**32 - 1),
    ],
)  # fmt: skip
def test_fillers_do_not_spoil_the_stretch(write_raster, picture, dtype, filler):
    pixels = picture.astype(dtype)
    hole = np.zeros((H, W), bool)
    hole[30:60, 40:90] = True  # needs no border
    pixels[:, hole] = filler
    with RasterSource(write_raster(pixels, **UTM)) as source:
        assert (source.valid(WHOLE) == ~hole).all()
        assert 20 <= source.stretch[0][0] < source.stretch[0][1] <= 235
        assert len(source.remarks) == 1 and "7.8 % of the pixels" in source.remarks[0]
        # The filler does not spread when a view is smaller or larger.
        for size in ((H // 4, W // 4), (2 * H, 2 * W)):
            view, valid = source.read(WHOLE, size)
            assert (view[~valid] == 128).all()
            assert view[valid].mean() == pytest.approx(128, abs=8)


EAST, WEST = np.s_[:, :, 100:140], np.s_[:, :, :30]


@pytest.mark.parametrize(
    ("dtype", "fillers"),
    [
        ("float32", (-9999, -3.4e38)), ("float32", (-3.4028235e38, 3.4028235e38)), ("int32", (-9999, 65535)),
        ("int16", (-32768, -999)), ("float64", (1e20, -99999)),
    ],
)  # fmt: skip
def test_two_fillers(write_raster, picture, dtype, fillers):
    pixels = picture.astype(dtype)
    pixels[EAST], pixels[WEST] = fillers
    expected = np.ones((H, W), bool)
    expected[:, 100:140] = expected[:, :30] = False
    with RasterSource(write_raster(pixels, **UTM)) as source:
        assert (source.valid(WHOLE) == expected).all()
        assert all(20 <= low < high <= 235 for low, high in source.stretch)
        assert len(source.remarks) == 2 and all("give --no-data declared" in line for line in source.remarks)
        view, valid = source.read(WHOLE, (H // 4, W // 4))
        assert view[valid].mean() == pytest.approx(128, abs=8) and (view[~valid] == 128).all()
        with source.another() as other:
            assert (other.valid(WHOLE) == expected).all()


@pytest.mark.parametrize(
    ("dtype", "filler", "collar"), [("uint16", 65535, 0), ("float32", -9999, 0), ("int16", -32768, 2360)]
)
def test_a_filler_and_a_collar(write_raster, picture, dtype, filler, collar):
    pixels = picture.astype(dtype) * 10
    pixels[EAST], pixels[WEST] = filler, collar
    with RasterSource(write_raster(pixels, **UTM)) as source:
        assert not source.valid(Window(100, 0, 40, H)).any() and not source.valid(Window(0, 0, 30, H)).any()
        assert source.valid(Window(30, 0, 70, H)).all() and source.valid(Window(140, 0, 20, H)).all()
        assert all(200 <= low < high <= 2350 for low, high in source.stretch)
        assert "far off all others" in source.remarks[0] and "a constant area" in source.remarks[1]


@pytest.mark.parametrize(("dtype", "filler"), [("float32", -9999), ("uint16", 65535), ("int16", -32768)])
@pytest.mark.parametrize("band", [0, 2])
def test_a_filler_in_one_band(write_raster, picture, dtype, filler, band):
    pixels = picture.astype(dtype)
    pixels[band, :, :40] = filler
    with RasterSource(write_raster(pixels, **UTM)) as source:
        assert (source.valid(WHOLE) == ~strip()).all() and "25 % of the pixels" in source.remarks[0]
        assert all(20 <= low < high <= 235 for low, high in source.stretch)


def test_a_band_that_is_all_filler_leaves_the_others(write_raster, picture):
    pixels = picture.astype(np.float32)
    pixels[1] = -9999
    with RasterSource(write_raster(pixels, **UTM)) as source:
        assert source.valid(WHOLE).all() and not source.remarks


@pytest.mark.parametrize(("dtype", "filler"), [("int16", -9999), ("float32", -9999), ("int32", -32768)])
def test_well_known_fillers_beside_bright_pixels(write_raster, picture, dtype, filler):
    """The data lie farther apart than the filler lies off them."""
    pixels = picture.astype(dtype) * (100 if filler == -9999 else 1000)
    pixels[:, 30:60, 40:90] = filler
    with RasterSource(write_raster(pixels, **UTM)) as source:
        assert source.valid(WHOLE).mean() == 1 - 30 * 50 / (H * W) and "far off all others" in source.remarks[0]


@pytest.mark.parametrize(
    ("dtype", "value", "least"), [("int16", -9999, -9000), ("float32", -999, -600), ("int16", -32768, -20000)]
)
def test_well_known_fillers_near_other_values_are_data(write_raster, picture, dtype, value, least):
    pixels = np.linspace(least, 10000, picture.size).reshape(picture.shape).astype(dtype)
    pixels[:, 30:60, 40:90] = value
    with RasterSource(write_raster(pixels, **UTM)) as source:
        assert source.valid(WHOLE).all() and not source.remarks


def test_bright_clouds_and_deep_shadow_are_no_fillers(write_raster, picture):
    pixels = picture.astype(np.uint16) * 200
    for value in (65535, 0):
        pixels[:, 30:60, 40:90] = value
        with RasterSource(write_raster(pixels, **UTM)) as source:
            assert source.valid(WHOLE).all() and not source.remarks


@pytest.mark.parametrize("no_data", ["auto", "declared", "none", 0, 30, float("nan")])
def test_the_option(write_raster, picture, no_data):
    pixels = np.where(picture == 30, 31, picture)
    pixels[:, strip()] = 0
    pixels[:, :10, 100:] = 30
    pixels = pixels.astype(np.float32)
    pixels[:, -3:] = np.nan
    path = write_raster(pixels, nodata=30, **UTM)
    declared = np.ones((H, W), bool)
    declared[:10, 100:] = False
    expected = {"none": np.ones((H, W), bool), "0": ~strip(), "nan": np.ones((H, W), bool)}.get(str(no_data), declared)
    expected = expected & (np.arange(H)[:, None] < H - 3)
    with RasterSource(path, no_data=no_data) as source:
        assert (source.valid(WHOLE) == expected).all()


def test_a_value_that_the_data_cannot_have(write_raster, picture):
    for value in (-9999, 0.5, 256):
        with pytest.raises(InputError, match=r"--no-data: .* is no uint8 value"):
            RasterSource(write_raster(picture, **UTM), no_data=value)


def test_what_is_declared_is_believed(write_raster, picture):
    picture[:, strip()] = 0
    mask = np.full((H, W), 255, np.uint8)
    mask[:20] = 0
    with RasterSource(write_raster(picture, mask=mask, **UTM)) as source:
        assert (source.valid(WHOLE) == (mask > 0)).all() and not source.remarks


def test_palettes_have_no_collars(write_raster):
    path = write_raster(np.zeros((1, H, W), np.uint8) + (np.arange(W) > 50).astype(np.uint8), **UTM)
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, {0: (0, 0, 0), 1: (0, 200, 0)})
    with RasterSource(path) as source:
        assert source.valid(WHOLE).all()


def test_collars_found_on_an_overview_are_exact(write_raster):
    """5,000 x 4,000 pixels: the region is found on a quarter of each side, and applied pixel by pixel."""
    pixels = np.random.default_rng(0).integers(20, 236, (1, 4000, 5000), dtype=np.uint8)
    pixels[:, :, :1003] = 0
    pixels[:, 2005:2010, 1015:1025] = 0  # a roof near the collar
    with RasterSource(write_raster(pixels, **UTM)) as source:
        window = Window(990, 2000, 40, 20)
        assert (source.valid(window) == (pixels[0, 2000:2020, 990:1030] > 0) | _roof(window)).all()
        assert not source.valid(Window(0, 0, 900, 50)).any() and source.valid(Window(1100, 0, 900, 50)).all()


def _roof(window: Window) -> np.ndarray:
    rows, columns = np.mgrid[: window.height, : window.width]
    rows, columns = rows + window.row_off, columns + window.col_off
    return (rows >= 2005) & (rows < 2010) & (columns >= 1015) & (columns < 1025)


def test_a_collar_of_tiles_that_leave_a_gap(write_raster, picture):
    """The gap is no data, which a file that declares its own would have for its collar too."""
    tiles = []
    for name, left in (("a.tif", 0), ("b.tif", W + 20)):
        pixels = picture.copy()
        if not left:
            pixels[:, strip()] = 255
        place = {"crs": "EPSG:32632", "transform": from_origin(2 * left, 2 * H, 2, 2)}
        path = write_raster(pixels, name=name, **place)
        with rasterio.open(path) as dataset:
            tiles.append(Tile.of(str(path), dataset))
    columns = np.arange(2 * W + 20)
    with RasterSource(mosaic(tiles)) as source:
        valid = source.valid(Window(0, 0, 2 * W + 20, H))
    assert (valid == (((columns >= 40) & (columns < W)) | (columns >= W + 20))).all()


def test_a_bright_roof_in_another_corner_stays(write_raster, picture):
    """It is nearly white, as pixels of a lossy collar are, but hardly any of its pixels have exactly that colour."""
    picture[:, :, :40] = 255
    picture[:, -50:, -60:] = np.random.default_rng(1).integers(248, 256, (3, 50, 60))
    with RasterSource(write_raster(picture, **UTM)) as source:
        assert (source.valid(WHOLE) == (np.arange(W) >= 40)).all()
