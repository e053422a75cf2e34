"""What joins the modules: places, scales, order and directions, against references written out here."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from open_clip.model import resize_pos_embed
from torch import nn

from sgovss.config import load_config
from sgovss.modeling.bias_guidance import BiasGuidedRefinement
from sgovss.modeling.cost_volume import correlate
from sgovss.modeling.decoder import ClassAttention, upsample
from sgovss.modeling.objective import PixelObjective
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

WORDS = Vocabulary.from_string("building, road, water")
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def enlargement(count: int, factor: int) -> torch.Tensor:
    """Linear interpolation of ``count`` samples, each in the middle of its cell: (count * factor, count)."""
    matrix = torch.zeros(count * factor, count)
    for row in range(count * factor):
        place = min(max((row + 0.5) / factor - 0.5, 0.0), count - 1.0)
        left = int(place)
        matrix[row, left] += 1 - (place - left)
        matrix[row, min(left + 1, count - 1)] += place - left
    return matrix


def enlarged(maps: torch.Tensor, factor: int) -> torch.Tensor:
    """Bilinear enlargement of (..., h, w), written out."""
    return enlargement(maps.shape[-2], factor) @ maps @ enlargement(maps.shape[-1], factor).T


def turned(maps: torch.Tensor, turns: int) -> torch.Tensor:
    return torch.rot90(maps, turns, dims=(-2, -1))


def support(change: torch.Tensor) -> tuple[float, float, int, int]:
    """Middle (y, x), in pixels from the upper left corner, and height and width of what is not 0 in (..., H, W).

    A pixel at the edge whose change is lost to rounding moves the middle by a half.
    """
    rows, columns = (change.abs().flatten(0, -3).amax(dim=0).amax(dim=axis).nonzero() for axis in (1, 0))
    (top, bottom), (left, right) = ((int(each[0]), int(each[-1]) + 1) for each in (rows, columns))
    return (top + bottom) / 2, (left + right) / 2, bottom - top, right - left


# From the levels to the logits.

GRIDS = {"convnext": {"res3": 4, "res4": 2, "res5": 1, "dense": 1}, "vit": dict.fromkeys(("res3", "res4", "res5"), 1)}
"""Locations of each level for one of the dense map, along each side."""


@torch.no_grad()
@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize(("level", "first", "size"), [("res5", 0, 64), ("res4", 1, 26), ("res3", 2, 12)])
def test_an_impulse_in_a_level_appears_at_its_place_in_its_stage_and_in_later_ones(kind, level, first, size):
    """res5 guides the first stage, res4 the second and res3 the third, whatever the resolution of the levels."""
    grids = {**GRIDS[kind], "dense": 1}
    channels = {"res3": 3, "res4": 5, "res5": 7, "dense": 16}
    shapes = {name: ShapeSpec(channels=count, stride=32 // grids[name]) for name, count in channels.items()}
    torch.manual_seed(0)
    head = make_head(shapes, bias_guidance=False, text_guidance=False).eval()
    open_gates(head)
    levels = {name: randn(1, count, 9 * grids[name], 12 * grids[name]) for name, count in channels.items()}
    y, x = 5 * grids[level] - 1, 7 * grids[level] - 1
    changed = dict(levels, **{level: levels[level].clone()})
    changed[level][..., y, x] += randn(channels[level], seed=1)
    text = F.normalize(randn(3, 16), dim=-1)
    maps, others = (head.stages(each, text) for each in (levels, changed))
    assert [not torch.equal(one, other) for one, other in zip(maps, others, strict=True)] == [
        stage >= first for stage in range(3)
    ]
    middle_y, middle_x, height, width = support(others[-1] - maps[-1])
    scale = 8 / grids[level]
    assert (middle_y, middle_x) == pytest.approx(((y + 0.5) * scale, (x + 0.5) * scale), abs=0.5)
    assert scale <= min(height, width) and max(height, width) <= size


@torch.no_grad()
def test_an_impulse_in_the_dense_map_appears_at_its_place():
    shapes = {name: ShapeSpec(channels=16, stride=32) for name in ("res3", "res4", "res5", "dense")}
    torch.manual_seed(0)
    head = make_head(shapes, bias_guidance=False, text_guidance=False).eval()
    open_gates(head)
    levels = {name: randn(1, 16, 12, 15) for name in shapes}
    changed = dict(levels, dense=levels["dense"].clone())
    changed["dense"][..., 5, 8] *= -1
    text = F.normalize(randn(3, 16), dim=-1)
    change = head(changed, text) - head(levels, text)
    middle_y, middle_x, height, width = support(change)
    assert (middle_y, middle_x) == pytest.approx((5.5 * 8, 8.5 * 8), abs=0.5)
    assert min(height, width) >= 8 and max(height, width) <= 80
    # Most of the change is the cell itself.
    assert change[..., 40:48, 64:72].square().sum() > 0.3 * change.square().sum()


@torch.no_grad()
def test_doubling_leaves_everything_in_its_place():
    maps = randn(2, 3, 4, 7)
    torch.testing.assert_close(upsample(maps), enlarged(maps, 2))
    impulse = torch.zeros(1, 1, 5, 8)
    impulse[..., 2, 5] = 1.0
    quarter, three = 0.25, 0.75
    row = torch.tensor([quarter, three, three, quarter])
    torch.testing.assert_close(upsample(impulse)[0, 0, 3:7, 9:13], torch.outer(row, row))
    for turns in (1, 2, 3):
        torch.testing.assert_close(upsample(turned(maps, turns)), turned(upsample(maps), turns))


@torch.no_grad()
def test_class_attention_turns_with_the_map():
    torch.manual_seed(0)
    layer = ClassAttention(8, 6, heads=2).eval()
    cells, text = randn(1, 5, 8, 3, 4), randn(1, 5, 6)
    for turns in (1, 2, 3):
        torch.testing.assert_close(layer(turned(cells, turns), text), turned(layer(cells, text), turns))


# From the logits to the scores and the losses.


def logits_of(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Logits of images (B, 3, H, W) whose sides are multiples of the encoder's stride."""
    levels = model.image_encoder((images - model.pixel_mean) / model.pixel_std)
    return model.head(levels, model.text_embedder(WORDS).embeddings)


@torch.no_grad()
def test_scores_are_the_logits_enlarged_in_place(kind, model):
    open_gates(model.head)
    model.eval()
    images = 255 * torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    logits = logits_of(model, images)
    factor = {"convnext": 4, "vit": 2}[kind]
    assert logits.shape == (2, 3, 64 // factor, 96 // factor)
    expected = enlarged(logits, factor).sigmoid()
    assert expected.std() > 1e-3
    torch.testing.assert_close(model.scores(images, WORDS), expected, atol=1e-5, rtol=1e-4)
    alone = model([{"image": images[1], "vocabulary": WORDS}])[0]["sem_seg"]
    torch.testing.assert_close(alone, expected[1], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_pixel_loss_is_that_of_the_enlarged_logits():
    logits, labels = randn(2, 3, 3, 5), torch.randint(0, 3, (2, 12, 20), generator=torch.Generator().manual_seed(0))
    labels[0, :3] = 255
    objective = PixelObjective("MASK", 255, least_share=0.1)
    expected = objective(enlarged(logits, 4), labels)
    torch.testing.assert_close(objective(logits, labels), expected)
    for turns in (1, 2, 3):
        torch.testing.assert_close(objective(turned(logits, turns), turned(labels, turns)), expected)


@torch.no_grad()
def test_the_pixel_loss_leaves_out_the_padding(kind, model):
    """An image of 40 x 72 is padded below and at the right; the logits of its own pixels count."""
    open_gates(model.head)
    (entry,) = make_batch(WORDS, size=96, images=1)
    image, labels = entry["image"][:, :40, :72], entry["sem_seg"][:40, :72]
    divisor = model.image_encoder.size_divisibility
    below, right = -40 % divisor, -72 % divisor
    padded = F.pad(image[None].float(), (0, right, 0, below), mode="replicate")
    factor = {"convnext": 4, "vit": 2}[kind]
    logits = enlarged(logits_of(model, padded)[..., : 40 // factor, : 72 // factor], factor)[0]
    counted = labels != 255
    targets = F.one_hot(labels.where(counted, 0), 3).movedim(-1, 0).float()
    each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    found = model([{**entry, "image": image, "sem_seg": labels}])["loss_pixel"]
    torch.testing.assert_close(found, each[:, counted].mean(), atol=1e-5, rtol=1e-4)


# From the images to the encoder, and from one encoder to the other.


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


# Text, bias and visual maps.


def refined(seed: int, *silenced: str) -> tuple[BiasGuidedRefinement, dict[str, torch.Tensor]]:
    """A refinement with open gates, in which some attentions add nothing, and feature maps."""
    shapes = {name: ShapeSpec(channels=8, stride=32) for name in ("res3", "res4", "res5", "dense")}
    torch.manual_seed(seed)
    layer = BiasGuidedRefinement(input_shape=shapes, refined=list(shapes), dim=16, heads=2, tokens=2)
    open_gates(layer)
    for name in silenced:
        for parameter in layer.get_submodule(name).output.parameters():
            parameter.data.zero_()
    return layer, {name: randn(1, 8, 4, 5, seed=number) for number, name in enumerate(shapes)}


@torch.no_grad()
def test_every_visual_map_sees_each_class_name_itself():
    """Not only through the bias, which attends to the text as well, and not only through the other names."""
    layer, levels = refined(0, "bias_from_text", "text_attention")
    layer.channel_output.gate.scale.zero_()
    text = F.normalize(randn(3, 8), dim=-1)
    _, plain, _ = layer(text, levels)
    for word in range(3):
        other = text.clone()
        other[word] = F.normalize(randn(8, seed=9), dim=-1)
        _, changed, _ = layer(other, levels)
        for name in levels:
            assert (changed[name] - plain[name]).abs().max() > 1e-3, (word, name)


@torch.no_grad()
def test_every_visual_map_and_the_text_see_the_bias_itself():
    layer, levels = refined(0, "bias_from_text", "text_from_bias")
    layer.channel_output.gate.scale.zero_()
    text = F.normalize(randn(3, 8), dim=-1)
    far = dict(levels, res4=levels["res4"] + 2 * randn(1, 8, 1, 1, seed=7))
    (text_here, here, _), (text_there, there, _) = layer(text, levels), layer(text, far)
    torch.testing.assert_close(text_there, text_here)  # the text sees the images through the silenced attention only
    for name in ("res3", "res5", "dense"):
        assert (there[name] - here[name]).abs().max() > 1e-3, name
    layer, levels = refined(0, "bias_from_text")
    assert (layer(text, far)[0] - layer(text, levels)[0]).abs().max() > 1e-3


@torch.no_grad()
def test_the_bias_sees_the_text():
    text, other = (F.normalize(randn(3, 8, seed=seed), dim=-1) for seed in (0, 1))
    layer, levels = refined(0)
    assert (layer(text, levels)[2] - layer(other, levels)[2]).abs().max() > 1e-3


@torch.no_grad()
def test_permuting_the_names_permutes_the_logits(encoder):
    head = make_head(encoder.output_shape()).eval()
    open_gates(head)
    levels, text = encoder(randn(2, 3, 64, 96)), F.normalize(randn(5, 32), dim=-1)
    order = [3, 1, 4, 0, 2]
    torch.testing.assert_close(head(levels, text[order]), head(levels, text)[:, order], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_further_name_changes_other_scores_through_attention_only(encoder):
    levels, text = encoder(randn(1, 3, 64, 96)), F.normalize(randn(5, 32), dim=-1)
    for parts, same in (
        ({"bias_guidance": False, "text_guidance": False}, True),
        ({"bias_guidance": False}, False),
        ({"text_guidance": False}, False),
    ):
        head = make_head(encoder.output_shape(), **parts).eval()
        open_gates(head)
        few, many = head(levels, text[:4]), head(levels, text)[:, :4]
        assert ((few - many).abs().max() < 1e-4) == same, parts


@torch.no_grad()
def test_half_precision_does_not_blur_similar_classes(encoder):
    """Names of aerial classes have embeddings that are close to each other: here cosines of 0.99 and more."""
    head = make_head(encoder.output_shape(), bias_guidance=False).eval()
    levels = encoder(randn(1, 3, 64, 96))
    text = F.normalize(randn(1, 32) + 0.05 * randn(6, 32, seed=1), dim=-1)
    dense = levels["dense"][0].double()
    cosines = torch.einsum("dhw,td->thw", dense / dense.norm(dim=0), text.double() / text.double().norm(dim=1)[:, None])
    spread = cosines.std(dim=0).mean()
    for found in (correlate(levels["dense"], text[None]), head.cost_map(levels, text)[0]):
        torch.testing.assert_close(found[0].double(), cosines, atol=1e-5, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        found = head.cost_map(levels, text)[0]
    assert found.dtype == torch.float32
    assert (found[0] - cosines).abs().max() < 1e-3 * spread
