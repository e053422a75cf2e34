"""Raw label values to class ids, and reading images and labels."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from sgovss.data.label_map import LabelMap
from sgovss.data.labels import image_size, load_labels, read_rgb
from sgovss.data.specification_file import find_specification
from sgovss.errors import InputError


@st.composite
def value_sets(draw):
    """Distinct raw values, dealt out to 1..6 classes and to 'ignore'."""
    values = draw(st.lists(st.integers(0, 65535), min_size=1, max_size=20, unique=True))
    num_classes = draw(st.integers(1, min(6, len(values))))
    classes = [[value] for value in values[:num_classes]]
    ignored = []
    for value in values[num_classes:]:
        draw(st.sampled_from([*classes, ignored])).append(value)
    return classes, ignored


@given(value_sets(), st.data())
def test_every_known_value_becomes_the_id_of_its_class(sets, data):
    classes, ignored = sets
    labels = LabelMap.from_values(classes, ignored)
    expected = {value: index for index, of_class in enumerate(classes) for value in of_class}
    expected |= dict.fromkeys(ignored, 255)
    raw = data.draw(hnp.arrays(np.uint16, (3, 4), elements=st.sampled_from(sorted(expected))))
    ids = labels(raw, "x.png")
    np.testing.assert_array_equal(ids, np.vectorize(expected.get)(raw))
    # Retraining ids are a bijection onto 0..n-1 of what is kept.
    held_out = data.draw(st.sets(st.integers(0, len(classes) - 1), max_size=len(classes) - 1))
    kept = [index for index in range(len(classes)) if index not in held_out]
    training = labels.without(held_out)
    assert training.num_classes == len(kept)
    ranks = {index: rank for rank, index in enumerate(kept)}
    np.testing.assert_array_equal(training(raw, "x.png"), np.vectorize(lambda i: ranks.get(i, 255))(ids))


@given(value_sets(), st.integers(-5, 70000))
def test_every_other_value_is_an_error(sets, stranger):
    classes, ignored = sets
    if stranger in {value for group in (*classes, ignored) for value in group}:
        return
    raw = np.array([[classes[0][0], stranger], [stranger, stranger]])
    with pytest.raises(InputError, match=rf"^x\.png: label value {stranger} \(3 pixels\) is outside"):
        LabelMap.from_values(classes, ignored)(raw, "x.png")


def test_error_names_the_most_frequent_value_and_the_others():
    with pytest.raises(InputError, match=r"value 9 \(2 pixels\) and 1 other such values"):
        LabelMap.from_values([[0], [1]], [])(np.array([[9, 9, 7, 0]], np.uint8), "x.png")


def test_more_than_255_classes_need_a_wider_ignore_label():
    labels = LabelMap.from_values([[i] for i in range(256)], [300])
    assert labels.ignore_label == 65535
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels(np.array([255, 300]), "x.png"), [255, 65535])
    narrow = LabelMap.from_values([[i] for i in range(255)], [255])
    assert (narrow.ignore_label, narrow.dtype) == (255, np.uint8)


def test_value_255_may_be_a_class():
    labels = LabelMap.from_values([[0], [255]], [])
    np.testing.assert_array_equal(labels(np.array([[0, 255]], np.uint8), "x.png"), [[0, 1]])


LABELS = LabelMap.from_values([[1], [2]], [0])
RAW = np.array([[0, 1, 2], [2, 1, 0]])
IDS = np.array([[255, 0, 1], [1, 0, 255]])


def _palette(array):
    image = Image.fromarray(array.astype(np.uint8), mode="P")
    image.putpalette([0, 0, 0, 200, 10, 10, 10, 200, 10])
    return image


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(RAW.astype(np.uint8)),
        Image.fromarray(RAW.astype(np.uint16)),
        Image.fromarray(RAW.astype(np.int32)),
        _palette(RAW),
    ],
    ids=lambda image: image.mode,
)
def test_label_files_of_every_single_channel_kind(tmp_path, image):
    path = tmp_path / "x.tif"
    image.save(path)
    loaded = load_labels(path, LABELS)
    assert loaded.dtype == np.int64
    assert loaded.flags.writeable
    np.testing.assert_array_equal(loaded, IDS)


def test_load_labels_serves_detectron2s_evaluator(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(RAW.astype(np.uint8)).save(path)
    loaded = partial(load_labels, labels=LABELS)(str(path), dtype=int)  # how SemSegEvaluator calls it
    loaded[loaded == 255] = 2
    assert loaded.max() == 2


def test_colour_label_is_refused(tmp_path):
    path = tmp_path / "x.png"
    Image.new("RGB", (2, 2), (0, 1, 2)).save(path)
    with pytest.raises(InputError, match=r"x\.png: label image of mode RGB"):
        load_labels(path, LABELS)


def test_unreadable_files(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n no image")
    for read in (read_rgb, image_size, partial(load_labels, labels=LABELS)):
        with pytest.raises(InputError, match=r"x\.png: cannot read"):
            read(path)
        with pytest.raises(InputError, match=r"gone\.png: cannot read"):
            read(tmp_path / "gone.png")


def test_truncated_image(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"x\.png: cannot read"):
        read_rgb(path)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_deep_image_is_refused_rather_than_clipped(tmp_path, dtype):
    path = tmp_path / "x.tif"
    Image.fromarray(np.full((4, 4), 1000, dtype)).save(path)
    with pytest.raises(InputError, match="scale it to 8 bits"):
        read_rgb(path)


def test_exif_orientation_counts_in_size_and_pixels(tmp_path):
    path = tmp_path / "x.jpg"
    image = Image.new("RGB", (30, 20))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    assert image_size(path) == (30, 20)
    assert read_rgb(path).shape == (30, 20, 3)


SAMPLES = [
    ("loveda_sample", "ann_dir", {0: 255} | {value: value - 1 for value in range(1, 8)}),
    ("potsdam_sample", "ann_dir", {0: 255} | {value: value - 1 for value in range(1, 7)}),
    ("vaihingen_sample", "ann_dir", {0: 255} | {value: value - 1 for value in range(1, 7)}),
    ("dronedeploy_sample", "labels_id", {value: value for value in range(6)}),
    ("dubai_mbrsc", "labels_id", {255: 255} | {value: value for value in range(5)}),
]


@pytest.mark.parametrize(("name", "folder", "expected"), SAMPLES, ids=[case[0] for case in SAMPLES])
def test_real_labels_pixel_by_pixel(real_data, name, folder, expected):
    labels = LabelMap.from_specification(find_specification(f"{name}"))
    paths = sorted((real_data / name / folder).glob("*.png"))
    assert paths
    for path in paths[::10]:
        raw = np.asarray(Image.open(path))
        table = np.full(256, -1)
        table[list(expected)] = list(expected.values())
        np.testing.assert_array_equal(load_labels(path, labels), table[raw])
