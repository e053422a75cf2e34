"""The result type: what it holds, what it draws and what it writes."""

from __future__ import annotations

import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image

import sgovss
from sgovss.errors import InputError
from sgovss.inference.report import ReportEntry, report_entry
from sgovss.inference.segmentation import Georeference, Segmentation
from sgovss.painting import draw_overlay
from sgovss.vocabulary import Vocabulary

LEGEND = Vocabulary.from_string("building, road, tree|forest")
IMAGE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
LABELS = np.zeros((30, 40), np.int64)
LABELS[:, 10:] = 1
SCORES = np.full((30, 40), 0.25, np.float32)


def test_it_is_public():
    assert sgovss.Segmentation is Segmentation
    assert "Segmentation" in sgovss.__all__ and "Prediction" not in sgovss.__all__


def test_shares_follow_the_legend():
    segmentation = Segmentation(LABELS, LEGEND, SCORES, image=IMAGE)
    assert segmentation.shares == {"building": 0.25, "road": 0.75, "tree": 0.0}
    assert list(segmentation.shares) == LEGEND.names
    assert segmentation.areas is None and segmentation.georeference is None
    assert repr(segmentation) == "Segmentation(road 75.0 %, building 25.0 %)"


def test_the_overlay_is_the_painted_image():
    segmentation = Segmentation(LABELS, LEGEND, SCORES, image=IMAGE)
    assert np.array_equal(segmentation.overlay(), draw_overlay(IMAGE, LABELS, LEGEND))
    assert np.array_equal(segmentation.overlay(alpha=1), draw_overlay(IMAGE, LABELS, LEGEND, alpha=1))
    white = np.full_like(IMAGE, 255)
    assert np.array_equal(Segmentation(LABELS, LEGEND).overlay(), draw_overlay(white, LABELS, LEGEND))


def test_a_notebook_shows_the_overlay():
    segmentation = Segmentation(LABELS, LEGEND, SCORES, image=IMAGE)
    with Image.open(io.BytesIO(segmentation._repr_png_())) as picture:
        assert picture.format == "PNG"
        assert np.array_equal(np.asarray(picture), segmentation.overlay())


def test_save_writes_overlay_labels_and_shares(tmp_path):
    segmentation = Segmentation(LABELS, LEGEND, SCORES, image=IMAGE)
    paths = segmentation.save(tmp_path / "new", "field")
    assert {kind: path.name for kind, path in paths.items()} == {
        "overlay": "field_overlay.png",
        "labels": "field_labels.png",
        "shares": "field_shares.json",
    }
    with Image.open(paths["labels"]) as labels, Image.open(paths["overlay"]) as overlay:
        assert np.array_equal(np.asarray(labels), LABELS)
        assert np.array_equal(np.asarray(overlay), segmentation.overlay())
    assert json.loads(paths["shares"].read_text()) == {
        "image": None,
        "height": 30,
        "width": 40,
        "mean_score": 0.25,
        "shares": segmentation.shares,
    }


def test_save_without_scores(tmp_path):
    paths = Segmentation(LABELS, LEGEND).save(tmp_path)
    assert paths["labels"] == tmp_path / "segmentation_labels.png"
    assert json.loads(paths["shares"].read_text())["mean_score"] is None


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: cannot write here"):
        Segmentation(LABELS, LEGEND).save(tmp_path / "file")


def test_stored_arrays_are_read_when_asked_for_and_files_are_copied(tmp_path):
    reads = []

    def read() -> np.ndarray:
        reads.append(1)
        return LABELS

    (tmp_path / "x_labels.tif").write_text("map")
    segmentation = Segmentation(
        read,
        LEGEND,
        preview=lambda: (IMAGE[::2, ::2], LABELS[::2, ::2]),
        shares={"building": 0.5, "road": 0.5, "tree": 0.0},
        areas={"building": 10.0, "road": 10.0, "tree": 0.0},
        georeference=Georeference("LOCAL", (1, 0, 0, 0, -1, 0)),
        files={"labels": tmp_path / "x_labels.tif"},
    )
    assert segmentation.shares["building"] == 0.5 and segmentation.areas["road"] == 10
    expected = draw_overlay(IMAGE[::2, ::2], LABELS[::2, ::2], LEGEND, shares=[0.5, 0.5, 0])
    assert np.array_equal(segmentation.overlay(), expected)
    for _ in range(2):  # a second time over itself
        assert segmentation.save(tmp_path / "copy", "y") == {"labels": tmp_path / "copy" / "y_labels.tif"}
    assert (tmp_path / "copy" / "y_labels.tif").read_text() == "map"
    segmentation.save(tmp_path, "x")
    assert reads == []
    assert segmentation.labels is LABELS and segmentation.labels is LABELS
    assert len(reads) == 2


def test_a_report_entry_survives_json(tmp_path):
    segmentation = Segmentation(
        LABELS, LEGEND, areas={"building": 1.0, "road": 2.0, "tree": 0.0}, facts={"time": "1 s"}
    )
    entry = report_entry(tmp_path / "a.png", segmentation, tmp_path / "a_overlay.png")
    assert ReportEntry.from_json(json.loads(json.dumps(entry.as_json()))) == entry
    assert pickle.loads(pickle.dumps(entry)) == entry
    assert [(row.name, row.share, row.square_metres) for row in entry.classes] == [
        ("building", 0.25, 1.0),
        ("road", 0.75, 2.0),
        ("tree", 0.0, 0.0),
    ]
    assert entry.facts == {"time": "1 s"}
