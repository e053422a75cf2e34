"""A no-data value counts in files that have a mask or an alpha band too, such as mosaics and parts of scenes."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
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
