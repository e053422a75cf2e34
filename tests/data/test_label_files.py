"""Label files as GIS and annotation tools write them: read as stored, or one line that is true."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFilter

from sgovss.data.label_map import LabelMap
from sgovss.data.labels import image_size, load_labels, read_rgb, read_values
from sgovss.data.pair_conversion import read_rgb_bands
from sgovss.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore")  # rasterio warns of files without georeference

rasterio = pytest.importorskip("rasterio", reason="needs the extra 'geo'")

from rasterio.warp import reproject  # noqa: E402

VALUES = np.arange(48).reshape(6, 8) % 4


def tif(path, array, **options):
    array = array if array.ndim == 3 else array[None]
    count, height, width = array.shape
    size = {"count": count, "height": height, "width": width, "dtype": array.dtype}
    with rasterio.open(path, "w", driver="GTiff", **size, **options) as file:
        file.write(array)
    return path


@pytest.mark.parametrize(
    "dtype", ["int64", "uint64", "float64", "float32", "int32", "uint32", "int16", "int8", "uint8"]
)
@pytest.mark.parametrize("compress", ["NONE", "LZW", "LERC", "ZSTD"])
def test_label_tiffs_of_every_type_and_compression(tmp_path, dtype, compress):
    if compress == "LERC" and dtype in ("int64", "uint64"):
        pytest.skip("LERC has no 64-bit integers")
    path = tif(tmp_path / "x.tif", VALUES.astype(dtype), compress=compress)
    assert np.array_equal(read_values(path), VALUES)
    assert np.array_equal(read_values(io.BytesIO(path.read_bytes()), "x.tif"), VALUES)
    assert image_size(path) == VALUES.shape


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("photometric", ["MINISBLACK", "MINISWHITE"])
@pytest.mark.parametrize("compress", ["NONE", "DEFLATE"])
def test_few_bits_and_inverted_grey_are_read_as_stored(tmp_path, bits, photometric, compress):
    values = (VALUES % 2**bits).astype(np.uint8)
    path = tif(tmp_path / "x.tif", values, nbits=bits, photometric=photometric, compress=compress)
    with rasterio.open(path) as file:
        assert np.array_equal(file.read(1), values)
    assert np.array_equal(read_values(path), values)


def test_png_of_four_bits_is_read_as_stored(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(png_of_four_bits(VALUES))
    assert np.array_equal(read_values(path), VALUES)


def png_of_four_bits(values: np.ndarray) -> bytes:
    height, width = values.shape
    rows = b"".join(bytes([0, *(int(row[i]) << 4 | int(row[i + 1]) for i in range(0, width, 2))]) for row in values)
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([4, 0, 0, 0, 0])
    content = b"\x89PNG\r\n\x1a\n"
    for kind, part in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        content += len(part).to_bytes(4, "big") + kind + part + zlib.crc32(kind + part).to_bytes(4, "big")
    return content


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_grey_in_several_channels_is_one_channel(tmp_path, mode):
    Image.fromarray(VALUES.astype(np.uint8)).convert(mode).save(tmp_path / "x.png")
    assert np.array_equal(read_values(tmp_path / "x.png"), VALUES)


@pytest.mark.parametrize("odd", [0.5, np.inf, -3.4e38])
def test_values_that_are_no_whole_numbers_are_told(tmp_path, odd):
    values = VALUES.astype(np.float32)
    values[1, :3] = odd
    values[0, 0] = np.nan
    where = r"in row 1, column 0 \(from 0\)"
    with pytest.raises(InputError, match=rf"x\.tif: 3 label values are no whole numbers, such as .* {where}.*'ignore'"):
        read_values(tif(tmp_path / "x.tif", values))


@pytest.mark.parametrize(
    "place", [(slice(None), slice(None)), (slice(1, 2), slice(2, 4)), (slice(0, 2), slice(-1, None))]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_missing_label_values_are_told_and_the_remedies_work(tmp_path, place, dtype):
    values = VALUES.astype(dtype)
    values[place] = np.nan
    count = int(np.isnan(values).sum())
    row, column = np.argwhere(np.isnan(values))[0]
    said = rf"x\.tif: {count} of {values.size} label values are NaN, the first in row {row}, column {column} \(from 0\)"
    with pytest.raises(InputError, match=rf"{said}; .* 'ignore' .*nan_to_num\(labels, nan=255\)"):
        read_values(tif(tmp_path / "x.tif", values))
    labels = LabelMap.from_values([[0], [1], [2], [3]], [255])
    loaded = load_labels(tif(tmp_path / "y.tif", np.nan_to_num(values, nan=255)), labels)
    assert np.array_equal(loaded == labels.ignore_label, np.isnan(values))
    warped = np.zeros_like(values)
    at = rasterio.Affine(1, 0, 500_000, 0, -1, 5_300_000)
    ways = {
        f"{way}_{what}": value for way in ("src", "dst") for what, value in (("transform", at), ("crs", "EPSG:32632"))
    }
    reproject(values, warped, **ways, src_nodata=np.nan, dst_nodata=255)  # as gdalwarp does
    assert np.array_equal(load_labels(tif(tmp_path / "z.tif", warped), labels), loaded)


@pytest.mark.parametrize("value", [-1, -9999, -(2**31), 70_000, 2**31 - 1])
@pytest.mark.parametrize("without", [(), (1,)])
def test_values_of_no_data_can_be_ignored_as_the_message_says(tmp_path, value, without):
    values = VALUES.astype(np.int32)
    values[0, :3] = value
    path = tif(tmp_path / "x.tif", values)
    refusing = LabelMap.from_values([[0], [1], [2], [3]], [])
    with pytest.raises(InputError, match=rf"label value {value} \(3 pixels\).*add the value to a class or to 'ignore'"):
        load_labels(path, refusing)
    expected = np.where(values == value, 255, values)
    labels = LabelMap.from_values([[0], [1], [2], [3]], [value])
    assert np.array_equal(load_labels(path, labels), expected)
    kept = [index for index in range(4) if index not in without]
    renumbered = np.array([kept.index(i) if i in kept else 255 for i in range(4)])
    ids = load_labels(path, labels.without(without))
    assert np.array_equal(ids, np.where(values == value, 255, renumbered[values.clip(0, 3)]))
    of_class = LabelMap.from_values([[0], [1], [2], [3, value]], [])
    assert np.array_equal(load_labels(path, of_class), np.where(values == value, 3, values))


PIXELS = np.random.default_rng(0).integers(0, 256, (3, 6, 8), np.uint8)


@pytest.mark.parametrize(
    "options", [{"compress": "LERC"}, {"compress": "ZSTD"}, {"interleave": "pixel", "tiled": False}]
)
def test_image_tiffs_that_one_library_cannot_decode(tmp_path, options):
    path = tif(tmp_path / "x.tif", PIXELS, photometric="RGB", **options)
    assert np.array_equal(read_rgb(path), PIXELS.transpose(1, 2, 0))
    assert np.array_equal(read_rgb_bands(path.read_bytes(), "x.tif", None), PIXELS.transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 6, 8), np.uint8), r"has 4 bands, expected red, green and blue; choose three with 'bands'"),
        (np.zeros((7, 6, 8), np.uint8), r"has 7 bands, expected red, green and blue"),
        (np.zeros((3, 6, 8), np.uint16), r"uint16.*scale it to 8 bits|more than 8 bits a channel"),
        (np.zeros((3, 6, 8), np.float64), r"image of type float64; scale it to 8 bits a channel first, for example"),
    ],
)
def test_images_of_other_kinds_are_called_what_they_are(tmp_path, array, message):
    path = tif(tmp_path / "x.tif", array, photometric="MINISBLACK")
    with pytest.raises(InputError, match=rf"x\.tif: .*{message}"):
        read_rgb(path)


@pytest.mark.parametrize("content", [b'{"type": "FeatureCollection"}', b"[[1, 2]]", b"<annotation/>"])
def test_polygons_are_called_polygons(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(
        InputError, match=r"x\.json: cannot read this label image \(text, such as polygons.*gdal_rasterize"
    ):
        read_values(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file; copy it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "fetch the file itself with 'git lfs pull'"),
        (b"<!DOCTYPE html><html>", "a web page; download the file itself again"),
        (b"GIF89a\x01\0\x01\0", "a GIF; save it as PNG"),
        (b"\x93NUMPY\x01\0v\0", "an array of NumPy; save it as PNG or TIFF"),
        (b"PK\x03\x04" + bytes(30), "a zip archive; unpack it"),
        (b"ncols 3\nnrows 2\nxllcorner 0\n", "a grid in text; save it as TIFF, such as with gdal_translate"),
        (b"P2\n3 2\n9\n0 1 2\n", "an image in text; save it as PNG"),
        (b"P3\n3 2\n9\n0 1 2\n", "an image in text; save it as PNG"),
        (b"0 0.51 0.22 0.1 0.3\n", "text, such as polygons, not an image"),  # YOLO
        (b"\0\0\x27\x0a" + bytes(100), "polygons, not an image; draw polygons"),  # shapefile
        (b"SQLite format 3\0" + bytes(100), "polygons, not an image; draw polygons"),  # GeoPackage
        (bytes(range(200)), "save it as one of them"),
    ],
)
def test_files_that_are_no_images_are_called_what_they_are(tmp_path, content, message):
    (tmp_path / "x.png").write_bytes(content)
    for file in (tmp_path / "x.png", io.BytesIO(content)):
        with pytest.raises(InputError, match=rf"x\.png: cannot read this label image \(.*{message}"):
            read_values(file, "x.png")
    with pytest.raises(InputError, match=r"x\.png: cannot read this image \((?!.*label)"):
        read_rgb(tmp_path / "x.png")


@pytest.mark.parametrize("content", [b"no image", b"", b"{}"])
def test_a_stream_that_cannot_be_read_again_is_not_called_text(content):
    class Pipe(io.BytesIO):
        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation("seek")

    with pytest.raises(InputError, match=r"x\.png: cannot read this label image \(its content is none of PNG"):
        read_values(Pipe(content), "x.png")


@pytest.mark.parametrize(
    ("dtype", "value"), [("int8", -1), ("int8", -128), ("uint32", 2**32 - 1), ("uint32", 2**31), ("int32", -1)]
)
@pytest.mark.parametrize("options", [{}, {"compress": "DEFLATE"}, {"compress": "LZW", "predictor": 2}])
def test_signed_and_unsigned_values_are_told_apart(tmp_path, dtype, value, options):
    values = VALUES.astype(dtype)
    values[0, :3] = value
    path = tif(tmp_path / "x.tif", values, **options)
    assert read_values(path)[0, 0] == value and np.array_equal(read_values(path), values)
    ignored = load_labels(path, LabelMap.from_values([[0], [1], [2], [3]], [value]))
    assert np.array_equal(ignored, np.where(values == value, 255, values.astype(np.int64)))


@pytest.mark.parametrize("color", [0, 255, 7])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_mask_in_the_transparency_only_is_told(tmp_path, color, mode):
    image = Image.new(mode, (8, 6), (color,) * len(mode))
    image.putalpha(Image.fromarray((VALUES[:6, :8] > 0).astype(np.uint8) * 255).resize((8, 6)))
    image.save(tmp_path / "x.png")
    with pytest.raises(
        InputError, match=rf"x\.png: .* one value, {color}, and a shape in its transparency; save the alpha"
    ):
        read_values(tmp_path / "x.png")


def test_complex_numbers_are_no_classes(tmp_path):
    with pytest.raises(InputError, match=r"x\.tif: label image of complex numbers"):
        read_values(tif(tmp_path / "x.tif", VALUES.astype(np.complex64)))


@pytest.mark.parametrize("mixed", ["jpeg", "resized", "blurred"])
def test_many_unknown_values_are_called_mixtures(tmp_path, mixed):
    image = Image.fromarray(np.roll(np.repeat(np.repeat(VALUES * 60, 8, 0), 8, 1), 3, 1).astype(np.uint8))
    if mixed != "jpeg":
        image = image.resize((90, 70) if mixed == "resized" else image.size, Image.Resampling.BILINEAR)
        image = image.filter(ImageFilter.BoxBlur(2)) if mixed == "blurred" else image
    image.save(tmp_path / "x", "JPEG" if mixed == "jpeg" else "PNG")
    with pytest.raises(InputError, match=r"so many come from JPEG or from interpolation\), or add the value"):
        load_labels(tmp_path / "x", LabelMap.from_values([[0], [60], [120], [180]], []))
