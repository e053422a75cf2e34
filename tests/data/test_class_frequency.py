"""Weights of classes and repeats of images against the formulas, written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from sgovss.data.class_frequency import class_pixels, class_weights, repeats
from sgovss.data.label_map import LabelMap


@pytest.mark.parametrize("power", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("pixels", [[100, 100, 100], [700, 200, 100], [10**9, 10**6, 3], [5, 0, 45]])
def test_weights(pixels, power):
    total, most = sum(pixels), max(pixels)
    raw = [min((most / n) ** power, 10.0) if n else 10.0 for n in pixels]
    mean = sum(n / total * weight for n, weight in zip(pixels, raw, strict=True))
    weights = class_weights(np.array(pixels), power).tolist()
    assert weights == pytest.approx([weight / mean for weight in raw], rel=1e-5)
    assert sum(n * weight for n, weight in zip(pixels, weights, strict=True)) == pytest.approx(total, rel=1e-5)


def test_with_power_1_all_classes_have_the_same_weight_in_total_unless_limited():
    pixels = np.array([900, 300, 200])
    assert (pixels * class_weights(pixels, 1.0).numpy()).tolist() == pytest.approx([1400 / 3] * 3, rel=1e-5)


@pytest.mark.parametrize("square_root", [True, False])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 1.0])
@pytest.mark.parametrize(
    "pixels",
    [
        [[5, 0], [5, 0], [5, 1], [5, 0]],
        [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 9], [0, 0, 0]],
        [[3, 3], [3, 3]],
    ],
)
def test_repeats(pixels, threshold, square_root):
    shares = [sum(row[c] > 0 for row in pixels) / len(pixels) for c in range(len(pixels[0]))]
    expected = []
    for row in pixels:
        ratios = [threshold / shares[c] for c, n in enumerate(row) if n]
        expected.append(max([1.0, *(math.sqrt(ratio) if square_root else ratio for ratio in ratios)]))
    assert repeats(np.array(pixels), threshold, square_root).tolist() == pytest.approx(expected)


def test_the_pixels_of_a_label(tmp_path):
    Image.fromarray(np.array([[0, 1, 2], [4, 3, 3]], np.uint8)).save(tmp_path / "a.png")
    record = {"sem_seg_file_name": str(tmp_path / "a.png")}
    labels = LabelMap.from_values([[1, 4], [2], [3], [5]], [0])
    assert class_pixels(record, labels).tolist() == [2, 1, 2, 0]
    assert class_pixels(record, labels.without([0])).tolist() == [1, 2, 0]
