"""What text, bias and visual maps see of each other, and what half precision leaves of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec

from sgovss.modeling.bias_guidance import BiasGuidedRefinement
from sgovss.modeling.cost_volume import correlate
from tests.modeling.conftest import (
    make_head,
    open_gates,
)
from tests.modeling.places import randn


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
