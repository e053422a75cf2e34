"""Small CLIP models with random weights, one per kind of image encoder."""

from __future__ import annotations

import copy

import open_clip
import pytest
import torch
from torch import nn

from sgovss.modeling import SGOVSS, CLIPImageEncoder, CostVolumeHead
from sgovss.modeling.compensation import GeneralizationCompensation
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


@pytest.fixture
def clip(kind) -> nn.Module:
    torch.manual_seed(0)
    return open_clip.CLIP(32, {"image_size": 64, **VISION[kind]}, TEXT).eval()


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.from_string("building, road, tree|forest, water")


@pytest.fixture
def encoder(clip, kind) -> CLIPImageEncoder:
    return CLIPImageEncoder(visual=copy.deepcopy(clip).visual, tuning=TUNING[kind])


@pytest.fixture
def embedder(clip) -> TextEmbedder:
    tokenizer = open_clip.SimpleTokenizer(context_length=TEXT["context_length"])
    return TextEmbedder(clip=copy.deepcopy(clip), tokenizer=tokenizer, templates=("a RS photo of {}",))


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


@pytest.fixture
def model(encoder, embedder) -> SGOVSS:
    """A whole model at initialisation, in training mode."""
    torch.manual_seed(1)
    return SGOVSS(
        image_encoder=encoder,
        text_embedder=embedder,
        head=make_head(encoder.output_shape()),
        objective=PixelObjective("MASK", 255, least_share=0.1),
        compensation=GeneralizationCompensation(weights=(1.0, 1.0, 1.0, 1.0), pool=2, labelled=1.0, least_share=0.1),
        view=WholeImage(),
        pixel_mean=[120.0, 115.0, 105.0],
        pixel_std=[60.0, 60.0, 60.0],
    ).train()


def make_batch(vocabulary: Vocabulary, size: int = 64, images: int = 2) -> list[dict]:
    """Random images with random labels, some ignored."""
    generator = torch.Generator().manual_seed(2)
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
