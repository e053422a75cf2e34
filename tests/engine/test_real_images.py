"""Training and evaluation on real aerial images, if they are available on this machine."""

from __future__ import annotations

import json

import pytest

import train_net


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "tests", "images", "classes"),
    [
        ("dubai_tiny.yaml", "('dubai_mbrsc_test',)", 9, ["building", "land", "road", "vegetation", "water"]),
        ("dubai_tiny.yaml", "('loveda_sample_all','vaihingen_sample_all')", 3, ["background", "building", "road"]),
    ],
    ids=["dubai", "loveda and vaihingen"],
)
def test_two_steps_and_an_evaluation(real_data, monkeypatch, tmp_path, config, tests, images, classes):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(real_data))
    options = ["SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "2", "DATASETS.TEST", tests, "OUTPUT_DIR", str(tmp_path)]
    options += [
        "DATASETS.UNLABELLED",
        "()",
        "INPUT.MIN_SIZE_TEST",
        "256",
    ]  # no images are drawn, and test images are small
    assert train_net.main(["--config-file", config, *options, "MODEL.DEVICE", "cpu"]) == 0
    first = tests.split("'")[1]
    scores = json.loads((tmp_path / "evaluation" / f"{first}.json").read_text())
    assert scores["images"] == images
    assert scores["classes"][: len(classes)] == classes
    assert scores["mIoU"] > 0
