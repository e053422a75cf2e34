"""Colours and raw values become class ids; what belongs to no class is told with its cause."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from sgovss.data.raw_labels import RawLabels, looks_interpolated
from sgovss.data.specification import DatasetSpecification
from sgovss.data.specification_file import find_specification
from sgovss.errors import InputError


def content(image: np.ndarray | Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def specification(labels: str, **changes) -> DatasetSpecification:
    return DatasetSpecification.model_validate(
        {
            "name": "meadows",
            "title": "Meadows",
            "source": None,
            "licence": None,
            "citation": None,
            "verified": "unverified",
            "ground_sample_distance": None,
            "classes": [
                {"name": "meadow", "color": [0, 255, 0], "raw_value": [10, 11]},
                {"name": "pond", "color": [0, 0, 255], "raw_value": 20},
                {"name": "barn", "mask_colors": [[255, 0, 0], [128, 0, 0]], "raw_value": 30},
            ],
            "ignore": {"values": [255], "raw_values": [0], "colors": [[0, 0, 0]]},
            "splits": {"all": {"images": "images", "labels": "labels"}},
            "preparation": {"labels": labels, "splits": {"all": {"images": "i/{*}.png", "labels": "l/{*}.png"}}},
        }
        | changes
    )


# Rows of colours as the datasets' own documentation names them, and the ids that must come out. A reader that took
# blue for red would find other classes, or none.
HAND_WRITTEN = {
    "potsdam": [
        ([255, 255, 255], 0),  # impervious surface
        ([0, 0, 255], 1),  # building
        ([0, 255, 255], 2),  # low vegetation
        ([0, 255, 0], 3),  # tree
        ([255, 255, 0], 4),  # car
        ([255, 0, 0], 5),  # clutter
        ([0, 0, 0], 6),  # eroded boundary: ignored
    ],
    "vaihingen_without_clutter": [([0, 0, 255], 1), ([255, 255, 0], 4), ([255, 0, 0], 5), ([0, 0, 0], 5)],
    "uavid": [
        ([0, 0, 0], 0),  # background clutter
        ([128, 0, 0], 1),  # building
        ([128, 64, 128], 2),  # road
        ([192, 0, 192], 3),  # static car
        ([0, 128, 0], 4),  # tree
        ([128, 128, 0], 5),  # low vegetation
        ([64, 64, 0], 6),  # human
        ([64, 0, 128], 7),  # moving car
    ],
    "uavid_merged_cars": [([64, 0, 128], 3), ([192, 0, 192], 3), ([0, 128, 0], 4), ([64, 64, 0], 6)],
    "isaid": [([0, 0, 63], 0), ([0, 0, 127], 8), ([0, 0, 255], 10), ([0, 100, 155], 14), ([0, 0, 0], 15)],
    "isaid_with_background": [([0, 0, 0], 0), ([0, 0, 63], 1), ([0, 127, 255], 14), ([0, 100, 155], 15)],
    "deepglobe_land_cover": [
        ([0, 255, 255], 0),  # urban
        ([255, 255, 0], 1),  # agriculture
        ([255, 0, 255], 2),  # rangeland
        ([0, 255, 0], 3),  # forest
        ([0, 0, 255], 4),  # water
        ([255, 255, 255], 5),  # barren
        ([0, 0, 0], 6),  # unknown: ignored
    ],
}


@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_palettes_pixel_by_pixel(name):
    colors, ids = zip(*HAND_WRITTEN[name], strict=True)
    mask = np.array([colors], np.uint8)
    reader = RawLabels(find_specification(name))
    assert reader.read(content(mask), "mask.png").tolist() == [list(ids)]
    # With red and blue exchanged it is another mask.
    try:
        swapped = reader.read(content(np.ascontiguousarray(mask[..., ::-1])), "mask.png")
    except InputError:
        return
    assert swapped.tolist() != [list(ids)]


def test_merged_and_ignored_colours():
    reader = RawLabels(specification("colors"))
    mask = np.array([[[255, 0, 0], [128, 0, 0], [0, 0, 0], [0, 255, 0]]], np.uint8)
    ids = reader.read(content(mask), "mask.png")
    assert ids.tolist() == [[2, 2, 3, 0]]
    assert reader.written(ids).tolist() == [[2, 2, 255, 0]]
    assert reader.written(ids).dtype == np.uint8


def test_masks_with_a_palette_or_alpha_are_colours_too():
    reader = RawLabels(specification("colors"))
    mask = np.array([[[0, 0, 255], [255, 0, 0]]], np.uint8)
    assert reader.read(content(Image.fromarray(mask).quantize(4)), "mask.png").tolist() == [[1, 2]]
    assert reader.read(content(Image.fromarray(mask).convert("RGBA")), "mask.png").tolist() == [[1, 2]]


def test_values_may_be_grey_in_three_channels():
    reader = RawLabels(specification("values"))
    values = np.array([[10, 11, 20, 30, 0]], np.uint8)
    for image in (values, np.repeat(values[..., None], 3, axis=2)):
        assert reader.read(content(image), "label.png").tolist() == [[0, 0, 1, 2, 3]]


BINARY = {
    "classes": [{"name": "background", "raw_value": 0}, {"name": "water", "raw_value": 1}],
    "ignore": {"values": [255]},
}


def test_a_threshold_needs_a_class_on_each_side():
    with pytest.raises(
        ValidationError, match="labels of form 'threshold' have the raw values 0 and 1; each must belong to one class"
    ):
        specification("threshold")


def test_a_threshold_undoes_jpeg():
    reader = RawLabels(specification("threshold", **BINARY))
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    assert (reader.read(content(mask, "JPEG", quality=70), "label.jpg") == (mask > 0)).all()


def test_impure_colours_become_pure():
    classes = [{"name": "meadow", "color": [0, 255, 0]}, {"name": "pond", "color": [0, 0, 255]}]
    mask = np.array([[[3, 250, 90], [127, 0, 128], [8, 0, 1]]], np.uint8)
    reader = RawLabels(specification("pure_colors", classes=classes))
    assert reader.read(content(mask), "mask.png").tolist() == [[0, 1, 2]]


def test_more_than_255_classes_are_written_with_16_bits():
    classes = [{"name": f"class {i}"} for i in range(300)]
    reader = RawLabels(specification("values", classes=classes, ignore={"values": [65535], "raw_values": [1000]}))
    ids = reader.read(content(np.array([[0, 299, 1000]], np.uint16)), "label.png")
    assert reader.written(ids).tolist() == [[0, 299, 65535]]
    assert reader.written(ids).dtype == np.uint16


def blocks(*values) -> np.ndarray:
    """A map of blocks of 16 pixels, like objects in an aerial image."""
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(0, len(values), (6, 6)), np.ones((16, 16), int))


def test_a_colour_of_no_class_is_told_with_its_count():
    mask = np.array([[0, 255, 0], [0, 0, 255], [255, 0, 0]], np.uint8)[blocks(0, 1, 2)]
    mask[20:24, 20:25] = [7, 8, 9]
    mask[40, 40] = [1, 1, 1]
    expected = r"mask.png: colour outside the dataset's specification: \[7, 8, 9\] \(20 pixels\), \[1, 1, 1\] \(1 pix"
    with pytest.raises(InputError, match=expected):
        RawLabels(specification("colors")).read(content(mask), "mask.png")


@pytest.mark.parametrize("method", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS])
@pytest.mark.parametrize("factor", [0.5, 2])
def test_interpolated_colour_masks_are_recognised(method, factor):
    mask = np.array([[0, 255, 0], [0, 0, 255], [255, 0, 0]], np.uint8)[blocks(0, 1, 2)]
    resized = Image.fromarray(mask).resize([round(side * factor) for side in mask.shape[:2]], method)
    with pytest.raises(
        InputError, match=r"pixels have a colour that belongs to no class. This mask looks as if it had been resized"
    ):
        RawLabels(specification("colors")).read(content(resized), "mask.png")


def line_between(sides, lines) -> np.ndarray:
    """Two halves with a line of one pixel between them, of several values below each other."""
    mask = np.repeat(np.array(sides, np.uint8), 16, axis=0)[None].repeat(8 * len(lines), 0)
    mask[:, 15] = np.repeat(np.array(lines, np.uint8), 8, axis=0)
    return mask


@pytest.mark.parametrize(
    "lines",
    [
        [(255, 255, 255), (255, 255, 0), (255, 0, 0)],
        [(255, 0, 255), (120, 120, 120), (90, 40, 0)],
        [(0, 255, 255), (0, 80, 255), (0, 255, 90), (40, 80, 100)],
    ],
)
def test_thin_lines_that_cannot_be_mixtures_are_no_sign_of_interpolation(lines):
    classes = [{"name": "grass", "mask_colors": [[0, 160, 0]]}, {"name": "water", "mask_colors": [[0, 0, 200]]}]
    reader = RawLabels(specification("colors", classes=classes))
    with pytest.raises(
        InputError, match=r"m: colour outside the dataset's specification: .*or add the colour"
    ) as error:
        reader.read(content(line_between([(0, 160, 0), (0, 0, 200)], lines)), "m")
    assert sum(f"{list(line)} (8 pixels)" in str(error.value) for line in lines) == 3


@pytest.mark.parametrize(
    ("lines", "guessed"), [((3, 4, 5), True), ((2, 8, 9), True), ((12, 13, 14), False), ((3, 4, 200), False)]
)
def test_unknown_values_are_named_whatever_is_guessed(lines, guessed):
    classes = [{"name": "grass", "raw_value": 0}, {"name": "water", "raw_value": 10}]
    ignore = {"values": [255], "raw_values": [255]}
    mask = line_between([0, 10], lines)
    with pytest.raises(InputError) as error:
        RawLabels(specification("values", classes=classes, ignore=ignore)).read(content(mask), "m")
    assert ("looks as if it had been resized" in str(error.value)) is guessed
    assert all(f"{line} (8 pixels)" in str(error.value) for line in lines)
    assert "to 'raw_value' of a class or 'raw_values' of 'ignore' in the dataset file" in str(error.value)
    ignore["raw_values"] += lines
    ids = RawLabels(specification("values", classes=classes, ignore=ignore)).read(content(mask), "m")
    assert (ids[:, 15] == 2).all()


@pytest.mark.parametrize(
    "colors", [[(0, 160, 0), (0, 0, 200)], [(30, 90, 60), (200, 80, 50)], [(9, 9, 9), (90, 200, 9)]]
)
@pytest.mark.parametrize("method", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
def test_interpolated_masks_of_any_colours_are_recognised(colors, method):
    mask = Image.fromarray(np.array(colors, np.uint8)[blocks(0, 1)]).resize((150, 150), method)
    classes = [{"name": str(color), "mask_colors": [color]} for color in colors]
    with pytest.raises(
        InputError, match=r"m: \d+ pixels have a colour .* resized .*values: \[.* pixels\).* and \d+ more;"
    ):
        RawLabels(specification("colors", classes=classes)).read(content(mask), "m")


@pytest.mark.parametrize("factor", [0.5, 1.5, 2, 4])
def test_interpolated_value_maps_are_recognised(factor):
    values = np.array([0, 3, 6], np.uint8)[blocks(0, 1, 2)]
    size = [round(side * factor) for side in values.shape]
    image = Image.fromarray(values)
    assert looks_interpolated(np.asarray(image.resize(size, Image.Resampling.BILINEAR)))
    assert not looks_interpolated(np.asarray(image.resize(size, Image.Resampling.NEAREST)))


def test_real_labels_do_not_look_interpolated(real_data):
    files = [file for folder in ("ann_dir", "labels_id") for file in sorted(real_data.glob(f"*/**/{folder}/*.png"))]
    assert len(files) > 50
    assert [str(file) for file in files if looks_interpolated(np.asarray(Image.open(file)))] == []


@pytest.mark.parametrize(
    ("labels", "image", "message"),
    [
        ("colors", np.zeros((2, 2), np.uint8), "mode L, expected colours; if it holds class values, set"),
        ("values", np.arange(12, dtype=np.uint8).reshape(2, 2, 3), "mode RGB, expected one channel"),
        ("values", np.full((2, 2), 0.5, np.float32), "4 label values are no whole numbers, such as 0.5"),
    ],
)
def test_masks_of_another_kind(labels, image, message):
    with pytest.raises(InputError, match=message):
        RawLabels(specification(labels)).read(content(image, "TIFF"), "mask.tif")


@pytest.mark.parametrize("labels", ["colors", "values", "threshold"])
def test_a_file_that_is_no_image(labels):
    with pytest.raises(InputError, match=r"mask.png: cannot read this label image"):
        RawLabels(specification(labels, **(BINARY if labels == "threshold" else {}))).read(b"no image", "mask.png")
