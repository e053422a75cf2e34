"""From the images to the encoders, and from one encoder to the other."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.model import resize_pos_embed
from torch import nn

from sgovss.config import load_config
from sgovss.vocabulary import Vocabulary
from tests.modeling.conftest import (
    TEXT,
    VISION,
    build_small,
    make_batch,
    make_clip,
    make_compensation,
    make_embedder,
    make_encoder,
    make_head,
    make_model,
    open_gates,
)
from tests.modeling.places import randn, turned

WORDS = Vocabulary.from_string("building, road, water")
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@torch.no_grad()
def test_positions_of_a_rectangle_are_those_of_open_clip():
    clip = make_clip("vit")
    wide = open_clip.CLIP(32, {**VISION["vit"], "image_size": (96, 128)}, TEXT).eval()
    weights = clip.state_dict()
    resize_pos_embed(weights, wide)
    wide.load_state_dict(weights)
    images = randn(2, 3, 96, 128)
    expected = wide.visual.forward_intermediates(images, indices=[0, 1, 2])["image_intermediates"]
    maps = make_encoder(clip, "none")(images)
    for name, features in zip(("res3", "res4", "res5"), expected, strict=True):
        torch.testing.assert_close(maps[name], features, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", sorted(path.name for path in CONFIGS.glob("sgovss_*.yaml")))
def test_pixels_are_normalised_as_the_weights_were_trained(config):
    """The statistics of open_clip's tag, or those of the embedded model; red, green and blue in this order."""
    cfg = load_config(config, ["MODEL.DEVICE", "cpu"])
    if cfg.MODEL.CLIP.NAME == "tiny":
        mean, std = [127 / 255] * 3, [128 / 255] * 3
    else:
        trained = open_clip.get_pretrained_cfg(cfg.MODEL.CLIP.NAME, cfg.MODEL.CLIP.WEIGHTS)
        mean, std = trained.get("mean", open_clip.OPENAI_DATASET_MEAN), trained.get("std", open_clip.OPENAI_DATASET_STD)
    model = build_small(cfg, "vit" if "ViT" in cfg.MODEL.CLIP.NAME else "convnext").eval()
    seen = []
    model.image_encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    colours = torch.tensor([200.0, 100.0, 50.0]).view(3, 1, 1)
    with torch.no_grad():
        model([{"image": colours.expand(3, 64, 64), "vocabulary": WORDS}])
    expected = (colours[:, 0, 0] / 255 - torch.tensor(mean)) / torch.tensor(std)
    torch.testing.assert_close(seen[0][0, :, 7, 9], expected, atol=1e-4, rtol=1e-4)


def moved(encoder: nn.Module) -> nn.Module:
    """Change the weights, as training does."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += 0.1 * parameter.std(correction=0) * torch.randn_like(parameter)
    return encoder


@torch.no_grad()
@pytest.mark.parametrize("ignored", [True, False])
def test_the_frozen_encoder_guides_where_there_is_no_label(kind, clip, ignored):
    guidance = make_compensation(labelled=0.0)
    model = make_model(make_encoder(clip, "full"), make_embedder(clip), compensation=guidance)
    moved(model.image_encoder)
    batch = make_batch(WORDS)
    for entry in batch:
        entry["sem_seg"] = torch.full_like(entry["sem_seg"], 255 if ignored else 1)
    losses = {name: loss.item() for name, loss in model(batch).items() if name.startswith("loss_gc")}
    assert set(losses) == {"loss_gc3", "loss_gc4", "loss_gc5", "loss_gcd"}
    assert all(loss > 1e-4 if ignored else loss == 0 for loss in losses.values())


@torch.no_grad()
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_the_compensation_turns_with_maps_and_labels(turns):
    sides = {"res3": 4, "res4": 2, "res5": 1, "dense": 1}
    tuned, frozen = (
        {name: randn(2, 6, 4 * side, 6 * side, seed=seed) for name, side in sides.items()} for seed in (0, 1)
    )
    labelled = torch.zeros(2, 128, 192, dtype=torch.bool)
    labelled[0, :40, :100] = labelled[1, 64:, 70:] = True
    guidance = make_compensation(labelled=0.0)
    expected = guidance(tuned, frozen, labelled, 3)
    around = [{name: turned(maps, turns) for name, maps in each.items()} for each in (tuned, frozen)]
    torch.testing.assert_close(guidance(*around, turned(labelled, turns), 3), expected)


@torch.no_grad()
def test_a_shift_of_the_image_by_a_stride_shifts_map_and_scores():
    """For a convolutional tower, where the padding is too far away to take part."""
    clip = make_clip("convnext")
    encoder = make_encoder(clip, "none")
    head = make_head(encoder.output_shape(), bias_guidance=False)
    open_gates(head)
    model = make_model(encoder, make_embedder(clip), head=head, compensation=None).eval()
    wide = 255 * torch.rand(1, 3, 64, 1312, generator=torch.Generator().manual_seed(0))
    here, there = wide[..., 32:], wide[..., :-32]
    inside = slice(16 * 32, -16 * 32)
    scores = [model.scores(each, WORDS) for each in (here, there)]
    assert scores[0][..., inside].std(dim=-1).mean() > 3e-3
    torch.testing.assert_close(scores[1].roll(-32, dims=-1)[..., inside], scores[0][..., inside], atol=1e-4, rtol=1e-3)
    maps = [encoder((each - model.pixel_mean) / model.pixel_std) for each in (here, there)]
    for name, shape in encoder.output_shape().items():
        inside, step = slice(512 // shape.stride, -512 // shape.stride), 32 // shape.stride
        first, second = maps[0][name], maps[1][name].roll(-step, dims=-1)
        torch.testing.assert_close(second[..., inside], first[..., inside], atol=1e-4, rtol=1e-3)
