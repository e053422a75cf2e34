"""Labels and images of several channels or of 16 bits: the values as they are stored, or one line that is true."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest

from sgovss.data.labels import read_rgb, read_values
from sgovss.data.pair_conversion import _size, read_rgb_bands
from sgovss.errors import InputError
from tests.data.test_label_files import VALUES, tif
from tests.data.test_raw_labels import RawLabels, specification

pytestmark = pytest.mark.filterwarnings("ignore")  # rasterio warns of files without georeference

TILES = {"tiled": True, "blockxsize": 16, "blockysize": 16}


@pytest.mark.parametrize("step", [1, 256, 257, 20_000])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", ["png", "jp2"])
def test_deep_grey_in_pngs_and_jpegs(tmp_path, step, channels, kind):
    values = np.kron(VALUES, np.ones((8, 8), int)) * step
    path = tmp_path / f"a.{kind}"
    if not cv2.imwrite(str(path), np.repeat(values[..., None].astype(np.uint16), channels, 2)):
        pytest.skip("OpenCV without JPEG 2000")
    assert np.array_equal(read_values(path), values)
    assert np.array_equal(read_values(io.BytesIO(path.read_bytes()), "a"), values)
    with pytest.raises(InputError, match=rf"a\.{kind}: image of more than 8 bits a channel"):
        read_rgb(path)


@pytest.mark.parametrize("options", [{}, TILES, {"compress": "LZW", "predictor": 2}, {"compress": "DEFLATE", **TILES}])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int16"])
@pytest.mark.parametrize("bands", [2, 3, 4])
def test_equal_bands_are_one(tmp_path, bands, dtype, interleave, options):
    values = np.stack([VALUES.astype(dtype)] * bands)
    path = tif(tmp_path / "x.tif", values, interleave=interleave, **options)
    assert np.array_equal(read_values(path), VALUES)
    values[1, 0, 0] = 9
    with pytest.raises(InputError, match=r"x\.tif: label image of .*, expected one channel of class values; c.* with"):
        read_values(tif(path, values, interleave=interleave, **options))


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_alpha_is_no_class(tmp_path, dtype, interleave):
    values = np.stack([VALUES, VALUES * 0 + 255]).astype(dtype)
    options = {"photometric": "MINISBLACK", "ALPHA": "YES", "interleave": interleave}
    assert np.array_equal(read_values(tif(tmp_path / "x.tif", values, **options)), VALUES)
    with pytest.raises(InputError, match=r"one value, 255, and a shape in its transparency"):
        read_values(tif(tmp_path / "x.tif", values[::-1], **options))


@pytest.mark.parametrize("options", [{}, TILES, {"compress": "LZW"}])
@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_deep_images_are_refused_in_every_layout(tmp_path, options, bands, interleave):
    path = tif(tmp_path / "x.tif", np.full((bands, 6, 8), 20_000, np.uint16), interleave=interleave, **options)
    with pytest.raises(InputError, match=r"x\.tif: image of (more than 8 bits a channel \(|type uint16).*scale it"):
        read_rgb(path)


@pytest.mark.parametrize("kind", ["png", "pixel", "band", "lerc"])  # only GDAL opens the last
@pytest.mark.parametrize("step", [1, 257, 256])
def test_deep_colours_are_converted_without_loss(tmp_path, kind, step):
    color, other = (7, 8, 9), (200, 0, 30)
    pixels = np.array([[color, other], [other, color]], np.uint16) * step
    if kind == "png":
        cv2.imwrite(str(tmp_path / "x.png"), pixels[..., ::-1])
        content = (tmp_path / "x.png").read_bytes()
    else:
        options = {"photometric": "RGB"} | ({"compress": "LERC"} if kind == "lerc" else {"interleave": kind})
        content = tif(tmp_path / "x.tif", pixels.transpose(2, 0, 1), **options).read_bytes()
    classes = [{"name": "a", "mask_colors": [color]}, {"name": "b", "mask_colors": [other]}]
    spec = specification("colors", classes=classes, ignore={"values": [255]})
    if step == 256:
        with pytest.raises(InputError, match=r"m: label image with colours of more than 8 bits a channel, up to 51200"):
            RawLabels(spec).read(content, "m")
    else:
        assert RawLabels(spec).read(content, "m").tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_colours_that_only_gdal_opens_get_the_remedy_for_labels(tmp_path, dtype):
    classes = [{"name": "a", "mask_colors": [(7, 8, 9)]}]
    reader = RawLabels(specification("colors", classes=classes, ignore={"values": [255]}))
    colors = np.ones((3, 4, 5), dtype) * np.array([7, 8, 9], dtype)[:, None, None]
    for bands, message in ((3, None), (1, "expected colours; if it holds class values"), (5, "of 5 bands")):
        pixels = np.concatenate([colors, colors])[:bands]
        content = tif(tmp_path / "x.tif", pixels, compress="LERC").read_bytes()
        if dtype == "float32" and bands == 3:
            message = "label image with colours of more than 8 bits a channel, up to 9.0; write the colours"
        if message is None:
            assert (reader.read(content, "m") == 0).all()
        else:
            with pytest.raises(InputError, match=message):
                reader.read(content, "m")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_deep_images_of_pairs_are_refused(tmp_path, channels):
    cv2.imwrite(str(tmp_path / "x.png"), np.full((4, 5, channels), 3000, np.uint16))
    content = (tmp_path / "x.png").read_bytes()
    for read in (lambda: read_rgb_bands(content, "x", None), lambda: _size(content, "x")):
        with pytest.raises(InputError, match=r"x: image of more than 8 bits a channel"):
            read()
