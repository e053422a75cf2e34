"""Pooling, for which ONNX has no operator, and files that cannot be used."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim

import sgovss
from sgovss.export.onnx_file import OPSET, OnnxImagePath, _adaptive_average, metadata_of

onnx = pytest.importorskip("onnx", reason="needs the extra 'onnx'")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'onnx', and Python 3.11")

WORDS = "building, road"


class Pool(nn.Module):
    """Pools onto a fixed grid, and onto the grid of another map."""

    def forward(self, maps: torch.Tensor, grid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return F.adaptive_avg_pool2d(maps, 4), F.adaptive_avg_pool2d(maps, grid.shape[-2:])


@pytest.mark.slow
def test_pooling_onto_any_grid_equals_torch(tmp_path: Path):
    free = {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    inputs = torch.zeros(2, 3, 11, 13), torch.zeros(1, 1, 7, 9)
    program = torch.export.export(Pool(), inputs, dynamic_shapes=({0: Dim.DYNAMIC, **free}, free))
    table = {torch.ops.aten.adaptive_avg_pool2d.default: _adaptive_average}
    exported = torch.onnx.export(program, opset_version=OPSET, custom_translation_table=table, verbose=False)
    exported.save(tmp_path / "pool.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "pool.onnx")
    names = [node.name for node in session.get_inputs()]
    for shape, grid in [
        ((2, 3, 11, 13), (7, 9)),
        ((1, 3, 1, 3), (1, 2)),
        ((1, 3, 5, 64), (5, 16)),
        ((3, 3, 9, 2), (4, 2)),
    ]:
        maps = torch.randn(shape)
        found = session.run(None, dict(zip(names, (maps.numpy(), np.zeros((1, 1, *grid), np.float32)), strict=True)))
        for part, onto in zip(found, (4, grid), strict=True):
            torch.testing.assert_close(torch.from_numpy(part), F.adaptive_avg_pool2d(maps, onto))


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes an ONNX model with metadata; the model returns its images."""

    def write(**metadata: str) -> Path:
        images = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [None, 3, None, None])
        scores = onnx.helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [None, 3, None, None])
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["images"], ["scores"])], "same", [images], [scores]
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)
        onnx.helper.set_model_props(model, {f"sgovss.{key}": value for key, value in metadata.items()})
        onnx.save(model, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return write


@pytest.fixture
def refusal(load_script, tmp_path: Path, capsys) -> Callable[..., str]:
    """A function that runs 'sgovss segment' with an ONNX file that cannot be used and returns the printed line."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"")

    def run(path: Path, *more: str) -> str:
        arguments = {
            "--onnx": path,
            "--input": tmp_path / "images",
            "--vocabulary": WORDS,
            "--output": tmp_path / "out",
        }
        flat = [str(part) for pair in arguments.items() for part in pair]
        assert import_module("sgovss.commands.segment").main([*flat, *more]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert [path for path in (tmp_path / "out").glob("*") if path.name != ".lock"] == []
        assert lines[-1].startswith("error: ")
        return lines[-1]

    return run


def test_files_that_sgovss_did_not_write(refusal, write_model, tmp_path):
    assert "nowhere.onnx: no such file" in refusal(tmp_path / "nowhere.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    assert "text.onnx: onnxruntime cannot read this as an ONNX model" in refusal(tmp_path / "text.onnx")
    (tmp_path / "empty.onnx").touch()
    assert "empty.onnx: onnxruntime cannot read this" in refusal(tmp_path / "empty.onnx")
    assert "not one that 'sgovss export' wrote" in refusal(write_model())


def test_without_onnxruntime(refusal, write_model, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "onnx" in name else find_spec(name))
    assert "and the package onnxruntime: pip install 'sgovss[onnx]'" in refusal(write_model())


def test_options_that_are_fixed_in_the_file_cannot_be_changed(refusal, write_model, predictor: sgovss.Predictor):
    path = write_model(**metadata_of(predictor.model, predictor.cfg))
    assert "MODEL.SGOVSS.DECODER is fixed in" in refusal(path, "--opts", "MODEL.SGOVSS.DECODER", "False")
    assert "MODEL.WEIGHTS is fixed in" in refusal(path, "--opts", "MODEL.WEIGHTS", "model.pth")
    assert "there is no key 'TEST.NOTHING'" in refusal(path, "--opts", "TEST.NOTHING", "1")
    assert "--cache stores encoded windows" in refusal(path, "--cache", "cache")


def test_another_text_encoder_is_refused(refusal, write_model, predictor: sgovss.Predictor):
    metadata = metadata_of(predictor.model, predictor.cfg)
    message = refusal(write_model(**{**metadata, "text_encoder_sha256": "0"}))
    assert "MODEL.CLIP.WEIGHTS: the text encoder of 'embedded' is not the one that" in message


def test_a_config_of_another_version_is_refused(refusal, write_model, predictor: sgovss.Predictor):
    metadata = metadata_of(predictor.model, predictor.cfg)
    config = metadata["config"].replace("BIAS_TOKENS", "FUTURE_TOKENS")
    assert "its config is of another version of sgovss" in refusal(write_model(**{**metadata, "config": config}))


def test_a_file_holds_metadata_of_the_model(write_model, predictor: sgovss.Predictor):
    metadata = OnnxImagePath(write_model(**metadata_of(predictor.model, predictor.cfg))).metadata
    assert (metadata["version"], metadata["model"], metadata["size_divisibility"]) == (sgovss.__version__, "tiny", "32")
    assert json.loads(metadata["templates"]) == list(predictor.model.text_embedder.templates)
