"""Every model computes on a CUDA device without mixing devices or number formats, as far as shapes and types tell.

The tensors are torch's fake ones: they have a device, a dtype and a shape, but no values. So a GPU is not needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from sgovss.config import load_config
from sgovss.modeling import build_model
from sgovss.modeling.meta_arch import SGOVSS
from sgovss.modeling.text_embedder import TextEmbeddings
from sgovss.modeling.views import SlidingWindow
from sgovss.precision import PRECISIONS
from sgovss.vocabulary import Vocabulary

# Each kind of tower and each number format once in half precision, and a transformer in full; the head is the same.
RUNS = [
    pytest.param("sgovss_vitb16_384", "float32", marks=pytest.mark.slow),
    ("sgovss_vitb16_384", "bfloat16"),
    pytest.param("sgovss_convnext_b_640", "bfloat16", marks=pytest.mark.slow),
    ("sgovss_tiny", "float16"),
]
LARGE = ["sgovss_vitl14_336", "sgovss_convnext_l_768"]  # with the same parts as the small ones
VOCABULARY = Vocabulary.from_string("building, road, tree|forest")
OWNERS = [0, 1, 2, 2]


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest) -> SGOVSS:
    """The model of a config. To save time its weights are not initialised, and it has few blocks."""
    cfg = load_config(f"{request.param}.yaml", ["MODEL.DEVICE", "cpu", "MODEL.CLIP.WEIGHTS", "random"])
    with pytest.MonkeyPatch.context() as patch:
        for module in (nn.init, torch.Tensor):
            for name in dir(module):
                if name.endswith(("normal_", "uniform_")) and not name.startswith("_"):
                    patch.setattr(module, name, lambda tensor, *_, **__: tensor)
        built = build_model(cfg)
    assert isinstance(built, SGOVSS)
    for encoder in (built.image_encoder, built.frozen_encoder):
        leave_out_repeated_blocks(encoder)
    return built


class Skipped(nn.Module):
    """In the place of a block, returns its input."""

    def forward(self, x: torch.Tensor, *_: object) -> torch.Tensor:
        return x


def leave_out_repeated_blocks(encoder: nn.Module) -> None:
    """Keep the first of blocks that do the same with tensors of the same shape."""
    for blocks in encoder.modules():
        if isinstance(blocks, nn.Sequential | nn.ModuleList):
            shapes = [[weight.shape for weight in block.parameters()] for block in blocks]
            for index in range(1, len(blocks)):
                if shapes[index] and shapes[index] == shapes[index - 1]:
                    blocks[index] = Skipped()


@pytest.fixture(autouse=True)
def autocast_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let autocast take effect on CUDA tensors although torch finds no device."""
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda *_, **__: True)


Tables = dict[str, torch.Tensor | None]


def tables_of(module: nn.Module) -> Iterator[tuple[nn.Module, Tables]]:
    """The parts of a module, each with the tables of its parameters and of its buffers."""
    for part in module.modules():
        yield part, part._parameters
        yield part, part._buffers


@contextlib.contextmanager
def faked(model: SGOVSS, device: str) -> Iterator[None]:
    """Context in which all weights of a model are fake tensors on a device."""
    before = [(table, dict(table)) for _, table in tables_of(model)]
    with FakeTensorMode():
        for _, table in tables_of(model):
            fake_weights(table, device)
        channels = model.image_encoder.output_shape()["dense"].channels
        embeddings = torch.empty(len(OWNERS), channels, device=device)
        model.text_embedder._cache[VOCABULARY] = TextEmbeddings(embeddings, torch.tensor(OWNERS, device=device))
        yield
    model.text_embedder._forget()
    for table, content in before:
        table.update(content)


def fake_weights(table: Tables, device: str, dtype: torch.dtype | None = None) -> None:
    """Replace the weights of a table, in place, by fake ones of the same shape."""
    for name, weight in table.items():
        if weight is not None:
            fake = torch.empty_strided(weight.shape, weight.stride(), dtype=dtype or weight.dtype, device=device)
            is_parameter = isinstance(weight, nn.Parameter)
            table[name] = nn.Parameter(fake, weight.requires_grad) if is_parameter else fake


def inputs(model: SGOVSS) -> list[dict]:
    """Two images with labels, on the host."""
    size = 4 * model.image_encoder.size_divisibility
    labels = torch.zeros(size, size, dtype=torch.uint8)
    image = torch.zeros(3, size, size, dtype=torch.uint8)
    return [{"image": image, "sem_seg": labels, "vocabulary": VOCABULARY}] * 2


def losses_of(model: SGOVSS, precision: str, device: str) -> dict[str, torch.Tensor]:
    model.train()
    with torch.autocast(device, dtype=PRECISIONS[precision], enabled=precision != "float32"):
        return model(inputs(model))


def scores_of(model: SGOVSS, precision: str) -> torch.Tensor:
    """Scores of two images, with the weights of some layers in ``precision``, as the predictor casts them."""
    for part, table in (pair for module in (model.image_encoder, model.head) for pair in tables_of(module)):
        if isinstance(part, nn.Linear | nn.Conv2d):
            fake_weights(table, "cuda", PRECISIONS[precision])
    images = torch.stack([entry["image"] for entry in inputs(model)]).to("cuda")
    return model.eval().scores(images, VOCABULARY)


def assert_on_device(losses: dict[str, torch.Tensor]) -> None:
    assert {(loss.device.type, loss.dtype) for loss in losses.values()} == {("cuda", torch.float32)}


@pytest.mark.parametrize(("model", "precision"), RUNS, indirect=["model"])
def test_training_computes_its_losses_on_the_device(model, precision):
    with faked(model, "cuda"):
        assert_on_device(losses_of(model, precision, "cuda"))


@pytest.mark.slow
@pytest.mark.parametrize(("model", "precision"), RUNS[1:], indirect=["model"])
def test_the_backward_pass_mixes_no_number_formats(model, precision):
    """On the CPU: for CUDA tensors, even fake ones, torch's backward pass needs a device."""
    with faked(model, "cpu"):
        sum(losses_of(model, precision, "cpu").values()).backward()
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        assert all(weight.grad is not None and weight.grad.dtype == torch.float32 for weight in weights)


@pytest.mark.parametrize(("model", "precision"), RUNS, indirect=["model"])
def test_inference_computes_its_scores_on_the_device(model, precision, monkeypatch):
    monkeypatch.setattr(model, "precision", precision)
    with faked(model, "cuda"), torch.no_grad():
        scores = scores_of(model, precision)
        assert (scores.device.type, scores.dtype, scores.shape[1]) == ("cuda", torch.float32, 3)


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("model", LARGE, indirect=True)
def test_the_large_models_compute_on_the_device_too(model, monkeypatch):
    monkeypatch.setattr(model, "precision", "bfloat16")
    with faked(model, "cuda"):
        assert_on_device(losses_of(model, "bfloat16", "cuda"))
        with torch.no_grad():
            assert scores_of(model, "bfloat16").device.type == "cuda"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["sgovss_vitb16_384"], indirect=True)
def test_windows_are_averaged_on_the_device(model):
    assert isinstance(model.view, SlidingWindow)
    with faked(model, "cuda"):
        scores = model.eval()(inputs(model)[:1])[0]["sem_seg"]
        assert (scores.device.type, scores.dtype, len(scores)) == ("cuda", torch.float32, 3)
