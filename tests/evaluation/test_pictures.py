"""Figures of an evaluation: their size, their colours, and undefined values."""

import numpy as np
import pytest
from PIL import Image

from sgovss.evaluation.pictures import draw_comparison, draw_confusion, draw_curves
from sgovss.vocabulary import Vocabulary


def matrix(count, rejected=0, seed=0):
    counts = np.random.default_rng(seed).integers(0, 50, (count + 1, count + 1))
    counts[range(count), range(count)] += 200
    counts[-1] = rejected
    return counts


@pytest.mark.parametrize("count", [1, 5, 20, 60])
def test_confusion_picture_has_room_for_every_class(tmp_path, count):
    path = tmp_path / "confusion.png"
    names = [f"class {index}" for index in range(count)]
    draw_confusion(matrix(count), names, [index % 3 > 0 for index in range(count)], "mIoU 50", path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > max(300, 20 * count)  # at least 20 pixels per class
    assert [file.name for file in tmp_path.iterdir()] == ["confusion.png"]


def test_confusion_picture_of_rejected_and_absent_classes(tmp_path):
    counts = matrix(4, rejected=30)
    counts[:, 2] = 0
    names = list("abcd")
    draw_confusion(counts, names, [True, True, False, False], "with rejection", tmp_path / "rejected.png")
    draw_confusion(matrix(4), names, [True, True, False, False], "with rejection", tmp_path / "plain.png")
    with Image.open(tmp_path / "rejected.png") as rejected, Image.open(tmp_path / "plain.png") as plain:
        assert not np.array_equal(np.asarray(rejected), np.asarray(plain.resize(rejected.size)))


def test_curves_leave_undefined_points_out(tmp_path):
    series = {"seen": {0: [20.0], 100: [38.0, 42.0]}, "unseen": {0: [18.0], 100: [21.0]}}
    draw_curves(series, "curves", tmp_path / "defined.png")
    draw_curves({**series, "unseen": {0: [18.0], 50: [], 100: [21.0]}}, "curves", tmp_path / "gap.png")
    draw_curves({**series, "seen": {0: [20.0], 100: [40.0]}}, "curves", tmp_path / "one_run.png")
    draw_curves({}, "nothing yet", tmp_path / "empty.png")
    assert (tmp_path / "defined.png").read_bytes() == (tmp_path / "gap.png").read_bytes()
    assert (tmp_path / "defined.png").read_bytes() != (
        tmp_path / "one_run.png"
    ).read_bytes()  # a single run has no band
    assert (tmp_path / "empty.png").exists()


def test_a_label_keeps_its_colour_beside_others(tmp_path):
    for name, labels in (("alone", ["full"]), ("beside", ["plain", "full"])):
        series = {label: {0: [20.0], 100: [40.0]} for label in labels}
        draw_curves(series, "curves", tmp_path / f"{name}.png", known_labels=["plain", "compensation", "full"])
    green = (44, 160, 44)  # "C2", the third colour of matplotlib
    for name in ("alone", "beside"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert (np.asarray(picture.convert("RGB")) == green).all(axis=2).sum() > 100


def test_a_comparison_shows_each_labelling_in_its_colours(tmp_path):
    vocabulary = Vocabulary.from_string("road, water, tree")
    image = np.full((40, 40, 3), 7, np.uint8)
    ids = np.repeat(np.repeat(np.array([[0, 1], [2, 255]]), 20, axis=0), 20, axis=1)
    labels = {"ground truth": ids, "a": np.zeros_like(ids), "b": ids, "c": ids}
    draw_comparison(image, labels, vocabulary, [True, False, True], tmp_path / "five.png")
    draw_comparison(image, {"ground truth": ids}, vocabulary, [True] * 3, tmp_path / "two.png")
    with Image.open(tmp_path / "five.png") as five, Image.open(tmp_path / "two.png") as two:
        assert five.height > 1.5 * two.height
        pixels = np.asarray(five.convert("RGB")).reshape(-1, 3)
    counts = [int((pixels == color).all(axis=1).sum()) for color in (*vocabulary.colors(), (7, 7, 7))]
    road, water, tree, untouched = counts
    # Three panels have a quarter of each class, one is all road, and the legend has each class once more.
    assert untouched > 4000 and road > 1.8 * water and abs(water - tree) < 0.1 * water
