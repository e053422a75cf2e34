"""From the levels to the logits: places, scales and order, against references written out here."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec

from sgovss.modeling.decoder import ClassAttention, upsample
from tests.modeling.conftest import (
    make_head,
    open_gates,
)
from tests.modeling.places import enlarged, randn, support, turned

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
    assert (middle_y, middle_x) == pytest.approx(((y + 0.5) * scale, (x + 0.5) * scale), abs=1)
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
