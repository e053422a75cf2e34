"""Every full-size config builds with random weights, takes a training step and segments an image."""

from __future__ import annotations

import gc
import resource

import pytest
import torch

from sgovss.config import load_config
from sgovss.modeling import build_model
from sgovss.vocabulary import Vocabulary
from tests.modeling.conftest import make_batch, train_steps

GIGABYTE = 1024**2  # ru_maxrss counts in kB
SIZE = {"sgovss_convnext_b_640": 96, "sgovss_vitb16_384": 96, "sgovss_convnext_l_768": 96, "sgovss_vitl14_336": 84}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZE)
def test_config_builds_trains_and_segments(name):
    options = ["MODEL.CLIP.WEIGHTS", "random", "MODEL.DEVICE", "cpu", "TEST.SLIDING_WINDOW.ENABLED", "False"]
    model = build_model(load_config(f"{name}.yaml", options)).train()
    vocabulary = Vocabulary.from_string("building, road, tree|forest")
    batch = make_batch(vocabulary, size=SIZE[name], images=1)
    losses = train_steps(model, batch, steps=1)[0]
    assert {"loss_pixel", "loss_gcd"} == losses.keys()
    assert sum(value for key, value in losses.items() if key != "loss_pixel") == 0
    result = model.eval()(batch)[0]["sem_seg"]
    assert result.shape == (3, SIZE[name], SIZE[name])
    assert torch.isfinite(result).all()
    del model
    gc.collect()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 16 * GIGABYTE
