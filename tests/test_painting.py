"""Overlays keep the image and name the classes present; label files hold the ids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sgovss.errors import InputError
from sgovss.label_ids import no_class_id
from sgovss.painting import class_shares, draw_overlay, save_label_png
from sgovss.vocabulary import ClassEntry, Vocabulary

VOCABULARY = Vocabulary.from_string("building, road, tree|forest, water")
MANY = Vocabulary(ClassEntry(f"class {index}") for index in range(300))


def scene(height, width, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    labels = rng.integers(0, classes, (max(1, height // 16), max(1, width // 16)))
    labels = np.kron(labels, np.ones((17, 17), dtype=labels.dtype))[:height, :width]
    return image, np.resize(labels, (height, width))


@pytest.mark.parametrize(
    ("height", "width", "factor"), [(64, 64, 4), (200, 120, 3), (256, 256, 2), (600, 800, 1), (1500, 4000, 1)]
)
def test_small_images_are_enlarged_and_large_ones_kept(height, width, factor):
    image, labels = scene(height, width)
    picture = draw_overlay(image, labels, VOCABULARY, alpha=0)
    assert picture.dtype == np.uint8
    below = width > 1.5 * height
    tall, wide = picture.shape[:2]
    assert tall > factor * height if below else wide > factor * width
    assert wide == factor * width if below else tall == factor * height


@given(st.integers(1, 80), st.integers(1, 80), st.integers(1, 4))
def test_any_size_works(height, width, classes):
    image, labels = scene(height, width, classes)
    tall, wide = draw_overlay(image, labels, VOCABULARY).shape[:2]
    assert tall >= height and wide >= width


def test_same_input_same_picture():
    image, labels = scene(96, 96)
    before = image.copy(), labels.copy()
    first, second = draw_overlay(image, labels, VOCABULARY), draw_overlay(image, labels, VOCABULARY)
    assert np.array_equal(first, second)
    assert np.array_equal(image, before[0]) and np.array_equal(labels, before[1])


def test_classes_are_blended_and_ignored_pixels_are_not_painted():
    image = np.full((600, 600, 3), 100, dtype=np.uint8)
    labels = np.zeros((600, 600), dtype=np.int64)
    labels[:, 300:] = 255
    picture = draw_overlay(image, labels, VOCABULARY, alpha=0.5)
    color = VOCABULARY.colors()[0].astype(int)
    np.testing.assert_allclose(picture[300, 100], (100 + color) / 2, atol=1)
    assert (picture[300, 500] == 100).all()
    border = np.abs(picture[300, 299].astype(int) - color).sum()
    assert border < np.abs(picture[300, 100].astype(int) - color).sum()


def test_legend_lists_only_the_classes_present():
    image, labels = scene(600, 600, classes=2)
    legend = draw_overlay(image, labels, VOCABULARY)[:, 600:].reshape(-1, 3)
    present = {tuple(color) for color in legend.tolist()}
    listed = [tuple(color) in present for color in VOCABULARY.colors().tolist()]
    assert listed == [True, True, False, False]


def test_legend_grows_downwards_when_there_are_many_classes():
    labels = np.arange(300).reshape(15, 20)
    image = np.zeros((15, 20, 3), dtype=np.uint8)
    tall, _ = draw_overlay(image, labels, MANY).shape[:2]
    assert tall > 4 * 15


def test_without_any_class_there_is_no_legend():
    image = np.full((600, 400, 3), 7, dtype=np.uint8)
    picture = draw_overlay(image, np.full((600, 400), 255), VOCABULARY)
    assert np.array_equal(picture, image)


def test_shares():
    labels = np.array([[0, 0, 3, 255]])
    assert class_shares(labels, VOCABULARY) == {"building": 0.5, "road": 0.0, "tree": 0.0, "water": 0.25}


@pytest.mark.parametrize("vocabulary", [VOCABULARY, MANY], ids=["palette", "16 bit"])
def test_label_png_holds_the_ids(tmp_path, vocabulary):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, len(vocabulary), (40, 50))
    labels[:3] = no_class_id(len(vocabulary))
    save_label_png(tmp_path / "labels.png", labels, vocabulary)
    with Image.open(tmp_path / "labels.png") as picture:
        assert np.array_equal(np.asarray(picture), labels)
        assert picture.mode == ("P" if len(vocabulary) <= 255 else "I;16")
        if picture.mode == "P":
            colors = np.asarray(picture.convert("RGB"))
            assert np.array_equal(colors[3:], vocabulary.colors()[labels[3:]])
            assert not colors[:3].any()


def test_wrong_input_is_named(tmp_path):
    image, labels = scene(20, 30)
    with pytest.raises(InputError, match="sizes must be equal"):
        draw_overlay(image[:10], labels, VOCABULARY)
    labels[0, :2] = 9
    for call in (
        lambda: draw_overlay(image, labels, VOCABULARY),
        lambda: class_shares(labels, VOCABULARY),
        lambda: save_label_png(tmp_path / "labels.png", labels, VOCABULARY),
    ):
        with pytest.raises(InputError, match=r"id 9 \(2 stray pixels\) is not in the vocabulary"):
            call()
    assert not list(tmp_path.iterdir())
