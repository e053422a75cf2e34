"""Images and rasters to segment."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tests.robustness.case import Case, refused, works
from tests.robustness.place import Place, noise


def photo(name: str, pixels: np.ndarray | Image.Image | None = None, **options: object):
    """Segment one image with these pixels."""
    return lambda place: place.demo(place.picture(name, pixels, **options))


def content(name: str, data: bytes):
    """Segment a file with this content."""
    return lambda place: place.demo(place.write(name, data))


def cut(name: str, fraction: float = 0.5, **options: object):
    def build(place: Place) -> list[str]:
        path = place.picture(name, noise((120, 160)), **options)
        path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
        return place.demo(path)

    return build


def deep(place: Place) -> list[str]:
    path = place.folder / "photo.png"
    cv2.imwrite(str(path), noise().astype(np.uint16) * 16)
    return place.demo(path)


def turned(place: Place) -> list[str]:
    tags = Image.Exif()
    tags[0x0112] = 6
    return place.demo(place.picture("photo.jpg", noise((40, 60)), exif=tags.tobytes()))


def wide(place: Place) -> list[str]:
    """An image with too many pixels to be segmented into 300 classes at once."""
    path = place.picture("photo.jpg", np.tile(noise((50, 300)), (1, 100, 1)))
    vocabulary = place.write("words.txt", "\n".join(f"thing {number}" for number in range(300)))
    light = ("MODEL.SGOVSS.DECODER", "False", "MODEL.SGOVSS.BIAS_GUIDANCE", "False", "MODEL.CLIP.TEMPLATES", "single")
    large = ("TEST.SCENE.WINDOW", "2000", "TEST.SCENE.STRIDE", "2000")
    return place.demo(path, str(vocabulary), "--opts", *light, *large)


def one_of_three(place: Place) -> list[str]:
    for name in ("a.png", "c.png"):
        place.picture(f"photos/{name}")
    place.write("photos/b.png", b"no picture")
    return place.demo(place.folder / "photos")


def of_one_name(place: Place) -> list[str]:
    place.picture("photos/a.png")
    place.picture("photos/a.jpg")
    return place.demo(place.folder / "photos")


def name_of_bytes(place: Place) -> list[str]:
    path = place.picture("photos/a.png")
    path.rename(Path(os.fsdecode(os.fsencode(path.parent) + b"/stra\xdfe.png")))
    return place.demo(path.parent)


def elsewhere(place: Place) -> list[str]:
    place.output = place.folder / "Maße und Gewichte" / "öut put"
    return place.demo(place.picture("luft bilder/Straße 1/日本 🌳.png"), "Straße, water")


def raster(pixels: np.ndarray):
    """Segment a TIFF with one band."""
    return photo("scene.tif", pixels)


def apart(place: Place) -> list[str]:
    """Two georeferenced tiles that meet at a corner, as one scene."""
    import rasterio
    from rasterio.transform import from_origin

    for number in (0, 1):
        pixels = noise((40, 60)).transpose(2, 0, 1)
        where = from_origin(500_000 + 60 * number, 5_300_000 - 40 * number, 1, 1)
        (place.folder / "tiles").mkdir(exist_ok=True)
        with rasterio.open(
            place.folder / "tiles" / f"{number}.tif",
            "w",
            driver="GTiff",
            width=60,
            height=40,
            count=3,
            dtype="uint8",
            crs="EPSG:32632",
            transform=where,
        ) as target:
            target.write(pixels)
    return place.demo(place.folder / "tiles", "building, road, water", "--mosaic")


def gaps_without_data(folder: Path) -> None:
    (file,) = (folder / "out").glob("*_labels.tif")
    labels = read(file)
    assert labels.shape == (80, 120)
    assert (labels[:40, 60:] == 255).all() and (labels[40:, :60] == 255).all()
    assert (labels[:40, :60] < 3).all() and (labels[40:, 60:] < 3).all()


def labelled(size: tuple[int, int], stem: str = "photo", suffix: str = ".png"):
    """Return a check that every output exists, and that the label map has this (height, width)."""

    def check(folder: Path) -> None:
        found = {path.name for path in (folder / "out").iterdir()}
        assert {f"{stem}_labels{suffix}", f"{stem}_overlay.png", f"{stem}_shares.json", "report.html"} <= found
        labels = read(folder / "out" / f"{stem}_labels{suffix}")
        assert labels.shape == size
        shares = json.loads((folder / "out" / f"{stem}_shares.json").read_text())["shares"]
        assert abs(sum(shares.values()) - 1) < 1e-6

    return check


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@functools.cache
def predictor():
    import sgovss

    return sgovss.Predictor(
        "sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu"), precision="auto"
    )  # as the command does


def same_as_rgb(folder: Path) -> None:
    """Assert that the label map is that of the same pixels in RGB."""
    labelled((40, 60))(folder)
    with Image.open(next(folder.glob("photo.*"))) as image:
        rgb = np.asarray(image.convert("RGBA").convert("RGB") if image.mode == "P" else image.convert("RGB"))
    assert (
        predictor()(rgb, "building, road, water").labels == read(folder / "out" / "photo_labels.png")
    ).mean() > 0.999


def half_without_data(folder: Path) -> None:
    labelled((40, 60), "scene", ".tif")(folder)
    labels = read(folder / "out" / "scene_labels.tif")
    assert (labels[:20] == 255).all() and (labels[20:] < 3).all()


def the_others_are_done(folder: Path) -> None:
    found = {path.name for path in (folder / "out").glob("*_labels.png")}
    assert found == {"a_labels.png", "c_labels.png"}


def in_that_folder(folder: Path) -> None:
    assert (folder / "Maße und Gewichte" / "öut put" / "日本 🌳_labels.png").is_file()
    assert "Straße 1/日本 🌳.png" in (folder / "Maße und Gewichte" / "öut put" / "report.html").read_text("utf-8")


def ramp() -> np.ndarray:
    return np.linspace(0, 3000, 2400).reshape(40, 60)


def with_hole(value: float) -> np.ndarray:
    pixels = ramp().astype(np.float32)
    pixels[:20] = value
    return pixels


_TEXT = "cannot read this image (text, not an image)"

CASES: list[Case] = [
    refused(
        "empty image file",
        "demo",
        content("photo.png", b""),
        "…/photo.png: cannot read this image (an empty file; copy it again)",
        status=1,
        as_process=True,
    ),
    refused("text file named as an image", "demo", content("photo.jpg", b"text"), f"…/photo.jpg: {_TEXT}", status=1),
    refused(
        "truncated PNG",
        "demo",
        cut("photo.png"),
        "…/photo.png: cannot read this image (image file is truncated…)",
        status=1,
    ),
    refused(
        "truncated JPEG",
        "demo",
        cut("photo.jpg"),
        "…/photo.jpg: cannot read this image (image file is truncated (… bytes not processed))",
        status=1,
    ),
    refused(
        "truncated TIFF", "demo", cut("photo.tif"), "…/photo.tif: damaged or cut off (…); get the file again", status=1
    ),
    refused(
        "16-bit greyscale image",
        "demo",
        photo("photo.png", np.zeros((40, 60), np.uint16)),
        "…/photo.png: image of more than 8 bits a channel (I;16B); scale it to 8 bits first, …",
        status=1,
    ),
    refused(
        "16-bit colour image",
        "demo",
        deep,
        "…/photo.png: image of more than 8 bits a channel (RGB;16B); scale it to 8 bits first, …",
        status=1,
    ),
    works(
        "CMYK JPEG", "demo", photo("photo.jpg", Image.fromarray(noise()).convert("CMYK")), "a label map", same_as_rgb
    ),
    works(
        "CMYK TIFF",
        "demo",
        photo("photo.tif", Image.fromarray(noise()).convert("CMYK")),
        "a label map, as GeoTIFF",
        labelled((40, 60), suffix=".tif"),
    ),
    works(
        "palette image with transparency",
        "demo",
        photo("photo.png", Image.fromarray(noise()).convert("P"), transparency=bytes([0, 9] * 128)),
        "a label map; transparency is ignored",
        same_as_rgb,
    ),
    works(
        "image with an alpha channel",
        "demo",
        photo("photo.png", Image.fromarray(noise()).convert("RGBA")),
        "a label map; transparency is ignored",
        same_as_rgb,
    ),
    works("greyscale image", "demo", photo("photo.png", noise()[..., 0]), "a label map", same_as_rgb),
    works(
        "photo with an EXIF rotation",
        "demo",
        turned,
        "a label map in the orientation in which viewers show the photo",
        labelled((60, 40)),
    ),
    works(
        "image of 1 x 1 pixel",
        "demo",
        photo("photo.png", noise((1, 1))),
        "a label map of 1 x 1 pixel",
        labelled((1, 1)),
    ),
    works(
        "image of 30,000 x 50 pixels with 300 classes, too large to be segmented at once",
        "demo",
        wide,
        "a label map computed window by window, as GeoTIFF",
        labelled((50, 30_000), suffix=".tif"),
    ),
    refused(
        "raster with NaN only",
        "demo",
        raster(np.full((40, 60), np.nan, np.float32)),
        "…/scene.tif: no pixel with data; all are masked, NaN or infinite, so export the file again",
        status=1,
    ),
    works(
        "mosaic of two rasters that leaves gaps",
        "demo",
        apart,
        "a label map of the whole rectangle; the gaps are no-data",
        gaps_without_data,
    ),
    works(
        "raster with NaN in one half",
        "demo",
        raster(with_hole(np.nan)),
        "a label map; NaN is no-data",
        half_without_data,
    ),
    works(
        "raster with infinite values",
        "demo",
        raster(with_hole(np.inf)),
        "a label map; infinite values are no-data",
        half_without_data,
    ),
    works(
        "16-bit raster",
        "demo",
        raster(ramp().astype(np.uint16)),
        "a label map, from values stretched to 8 bits",
        labelled((40, 60), "scene", ".tif"),
    ),
    refused(
        "text file named as a raster",
        "demo",
        content("scene.tif", b"text"),
        "…/scene.tif: not a raster that can be read (…); correct the name, or get it again",
        status=1,
    ),
    refused(
        "one unreadable image among three",
        "demo",
        one_of_three,
        f"…/b.png: {_TEXT}",
        status=1,
        proves=the_others_are_done,
    ),
    refused(
        "image that does not exist",
        "demo",
        lambda place: place.demo(place.folder / "none.png"),
        "…/none.png: no such file or folder; correct the path",
    ),
    refused(
        "folder without images",
        "demo",
        lambda place: place.demo(place.write("photos/notes.txt", "").parent),
        "…/photos: no image in this folder (looked for .png, .jpg, …)",
    ),
    refused(
        "two images with the same name for their outputs",
        "demo",
        of_one_name,
        "…/a.jpg and …/a.png would both be written as 'a'; rename one of them",
    ),
    refused(
        "file name that is not UTF-8",
        "demo",
        name_of_bytes,
        "'…/stra\\udcdfe.png': the name of this file is not UTF-8 text; rename it",
    ),
    works(
        "paths with spaces, umlauts, kanji and emoji",
        "demo",
        elsewhere,
        "a label map in the output folder",
        in_that_folder,
        as_process=True,
    ),
]
