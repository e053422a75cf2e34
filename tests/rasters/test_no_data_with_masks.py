"""A no-data value counts in files that have a mask or an alpha band too, such as mosaics and parts of scenes."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin
from rasterio.windows import Window

from sgovss.errors import InputError
from sgovss.rasters.inputs import InputOptions, find_inputs
from sgovss.rasters.source import RasterSource

from .conftest import UTM

H, W = 120, 160
WHOLE = Window(0, 0, W, H)
HOLE = np.zeros((H, W), bool)
HOLE[:, 55:105] = True  # 31 %


def pixels(dtype: str, filler: float) -> np.ndarray:
    found = np.random.default_rng(0).integers(100, 200, (3, H, W)).astype(dtype)
    found[:, HOLE] = filler
    return found


def described(path, tmp_path, how: str) -> str:
    options = {
        "plain": InputOptions(),
        "mosaic": InputOptions(mosaic=True),
        "bounds": InputOptions(bounds=(8.9, 47.84, 9.1, 47.86)),
    }[how]
    return next(iter(find_inputs([str(path)], tmp_path / "out", options)))


def check(source: RasterSource, hole: np.ndarray) -> None:
    """Whether just the hole is left out, at any size."""
    assert (source.valid(WHOLE) == ~hole).all()
    assert (source.read(WHOLE, (H, W))[1] == ~hole).all()
    if source.stretch is not None:
        assert all(100 <= low < high < 200 for low, high in source.stretch)
    for size in ((H // 4, W // 4), (2 * H, 2 * W)):
        view, valid = source.read(WHOLE, size)
        assert (view[~valid] == 128).all() and valid.mean() == pytest.approx(1 - hole.mean(), abs=0.03)
        assert view[valid].mean() == pytest.approx(128 if source.stretch else 149.5, abs=3)


@pytest.mark.parametrize("how", ["plain", "mosaic", "bounds"])
@pytest.mark.parametrize(("dtype", "filler"), [("float32", -9999), ("uint16", 65535), ("float32", -3.4028235e38)])
def test_a_filler_is_found_and_may_be_given(write_raster, tmp_path, how, dtype, filler):
    name = described(write_raster(pixels(dtype, filler), **UTM), tmp_path, how)
    with RasterSource(name) as source:
        check(source, HOLE)
        assert "31 % of the pixels have the value" in source.remarks[0]
        with source.another() as other:
            check(other, HOLE)
    with RasterSource(name, no_data=filler) as source:
        check(source, HOLE)
    with RasterSource(name, no_data="declared") as source:
        assert source.valid(WHOLE).all()


def test_a_value_within_the_range_of_the_data(write_raster, tmp_path):
    for how in ("mosaic", "bounds"):
        with RasterSource(described(write_raster(pixels("uint8", 9), **UTM), tmp_path, how), no_data=9) as source:
            check(source, HOLE)


@pytest.mark.parametrize("internal", [True, False])
def test_both_the_mask_of_a_file_and_the_value_leave_out(write_raster, internal):
    mask = np.full((H, W), 255, np.uint8)
    mask[:20] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        path = write_raster(pixels("float32", -9999), mask=mask, **UTM)
    assert path.with_name("scene.tif.msk").exists() != internal
    with RasterSource(path, no_data=-9999) as source:
        check(source, HOLE | (mask == 0))


@pytest.mark.parametrize("infrared", [True, False])
def test_both_transparency_and_the_value_leave_out(write_raster, infrared):
    alpha = np.full((1, H, W), 255, np.uint8)
    alpha[:, :20] = 0
    if infrared:
        alpha[:, 20:] = np.random.default_rng(1).integers(1, 250, (H - 20, W))
    path = write_raster(np.concatenate([pixels("uint8", 9), alpha]), photometric="RGB", alpha="YES", **UTM)
    with rasterio.open(path) as raster:
        assert raster.colorinterp[3] == ColorInterp.alpha
    with RasterSource(path, no_data=9) as source:
        check(source, HOLE if infrared else HOLE | (alpha[0] == 0))


def test_a_palette_in_a_mosaic(write_raster, tmp_path):
    path = write_raster(HOLE[None].astype(np.uint8) + 1, **UTM)
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, {1: (0, 0, 0), 2: (0, 200, 0)})
    with RasterSource(described(path, tmp_path, "mosaic"), no_data=2) as source:
        assert (source.valid(WHOLE) == ~HOLE).all() and (source.read(WHOLE, (H, W))[1] == ~HOLE).all()


def test_a_value_that_a_mosaic_cannot_have(write_raster, tmp_path):
    name = described(write_raster(pixels("uint8", 9), **UTM), tmp_path, "mosaic")
    with pytest.raises(InputError, match="--no-data: -9999 is no uint8 value"):
        RasterSource(name, no_data=-9999)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_value_that_is_left_out_anyway(demo, write_raster, value):
    status, _, errors = demo(write_raster(pixels("float32", np.nan), **UTM), f"--no-data={value}")
    assert status == 2 and errors.count("\n") == 1 and f"--no-data: {value} is no value to give; NaN is" in errors


@pytest.fixture
def mosaic_with_gap(write_raster, tmp_path):
    """A mosaic of three quarters of a raster of 2H x 2W pixels; each tile as (pixels, no-data value)."""

    def make(*tiles: tuple[np.ndarray, float | None]) -> str:
        names = []
        for number, (tile, declared) in enumerate(tiles):
            down, across = divmod(number, 2)
            place = {**UTM, "transform": from_origin(500_000 + across * W * 0.3, 5_300_000 - down * H * 0.3, 0.3, 0.3)}
            names.append(write_raster(tile, f"{number}.tif", nodata=declared, **place))
        return next(iter(find_inputs([str(name) for name in names], tmp_path / "out", InputOptions(mosaic=True))))

    return make


GAP = np.zeros((2 * H, 2 * W), bool)
GAP[H:, W:] = True
ALL_OF_IT = Window(0, 0, 2 * W, 2 * H)


def check_mosaic(source: RasterSource) -> None:
    """Whether the hole of each tile and the gap are left out, and nothing else."""
    assert (source.valid(ALL_OF_IT) == ~(np.tile(HOLE, (2, 2)) | GAP)).all()
    if source.stretch is not None:
        assert all(100 <= low < high < 200 for low, high in source.stretch)


@pytest.mark.parametrize(
    ("dtype", "filler"), [("float32", -9999), ("uint16", 65535), ("int16", -32768), ("float64", 1e20)]
)
def test_a_filler_is_found_in_a_mosaic_with_a_gap(mosaic_with_gap, dtype, filler):
    with RasterSource(mosaic_with_gap(*[(pixels(dtype, filler), None)] * 3)) as source:
        check_mosaic(source)
        assert "have the value" in source.remarks[0] and "are left out as no data" in source.remarks[0]
        with source.another() as other:
            check_mosaic(other)


@pytest.mark.parametrize(("dtype", "filler"), [("float32", -9999), ("uint16", 65535), ("int16", -32768)])
def test_a_filler_that_only_some_tiles_declare(mosaic_with_gap, dtype, filler):
    tile = pixels(dtype, filler)
    with RasterSource(mosaic_with_gap((tile, filler), (tile, None), (tile, filler))) as source:
        check_mosaic(source)
        assert "have the value" in source.remarks[0]


@pytest.mark.parametrize(("dtype", "filler"), [("float32", -9999), ("uint16", 65535), ("uint8", 0)])
def test_what_all_tiles_declare_is_believed(mosaic_with_gap, dtype, filler):
    with RasterSource(mosaic_with_gap(*[(pixels(dtype, filler), filler)] * 3)) as source:
        check_mosaic(source)
        assert source.remarks == []


@pytest.mark.parametrize(("dtype", "value"), [("float32", 150), ("uint16", 199), ("int16", 120)])
def test_a_gap_alone_leaves_out_nothing_else(mosaic_with_gap, dtype, value):
    with RasterSource(mosaic_with_gap(*[(pixels(dtype, value), None)] * 3)) as source:
        assert (source.valid(ALL_OF_IT) == ~GAP).all() and source.remarks == []


def test_a_collar_is_found_in_a_mosaic_with_a_gap(mosaic_with_gap):
    tile = pixels("uint8", 150)
    top = tile.copy()
    top[:, :40] = 0
    with RasterSource(mosaic_with_gap((top, None), (top, None), (tile, None))) as source:
        collar = np.zeros_like(GAP)
        collar[:40] = True
        assert (source.valid(ALL_OF_IT) == ~(collar | GAP)).all()
        assert "a constant area (0, 0, 0) at the border" in source.remarks[0]


INFRARED = np.random.default_rng(2).integers(0, 250, (1, H, W), dtype=np.uint8)
INFRARED[:, HOLE] = 0  # water
LEFT = np.where(np.arange(W) < 40, 0, np.full((H, W), 255, np.uint8))  # transparent or masked there
CALLED_ALPHA = {"photometric": "RGB", "alpha": "YES"}


def infrared(write, rgb):
    return write(np.concatenate([rgb, INFRARED]), **CALLED_ALPHA, **UTM), "auto"


def infrared_not_masked(write, rgb):
    return infrared(write, rgb)[0], "none"


def transparency(write, rgb):
    return write(np.concatenate([rgb, LEFT[None]]), **CALLED_ALPHA, **UTM), "none"


def mask(write, rgb):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        return write(rgb, mask=LEFT, **UTM), "none"


def declared_value(write, rgb):
    return write(rgb, nodata=150, **UTM), "none"


@pytest.mark.parametrize("window", [WHOLE, Window(10.3, 5.7, 80.5, 70.2)], ids=["whole", "part"])
@pytest.mark.parametrize("kind", [infrared, infrared_not_masked, transparency, mask, declared_value])
def test_a_mask_that_does_not_count_changes_no_pixel(write_raster, kind, window):
    """At any size they are those of the same file without the mask, or of its bands as floats, which has none."""
    rgb = np.random.default_rng(0).integers(20, 236, (3, H, W), dtype=np.uint8)
    path, no_data = kind(write_raster, rgb)
    plain, floats = write_raster(rgb, "plain.tif", **UTM), write_raster(rgb.astype(np.float32), "floats.tif", **UTM)
    with (
        RasterSource(path, no_data=no_data) as source,
        RasterSource(plain) as same,
        RasterSource(floats, ranges=[(0, 255)]) as other,
    ):
        for size in ((H, W), (H // 4, W // 4), (2 * H, 2 * W), (H // 2, 2 * W), (2 * H, W // 2)):
            view, valid = source.read(window, size)
            assert valid.all() and (view == other.read(window, size)[0]).all()
            if (size[0] < H) == (size[1] < W):  # otherwise GDAL blurs more
                assert np.abs(view.astype(int) - same.read(window, size)[0]).max() <= 1
