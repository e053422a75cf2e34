"""Orientation tags: an image alone is turned once; a pair in which one file is turned is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from sgovss.data.inspection import inspect_pair
from sgovss.data.label_map import LabelMap
from sgovss.data.labels import image_size, read_rgb, read_values, rgb_of
from sgovss.data.orientation import tiff_orientation
from sgovss.data.pair_conversion import read_rgb_bands
from sgovss.data.raw_labels import RawLabels
from sgovss.errors import InputError
from sgovss.word_choice.material import from_label_folder
from tests.data.test_raw_labels import specification

RGB = np.random.default_rng(0).integers(0, 256, (17, 23, 3), dtype=np.uint8)
KINDS = {
    "png": ("PNG", {}),
    "tif": ("TIFF", {}),
    "packed.tif": ("TIFF", {"compression": "tiff_lzw"}),
    "big.tif": ("TIFF", {"big_tiff": True}),
    "webp": ("WEBP", {"lossless": True}),
}


def saved(path, array, number, kind):
    tags = Image.Exif()
    tags[0x0112] = number
    name, options = KINDS[kind]
    Image.fromarray(array).save(path / f"x.{kind}", name, exif=tags, **options)
    return path / f"x.{kind}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(1, 9))
def test_images_of_every_kind_are_turned_once(tmp_path, number, kind):
    path = saved(tmp_path, RGB, number, kind)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(read_rgb(path), expected)
    assert image_size(path) == expected.shape[:2]
    with Image.open(path) as image:
        image.load()
        assert np.array_equal(rgb_of(image, "x"), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [2, 3, 6, 8])
def test_turned_labels_are_refused_and_the_remedy_works(tmp_path, number, kind):
    values = RGB[..., 0] % 4
    path = saved(tmp_path, values, number, kind)
    if kind == "webp":  # which has no grey
        values = np.repeat(values[..., None], 3, 2)
    said = rf"x\.{kind}: has EXIF orientation {number}, so it is shown rotated; .* to match the image .*exif_transpose"
    with pytest.raises(InputError, match=said):
        read_values(path)
    with pytest.raises(InputError, match=said):
        RawLabels(specification("values")).read(path.read_bytes(), str(path))
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("L"))
        ImageOps.exif_transpose(image).save(path, KINDS[kind][0], **KINDS[kind][1])
    assert np.array_equal(read_values(path), expected)


@pytest.mark.parametrize("number", [2, 3, 7])
def test_turned_masks_of_colours_are_refused(tmp_path, number):
    path = saved(tmp_path, RGB, number, "png")
    with pytest.raises(InputError, match=rf"m: has EXIF orientation {number}"):
        RawLabels(specification("colors")).read(path.read_bytes(), "m")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [3, 4, 6])
def test_turned_images_of_pairs_are_refused(tmp_path, number, kind):
    path = saved(tmp_path, RGB, number, kind)
    Image.fromarray(RGB[..., 0] % 2).save(tmp_path / "label.png")
    said = rf"has EXIF orientation {number}, so it is shown rotated; rotate its pixels to match the label and remove"
    for read in (
        lambda: read_rgb_bands(path.read_bytes(), "x", None),
        lambda: image_size(path, upright="label"),
    ):
        with pytest.raises(InputError, match=said):
            read()
    record = {"file_name": str(path), "sem_seg_file_name": str(tmp_path / "label.png")}
    (problem,) = inspect_pair(record, LabelMap.from_values([[0], [1]], [])).problems
    assert problem.startswith(f"{path}: {said}")


@pytest.mark.parametrize("number", [2, 3, 6])
def test_turned_images_are_refused_when_words_are_chosen(tmp_path, number):
    for folder in ("i", "l"):
        (tmp_path / folder).mkdir()
    saved(tmp_path / "i", RGB, number, "png")
    Image.fromarray(RGB[..., 0] % 2).save(tmp_path / "l/x.png")
    (sample,) = from_label_folder(tmp_path / "i", tmp_path / "l", LabelMap.from_values([[0], [1]], [])).samples
    with pytest.raises(InputError, match=rf"i/x\.png: has EXIF orientation {number}"):
        sample.truth()


def tagged(path, number, **options):
    """A TIFF that GDAL writes, with an orientation in place of one of its tags."""
    rasterio = pytest.importorskip("rasterio", reason="needs the extra 'geo'")
    form = {"driver": "GTiff", "count": 1, "height": 17, "width": 23, "dtype": "int64", **options}
    with rasterio.open(path, "w", **form) as file:
        file.write(RGB[None, ..., 0].astype(form["dtype"]) % 4)
    content = path.read_bytes()
    order = "big" if content[:2] == b"MM" else "little"
    old = (0x0115).to_bytes(2, order) + (3).to_bytes(2, order)  # SamplesPerPixel, whose default is 1 as well
    start = content.index(old)
    width = 8 if content[:4] in (b"II+\0", b"MM\0+") else 4
    value = number.to_bytes(2, order)
    new = (0x0112).to_bytes(2, order) + content[start + 2 : start + 4 + width] + value
    path.write_bytes(content[:start] + new + content[start + len(new) :])
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "options", [{}, {"ENDIANNESS": "BIG"}, {"BIGTIFF": "YES"}, {"BIGTIFF": "YES", "ENDIANNESS": "BIG"}]
)
@pytest.mark.parametrize("number", [1, 3, 6])
def test_tiffs_that_only_gdal_reads(tmp_path, number, options):
    path = tagged(tmp_path / "x.tif", number, **options)
    assert tiff_orientation(path) == tiff_orientation(io.BytesIO(path.read_bytes())) == number
    if number == 1:
        assert np.array_equal(read_values(path), RGB[..., 0] % 4)
    else:
        with pytest.raises(InputError, match=rf"x\.tif: has EXIF orientation {number}.*to match the image"):
            read_values(path)


@pytest.mark.parametrize("content", [b"", b"II*\0", b"MM\0+\0\x08\0\0", b"II*\0\x08\0\0\0\xff\xff\x12\x01", b"PNG" * 9])
def test_damaged_headers_have_no_orientation(tmp_path, content):
    (tmp_path / "x.tif").write_bytes(content)
    assert tiff_orientation(tmp_path / "x.tif") == tiff_orientation(io.BytesIO(content)) == 1
    assert tiff_orientation(tmp_path / "none.tif") == 1
