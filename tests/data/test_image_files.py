"""Image files of every kind, sound and damaged: pixels, or one line that says what is wrong."""

from __future__ import annotations

import io
import warnings
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from sgovss.data.labels import image_size, read_rgb, read_values
from sgovss.errors import InputError

RGB = np.random.default_rng(0).integers(0, 256, (17, 23, 3), dtype=np.uint8)


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


@pytest.mark.parametrize("orientation", range(10))
def test_images_are_turned_as_pillow_turns_them(tmp_path, orientation):
    path = tmp_path / "turned.png"
    path.write_bytes(encoded(Image.fromarray(RGB), "PNG", exif=exif(orientation)))
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(read_rgb(path), expected)
    assert image_size(path) == expected.shape[:2]


def with_mode(mode: str) -> Image.Image:
    return Image.fromarray(np.full((4, 5, 3), (255, 0, 0), np.uint8)).convert(mode)


@pytest.mark.parametrize(
    ("picture", "kind", "options"),
    [
        (with_mode("CMYK"), "JPEG", {"quality": 100}),
        (with_mode("CMYK"), "TIFF", {}),
        (with_mode("P"), "PNG", {"transparency": bytes([0, 9] * 128)}),
        (with_mode("RGBA"), "PNG", {}),
        (with_mode("RGB"), "WEBP", {"lossless": True}),
        (with_mode("RGB"), "BMP", {}),
        (with_mode("YCbCr"), "JPEG", {"quality": 100}),
    ],
)
def test_red_is_red_in_every_kind_of_file(picture, kind, options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = read_rgb(io.BytesIO(encoded(picture, kind, **options)), "red")
    assert np.abs(pixels.astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize(("suffix", "channels"), [(".png", 3), (".png", 4), (".tif", 3), (".png", 1)])
def test_16_bits_are_refused_rather_than_halved(tmp_path, suffix, channels):
    path = tmp_path / f"deep{suffix}"
    cv2.imwrite(str(path), np.full((4, 5, channels), 3000, np.uint16))
    with pytest.raises(InputError, match=r"deep\..*: image of more than 8 bits a channel \(.*\); scale it to 8 bits"):
        read_rgb(path)


@pytest.mark.parametrize("read", [read_rgb, read_values, image_size])
def test_what_no_dataset_holds_is_not_decoded(tmp_path, read):
    for name, content, message in (
        ("empty.png", b"", "an empty file"),
        ("text.png", b"text", "text, "),
        ("drawing.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "text, "),
        ("animation.png", encoded(Image.new("P", (4, 4)), "GIF"), "a GIF"),
        ("numbers.png", bytes(range(200)), "its content is none of PNG, JPEG"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}: cannot read this .*image \({message}"):
            read(tmp_path / name)
    with pytest.raises(InputError, match=r"none.png: cannot read this .*image \(No such file or directory\)"):
        read(tmp_path / "none.png")


def test_a_decompression_bomb_is_refused_before_it_goes_off(tmp_path):
    """Twenty kilobytes that say they are 900 million pixels."""
    path = tmp_path / "bomb.png"
    path.write_bytes(encoded(Image.new("1", (2000, 2000)), "PNG"))
    content = bytearray(path.read_bytes())
    content[16:24] = (30_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    for read in (read_rgb, read_values, image_size):
        with pytest.raises(InputError, match=r"bomb.png: cannot read .*more than [0-9,]+ pixels; cut it into tiles"):
            read(path)


FILES = {
    "png": encoded(Image.fromarray(RGB), "PNG", exif=exif(6)),
    "palette": encoded(Image.fromarray(RGB).convert("P"), "PNG"),
    "jpeg": encoded(Image.fromarray(RGB), "JPEG", exif=exif(6)),
    "tiff": encoded(Image.fromarray(RGB), "TIFF"),
    "bmp": encoded(Image.fromarray(RGB), "BMP"),
    "webp": encoded(Image.fromarray(RGB), "WEBP"),
    "jpeg2000": encoded(Image.fromarray(RGB), "JPEG2000"),
}


@given(
    kind=st.sampled_from(sorted(FILES)),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    length=st.none() | st.integers(0, 2000),
)
@example(kind="tiff", changes=[(21, 30), (72, 0)], length=None)  # a width of 503,316,503 pixels
@settings(max_examples=300)
def test_a_damaged_file_is_read_or_refused_in_one_line(kind, changes, length):
    content = bytearray(FILES[kind])
    for position, value in changes:
        content[position % len(content)] = value
    content = bytes(content[:length])
    try:
        pixels = read_rgb(io.BytesIO(content), "file")
    except InputError as error:
        assert str(error).startswith("file: ") and "\n" not in str(error)
    else:
        assert pixels.dtype == np.uint8 and pixels.ndim == 3
