"""Tests of ``sgovss export``, and of ``sgovss segment`` with the exported file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import sgovss
from sgovss.engine.checkpoint import save_inference_checkpoint
from sgovss.export.onnx_predictor import OnnxPredictor
from sgovss.inference.rejection import Rejection
from sgovss.synthetic import generate_image

pytest.importorskip("onnxruntime", reason="needs the extra 'onnx', and Python 3.11")

WORDS = "building|house, road, tree|forest|wood, water"


class Files(NamedTuple):
    checkpoint: Path
    onnx: Path


@pytest.fixture(scope="module")
def files(predictor, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A checkpoint and the file that the command exports from it."""
    folder = tmp_path_factory.mktemp("model")
    files = Files(folder / "model.pth", folder / "export" / "model.onnx")
    cfg = predictor.cfg.clone()
    cfg.MODEL.CLIP.WEIGHTS = "embedded"
    save_inference_checkpoint(predictor.model, cfg, files.checkpoint)
    arguments = ["--config-file", "sgovss_tiny.yaml", "--output", files.onnx, "--size", "96"]
    result = run(checkout / "tools/export_model.py", *arguments, "--opts", "MODEL.WEIGHTS", files.checkpoint)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "batch, height, width, class names and classes are free" in result.stdout
    assert "scores differ from the model's by" in result.stdout
    assert [file.name for file in files.onnx.parent.iterdir()] == ["model.onnx"]
    return files


def run(script: Path, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, script, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment, check=False)


@pytest.mark.slow
def test_the_demo_gives_the_same_labels_from_onnx_and_from_the_checkpoint(files: Files, checkout: Path, tmp_path: Path):
    """Photographs and, if the extra geo is installed, a raster in windows."""
    (tmp_path / "images").mkdir()
    for name, size in (("a.png", (96, 96)), ("b.jpg", (70, 131)), ("c.tif", (150, 180))):
        image = generate_image(7, size=256, style="b").image[: size[0], : size[1]]
        Image.fromarray(image).save(tmp_path / "images" / name)
    more = ["--input", tmp_path / "images", "--vocabulary", WORDS, "--background", "ground"]
    windows = ["TEST.SCENE.WINDOW", "96", "TEST.SCENE.STRIDE", "64"]
    torch_model = ["--config-file", "sgovss_tiny.yaml", "--precision", "float32"]  # the precision of the file
    for name, model in (
        ("onnx", ["--onnx", files.onnx, "--opts"]),
        ("torch", [*torch_model, "--opts", "MODEL.WEIGHTS", files.checkpoint]),
    ):
        result = run(checkout / "demo/demo.py", *more, "--output", tmp_path / name, *model, *windows)
        assert result.returncode == 0, result.stderr[-2000:]
    labels = sorted(path.name for path in (tmp_path / "torch").glob("*_labels.*") if path.suffix in (".png", ".tif"))
    assert len(labels) == 3
    for file in labels:
        found, expected = (np.asarray(Image.open(tmp_path / name / file)) for name in ("onnx", "torch"))
        # If two classes have equal scores up to rounding, both are right.
        assert (found != expected).mean() < 1e-3
        assert len(np.unique(expected)) > 1
    assert json.loads((tmp_path / "onnx" / "run.json").read_text())["model"] == str(files.onnx)


@pytest.mark.slow
@pytest.mark.parametrize("view", [(), ("TEST.SLIDING_WINDOW.ENABLED", "True"), ("TEST.AUG.ENABLED", "True")])
def test_predictors_agree(files: Files, view: tuple[str, ...]):
    small = ("TEST.SLIDING_WINDOW.WINDOW", "64", "TEST.SLIDING_WINDOW.STRIDE", "48", "TEST.AUG.MIN_SIZES", "(96,)")
    options = (*view, *small)
    expected = sgovss.Predictor("sgovss_tiny.yaml", weights=files.checkpoint, options=("MODEL.DEVICE", "cpu", *options))
    found = OnnxPredictor(files.onnx, options)
    assert found.fingerprint not in (expected.fingerprint, OnnxPredictor(files.onnx, ("MODEL.CLIP.TEMPLATES", "plain")))
    image = generate_image(5, size=100, style="b").image
    results = [predict(image, WORDS, Rejection(0.1)) for predict in (found, expected)]
    np.testing.assert_allclose(results[0].scores, results[1].scores, atol=1e-5)
    assert (results[0].labels != results[1].labels).mean() < 1e-3
    assert results[0].legend == results[1].legend


@pytest.fixture
def script(load_script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, predictor) -> ModuleType:
    """The command without its slow parts: the model is loaded already, and files have no content."""
    script = import_module("sgovss.commands.export")
    monkeypatch.setattr(script, "Predictor", lambda *_, **__: predictor)
    monkeypatch.setattr(script, "trace", lambda model: None)
    monkeypatch.setattr(script, "write_onnx", lambda program, metadata, path: path.write_text("model"))
    return script


def test_a_file_that_differs_is_not_left_behind(script, monkeypatch, tmp_path, capsys):
    (tmp_path / "model.onnx").write_text("an earlier one")
    wrong = lambda images, embeddings, starts: torch.zeros(len(images), len(starts), *images.shape[-2:])  # noqa: E731
    monkeypatch.setattr(script, "OnnxImagePath", lambda path: wrong)
    assert script.main(["--config-file", "x", "--output", str(tmp_path / "model.onnx"), "--size", "64"]) == 2
    assert "model.onnx: scores differ from the model's by" in capsys.readouterr().err
    assert [file.read_text() for file in tmp_path.iterdir()] == ["an earlier one"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "model.pt2"], "--output model.pt2: give a name that ends in .onnx, as files of --format onnx do"),
        (
            ["--output", "model.onnx", "--format", "torch"],
            "--output model.onnx: give a name that ends in .pt2, as files of --format torch do",
        ),
        (["--output", "model.onnx", "--size", "40"], "--size 40: give at least 64"),
    ],
)
def test_wrong_input_ends_in_one_clear_line(script, arguments, message, capsys):
    assert script.main(["--config-file", "x", *arguments]) == 2
    assert message in capsys.readouterr().err
