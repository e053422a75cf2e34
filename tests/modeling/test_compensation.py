"""Generalization compensation: zero for equal maps, positive otherwise, insensitive to fine detail."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from sgovss.config import load_config
from sgovss.errors import InputError
from sgovss.modeling.compensation import GeneralizationCompensation

SIDES = {"res3": 32, "res4": 16, "res5": 8, "dense": 8}


def maps(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(2, 6, side, side, generator=generator) for name, side in SIDES.items()}


def compensation(**changes) -> GeneralizationCompensation:
    settings = {"weights": (1.0, 1.0, 1.0, 1.0), "pool": 2, "labelled": 1.0}
    return GeneralizationCompensation(**{**settings, **changes})


def test_zero_for_identical_and_positive_for_different_maps():
    losses = compensation()(maps(0), maps(0))
    assert set(losses) == {"loss_gc3", "loss_gc4", "loss_gc5", "loss_gcd"}
    assert all(loss.item() == 0.0 for loss in losses.values())
    assert all(loss.item() > 0.0 for loss in compensation()(maps(0), maps(1)).values())


def test_blind_to_high_frequencies_where_a_plain_distance_is_not():
    frozen = maps(0)
    side = SIDES["res3"]
    checkerboard = (torch.arange(side)[:, None] + torch.arange(side)) % 2 * 2.0 - 1.0
    smooth = torch.linspace(-1, 1, side).expand(side, side)
    soft = compensation()
    plain = compensation(pool=1)
    plain.coarse = lambda features, grid: features  # the same distance without low-pass and pooling
    low, high = ({**frozen, "res3": frozen["res3"] + change} for change in (smooth, checkerboard))
    assert plain(high, frozen)["loss_gc3"] > plain(low, frozen)["loss_gc3"]
    assert soft(high, frozen)["loss_gc3"] < 1e-3 * plain(high, frozen)["loss_gc3"]
    assert soft(low, frozen)["loss_gc3"] > 20 * soft(high, frozen)["loss_gc3"]


@pytest.mark.parametrize(("shape", "grid"), [((8, 12), (4, 6)), ((9, 7), (4, 3)), ((1, 3), (1, 3))])
def test_coarse_maps_are_those_of_an_independent_filter_and_mean(shape, grid):
    features = torch.randn(2, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    smooth = features.numpy()
    for axis in (2, 3):
        smooth = ndimage.convolve1d(smooth, np.array([1, 4, 6, 4, 1]) / 16, axis=axis, mode="nearest")
    rows, columns = ([(i * n // k, -(-(i + 1) * n // k)) for i in range(k)] for n, k in zip(shape, grid, strict=True))
    cells = [[smooth[:, :, a:b, c:d].mean(axis=(2, 3)) for c, d in columns] for a, b in rows]
    expected = torch.from_numpy(np.stack([np.stack(row, axis=-1) for row in cells], axis=-2)).float()
    torch.testing.assert_close(compensation().coarse(features, grid), expected, atol=1e-6, rtol=1e-5)


def test_the_loss_is_the_mean_of_one_minus_cosine_over_the_cells_of_the_coarse_grid():
    tuned, frozen = maps(0), maps(1)
    for pool, grid in ((1, (8, 8)), (3, (2, 2)), (100, (1, 1))):
        soft = compensation(pool=pool, labelled=0.25)
        cells = 1 - F.cosine_similarity(*(soft.coarse(each["res4"], grid) for each in (tuned, frozen)))
        assert cells.shape == (2, *grid)
        torch.testing.assert_close(soft(tuned, frozen)["loss_gc4"], 0.25 * cells.mean(), atol=1e-6, rtol=1e-5)
        half = torch.arange(64)[None, :, None].expand(2, 64, 64) < 32
        fraction = F.adaptive_avg_pool2d(half[:, None].float(), grid)[:, 0]
        expected = (cells * (0.25 * fraction + 1 - fraction)).mean()
        torch.testing.assert_close(soft(tuned, frozen, half)["loss_gc4"], expected, atol=1e-6, rtol=1e-5)


def test_gradient_reaches_the_tuned_maps_only():
    tuned = {name: x.requires_grad_() for name, x in maps(0).items()}
    frozen = maps(1)
    sum(compensation()(tuned, frozen).values()).backward()
    assert all(x.grad.abs().sum() > 0 for x in tuned.values())


def test_weights():
    base = compensation()(maps(0), maps(1))
    assert set(compensation(weights=(0.0, 0.0, 0.0, 1.0))(maps(0), maps(1))) == {"loss_gcd"}
    doubled = compensation(weights=(2.0, 2.0, 2.0, 2.0))(maps(0), maps(1))
    for name, loss in base.items():
        torch.testing.assert_close(doubled[name], 2 * loss)


def test_guidance_can_be_limited_to_pixels_without_labels():
    frozen = {name: torch.ones(2, 6, side, side) for name, side in SIDES.items()}
    tuned = {name: x.clone() for name, x in frozen.items()}
    for x in tuned.values():
        x[..., : x.shape[-1] // 2, :] *= torch.tensor([1.0, -1.0] * 3).view(-1, 1, 1)  # differs in the upper half
    labelled = torch.zeros(2, 256, 256, dtype=torch.bool)
    labelled[:, :128] = True
    free = compensation(labelled=0.0, pool=4)
    everywhere = compensation(pool=4)(tuned, frozen, labelled)
    for name, loss in free(tuned, frozen, ~labelled).items():
        # Not exact: the low-pass smears a little over the border.
        torch.testing.assert_close(loss, everywhere[name], rtol=0.1, atol=0)
        assert free(tuned, frozen, labelled)[name] < 0.1 * loss
        assert free(tuned, frozen)[name].item() == 0.0


@pytest.mark.parametrize("wrong", [{"weights": (1.0,)}, {"pool": 0}, {"labelled": -1.0}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(InputError, match="COMPENSATION"):
        compensation(**wrong)
    ((name, value),) = wrong.items()
    value = list(value) if isinstance(value, tuple) else value
    with pytest.raises(InputError, match=f"COMPENSATION.{name.upper()}: .* is not allowed"):
        load_config("sgovss_tiny.yaml", [f"MODEL.SGOVSS.COMPENSATION.{name.upper()}", str(value)])
