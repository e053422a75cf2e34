"""The image path gives the scores of the model, directly and from a file, for any sizes and names."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

import sgovss
from sgovss.errors import InputError
from sgovss.export.image_path import TOLERANCE, ImagePath, Run, expect_equal, starts_of, trace
from sgovss.export.onnx_file import OnnxImagePath, write_onnx
from sgovss.modeling import SGOVSS
from sgovss.vocabulary import ClassEntry, Vocabulary
from tests.fixtures.exports import make_model

MANY = Vocabulary([ClassEntry(f"thing {index}") for index in range(30)])
WORDS = "tree|forest|wood, road, water|sea"
CASES = [
    ((1, 64, 64), "building"),
    ((1, 64, 64), WORDS),
    ((3, 33, 70), WORDS),
    ((1, 256, 97), MANY),
    ((2, 97, 256), "building|house"),
]
SMALLER_THAN_THE_DIVISOR = [((1, 12, 15), WORDS), ((2, 1, 40), "building, road"), ((1, 1, 1), "building")]


@torch.no_grad()
def differences(model: SGOVSS, run: Run, cases: list) -> list[float]:
    """The largest difference from the scores of the model in each case."""
    found = []
    for (batch, *size), words in cases:
        images = torch.randint(0, 256, (batch, 3, *size), generator=torch.Generator().manual_seed(4))
        vocabulary = words if isinstance(words, Vocabulary) else Vocabulary.from_string(words)
        text = model.text_embedder(vocabulary)
        scores = run(images.float(), text.embeddings, starts_of(text.owners, len(vocabulary)))
        expected = model.scores(images, vocabulary)
        assert scores.shape == expected.shape == (batch, len(vocabulary), *size)
        found.append((scores - expected).abs().max().item())
    return found


def test_the_path_equals_the_model_and_does_not_change_it(model):
    before = copy.deepcopy(model.state_dict())
    path = ImagePath(model)
    assert max(differences(model, path, CASES + SMALLER_THAN_THE_DIVISOR)) < 1e-6
    assert not [name for name, _ in path.named_parameters() if "text_embedder" in name]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [parameter for parameter in model.parameters() if parameter.requires_grad]


def test_padding_in_advance_equals_padding_by_the_size(predictor: sgovss.Predictor):
    """Only the embedded model has such convolutions."""
    path = ImagePath(predictor.model)
    kinds = {type(module).__name__ for module in path.modules()}, {type(m).__name__ for m in predictor.model.modules()}
    assert ["_PaddedConvolution" in names for names in kinds] == [True, False]
    assert max(differences(predictor.model, path, CASES + SMALLER_THAN_THE_DIVISOR)) < 1e-6


def test_classes_start_at_their_names():
    assert starts_of(torch.tensor([0, 0, 0, 1, 2, 2]), 3).tolist() == [0, 3, 4]
    assert starts_of(torch.arange(4), 4).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("wrong", [2 * TOLERANCE, float("nan")])
def test_a_file_that_differs_is_refused(model, wrong):
    path = ImagePath(model)
    assert expect_equal(model, path, 96, "m.onnx") < 1e-6
    with pytest.raises(InputError, match="scores differ from the model's"):
        expect_equal(model, lambda *inputs: path(*inputs) + wrong, 96, "m.onnx")


@pytest.mark.slow
def test_onnx_at_other_sizes_and_names(model, tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx', and Python 3.11")
    write_onnx(trace(model), {"config": ""}, tmp_path / "model.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    run = OnnxImagePath(tmp_path / "model.onnx")
    assert max(differences(model, run, CASES + SMALLER_THAN_THE_DIVISOR)) < TOLERANCE / 10


@pytest.mark.slow
@pytest.mark.parametrize("dense", ["qq+kk+vv", "neighbours"])
def test_onnx_with_attention_for_the_dense_map(dense, tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx', and Python 3.11")
    model = make_model("vit", dense)
    write_onnx(trace(model), {"config": ""}, tmp_path / "model.onnx")
    assert max(differences(model, OnnxImagePath(tmp_path / "model.onnx"), CASES)) < TOLERANCE / 10


@pytest.mark.slow
def test_torch_export_at_other_sizes_and_names(model, tmp_path: Path):
    torch.export.save(trace(model), tmp_path / "model.pt2")
    run = torch.export.load(tmp_path / "model.pt2").module(check_guards=False)
    assert max(differences(model, run, CASES)) < TOLERANCE / 10
