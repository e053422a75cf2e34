"""The share of labelled pixels in tiles and batches."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from research.checks.labelled_share import main, table, tile_shares


def test_shares_of_the_tiles():
    labelled = np.zeros((4, 6), bool)
    labelled[:, :3] = True
    assert list(tile_shares(labelled, tile=4, stride=2)) == [0.75, 0.25]


def test_table_has_tiles_and_batches():
    rows = table(np.array([0.0, 0.5, 1.0]), batch=2).splitlines()
    assert "| 3 tiles " in rows[2] and "| 50.0 " in rows[2]
    assert "| batches of 2 " in rows[3]


SPECIFICATION = """
name: halves
root: .
classes: [{name: background}, {name: house}]
splits: {all: {images: images, labels: labels}}
"""


def test_a_class_can_count_as_unlabelled(tmp_path, monkeypatch, capsys):
    labels = np.zeros((8, 8), np.uint8)
    labels[:2] = 1
    for folder, content in (("images", np.zeros((8, 8, 3), np.uint8)), ("labels", labels)):
        (tmp_path / "halves" / folder).mkdir(parents=True)
        Image.fromarray(content).save(tmp_path / "halves" / folder / "one.png")
    (tmp_path / "halves.yaml").write_text(SPECIFICATION)
    monkeypatch.setenv("SGOVSS_DATASETS", str(tmp_path / "halves.yaml"))
    assert main(["halves_all", "--tile", "4", "--stride", "4"]) == 0
    assert re.search(r"4 tiles +\| 100\.0 +\| 100\.0", capsys.readouterr().out)
    assert main(["halves_all", "--tile", "4", "--stride", "4", "--unlabelled", "background"]) == 0
    assert re.search(r"4 tiles +\| 25\.0 +\| 0\.0 .* 50\.0 +\|$", capsys.readouterr().out, re.MULTILINE)
