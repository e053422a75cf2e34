"""Small CLIP models with random weights, one per kind of image encoder."""

from __future__ import annotations

import copy
import functools
from unittest.mock import patch

import open_clip
import pytest
import torch
from detectron2.config import CfgNode
from torch import nn

from sgovss.modeling import SGOVSS, CLIPImageEncoder, CostVolumeHead, build_model
from sgovss.modeling.compensation import GeneralizationCompensation
from sgovss.modeling.layers import ZeroGate
from sgovss.modeling.objective import PixelObjective
from sgovss.modeling.text_embedder import TextEmbedder
from sgovss.modeling.views import WholeImage
from sgovss.vocabulary import Vocabulary

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VISION = {
    # timm's test_convnext has stages at strides 4 to 32, and stochastic depth to be kept off.
    "convnext": {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "mlp", "timm_drop_path": 0.5},
    "vit": {"image_size": 64, "layers": 4, "width": 48, "head_width": 16, "patch_size": 16},
}
TUNING = {"convnext": "full", "vit": "attention"}


@pytest.fixture(params=sorted(VISION))
def kind(request) -> str:
    """Each kind of image encoder in turn."""
    return request.param


def make_clip(kind: str) -> nn.Module:
    """A small CLIP model with random weights."""
    torch.manual_seed(0)
    return open_clip.CLIP(32, {"image_size": 64, **VISION[kind]}, TEXT).eval()


@pytest.fixture
def clip(kind) -> nn.Module:
    return make_clip(kind)


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.from_string("building, road, tree|forest, water")


def make_encoder(clip: nn.Module, tuning: str) -> CLIPImageEncoder:
    """The image encoder of a small CLIP model."""
    return CLIPImageEncoder(visual=copy.deepcopy(clip).visual, tuning=tuning)


@pytest.fixture
def encoder(clip, kind) -> CLIPImageEncoder:
    return make_encoder(clip, TUNING[kind])


@functools.cache
def small_tokenizer() -> open_clip.SimpleTokenizer:
    return open_clip.SimpleTokenizer(context_length=TEXT["context_length"])


def make_embedder(clip: nn.Module) -> TextEmbedder:
    """The text embedder of a small CLIP model."""
    return TextEmbedder(clip=copy.deepcopy(clip), tokenizer=small_tokenizer(), templates=("a RS photo of {}",))


@pytest.fixture
def embedder(clip) -> TextEmbedder:
    return make_embedder(clip)


def make_head(input_shape, **changes) -> CostVolumeHead:
    """A small head; keyword arguments replace single arguments."""
    settings = {
        "bias_guidance": True,
        "decoder": True,
        "visual_guidance": True,
        "text_guidance": True,
        "hidden_dim": 32,
        "heads": 2,
        "bias_tokens": 1,
        "text_share": 1.0,
        "decoder_dims": (16, 12, 8),
        "decoder_kernel": 3,
        "guidance_dim": 8,
        "logit_scale": 20.0,
        "logit_bias": -5.0,
    }
    return CostVolumeHead(input_shape=input_shape, **{**settings, **changes})


def make_model(encoder: CLIPImageEncoder, embedder: TextEmbedder, **changes) -> SGOVSS:
    """A whole model at initialisation, in training mode; keyword arguments replace single arguments."""
    torch.manual_seed(1)
    settings = {
        "head": make_head(encoder.output_shape()),
        "objective": PixelObjective("MASK", 255, least_share=0.1),
        "compensation": make_compensation(),
        "view": WholeImage(),
        "pixel_mean": [120.0, 115.0, 105.0],
        "pixel_std": [60.0, 60.0, 60.0],
    }
    return SGOVSS(image_encoder=encoder, text_embedder=embedder, **{**settings, **changes}).train()


def make_compensation(labelled: float = 1.0) -> GeneralizationCompensation:
    return GeneralizationCompensation(weights=(1.0, 1.0, 1.0, 1.0), pool=2, labelled=labelled, least_share=0.1)


@pytest.fixture
def model(encoder, embedder) -> SGOVSS:
    return make_model(encoder, embedder)


def build_small(cfg: CfgNode, kind: str = "convnext") -> SGOVSS:
    """The model of a config, with a small CLIP in place of the config's, in training mode."""
    with (
        patch("sgovss.modeling.meta_arch.load_clip", lambda *_: make_clip(kind)),
        patch("sgovss.modeling.text_embedder.LazyTokenizer", lambda _: small_tokenizer()),
    ):
        torch.manual_seed(1)
        return build_model(cfg)


def open_gates(module: nn.Module) -> None:
    """Make every part of a model at initialisation take part in the result."""
    generator = torch.Generator().manual_seed(5)
    for each in module.modules():
        if isinstance(each, ZeroGate):
            each.scale.data = torch.randn(each.scale.shape, generator=generator)


def make_batch(vocabulary: Vocabulary, size: int = 64, images: int = 2, seed: int = 2) -> list[dict]:
    """Random images with random labels, some ignored."""
    generator = torch.Generator().manual_seed(seed)
    batch = []
    for _ in range(images):
        labels = torch.randint(0, len(vocabulary), (size, size), generator=generator)
        labels[:4] = 255
        image = torch.randint(0, 256, (3, size, size), generator=generator, dtype=torch.uint8)
        batch.append({"image": image, "sem_seg": labels, "vocabulary": vocabulary})
    return batch


def train_steps(model: nn.Module, batch: list[dict], steps: int, rate: float = 0.003) -> list[dict[str, float]]:
    """A few steps of AdamW; returns the losses of each step."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    history = []
    for _ in range(steps):
        losses = model(batch)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        history.append({name: value.item() for name, value in losses.items()})
    return history
