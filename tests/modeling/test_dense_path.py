"""Each kind of dense map of a ViT against its formula, written out one location and one head at a time."""

from __future__ import annotations

import copy
import math

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from sgovss.config import load_config
from sgovss.errors import InputError
from sgovss.modeling import CLIPImageEncoder
from sgovss.modeling.compensation import GeneralizationCompensation
from sgovss.modeling.meta_arch import SGOVSS
from sgovss.modeling.vit_blocks import DensePath, neighbour_bias
from tests.modeling.conftest import TEXT, VISION, make_batch, make_head, train_steps

KINDS = ["value", "qq", "qq+kk", "qq+kk+vv", "neighbours"]
COMPARED = {"value": "", "qq": "q", "qq+kk": "qk", "qq+kk+vv": "qkv", "neighbours": "k"}
GRID = (2, 5)


@pytest.fixture(params=KINDS)
def dense(request) -> str:
    return request.param


@pytest.fixture
def kind() -> str:
    """The transformer alone."""
    return "vit"


@pytest.fixture
def encoder(clip, dense) -> CLIPImageEncoder:
    return CLIPImageEncoder(visual=copy.deepcopy(clip).visual, tuning="attention", dense=dense)


@pytest.fixture
def last(clip):
    """CLIP's last block. Its weights are small at first, and softmax hardly differs from a mean; here it does."""
    block = clip.visual.transformer.resblocks[-1]
    torch.nn.init.normal_(block.attn.in_proj_weight, std=0.4)
    torch.nn.init.normal_(block.attn.in_proj_bias, std=0.4)
    torch.nn.init.normal_(block.attn.out_proj.bias, std=0.4)
    return block.requires_grad_(True)


def reference(block, x: torch.Tensor, dense: str, grid: tuple[int, int]) -> torch.Tensor:
    """(1 + h * w, C) -> (h * w, C) with open_clip's fused weights; the class token is the first."""
    width, head = x.shape[1], x.shape[1] // block.attn.num_heads
    projected = block.ln_1(x) @ block.attn.in_proj_weight.T + block.attn.in_proj_bias
    q, k, v = (projected[:, i * width : (i + 1) * width] for i in range(3))
    places = [(row, column) for row in range(grid[0]) for column in range(grid[1])]
    rows = []
    for i, (row, column) in enumerate(places, start=1):
        parts = []
        for first in range(0, width, head):
            part = slice(first, first + head)
            if dense == "value":
                parts.append(v[i, part])
                continue
            total = torch.zeros(head)
            for m in ({"q": q, "k": k, "v": v}[letter] for letter in COMPARED[dense]):
                logits = m[:, part] @ m[i, part] / math.sqrt(head)
                if dense == "neighbours":
                    squares = [(row - other) ** 2 + (column - another) ** 2 for other, another in places]
                    logits = logits + torch.tensor([0.0, *(math.exp(-square / 2) for square in squares)])
                weights = logits.exp() / logits.exp().sum()
                total = total + (weights[:, None] * v[:, part]).sum(dim=0)
            parts.append(total)
        rows.append(torch.cat(parts))
    return torch.stack(rows) @ block.attn.out_proj.weight.T + block.attn.out_proj.bias


def test_formula_and_its_gradients(last, dense):
    path = DensePath(last, dense)
    x = torch.randn(2, 1 + GRID[0] * GRID[1], 48, requires_grad=True)
    found = path(x, torch.Size(GRID))
    expected = torch.stack([reference(last, each, dense, GRID) for each in x])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    slopes = torch.randn_like(found)
    mine = torch.autograd.grad((found * slopes).sum(), [x, *path.parameters()])
    theirs = torch.autograd.grad((expected * slopes).sum(), [x, last.attn.in_proj_weight])
    torch.testing.assert_close(mine[0], theirs[0], atol=1e-4, rtol=1e-4)
    named = dict(zip([name for name, _ in path.named_parameters()], mine[1:], strict=True))
    assert all(gradient.abs().max() > 0 for gradient in named.values())
    for name, gradient in zip(("query", "key", "value"), theirs[1].chunk(3), strict=True):
        found_gradient = named.get(f"{name}.weight", torch.zeros_like(gradient))
        torch.testing.assert_close(found_gradient, gradient, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_dense_map_of_the_tower(clip, last, dense):
    visual = clip.visual
    images = torch.randn(2, 3, 64, 64)
    x = visual._embeds(images)
    for block in visual.transformer.resblocks[:-1]:
        x = block(x)
    values = torch.stack([reference(last, each, dense, (4, 4)) for each in x])
    expected = (visual.ln_post(values) @ visual.proj).transpose(1, 2).unflatten(2, (4, 4))
    found = CLIPImageEncoder(visual=copy.deepcopy(visual), tuning="none", dense=dense)(images)["dense"]
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_neighbours_with_equal_keys_blur_the_values(last):
    last.attn.in_proj_weight[48:96] = 0
    path = DensePath(last, "neighbours")
    x = torch.randn(1, 11, 48)
    values = path.value(path.ln_1(x))[0]
    places = [(row, column) for row in range(2) for column in range(5)]
    blurred = []
    for row, column in places:
        distances = [(row - other) ** 2 + (column - another) ** 2 for other, another in places]
        weights = torch.tensor([1.0, *(math.exp(math.exp(-distance / 2)) for distance in distances)])
        blurred.append((weights[:, None] * values).sum(dim=0) / weights.sum())
    torch.testing.assert_close(path(x, torch.Size(GRID))[0], path.output(torch.stack(blurred)), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_equal_queries_give_every_location_the_mean(last):
    last.attn.in_proj_weight[:48] = 0
    path = DensePath(last, "qq")
    x = torch.randn(1, 11, 48)
    mean = path.output(path.value(path.ln_1(x)).mean(dim=1, keepdim=True))
    torch.testing.assert_close(path(x, torch.Size(GRID)), mean.expand(1, 10, -1), atol=1e-5, rtol=1e-5)


def test_neighbour_bias_is_largest_at_the_location_and_symmetric():
    bias = neighbour_bias(torch.Size((3, 4)), torch.zeros(1))
    assert bias.shape == (12, 13)
    assert bias[:, 0].eq(0).all()
    assert bias[:, 1:].diagonal().eq(1).all() and bias.max() == 1
    assert torch.equal(bias[:, 1:], bias[:, 1:].T)
    assert bias[0, 2] == bias[0, 5] == pytest.approx(math.exp(-0.5))  # to the right, below


def test_value_has_the_weights_of_earlier_versions(clip):
    encoder = CLIPImageEncoder(visual=clip.visual, tuning="none")
    names = [name for name in encoder.state_dict() if "value_path" in name]
    parts = ("ln_1", "value", "output")
    assert names == [f"tower.value_path.{part}.{what}" for part in parts for what in ("weight", "bias")]
    x = torch.randn(2, 11, 48)
    block = clip.visual.transformer.resblocks[-1]
    weight, bias = block.attn.in_proj_weight[96:], block.attn.in_proj_bias[96:]
    expected = block.attn.out_proj(F.linear(block.ln_1(x[:, 1:]), weight, bias))
    assert torch.equal(encoder.tower.value_path(x, torch.Size(GRID)), expected)


def test_attention_tuning_has_the_query_of_the_last_block_if_it_is_used(encoder, dense):
    tuned = {name for name, p in encoder.tower.value_path.named_parameters() if p.requires_grad}
    parts = ["query", "value"] if dense.startswith("qq") else ["value"]
    assert tuned == {f"{part}.{what}" for part in parts for what in ("weight", "bias")}


@pytest.mark.parametrize("tuning", ["attention", "full"])
def test_training_starts_at_the_frozen_encoder_and_reaches_every_parameter(model, clip, vocabulary, dense, tuning):
    encoder = CLIPImageEncoder(visual=copy.deepcopy(clip).visual, tuning=tuning, dense=dense)
    parts = {name: getattr(model, name) for name in ("text_embedder", "objective", "view")}
    compensation = GeneralizationCompensation(weights=(1.0,) * 4, pool=2, labelled=1.0, least_share=0.1)
    statistics = {"pixel_mean": [120.0, 115.0, 105.0], "pixel_std": [60.0, 60.0, 60.0]}
    head = make_head(encoder.output_shape())
    model = SGOVSS(image_encoder=encoder, head=head, compensation=compensation, **parts, **statistics).train()
    history = train_steps(model, make_batch(vocabulary), steps=2)
    assert [sum(value for name, value in losses.items() if "gc" in name) > 0 for losses in history] == [False, True]
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_recomputing_gives_the_same_gradients(clip, encoder, dense):
    frugal = CLIPImageEncoder(visual=copy.deepcopy(clip).visual, tuning="attention", dense=dense, recompute=True)
    images = torch.randn(1, 3, 32, 80)
    for each in (encoder, frugal):
        each(images)["dense"].square().sum().backward()
    expected = {name: p.grad for name, p in encoder.named_parameters() if p.requires_grad}
    torch.testing.assert_close({n: p.grad for n, p in frugal.named_parameters() if p.requires_grad}, expected)


@torch.no_grad()
def test_padding_in_half_precision_is_not_attended_to(encoder, monkeypatch):
    images = torch.randn(1, 3, 32, 80)
    with torch.autocast("cpu", torch.bfloat16):
        padded = encoder(images)["dense"]
        monkeypatch.setattr("sgovss.modeling.vit_tower._ROWS", 1)
        torch.testing.assert_close(padded, encoder(images)["dense"], atol=0.02, rtol=0.02)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
def test_devices_and_dtypes_agree_on_a_gpu(dense, precision):
    """A tensor of the wrong device or dtype is an error with fake CUDA tensors too, and they need no GPU."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    with FakeTensorMode():
        with torch.device("cuda"):
            visual = open_clip.CLIP(32, {"image_size": 64, **VISION["vit"]}, TEXT).visual
            encoder = CLIPImageEncoder(visual=visual, tuning="full", dense=dense)
        torch.set_autocast_enabled("cuda", precision != torch.float32)
        torch.set_autocast_dtype("cuda", precision)
        try:
            found = encoder(torch.empty(2, 3, 32, 80, device="cuda"))["dense"]
        finally:
            torch.set_autocast_enabled("cuda", before[0])
            torch.set_autocast_dtype("cuda", before[1])
    assert (found.shape, found.device.type, found.dtype) == ((2, 32, 2, 5), "cuda", precision)


def test_kinds_in_the_config():
    for name in KINDS:
        cfg = load_config("sgovss_tiny.yaml", ["MODEL.CLIP.DENSE", name])
        assert name == cfg.MODEL.CLIP.DENSE
    with pytest.raises(InputError, match=r"MODEL\.CLIP\.DENSE: 'kk' is not allowed; use value, qq, qq\+kk"):
        load_config("sgovss_tiny.yaml", ["MODEL.CLIP.DENSE", "kk"])


def test_a_kind_that_cannot_be_is_an_error(clip):
    with pytest.raises(InputError, match=r"MODEL\.CLIP\.DENSE: 'kk' is not allowed"):
        CLIPImageEncoder(visual=clip.visual, tuning="none", dense="kk")
    convolutional = open_clip.CLIP(32, {"image_size": 64, **VISION["convnext"]}, TEXT).visual
    with pytest.raises(InputError, match=r"MODEL\.CLIP\.DENSE: 'qq' needs a ViT; use 'value'"):
        CLIPImageEncoder(visual=convolutional, tuning="none", dense="qq")
