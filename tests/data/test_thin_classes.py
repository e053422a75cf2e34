"""A class that is a thin line between two others is no sign of interpolation that could be refused."""

from __future__ import annotations

from importlib import import_module

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image


def edges() -> np.ndarray:
    """Buildings (2) with an edge of one pixel (1) on the ground (0)."""
    labels = np.zeros((96, 96), np.uint8)
    for top in range(4, 80, 20):
        for left in range(4, 80, 20):
            labels[top : top + 14, left : left + 14] = 1
            labels[top + 1 : top + 13, left + 1 : left + 13] = 2
    return labels


def kerbs() -> np.ndarray:
    """Roads (2) with kerbs (1) in grass (0)."""
    return np.tile(np.array([0, 0, 0, 1, 2, 2, 2, 2, 1, 0, 0, 0], np.uint8), (96, 8))


def diagonals() -> np.ndarray:
    """Hedges (1) between fields (2) and water (0), in steps."""
    row, column = np.indices((96, 96))
    return np.take(np.array([0, 0, 0, 0, 1, 2, 2, 2, 2, 1], np.uint8), (row + column) % 10)


def resized() -> np.ndarray:
    """A mask of two classes that was resized with interpolation."""
    squares = np.random.default_rng(0).integers(0, 2, (64, 64), np.uint8) * 2
    return cv2.resize(squares, (96, 96), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("draw", [edges, kerbs, diagonals, resized])
def test_the_labels_are_taken_with_a_note(tmp_path, capsys, draw):
    for folder in ("raw/i", "raw/l"):
        (tmp_path / folder).mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)).save(tmp_path / "raw/i/a.png")
    Image.fromarray(draw()).save(tmp_path / "raw/l/a.png")
    content = {
        "name": "s",
        "classes": ["ground", "edge", "building"],
        "splits": {"train": {"images": "images", "labels": "labels"}},
        "preparation": {"labels": "values", "splits": {"train": {"images": "i/{*}.png", "labels": "l/{*}.png"}}},
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(content))
    common = [str(tmp_path / "s.yaml"), "--root", str(tmp_path / "out"), "--workers", "1"]
    prepare = import_module("sgovss.commands.prepare").main
    check = import_module("sgovss.commands.check").main
    for _ in range(2):  # the second time, the note comes from the journal
        assert prepare([*common, "--source", str(tmp_path / "raw")]) == 0
        assert "note: a: between classes these labels have the values of other classes" in capsys.readouterr().out
    assert check(common) == 0
    assert "labels/a.png: between classes these labels have the values" in capsys.readouterr().out
    written = np.asarray(Image.open(tmp_path / "out/s/labels/a.png"))
    assert np.array_equal(written, draw())
