"""Small models with random weights, in inference mode, and the embedded one."""

from __future__ import annotations

import copy

import open_clip
import pytest
import torch
from torch import nn

import sgovss
from sgovss.inference.views import WholeImage
from sgovss.modeling import SGOVSS, CLIPImageEncoder
from sgovss.modeling.layers import ZeroGate
from sgovss.modeling.objective import PixelObjective
from sgovss.modeling.text_embedder import TextEmbedder
from tests.modeling.conftest import TEXT, TUNING, VISION, make_head


def awake(model: SGOVSS) -> SGOVSS:
    """With every gate open, or most of the model would make no difference to its scores."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, ZeroGate):
            nn.init.normal_(module.scale, std=0.5, generator=generator)
    return model


@pytest.fixture(scope="session", params=sorted(VISION))
def model(request: pytest.FixtureRequest) -> SGOVSS:
    """Each kind of image tower in turn."""
    torch.manual_seed(0)
    clip = open_clip.CLIP(32, {"image_size": 64, **VISION[request.param]}, TEXT).eval()
    encoder = CLIPImageEncoder(visual=copy.deepcopy(clip).visual, tuning=TUNING[request.param])
    tokenizer = open_clip.SimpleTokenizer(context_length=TEXT["context_length"])
    return awake(
        SGOVSS(
            image_encoder=encoder,
            text_embedder=TextEmbedder(clip=clip, tokenizer=tokenizer, templates=("{}", "a photo of {}")),
            head=make_head(encoder.output_shape()),
            objective=PixelObjective("MASK", 255),
            compensation=None,
            view=WholeImage(),
            pixel_mean=[120.0, 115.0, 105.0],
            pixel_std=[60.0, 60.0, 60.0],
        ).eval()
    )


@pytest.fixture(scope="session")
def predictor() -> sgovss.Predictor:
    """The embedded model."""
    predictor = sgovss.Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu"))
    awake(predictor.model)
    return predictor
