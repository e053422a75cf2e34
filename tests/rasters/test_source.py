"""Rasters of all kinds read as 8-bit colours, with a mask of the pixels with data."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window

from sgovss.errors import InputError
from sgovss.rasters.handle import RasterHandle
from sgovss.rasters.opening import identity
from sgovss.rasters.source import RasterSource

SIZE = (40, 60)
WHOLE = Window(0, 0, 60, 40)


@pytest.fixture
def ramp() -> np.ndarray:
    """(4, 40, 60) uint16 with a different range in each band."""
    base = np.arange(40 * 60, dtype=np.uint16).reshape(SIZE)
    return np.stack([base, base * 2 + 1000, base * 3 + 5000, base + 100])


def test_8_bit_colours_are_not_changed(write_raster):
    pixels = np.random.default_rng(0).integers(0, 256, (3, *SIZE), dtype=np.uint8)
    with RasterSource(write_raster(pixels)) as source:
        assert source.stretch is None
        assert (source.read(WHOLE, SIZE)[0] == pixels.transpose(1, 2, 0)).all()
        assert source.valid(WHOLE).all()


def test_other_data_are_stretched_by_percentiles_of_the_whole_scene(write_raster, ramp):
    with RasterSource(write_raster(ramp), bands=(4, 3, 2)) as source:
        whole, _ = source.read(WHOLE, SIZE)
        part, _ = source.read(Window(10, 5, 20, 30), (30, 20))
        assert (part == whole[5:35, 10:30]).all()
        low, high = np.percentile(ramp[2], (2, 98))
        expected = np.clip(np.rint((ramp[2].astype(float) - low) / (high - low) * 255), 0, 255)
        assert np.abs(whole[..., 1] - expected).max() <= 1
        assert (whole[..., 1].min(), whole[..., 1].max()) == (0, 255)
        assert source.bands == (4, 3, 2)


def test_the_stretch_ignores_no_data(write_raster, ramp):
    pixels = ramp.astype(np.float32)
    pixels[:, :10] = -9999
    pixels[:, 10:12, :3] = np.nan
    with RasterSource(write_raster(pixels, nodata=-9999)) as source:
        assert source.stretch[0][0] >= 600
        valid = source.valid(WHOLE)
    assert not valid[:10].any() and not valid[10:12, :3].any()
    assert valid[12:].all()


@pytest.mark.parametrize("size", [(39, 20), (13, 60), (13, 20)], ids=["narrower", "lower", "both"])
def test_a_smaller_pixel_has_data_if_it_contains_any(write_raster, size):
    """Of each three rows or columns, one that is not in the middle has data."""
    pixels = np.full((4, 39, 60), 200, np.uint8)
    pixels[3] = 0
    pixels[3, :: 39 // size[0], :: 60 // size[1]] = 255
    path = write_raster(pixels, photometric="rgb", alpha="yes")
    with RasterSource(path) as source:
        seen, valid = source.read(Window(0, 0, 60, 39), size)
    assert valid.all() and (seen == 200).all()


@pytest.mark.parametrize("nodata", [0.1, -9999.9, 1e-3])
def test_a_no_data_value_is_rounded_like_the_pixels(write_raster, ramp, nodata):
    """The file states it with more digits than a pixel can hold."""
    pixels = ramp.astype(np.float32) + 10
    pixels[:, :10] = np.float32(nodata)
    with RasterSource(write_raster(pixels, nodata=nodata)) as source:
        valid = source.read(WHOLE, SIZE)[1]
        assert (source.valid(WHOLE) == valid).all()
    assert not valid[:10].any() and valid[10:].all()


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("filler", [-3.4028235e38, 3.4028235e38, -1e30])
@pytest.mark.parametrize("nodata", [True, False], ids=["declared", "undeclared"])
def test_fillers_far_from_the_data_overflow_nowhere(write_raster, ramp, filler, nodata):
    pixels = ramp.astype(np.float32) / ramp.max()
    plain = write_raster(pixels)
    pixels[:, :20] = filler
    with RasterSource(write_raster(pixels, **({"nodata": filler} if nodata else {}))) as source:
        seen, valid = source.read(WHOLE, SIZE)
    with RasterSource(plain, ranges=source.stretch) as source:
        assert (source.read(WHOLE, SIZE)[0] == seen)[valid].all()
    assert not valid[:20].any() and valid[20:].all()


def test_alpha_is_a_mask(write_raster):
    pixels = np.full((4, *SIZE), 200, np.uint8)
    pixels[3, :, 30:] = 0
    path = write_raster(pixels, photometric="RGB")
    with rasterio.open(path, "r+") as raster:
        raster.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    with RasterSource(path) as source:
        assert source.bands == (1, 2, 3)
        assert (source.valid(WHOLE) == (np.arange(60) < 30)).all()
        assert (source.read(WHOLE, SIZE)[0][:, 30:] == 128).all()


@pytest.mark.parametrize("count", [1, 2])
def test_few_bands_are_shown_grey(write_raster, count):
    pixels = np.random.default_rng(0).integers(0, 256, (count, *SIZE), dtype=np.uint8)
    with RasterSource(write_raster(pixels)) as source:
        assert source.bands == (1, 1, 1)


def test_smaller_views_average(write_raster):
    pixels = np.zeros((3, *SIZE), np.uint8)
    pixels[:, :, ::2] = 200
    with RasterSource(write_raster(pixels)) as source:
        assert np.abs(source.read(WHOLE, (20, 30))[0].astype(int) - 100).max() <= 1


@pytest.mark.parametrize("share", [0.01, 0.25])
@pytest.mark.parametrize("value", [np.nan, np.inf, -9999.0])
def test_pixels_without_data_do_not_spread_into_smaller_views(write_raster, share, value):
    """Also without a tag: each pixel of a view is the mean of those that have data."""
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 255, (3, 160, 240)).astype(np.float32)
    hole = rng.random((160, 240)) < share
    hole[:, 200:] = True
    path = write_raster(np.where(hole, np.float32(value), pixels), **({"nodata": value} if value < 0 else {}))
    with RasterSource(path, ranges=[(0, 255)] * 3) as source:
        view, valid = source.read(Window(0, 0, 240, 160), (20, 30))
    blocks = np.where(hole, np.nan, pixels).reshape(3, 20, 8, 30, 8)[..., :25, :]
    assert np.abs(view[:, :25] - np.nanmean(blocks, axis=(2, 4)).transpose(1, 2, 0)).max() <= 0.51
    assert valid[:, :25].all() and not valid[:, 25:].any()
    assert (view[:, 25:] == 128).all()


@pytest.mark.parametrize("window", [(3.3, 7.7, 21.4, 17.9), (0, 0, 60, 40), (40.5, 20.5, 19.5, 19.5)])
@pytest.mark.parametrize("size", [(9, 11), (50, 70), (9, 70)])
def test_floats_are_resampled_as_other_numbers(write_raster, window, size):
    """What this project resamples looks like what GDAL resamples."""
    base = np.add.outer(np.arange(40) * 2, np.arange(60) * 2)
    pixels = np.stack([base, base + 20, 255 - base]).astype(np.uint8)
    left, top, width, height = window
    with RasterSource(write_raster(pixels, name="a.tif")) as whole:
        expected = whole.read(Window(left, top, width, height), size)[0]
    with RasterSource(write_raster(pixels.astype(np.float32), name="b.tif"), ranges=[(0, 255)] * 3) as floats:
        found, valid = floats.read(Window(left, top, width, height), size)
    assert valid.all()
    assert np.abs(found.astype(int) - expected).max() <= 4


def kinds(pixels: np.ndarray) -> dict[str, dict]:
    """Ways to say that the first ten rows have no data."""
    mask = np.full(SIZE, 255, np.uint8)
    mask[:10] = 0
    marked = np.where(mask > 0, np.maximum(pixels, 1), 0).astype(pixels.dtype)
    return {
        "value": {"pixels": marked, "nodata": 0},
        "mask": {"pixels": pixels, "mask": mask},
        "16-bit value": {"pixels": marked.astype(np.uint16) * 7, "nodata": 0},
        "float value": {"pixels": np.where(mask > 0, pixels, -9999.9).astype(np.float32), "nodata": -9999.9},
        "NaN": {"pixels": np.where(mask > 0, pixels, np.nan).astype(np.float32)},
        "NaN as the value": {"pixels": np.where(mask > 0, pixels, np.nan).astype(np.float32), "nodata": np.nan},
    }


@pytest.mark.parametrize("kind", ["value", "mask", "16-bit value", "float value", "NaN", "NaN as the value"])
def test_one_read_gives_pixels_and_validity(write_raster, kind):
    pixels = np.random.default_rng(0).integers(1, 255, (3, *SIZE), dtype=np.uint8)
    options = kinds(pixels)[kind]
    with RasterSource(write_raster(options.pop("pixels"), **options)) as source:
        view, valid = source.read(WHOLE, SIZE)
        assert (valid == (np.arange(40) >= 10)[:, None]).all()
        assert (source.valid(WHOLE) == valid).all()
        assert (view[:10] == 128).all() and (view[10:] != 128).any()
        assert not source.read(WHOLE, (20, 30))[1][:5].any() and source.read(WHOLE, (20, 30))[1][5:].all()
        with source.another() as other:
            assert (other.read(WHOLE, SIZE)[0] == view).all() and other.stretch == source.stretch


@pytest.mark.parametrize(
    ("kind", "read"),
    [("value", ["pixels"]), ("mask", ["masks"]), ("16-bit value", ["pixels"]), ("NaN", ["pixels"]), ("none", [])],
)
def test_validity_is_found_in_one_read_of_what_holds_it(write_raster, monkeypatch, kind, read):
    """A mask is read without the pixels. Where GDAL would make a mask of the pixels, these are read."""
    pixels = np.random.default_rng(0).integers(1, 255, (3, *SIZE), dtype=np.uint8)
    options = {"pixels": pixels} if kind == "none" else kinds(pixels)[kind]
    calls = []
    for what in ("read", "read_masks"):
        original = getattr(RasterHandle, what)

        def watched(self, *args, original=original, what=what, **more):
            calls.append({"read": "pixels", "read_masks": "masks"}[what])
            return original(self, *args, **more)

        monkeypatch.setattr(RasterHandle, what, watched)
    with RasterSource(write_raster(options.pop("pixels"), **options)) as source:
        calls.clear()
        valid = source.valid(WHOLE)
    assert calls == read and valid.mean() == (1 if kind == "none" else 0.75)


def test_palettes_are_shown_in_their_colours(write_raster):
    indices = np.random.default_rng(0).integers(0, 3, (1, *SIZE), dtype=np.uint8)
    path = write_raster(indices)
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, {0: (10, 20, 30), 1: (200, 50, 20), 2: (0, 255, 0)})
    with RasterSource(path) as source:
        colors = np.array([[10, 20, 30], [200, 50, 20], [0, 255, 0]])
        assert (source.read(WHOLE, SIZE)[0] == colors[indices[0]]).all()


def test_a_flat_band_does_not_divide_by_zero(write_raster):
    with RasterSource(write_raster(np.full((3, *SIZE), 7, np.uint16))) as source:
        assert source.read(WHOLE, SIZE)[0].max() == 0


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        (np.zeros((3, *SIZE), np.uint8), {"bands": (1, 2, 5)}, "--bands: .* has no band 5; give numbers from 1 to 3"),
        (np.zeros((3, *SIZE), np.uint8), {"bands": (0, 1, 2)}, "has no band 0; give numbers from 1 to 3"),
        (
            np.full((1, *SIZE), np.nan, np.float32),
            {},
            "no pixel with data; all are masked, NaN or infinite, so export the file again",
        ),
        (np.zeros((1, *SIZE), np.complex64), {}, "bands hold complex numbers"),
    ],
)
def test_rasters_that_cannot_be_used(write_raster, pixels, options, message):
    with pytest.raises(InputError, match=message):
        RasterSource(write_raster(pixels), **options)


def test_a_raster_changes_with_each_of_its_files(tmp_path):
    """Also with those that are named behind one of another machine."""
    here = tmp_path / "b.tif"
    here.write_bytes(b"1")
    dataset = SimpleNamespace(files=["/vsicurl/http://127.0.0.1:1/a.tif", str(here)], driver="GTiff")
    before = identity("/vsicurl/http://127.0.0.1:1/a.tif", dataset)
    assert identity("/vsicurl/http://127.0.0.1:1/a.tif", dataset) == before
    here.write_bytes(b"22")
    assert identity("/vsicurl/http://127.0.0.1:1/a.tif", dataset) != before


def test_a_flat_band_is_stretched_by_one(write_raster):
    pixels = np.full((1, *SIZE), 7, np.uint16)
    pixels[0, 0, :5] = 8
    with RasterSource(write_raster(pixels), no_data="none") as source:
        assert source.stretch == [(7.0, 8.0)] * 3
        assert (source.read(WHOLE, SIZE)[0][0, :5] == 255).all()


def test_values_are_all_or_about_as_many_as_asked_for(write_raster, ramp):
    with RasterSource(write_raster(ramp)) as source:
        assert source.values(10**6).shape == (3, 40 * 60)
        assert source.values(600).shape == (3, 600)


def test_a_raster_that_is_refused_is_closed(write_raster, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "sgovss.rasters.source.RasterHandle", lambda name: opened.append(RasterHandle(name)) or opened[-1]
    )
    with pytest.raises(InputError, match="no band 7"):
        RasterSource(write_raster(np.zeros((3, *SIZE), np.uint8)), bands=(1, 2, 7))
    assert [handle.dataset.closed for handle in opened] == [True]


def test_only_the_bands_in_use_must_be_of_a_type_that_can_be_read(write_raster, tmp_path):
    """The bands of a VRT may have different types."""
    files = [
        write_raster(np.full((1, *SIZE), 40 * number, kind), f"{number}.tif")
        for number, kind in enumerate(("uint8", "complex64", "uint8"), 1)
    ]
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{number}"><SimpleSource><SourceFilename>{file}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for number, (kind, file) in enumerate(zip(("Byte", "CFloat32", "Byte"), files, strict=True), 1)
    )
    vrt = tmp_path / "mixed.vrt"
    vrt.write_text(f'<VRTDataset rasterXSize="{SIZE[1]}" rasterYSize="{SIZE[0]}">{bands}</VRTDataset>')
    with RasterSource(vrt, bands=(3, 1, 1)) as source:
        assert source.stretch is None
        assert (source.read(WHOLE, SIZE)[0] == (120, 40, 40)).all()
    with pytest.raises(InputError, match="complex numbers"):
        RasterSource(vrt, bands=(1, 2, 1))


def test_files_that_are_not_rasters(tmp_path):
    (tmp_path / "scene.tif").write_text("not one")
    with pytest.raises(InputError, match=r"scene.tif: not a raster that can be read"):
        RasterSource(tmp_path / "scene.tif")


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"big_tiff": True}])
@pytest.mark.parametrize("number", [1, 3, 6, 8])
def test_a_turned_tiff_without_georeference_is_refused(tmp_path, number, options):
    tags = Image.Exif()
    tags[0x0112] = number
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.tif", exif=tags, **options)
    if number == 1:
        with RasterSource(tmp_path / "x.tif") as source:
            assert (source.read(WHOLE, SIZE)[0] == pixels).all()
        return
    with pytest.raises(InputError, match=rf"x.tif: has EXIF orientation {number}, which is not supported for rasters"):
        RasterSource(tmp_path / "x.tif")


@pytest.mark.parametrize("size", [(80, 30), (20, 120), (80, 120)])
def test_a_window_of_which_a_side_grows_is_interpolated(write_raster, size):
    pixels = np.random.default_rng(0).integers(0, 256, (3, *SIZE), dtype=np.uint8)
    path = write_raster(pixels)
    with rasterio.open(path) as dataset:
        expected = dataset.read(out_shape=(3, *size), resampling=Resampling.bilinear)
    with RasterSource(path) as source:
        assert np.array_equal(source.read(WHOLE, size)[0], expected.transpose(1, 2, 0))


def test_the_file_is_closed_at_the_end_of_the_block(write_raster):
    with RasterSource(write_raster(np.zeros((3, *SIZE), np.uint8))) as source:
        source.read(WHOLE, SIZE)
    with pytest.raises(rasterio.errors.RasterioError, match="closed"):
        source.read(WHOLE, SIZE)
