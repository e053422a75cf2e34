"""Keys that change what is trained: parts switched off, detached levels, losses of the decoder's stages."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from sgovss.config import load_config
from sgovss.engine.trainer import Trainer
from sgovss.modeling import decoder
from sgovss.vocabulary import Vocabulary
from tests.modeling.conftest import make_batch, make_head, train_steps

SWITCHES = ("bias_guidance", "decoder", "visual_guidance", "text_guidance")
OFF = ((), *itertools.combinations(SWITCHES, 1), ("visual_guidance", "text_guidance"), SWITCHES)


@pytest.mark.parametrize("off", OFF, ids=" ".join)
def test_every_trained_parameter_has_a_gradient_whatever_is_switched_off(model, vocabulary, off):
    """DistributedDataParallel ends with an error at a parameter without a gradient."""
    model.head = make_head(model.image_encoder.output_shape(), **dict.fromkeys(off, False))
    batch = make_batch(vocabulary)
    train_steps(model, batch, steps=2)  # opens the gates
    model.zero_grad(set_to_none=True)
    sum(model(batch).values()).backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_detached_levels_train_the_encoder_through_the_dense_map_only(model, vocabulary):
    head = make_head(model.image_encoder.output_shape(), detach_levels=True)
    maps = model.image_encoder(torch.randn(1, 3, 64, 64))
    levels = {name: features.detach().requires_grad_() for name, features in maps.items()}
    text = model.text_embedder(vocabulary).embeddings
    head.train()(levels, text).sum().backward()
    assert {name for name, x in levels.items() if x.grad is not None} == {"dense"}
    free = make_head(model.image_encoder.output_shape())
    free.load_state_dict(head.state_dict())
    torch.testing.assert_close(free.train()(levels, text), head(levels, text))  # the results are the same


def test_stage_losses_are_the_pixel_loss_of_each_stage(model):
    vocabulary = Vocabulary.from_string("building, road, water")  # one name a class, so none is drawn
    batch = make_batch(vocabulary)
    plain = model(batch)
    model.stage_losses = 0.5
    found = model(batch)
    assert set(found) - set(plain) == {"loss_stage1", "loss_stage2"}
    torch.testing.assert_close({name: found[name] for name in plain}, plain)
    # At initialisation no stage adds anything: each gives the up-sampled cost map.
    head = make_head(model.image_encoder.output_shape(), decoder=False).train()
    images = torch.stack([entry["image"] for entry in batch])
    levels = model.image_encoder((images - model.pixel_mean) / model.pixel_std)
    cost = head(levels, model.text_embedder(vocabulary).embeddings)
    labels = torch.stack([entry["sem_seg"] for entry in batch])
    for number in (1, 2):
        cost = F.interpolate(cost, scale_factor=2, mode="bilinear", align_corners=False)
        torch.testing.assert_close(found[f"loss_stage{number}"], 0.5 * model.objective(cost, labels))


def test_large_maps_are_enlarged_part_by_part(monkeypatch):
    """CUDA refuses to interpolate more than 2**31 - 1 elements at once."""
    x = torch.randn(7, 3, 4, 5)
    expected = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    monkeypatch.setattr(decoder, "_MOST_INTERPOLATED", 2 * 4 * 3 * 4 * 5)
    sizes, interpolate = [], F.interpolate
    monkeypatch.setattr(
        F, "interpolate", lambda part, **settings: sizes.append(len(part)) or interpolate(part, **settings)
    )
    torch.testing.assert_close(decoder.upsample(x), expected)
    assert sizes == [2, 2, 2, 1]


def test_epsilon_reaches_the_optimizer(model):
    cfg = load_config("sgovss_tiny.yaml", ["SOLVER.EPS", "1e-12"])
    assert {group["eps"] for group in Trainer.build_optimizer(cfg, model).param_groups} == {1e-12}
