"""Colours and labels of a .qml file, as the picture of docs/qgis.md uses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from research.checks.qgis_picture import paint_style, read_style
from sgovss.rasters.style import write_style
from sgovss.vocabulary import Vocabulary


def test_a_label_map_has_the_colours_of_its_style(tmp_path: Path):
    legend = Vocabulary.from_string("water|sea, tree, <b>&co")
    write_style(tmp_path / "labels.qml", legend)
    style = read_style(tmp_path / "labels.qml")
    assert [label for label, _ in style.values()] == ["water", "tree", "<b>&co"]
    picture = paint_style(np.array([[0, 1, 2, 255]]), style)
    np.testing.assert_array_equal(picture[0], [*legend.colors(), [255, 255, 255]])
