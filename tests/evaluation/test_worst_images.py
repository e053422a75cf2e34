"""The page with the worst images: their order by hand, and what the page shows."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from sgovss.evaluation.image_counts import ImageCounts
from sgovss.evaluation.worst_images import Triple, worst_images, write_page
from sgovss.vocabulary import Vocabulary

# Correct, true and predicted pixels of two classes in each image.
COUNTS = {
    "a.png": [[90, 0], [100, 0], [100, 5]],
    "b.png": [[0, 4], [1, 4], [0, 4]],
    "c.png": [[500, 10], [560, 30], [505, 20]],
    "d.png": [[7, 0], [7, 3], [7, 0]],
}


def counts(images=COUNTS, classes=("road", "car <x>")) -> ImageCounts:
    return ImageCounts("town_test", classes, [True, False], {name: np.array(each) for name, each in images.items()})


@pytest.mark.parametrize("number", [1, 2, 9])
def test_those_with_the_most_wrong_pixels_of_the_class_are_the_worst(number):
    found = worst_images(counts(), number)
    # road: c misses 60 and has 5 false ones, a 10 and 10, b 1; d has none. The lowest IoU is that of b.
    assert [(each.name, each.missed, each.false) for each in found["road"]] == [
        ("c.png", 60, 5), ("a.png", 10, 10), ("b.png", 1, 0)
    ][:number]  # fmt: skip
    assert [each.iou for each in found["road"]] == pytest.approx([100 * 500 / 565, 100 * 90 / 110, 0][:number])
    assert [(each.name, each.missed, each.false) for each in found["car <x>"]] == [
        ("c.png", 20, 10), ("a.png", 0, 5), ("d.png", 3, 0)
    ][:number]  # fmt: skip


def test_a_class_without_a_wrong_pixel():
    assert worst_images(counts({"a.png": [[9, 0], [9, 0], [9, 0]]}), 3) == {"road": [], "car <x>": []}


def test_the_page_holds_each_picture_once_and_refers_to_no_file(tmp_path):
    asked = []

    def load(name: str) -> Triple:
        asked.append(name)
        truth = np.zeros((40, 60), np.int64)
        truth[:, 30:] = 1
        truth[:10] = 255
        return Triple(np.full((40, 60, 3), 128, np.uint8), truth, np.zeros((40, 60), np.int64))

    vocabulary = Vocabulary.from_string("road, car <x>")
    write_page(tmp_path / "worst.html", counts(), 2, vocabulary, load)
    page = (tmp_path / "worst.html").read_text()
    assert asked == ["c.png", "a.png"]
    assert page.count("data:image/jpeg") == 6 and page.count("<figure>") == 4
    assert not re.search(r"(src|href)=", page)
    assert "<h2>road: IoU 87.41<" in page and "<h2>car &lt;x&gt;: IoU" in page and "car <x>" not in page
    assert "c.png: IoU 88.50, 60 pixels missed, 5 false" in page
    image, truth, prediction = (
        np.array(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)
        for data in re.findall(
            r"p0[abc]\{width:240px;height:160px;background-image:url\(data:image/jpeg;base64,(.*?)\)", page
        )
    )
    assert abs(image - 128).max() < 4
    assert abs(truth[10, 40:200] - 128).max() < 12  # ignored pixels are not painted
    road, car = vocabulary.colors().astype(int)
    for picture, place, color in ((truth, (100, 50), road), (truth, (100, 190), car), (prediction, (100, 190), road)):
        assert abs(picture[place] - (0.45 * 128 + 0.55 * color)).max() < 8
