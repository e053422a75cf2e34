"""Labels and training images that are damaged or have a wrong size, kind or value."""

from __future__ import annotations

import io
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.robustness.case import Case, refused, works
from tests.robustness.place import Place, noise

rasterio = pytest.importorskip("rasterio", reason="needs the extra 'geo'")


def label(pixels: np.ndarray, command: str = "train"):
    """Train on the fields, or check them, with this label for one of them."""

    def build(place: Place) -> list[str]:
        place.fields()
        place.picture("fields/labels/a_0.png", pixels)
        return getattr(place, command)()

    return build


def damaged(name: str, fraction: float):
    """Check the fields with one file truncated to a fraction of its size."""

    def build(place: Place) -> list[str]:
        place.fields()
        path = place.folder / "fields" / name
        path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
        return place.check()

    return build


def without(name: str):
    def build(place: Place) -> list[str]:
        place.fields()
        (place.folder / "fields" / name).unlink()
        return place.check()

    return build


def found_by_a_worker(place: Place) -> list[str]:
    argv = label(np.full((24, 32), 77, np.uint8))(place)
    (place.folder / "fields/labels/a_1.png").write_bytes((place.folder / "fields/labels/a_0.png").read_bytes())
    return [*argv, "SOLVER.MAX_ITER", "2", "DATASETS.CHECKED_LABELS", "0", "DATALOADER.NUM_WORKERS", "1"]


def mask(pixels: np.ndarray):
    """Prepare the shore with this mask for one of its images."""

    def build(place: Place) -> list[str]:
        place.shore()
        place.picture("raw/m/0.png", pixels)
        return place.prepare(place.folder / "shore.yaml")

    return build


def interpolated() -> np.ndarray:
    squares = np.kron(np.random.default_rng(0).integers(0, 2, (8, 8)), np.ones((4, 4), int))
    return cv2.resize(np.array([[0, 160, 0], [0, 0, 200]], np.uint8)[squares], (96, 96), interpolation=cv2.INTER_LINEAR)


def bomb(place: Place) -> list[str]:
    place.fields()
    huge_png(place.folder / "fields" / "images" / "a_0.jpg")
    return place.check()


def huge_png(path: Path, side: int = 20_000) -> None:
    """Write a valid PNG of 400 million black pixels in about 50 kB."""
    packer = zlib.compressobj(9)
    rows = bytes(100 * (1 + side // 8))
    packed = b"".join(packer.compress(rows) for _ in range(side // 100)) + packer.flush()
    header = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    content = b"\x89PNG\r\n\x1a\n"
    for kind, part in ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")):
        content += len(part).to_bytes(4, "big") + kind + part + zlib.crc32(kind + part).to_bytes(4, "big")
    path.write_bytes(content)


def polygons(place: Place) -> list[str]:
    place.fields()
    place.write("fields/labels/a_0.png", '{"type": "FeatureCollection", "features": []}')
    return place.check()


def label_file(content: bytes):
    """Check a dataset in which a label file has this content."""

    def build(place: Place) -> list[str]:
        place.fields()
        place.write("fields/labels/a_0.png", content)
        return place.check()

    return build


def in_transparency() -> bytes:
    """A black image whose only shape is its transparency."""
    content = io.BytesIO()
    alpha = Image.fromarray(np.tile(np.uint8([0, 255]), (24, 16)))
    Image.merge("LA", [Image.new("L", (32, 24)), alpha]).save(content, "PNG")
    return content.getvalue()


def annotations(place: Place) -> list[str]:
    splits = {"train": {"images": "images", "labels": "annotations.json", "image_suffix": ".jpg"}}
    place.fields(splits=splits)
    place.write("fields/annotations.json", "{}")
    return place.check()


def tiff_label(place: Place, values: np.ndarray) -> list[str]:
    """Check the fields with a label in the format TIFF; the suffix does not matter."""
    place.fields()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        size = {"height": 24, "width": 32, "count": 1, "dtype": values.dtype}
        with rasterio.open(place.folder / "fields/labels/a_0.png", "w", driver="GTiff", **size) as file:
            file.write(values, 1)
    return place.check()


def deep_label(place: Place) -> list[str]:
    return tiff_label(place, np.ones((24, 32), np.int64))


def missing(place: Place) -> list[str]:
    values = np.ones((24, 32), np.float32)
    values[2:4, 5:9] = np.nan
    return tiff_label(place, values)


def fractions(place: Place) -> list[str]:
    return tiff_label(place, np.full((24, 32), 1.5, np.float32))


def all_ignored(place: Place) -> list[str]:
    place.fields()
    for key in ("a_0", "a_1"):
        place.picture(f"fields/labels/{key}.png", np.zeros((24, 32), np.uint8))
    return place.check()


def upper_case(place: Place) -> list[str]:
    place.fields()
    for path in (place.folder / "fields/labels").glob("*.png"):
        path.rename(path.with_suffix(".PNG"))
    return place.check()


CASES: list[Case] = [
    refused(
        "label and image of different sizes",
        "train_net",
        label(np.ones((5, 7), np.uint8)),
        "…/labels/a_0.png: label is 7x5 pixels, its image …/images/a_0.jpg is 32x24; make them equal",
    ),
    refused(
        "label with three colour channels",
        "train_net",
        label(noise((24, 32))),
        "…/labels/a_0.png: label image of mode RGB, expected one channel of class values; convert colours with "
        "sgovss prepare, with preparation.labels 'colors' in the dataset file",
    ),
    refused(
        "label with a value that belongs to no class",
        "train_net",
        label(np.full((24, 32), 77, np.uint8)),
        "…/labels/a_0.png: label value 77 (768 pixels) is outside the dataset's specification; correct the label, or "
        "add "
        "the value to a class or to 'ignore' in the dataset file",
    ),
    refused(
        "label with a value that belongs to no class, found by a loader worker during training",
        "train_net",
        found_by_a_worker,
        "…/labels/a_….png: label value 77 (768 pixels) is outside the dataset's specification; …",
    ),
    refused(
        "16-bit label with values that belong to no class",
        "check",
        label(np.full((24, 32), 40_000, np.uint16), "check"),
        "…/labels/a_0.png: label value 40000 (768 pixels) is outside the dataset's specification; …",
        status=1,
    ),
    refused(
        "empty label file",
        "check",
        damaged("labels/a_0.png", 0),
        "…/labels/a_0.png: cannot read this label image (an empty file; copy it again)",
        status=1,
    ),
    refused(
        "truncated label",
        "check",
        damaged("labels/a_0.png", 0.6),
        "…/labels/a_0.png: cannot read this label image (…)",
        status=1,
    ),
    refused(
        "image without a label",
        "check",
        without("labels/a_1.png"),
        "…/images/a_1.jpg: has no label; expected …/labels/a_1.png",
        status=1,
    ),
    refused(
        "truncated training image",
        "check",
        damaged("images/a_0.jpg", 0.8),
        "…/images/a_0.jpg: cannot read this image (…)",
        status=1,
        as_process=True,
    ),
    refused(
        "image of 400 million pixels in a file of 50 kB",
        "check",
        bomb,
        "…/images/a_0.jpg: cannot read this image (more than 178,956,970 pixels; cut it into tiles)",
        status=1,
    ),
    refused(
        "mask with a colour that belongs to no class",
        "prepare",
        mask(np.full((24, 32, 3), (9, 9, 9), np.uint8)),
        "…/m/0.png: colour outside the dataset's specification: [9, 9, 9] (768 pixels); correct the mask, or add the "
        "colour to 'mask_colors' of a class or 'colors' of 'ignore' in the dataset file",
        status=1,
    ),
    refused(
        "mask of class values where colours are expected",
        "prepare",
        mask(np.zeros((24, 32), np.uint8)),
        "…/m/0.png: label image of mode L, expected colours; if it holds class values, set preparation.labels to "
        "'values'",
        status=1,
    ),
    refused(
        "mask resized with interpolation",
        "prepare",
        mask(interpolated()),
        "…/m/0.png: … pixels have a colour that belongs to no class. This mask looks as if it had been resized with "
        "interpolation, …",
        status=1,
    ),
    refused(
        "polygons in place of a label image",
        "check",
        polygons,
        "…/labels/a_0.png: cannot read this label image (text, such as polygons, not an image; draw polygons as label "
        "images first, with gdal_rasterize)",
        status=1,
    ),
    refused(
        "pointer of Git LFS in place of a label",
        "check",
        label_file(b"version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 598\n"),
        "…/labels/a_0.png: cannot read this label image (the pointer of Git LFS to a file; fetch the file itself with "
        "'git lfs pull')",
        status=1,
    ),
    refused(
        "mask that is stored in the transparency of an image",
        "check",
        label_file(in_transparency()),
        "…/labels/a_0.png: this label image has one value, 0, and a shape in its transparency; save the alpha channel "
        "as a label image of one channel",
        status=1,
    ),
    refused(
        "file of annotations where a folder of label images is wanted",
        "check",
        annotations,
        "…/fields/annotations.json: a file, where the dataset file 'fields' needs a folder of image files; if it holds "
        "polygons, draw them as label images first, …",
        status=1,
    ),
    works(
        "labels as TIFF of 64 bits, which Pillow does not read",
        "check",
        deep_label,
        "no problem",
        lambda _: None,
    ),
    refused(
        "label with missing values (NaN)",
        "check",
        missing,
        "…/labels/a_0.png: 8 of 768 label values are NaN, the first in row 2, column 5 (from 0); replace them by a "
        "number that stands in 'ignore' of the dataset file, such as 255, with numpy.nan_to_num(labels, nan=255) or, "
        "for georeferenced files, 'gdalwarp -srcnodata nan -dstnodata 255'",
        status=1,
    ),
    refused(
        "label with values between two whole numbers",
        "check",
        fractions,
        "…/labels/a_0.png: 768 label values are no whole numbers, such as 1.5 in row 0, column 0 (from 0); write …",
        status=1,
    ),
    refused(
        "labels in which every pixel is ignored",
        "check",
        all_ignored,
        "fields_train: no pixel of 'field', 'river', 'hedge' in the 2 labels read, where all of the pixels are "
        "ignored; if this is not as it should be, correct 'value' of the class or 'ignore' in the dataset file",
        status=1,
    ),
    works(
        "labels with another case of the suffix",
        "check",
        upper_case,
        "no problem",
        lambda _: None,
    ),
]
