"""Bands are chosen by what the file says of them, or by their number or description."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp as C
from rasterio.windows import Window

from sgovss.errors import InputError
from sgovss.rasters.bands import is_opaque, is_transparency
from sgovss.rasters.source import RasterSource

from .conftest import UTM

SIZE = (40, 60)
WHOLE = Window(0, 0, 60, 40)


@pytest.fixture
def write_bands(write_raster):
    """A function that writes one random band for each colour interpretation, with descriptions if there are any."""

    def write(meanings, dtype="uint8", descriptions=()):
        pixels = np.random.default_rng(0).integers(1, 255, (len(meanings), *SIZE)).astype(dtype)
        path = write_raster(pixels, photometric="MINISBLACK", alpha="NO", **UTM)
        with rasterio.open(path, "r+") as raster:
            raster.colorinterp = meanings
            for number, text in enumerate(descriptions, 1):
                raster.set_band_description(number, text)
        return path

    return write


@pytest.mark.parametrize(
    ("meanings", "expected"),
    [
        ([C.blue, C.green, C.red], (3, 2, 1)),
        ([C.undefined, C.red, C.green, C.blue], (2, 3, 4)),
        ([C.blue, C.green, C.red, C.undefined, C.undefined], (3, 2, 1)),
        ([C.gray, C.undefined, C.undefined, C.undefined], (1, 2, 3)),
        ([C.red, C.undefined, C.undefined], (1, 2, 3)),
        ([C.gray, C.alpha], (1, 1, 1)),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colours_that_the_file_names_are_followed(write_bands, meanings, expected, dtype):
    with RasterSource(write_bands(meanings, dtype), no_data="none") as source:
        assert source.bands == expected


def test_bands_by_number_and_description(write_bands):
    path = write_bands([C.undefined] * 4, descriptions=("T32TQM_B02_10m", "T32TQM_B03_10m", "Red", "near infrared"))
    for wanted, expected in (
        (("red", "B03", "b02"), (3, 2, 1)),
        ((4, "red", 2), (4, 3, 2)),
        (("Near Infrared", 3, 3), (4, 3, 3)),
    ):
        with RasterSource(path, wanted) as source:
            assert source.bands == expected
    for wrong in ("10m", "swir", ""):
        with pytest.raises(InputError, match=r"--bands: .*has no single band called .*T32TQM_B02_10m, .*near infrared"):
            RasterSource(path, (1, 2, wrong))


def test_colours_of_another_kind_are_refused(write_bands):
    for meanings in ([C.cyan, C.magenta, C.yellow, C.black], [C.hue, C.saturation, C.lightness]):
        path = write_bands(meanings)
        with pytest.raises(InputError, match=r"its bands are (CMYK|HSL) colours"):
            RasterSource(path)
        with RasterSource(path, (1, 2, 3)) as source:
            assert source.bands == (1, 2, 3)


def test_infrared_is_told_from_transparency():
    random = np.random.default_rng(0)
    infrared = [random.integers(0, 256, SIZE), np.clip(random.normal(90, 30, SIZE), 0, 255)]
    infrared += [np.where(np.arange(60) < 30, 0, random.normal(160, 20, SIZE))]
    assert not any(is_transparency(band.astype(np.uint8)) for band in infrared)
    edge = np.clip(np.arange(60) * 20 - 400, 0, 255)[None].repeat(40, 0)  # transparent, half transparent, opaque
    masks = [np.zeros(SIZE), np.full(SIZE, 255), edge, edge * 257, np.where(edge > 0, 1, 0)]
    assert all(is_transparency(band.astype(np.uint16)) for band in masks)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_infrared_called_alpha_leaves_nothing_out(write_raster, dtype):
    pixels = np.random.default_rng(0).integers(1, 255, (4, *SIZE)).astype(dtype)
    pixels[3, :, :30] = 0
    path = write_raster(pixels, photometric="RGB", **UTM)
    with rasterio.open(path, "r+") as raster:
        raster.colorinterp = [C.red, C.green, C.blue, C.alpha]
    with RasterSource(path) as source:
        assert source.valid(WHOLE).all()
        assert "band 4 is called alpha, but has many values" in source.remarks[0] and "50 %" in source.remarks[0]
    with RasterSource(path, (4, 1, 2)) as source:
        assert source.bands == (4, 1, 2) and source.valid(WHOLE).all()


def test_a_mask_of_an_odd_value_is_believed_and_told(write_raster):
    pixels = np.random.default_rng(0).integers(1, 255, (4, *SIZE), dtype=np.uint8)
    pixels[3] = np.where(np.arange(60) < 30, 0, 180)
    with RasterSource(write_raster(pixels, **UTM)) as source:
        assert source.valid(WHOLE).mean() == 0.5
        assert "band 4 is taken for transparency, which leaves out 50 %" in source.remarks[0]
    with RasterSource(write_raster(pixels, **UTM), no_data="none") as source:
        assert source.valid(WHOLE).all()


@pytest.mark.parametrize(
    ("values", "transparency", "opaque"),
    [
        ([], True, True),
        ([0, 0], True, True),  # nothing is opaque
        ([0, 0, 0, 255, 255], True, True),
        ([0, 1, 1], True, True),
        ([255, 255, 7, 9], True, True),  # half of them
        ([255, 7, 9], False, False),
        ([0, 0, 0, 90, 90, 255], True, False),
    ],
)
def test_values_of_a_mask(values, transparency, opaque):
    alpha = np.array(values, np.uint8)
    assert (is_transparency(alpha), is_opaque(alpha)) == (transparency, opaque)


def test_the_largest_value_of_a_type_is_opaque():
    assert is_opaque(np.array([0, 65535, 65535], np.uint16))
    assert not is_opaque(np.array([0, 4095, 4095], np.uint16))
