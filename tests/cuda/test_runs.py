"""Training, resuming, evaluation and segmentation on the device, through the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sgovss import Predictor
from sgovss.commands.segment import main as segment
from sgovss.commands.train import main as train
from sgovss.precision import fast_precision
from sgovss.synthetic import generate_image
from tests.cuda.conftest import CONFIG, DEVICE, options_of

pytestmark = pytest.mark.cuda

WORDS = "field, river, hedge"
TIMES = {"time", "data_time", "rank_data_time", "eta_seconds"}


def metrics_of(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def run(changes: dict[str, object], *flags: str) -> None:
    assert train(["--config-file", CONFIG, *flags, *options_of(**changes)]) == 0


def test_a_resumed_run_continues_as_the_whole_one(run_options):
    folder = Path(run_options["OUTPUT_DIR"])
    run(run_options)
    whole = metrics_of(folder)
    assert [line["iteration"] for line in whole] == [0, 1, 2, 3, 4]
    assert all("loss_pixel" in line and "lr" in line for line in whole[:4])
    for name in ("model_final", "model_0000003"):
        (folder / f"{name}.pth").unlink(missing_ok=True)
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    run(run_options, "--resume")
    resumed = metrics_of(folder)
    assert resumed[:2] == whole[:2]
    # The device adds up gradients in any order, so the last digits differ.
    for one, other in zip(whole[2:4], resumed[2:4], strict=True):
        assert other == pytest.approx(one, rel=2e-2, abs=1e-5)


def test_an_evaluation_is_that_of_the_cpu(run_options):
    run(run_options)
    weights = Path(run_options["OUTPUT_DIR"]) / "model_final.pth"
    scores = []
    for device in ("cpu", DEVICE):
        folder = Path(run_options["OUTPUT_DIR"]).with_name(f"on_{device}")
        run({**run_options, "MODEL__WEIGHTS": weights, "MODEL__DEVICE": device, "OUTPUT_DIR": folder}, "--eval-only")
        scores.append(json.loads((folder / "evaluation" / "blocks_test.json").read_text()))
    for metric in ("mIoU", "pACC", "fwIoU"):
        assert scores[1][metric] == pytest.approx(scores[0][metric], abs=0.5), metric


@pytest.mark.parametrize(("precision", "differing"), [("float32", 0.01), ("auto", 0.05)])
def test_a_segmentation_is_that_of_the_cpu(precision, differing):
    image = generate_image(1, size=256, style="b").image
    expected = Predictor(CONFIG, options=options_of(MODEL__DEVICE="cpu"), precision="float32")(image, WORDS)
    predictor = Predictor(CONFIG, options=options_of(), precision=precision)
    assert predictor.model.precision == (fast_precision(torch.device(DEVICE)) if precision == "auto" else precision)
    assert np.mean(predictor(image, WORDS).labels != expected.labels) <= differing


def test_a_scene_is_that_of_the_cpu(tmp_path):
    rasterio = pytest.importorskip("rasterio", reason="needs the extra 'geo'")
    from rasterio.transform import from_origin

    scene = tmp_path / "scene.tif"
    pixels = generate_image(2, size=320, style="b").image.transpose(2, 0, 1)
    place = {"crs": "EPSG:32632", "transform": from_origin(500_000, 5_300_000, 0.3, 0.3)}
    size = {"count": 3, "height": pixels.shape[1], "width": pixels.shape[2], "dtype": "uint8"}
    with rasterio.open(scene, "w", driver="GTiff", **size, **place) as target:
        target.write(pixels)
    found = []
    for device in ("cpu", DEVICE):
        output = tmp_path / device
        options = options_of(MODEL__DEVICE=device, TEST__SCENE__WINDOW=160, TEST__SCENE__STRIDE=128)
        given = ["--input", str(scene), "--output", str(output), "--vocabulary", WORDS, "--precision", "float32"]
        assert segment(["--config-file", CONFIG, *given, "--opts", *options]) == 0
        (labels,) = (path for path in output.rglob("*.tif"))
        with rasterio.open(labels) as raster:
            found.append(raster.read(1))
    assert found[0].shape == (320, 320)
    assert np.mean(found[0] != found[1]) <= 0.01


def test_two_processes_train_as_one(run_options):
    if torch.cuda.device_count() < 2:
        pytest.skip("fewer than two CUDA devices")
    curves = []
    for processes in (1, 2):
        folder = Path(run_options["OUTPUT_DIR"]).with_name(f"by_{processes}")
        options = options_of(**{**run_options, "OUTPUT_DIR": folder, "SOLVER__AMP__ENABLED": False})
        command = [sys.executable, "-m", "sgovss", "train", "--config-file", CONFIG, "--num-gpus", str(processes)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([*command, "--dist-url", "auto", *options], env=environment, timeout=600, check=False)
        assert done.returncode == 0
        curves.append(metrics_of(folder)[:4])
    for one, other in zip(*curves, strict=True):
        assert other == pytest.approx(one, rel=2e-2, abs=1e-5)
