"""The pictures of an evaluation exist, grow with the classes and leave undefined values out."""

import numpy as np
import pytest
from PIL import Image

from sgovss.evaluation.pictures import draw_confusion, draw_curves


def matrix(count, rejected=0, seed=0):
    counts = np.random.default_rng(seed).integers(0, 50, (count + 1, count + 1))
    counts[range(count), range(count)] += 200
    counts[-1] = rejected
    return counts


@pytest.mark.parametrize("count", [1, 5, 20, 60])
def test_confusion_picture_holds_every_class(tmp_path, count):
    path = tmp_path / "confusion.png"
    names = [f"class {index}" for index in range(count)]
    draw_confusion(matrix(count), names, [index % 3 > 0 for index in range(count)], "mIoU 50", path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > max(300, 20 * count)  # at least 20 pixels for a class
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
    series = {"seen": [(0, 20.0), (100, 40.0)], "unseen": [(0, 18.0), (100, 21.0)]}
    draw_curves(series, "curves", tmp_path / "defined.png")
    draw_curves({**series, "unseen": [(0, 18.0), (50, None), (100, 21.0)]}, "curves", tmp_path / "gap.png")
    draw_curves({}, "nothing yet", tmp_path / "empty.png")
    assert (tmp_path / "defined.png").read_bytes() == (tmp_path / "gap.png").read_bytes()
    assert (tmp_path / "empty.png").exists()
